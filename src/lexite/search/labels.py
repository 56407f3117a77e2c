"""Labels of an index's latent terms, read from its vocabulary where that is on this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.errors import LexiteError
from lexite.search.indexing import PREFIX
from lexite.search.queries import check_made_by

if TYPE_CHECKING:
    from lexite.search.strategy import Backend
    from lexite.terms.vocabulary import Vocabulary

Label = Callable[[int], str]


def numbered(term: int) -> str:
    """What a latent is called that has no label.

    >>> numbered(7)
    'latent 7'
    """
    return f"latent {term}"


def kinds_of(label: Label) -> Callable[[int], str]:
    """What gives the kinds of latents, beside labels that know them; empty kinds beside other labels.

    Args:
        label: words for a latent, such as ``encoder.label``.

    >>> kinds_of(numbered)(7)
    ''
    """
    kind = getattr(getattr(label, "__self__", label), "kind", None)  # the encoder that a method is bound to
    return kind if callable(kind) else (lambda term: "")


def labels_of(index: Backend, vocabulary: str | Path | None = None) -> Label:
    """Labels of an index's latent terms when its vocabulary is on this machine; numbers otherwise.

    They are read when the first one is asked for.

    Args:
        index: the index, or an engine.
        vocabulary: where the vocabulary is now; None looks where it was when the index was built.

    Raises:
        IndexFormatError: ``vocabulary`` is another one.
    """
    from lexite.terms.hub import builtin_folder
    from lexite.terms.manifest import read_manifest

    made_by = index.vocabulary
    name = str(vocabulary or made_by.model)
    folder = Path(name) if name and Path(name).is_dir() else builtin_folder(name) if name else None
    try:
        manifest = read_manifest(folder, verify=False) if folder is not None else None
    except LexiteError:  # labels are a comfort, and what is wrong with them is for 'lexite info' to say
        return numbered
    if folder is None or manifest is None:
        return numbered
    prefix = made_by.terms_config.get(PREFIX)
    # The fingerprint of the first latents takes the weights, and so torch. Their vocabulary is told by its name.
    prefix_of_it = prefix is not None and manifest["fingerprint"] != made_by.fingerprint and manifest["name"] == made_by.name
    if vocabulary is not None and prefix is None:
        check_made_by(made_by, name, manifest["fingerprint"])
    if not prefix_of_it and manifest["fingerprint"] != made_by.fingerprint:
        return numbered
    return _LazyLabels(folder, made_by.n_terms, prefix)


class _LazyLabels:
    """Labels that are read from a folder when the first one is asked for.

    Args:
        folder: of the vocabulary.
        n_latents: of the index.
        prefix: how many latents of the vocabulary the index has; None for all.
    """

    def __init__(self, folder: Path, n_latents: int, prefix: int | None) -> None:
        self._folder, self._n_latents, self._prefix = folder, n_latents, prefix

    def __call__(self, term: int) -> str:
        return self._label(term)

    def __reduce__(self) -> tuple[Any, ...]:
        return _LazyLabels, (self._folder, self._n_latents, self._prefix)

    def kind(self, term: int) -> str:
        """The kind of a latent; empty where the vocabulary does not tell it."""
        found = self._found
        return "" if found is None else found.kind(term)

    @property
    def _label(self) -> Label:
        found = self._found
        return numbered if found is None else found.label

    @functools.cached_property
    def _found(self) -> Vocabulary | None:
        from lexite.terms.vocabulary import Vocabulary

        try:
            found = Vocabulary.load(self._folder)
            if self._prefix is not None and found.n_latents != self._n_latents:
                found = found.prefix(self._prefix, self._n_latents // self._prefix)
        except LexiteError:
            return None
        return found if found.n_latents == self._n_latents else None
