"""Documents as analyses take them: which latent terms each has, and what a person can see of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from lexite.errors import ArgumentError
from lexite.search.labels import numbered
from lexite.terms.descriptions import is_name

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.index.filters import Where

SHOWN = 160  # characters of a text
DOCUMENTS_AT_ONCE = 4096

Label = Callable[[int], str]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents and their latent terms.

    Attributes:
        rows: ``(n_documents, n_latents)`` float32, raw weights.
        name: what the corpus is called.
        label: words for a latent.
        show: gives id and text of a document by its place; None where no text is known.

    >>> some = Corpus(csr_array([[0.0, 2.0], [1.0, 0.0]]), "two")
    >>> len(some), some.label(1)
    (2, 'latent 1')
    """

    rows: csr_array[np.float32]
    name: str
    label: Label = numbered
    show: Callable[[int], tuple[str, str]] | None = None

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return int(self.rows.shape[1])

    def has_name(self, latent: int) -> bool:
        """Whether a latent is called by a name, and not by examples of its use or by its number."""
        return is_name(self.label(latent))

    def example(self, place: int) -> Example:
        """A document for people."""
        identifier, text = (str(place), "") if self.show is None else self.show(place)
        return Example(identifier, " ".join(text.split())[:SHOWN])

    def part(self, places: Sequence[int] | NDArray[np.int64], name: str) -> Corpus:
        """Some of the documents.

        Args:
            places: of the documents.
            name: what the part is called.
        """
        places = np.asarray(places, dtype=np.int64)
        show = self.show
        seen = None if show is None else (lambda place: show(int(places[place])))
        return Corpus(csr_array(self.rows[places]), name, self.label, seen)


@dataclass(frozen=True, slots=True)
class Example:
    """A document that shows what is meant.

    Attributes:
        id: of the document.
        text: its beginning.
    """

    id: str
    text: str


def corpus_of(index: BM25Index, label: Label = numbered, *, where: Where | None = None, name: str = "") -> Corpus:
    """The documents of an index that pass a filter, with their latent terms; literal words are left out.

    Rows are read some at a time, so that the memory is that of the result: 8 bytes a posting.

    Args:
        index: the index.
        label: words for a latent.
        where: a filter; None takes all.
        name: what the corpus is called; default the filter, or the folder's name.

    Raises:
        ArgumentError: no document passes, or the index has no latent terms.
    """
    numbers = np.asarray(index.select(where), dtype=np.int64)
    called = name or (str(where) if where is not None else str(getattr(index.path, "name", "") or "index"))
    if not len(numbers):
        raise ArgumentError(f"No document of {called} passes the filter.")
    if not index.n_latents:
        raise ArgumentError(f"{called} has no latent terms.")
    parts = [
        csr_array(index.rows(numbers[start : start + DOCUMENTS_AT_ONCE].tolist())[:, : index.n_latents])
        for start in range(0, len(numbers), DOCUMENTS_AT_ONCE)
    ]
    rows = csr_array(vstack(parts, format="csr"))

    def show(place: int) -> tuple[str, str]:
        stored = index.stored(int(numbers[place]))
        return stored.id, f"{stored.title} {stored.text}".strip()

    return Corpus(rows, called, label, show)


def presence(rows: csr_array[np.float32]) -> csr_array[np.float32]:
    """1 where a document has a term."""
    kept = rows
    if np.any(rows.data <= 0):
        kept = rows.copy()
        kept.data[kept.data <= 0] = 0
        kept.eliminate_zeros()
    ones = np.ones(kept.nnz, dtype=np.float32)
    return cast("csr_array[np.float32]", csr_array((ones, kept.indices, kept.indptr), shape=kept.shape))


def joined(corpora: Sequence[Corpus]) -> csr_array[np.float32]:
    """The rows of several corpora, one after the other.

    Raises:
        ArgumentError: they have different numbers of latents, so they are of different vocabularies.
    """
    if len({corpus.n_latents for corpus in corpora}) > 1:
        raise ArgumentError("The corpora are of different vocabularies. Index both with the same one.")
    return cast("csr_array[np.float32]", csr_array(vstack([corpus.rows for corpus in corpora], format="csr")))
