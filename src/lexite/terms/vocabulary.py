"""What is known about the terms of a vocabulary: how frequent each is, and a few words that say what it stands for.

Reading one needs neither torch nor transformers, so that a search can show labels without them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ModelError
from lexite.files import atomic_write, parse_json, read_json, read_text, storage_errors
from lexite.scoring.formula import inverse_document_frequency
from lexite.terms.descriptions import Context, Descriptions, shown_examples
from lexite.terms.label_lines import LABELS_NAME, LabelLines, read_labels, split_labels, write_labels

JSON_NAME = "vocabulary.json"
ARRAYS_NAME = "vocabulary.safetensors"
FORMAT = "lexite-terms"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # version 1 has the labels in the JSON file and no descriptions
WORDS_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Statistics and labels of the terms, measured on a sample of text.

    Attributes:
        document_counts: ``(n_latents,)`` int64; documents of the sample in which the latent has a weight above 0.
        token_counts: ``(n_latents,)`` int64; tokens of the sample that keep the latent among their k.
        n_documents: documents in the sample.
        n_tokens: tokens in the sample (special and prompt tokens as the backbone's configuration says).
        k: latents kept per token when it was measured.
        labels: for each latent up to five words, the best first, as :class:`lexite.terms.labels.LabelCounter` defines them;
            empty for a latent that did not fire. Of latents that are described, a trusted name comes first, and where there is
            none, these are examples of its use.
        source: what the sample was, for people.
        described: kinds, trust, relatives and examples of the latents, where it was labelled (``lexite label``).

    >>> some = Vocabulary(np.array([1, 0]), np.array([3, 0]), 4, 12, 1, (("river", "bank"), ()), "four notes")
    >>> some.document_frequency.tolist(), some.label(0), some.label(1)
    ([0.25, 0.0], 'river, bank', 'latent 1')
    """

    document_counts: NDArray[np.int64]
    token_counts: NDArray[np.int64]
    n_documents: int
    n_tokens: int
    k: int
    labels: Sequence[tuple[str, ...]]
    source: str = ""
    described: Descriptions | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.document_counts), len(self.token_counts), len(self.labels)}
        sizes |= set() if self.described is None else {len(self.described.kinds)}
        if len(sizes) > 1:
            raise ModelError("The counts and the labels of a vocabulary are of different lengths.")

    @property
    def n_latents(self) -> int:
        """Number of terms, those that never fired included."""
        return len(self.labels)

    @property
    def document_frequency(self) -> NDArray[np.float64]:
        """``(n_latents,)`` share of the sample's documents that hold the term: document_counts / n_documents."""
        return self.document_counts / max(self.n_documents, 1)

    @property
    def token_density(self) -> NDArray[np.float64]:
        """``(n_latents,)`` share of the sample's tokens that the latent fires on: token_counts / n_tokens."""
        return self.token_counts / max(self.n_tokens, 1)

    @property
    def n_used(self) -> int:
        """Number of latents that fired on the sample at all."""
        return int(np.count_nonzero(self.token_counts))

    def reordered(self, order: NDArray[np.int64], terms_per_latent: int = 1) -> Vocabulary:
        """The statistics of latents in another order, or of only some of them.

        Counts stay as they were measured, when a token could choose among all latents.

        Args:
            order: ``(n,)`` numbers of latents; latent ``order[i]`` becomes latent i.
            terms_per_latent: 2 where the sign of an activation makes two terms of a latent. Terms of negative sign come after
                all others.

        Raises:
            ModelError: there is no such latent.
        """
        n_latents = self.n_latents // terms_per_latent
        if len(order) and not (int(np.min(order)) >= 0 and int(np.max(order)) < n_latents):
            raise ModelError(f"An order of latents holds numbers from 0 to {n_latents - 1}.")
        terms = np.concatenate([np.asarray(order, dtype=np.int64) + sign * n_latents for sign in range(terms_per_latent)])
        labels = tuple(self.labels[term] for term in terms)
        described = None if self.described is None else self.described.reordered(terms)
        counts = {"document_counts": self.document_counts[terms], "token_counts": self.token_counts[terms]}
        return replace(self, labels=labels, described=described, **counts)

    def prefix(self, n_latents: int, terms_per_latent: int = 1) -> Vocabulary:
        """The statistics of the first latents alone; see :meth:`reordered`."""
        return self.reordered(np.arange(n_latents), terms_per_latent)

    def label(self, term: int, words: int = WORDS_SHOWN) -> str:
        """A short label for people: the name of a term, or examples of its use where no name can be trusted.

        Where the vocabulary was not labelled, it is the best words of the term, or its number when it has none.

        Args:
            term: number of the latent.
            words: how many words at most of a term without description; five are known.

        Raises:
            ModelError: there is no such term.
        """
        if not 0 <= term < self.n_latents:
            raise ModelError(f"There is no term {term}; this vocabulary has {self.n_latents}, counted from 0.")
        known = self.labels[term]
        if not known:
            return f"latent {term}"
        if self.described is None:
            return ", ".join(_readable(word) for word in known[:words])
        return known[0] if self.described.trusted(term) else shown_examples(known)

    def kind(self, term: int) -> str:
        """The kind of a term: lexical, narrow, broad, function, unclear or dead; empty where it was not labelled."""
        return "" if self.described is None else self.described.kind(term)

    def about(self, term: int) -> TermDescription:
        """All that is known of a term.

        Args:
            term: number of the latent.

        Raises:
            ModelError: there is no such term, or its examples are damaged.
        """
        label, described = self.label(term), self.described
        n, known = self.n_documents, int(self.document_counts[term])
        trusted = described is not None and described.trusted(term)
        measured = None if described is None or np.isnan(described.trust[term]) else round(float(described.trust[term]), 3)
        return TermDescription(
            term,
            label,
            self.labels[term][0] if trusted else "",
            self.kind(term),
            measured,
            trusted,
            tuple(self.labels[term]),
            known,
            n,
            float(inverse_document_frequency(n, np.array([known]), "lucene")[0]) if n else 0.0,
            known / max(int(self.document_counts.sum()), 1),
            () if described is None else tuple(int(other) for other in described.related[term] if other >= 0),
            () if described is None else described.contexts[term],
        )

    def summary(self) -> dict[str, Any]:
        """What it was measured on and a few figures, as JSON values: used latents and average terms per document."""
        labelled = {} if self.described is None else {"labelled_on": dict(self.described.made)}
        return {
            "n_documents": self.n_documents,
            "n_tokens": self.n_tokens,
            "k": self.k,
            "source": self.source,
            "latents_used": self.n_used,
            "terms_per_document": round(float(self.document_counts.sum()) / max(self.n_documents, 1), 2),
            **labelled,
        }

    def save(self, folder: str | Path) -> list[str]:
        """Writes a vocabulary into a folder that exists.

        ``vocabulary.json`` says what it was measured on, ``labels.gz`` has the labels, ``vocabulary.safetensors`` the counts,
        kinds, trust and relatives, and ``contexts.bz2`` the examples.

        Returns:
            The names of the files.

        Raises:
            StorageError: they cannot be written.
        """
        from safetensors.numpy import save

        where = Path(folder)
        head = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **self.summary()}, indent=1, ensure_ascii=False)
        with atomic_write(where / JSON_NAME, "w") as file:
            file.write(f"{head}\n")
        write_labels(where, self.labels)
        arrays = {"document_counts": self.document_counts, "token_counts": self.token_counts}
        smallest = {name: np.ascontiguousarray(counts, dtype=_integer_type(counts)) for name, counts in arrays.items()}
        if self.described is not None:
            smallest.update(self.described.arrays())
        with atomic_write(where / ARRAYS_NAME) as file, storage_errors(folder):
            file.write(save(smallest, metadata={"format_version": str(FORMAT_VERSION)}))
        beside = [] if self.described is None else [self.described.save_contexts(where)]
        return [JSON_NAME, ARRAYS_NAME, LABELS_NAME, *beside]

    @classmethod
    def load(cls, folder: str | Path) -> Vocabulary:
        """Reads what :meth:`save` wrote; each label when it is asked for.

        Raises:
            ModelError: a file is missing, damaged, or of a newer format.
        """
        where = Path(folder) / JSON_NAME
        named = Path(folder) / LABELS_NAME
        parted = split_labels(read_text(where), where)
        values = parse_json(parted[0], where) if parted else read_json(where)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ModelError(f"{where} does not hold the labels of a vocabulary.")
        if values.get("format_version") not in READABLE_VERSIONS:
            raise ModelError(
                f"{where} has format version {values.get('format_version')}; this lexite reads {FORMAT_VERSION}. "
                "Install a newer lexite."
            )
        arrays = _read_arrays(Path(folder) / ARRAYS_NAME)
        try:
            return cls(
                arrays["document_counts"].astype(np.int64),
                arrays["token_counts"].astype(np.int64),
                int(values["n_documents"]),
                int(values["n_tokens"]),
                int(values["k"]),
                _labels(values, parted, named),
                str(values["source"]),
                Descriptions.load(Path(folder), arrays, values.get("labelled_on", {})),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise ModelError(f"{where} or {ARRAYS_NAME} beside it is damaged: {problem!r}.") from problem


@dataclass(frozen=True, slots=True)
class TermDescription:
    """All that is known of a term.

    Attributes:
        term: number of the latent.
        label: what it is shown as: its name, or examples of its use.
        name: its name; empty where none can be trusted.
        kind: lexical, narrow, broad, function, unclear or dead; empty where the vocabulary was not labelled.
        trust: from 0 to 1, how well the name alone tells passages that hold the term from others; None where unmeasured.
        trusted: whether the name is shown.
        words: the name and further words, or the examples.
        document_frequency: documents of the vocabulary's sample that hold it.
        n_documents: documents of that sample.
        idf: Lucene's inverse document frequency there.
        posting_share: share of all postings of that sample.
        related: the terms that it fires with most.
        contexts: examples of its use, the strongest first.
    """

    term: int
    label: str
    name: str
    kind: str
    trust: float | None
    trusted: bool
    words: tuple[str, ...]
    document_frequency: int
    n_documents: int
    idf: float
    posting_share: float
    related: tuple[int, ...]
    contexts: tuple[Context, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def _labels(values: dict[str, Any], parted: tuple[str, LabelLines] | None, path: Path) -> Sequence[tuple[str, ...]]:
    """The labels, from wherever a version has them."""
    if parted is not None:
        return parted[1]
    if values["format_version"] == 1:
        return tuple(tuple(str(word) for word in words) for words in values["labels"])
    return read_labels(path)


def _integer_type(counts: NDArray[np.int64]) -> type[np.uint32] | type[np.int64]:
    return np.uint32 if counts.size == 0 or int(counts.max()) < 2**32 else np.int64


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist.") from None
    except (SafetensorError, OSError, ValueError) as problem:
        raise ModelError(f"{path} is damaged and cannot be read: {problem}.") from problem


def _readable(word: str) -> str:
    """A word as it is, and punctuation in quotation marks, so that it is seen among the commas of a label."""
    return word if any(character.isalnum() for character in word) else f"“{word}”"
