"""What is known about the terms of a vocabulary: how frequent each is, and a few words that say what it stands for.

Reading one needs neither torch nor transformers, so that a search can show labels without them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ModelError
from lexite.files import atomic_write, parse_json, read_json, read_text, storage_errors
from lexite.terms.label_lines import LABELS_BEGIN, LABELS_END, split_labels

JSON_NAME = "vocabulary.json"
ARRAYS_NAME = "vocabulary.safetensors"
FORMAT = "lexite-terms"
FORMAT_VERSION = 1
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
            empty for a latent that did not fire.
        source: what the sample was, for people.

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

    def __post_init__(self) -> None:
        sizes = {len(self.document_counts), len(self.token_counts), len(self.labels)}
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
        return replace(self, document_counts=self.document_counts[terms], token_counts=self.token_counts[terms], labels=labels)

    def prefix(self, n_latents: int, terms_per_latent: int = 1) -> Vocabulary:
        """The statistics of the first latents alone; see :meth:`reordered`."""
        return self.reordered(np.arange(n_latents), terms_per_latent)

    def label(self, term: int, words: int = WORDS_SHOWN) -> str:
        """A short label for people: the best words of a term, or its number when it has none.

        Args:
            term: number of the latent.
            words: how many words at most; five are known.

        Raises:
            ModelError: there is no such term.
        """
        if not 0 <= term < self.n_latents:
            raise ModelError(f"There is no term {term}; this vocabulary has {self.n_latents}, counted from 0.")
        return ", ".join(_readable(word) for word in self.labels[term][:words]) or f"latent {term}"

    def summary(self) -> dict[str, Any]:
        """What it was measured on and a few figures, as JSON values: used latents and average terms per document."""
        return {
            "n_documents": self.n_documents,
            "n_tokens": self.n_tokens,
            "k": self.k,
            "source": self.source,
            "latents_used": self.n_used,
            "terms_per_document": round(float(self.document_counts.sum()) / max(self.n_documents, 1), 2),
        }

    def save(self, folder: str | Path) -> list[str]:
        """Writes ``vocabulary.json`` (labels) and ``vocabulary.safetensors`` (counts) into a folder that exists.

        Returns:
            The names of the files.

        Raises:
            StorageError: they cannot be written.
        """
        from safetensors.numpy import save

        head = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **self.summary()}, indent=1, ensure_ascii=False)
        labels = ",\n".join(json.dumps(list(words), ensure_ascii=False, separators=(",", ":")) for words in self.labels)
        with atomic_write(Path(folder) / JSON_NAME, "w") as file:  # one label a line, so that differences can be read
            file.write(f"{head[:-2]}{LABELS_BEGIN}{labels}{LABELS_END}")
        arrays = {"document_counts": self.document_counts, "token_counts": self.token_counts}
        smallest = {name: np.ascontiguousarray(counts, dtype=_integer_type(counts)) for name, counts in arrays.items()}
        with atomic_write(Path(folder) / ARRAYS_NAME) as file, storage_errors(folder):
            file.write(save(smallest, metadata={"format_version": str(FORMAT_VERSION)}))
        return [JSON_NAME, ARRAYS_NAME]

    @classmethod
    def load(cls, folder: str | Path) -> Vocabulary:
        """Reads what :meth:`save` wrote; each label when it is asked for.

        Raises:
            ModelError: a file is missing, damaged, or of a newer format.
        """
        where = Path(folder) / JSON_NAME
        parted = split_labels(read_text(where), where)
        values = parse_json(parted[0], where) if parted else read_json(where)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ModelError(f"{where} does not hold the labels of a vocabulary.")
        if values.get("format_version") != FORMAT_VERSION:
            raise ModelError(f"{where} has format version {values.get('format_version')}; this lexite reads {FORMAT_VERSION}.")
        arrays = _read_arrays(Path(folder) / ARRAYS_NAME)
        try:
            return cls(
                arrays["document_counts"].astype(np.int64),
                arrays["token_counts"].astype(np.int64),
                int(values["n_documents"]),
                int(values["n_tokens"]),
                int(values["k"]),
                parted[1] if parted else tuple(tuple(str(word) for word in words) for words in values["labels"]),
                str(values["source"]),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise ModelError(f"{where} or {ARRAYS_NAME} beside it is damaged: {problem!r}.") from problem


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
