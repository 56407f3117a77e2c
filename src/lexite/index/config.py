"""What an index is described by, and what it hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.terms.scoring import BM25Config, IdfForm, Transform

TRANSFORMS: tuple[Transform, ...] = ("none", "sqrt", "log1p")  # position: row in a segment's lengths, code in the kernels
MAX_WEIGHT = 1e18  # sums and products of such weights still fit in float32

__all__ = ["BM25Config", "Hit", "IdfForm", "SparseRows", "StoredDocument", "Transform", "VocabularyInfo"]


@dataclass(frozen=True)
class VocabularyInfo:
    """Which vocabulary made the terms of an index.

    Attributes:
        fingerprint: identifies everything that changes terms (``LatentTermEncoder.fingerprint``). Queries and documents with
            another fingerprint are refused.
        name: what a person calls it.
        n_terms: number of terms, the columns of every matrix of weights.
        terms_config: how documents were encoded (``k_documents`` and so on), so that ``add`` does the same later; ``prefix``
            is there when they were encoded with the first latents of the vocabulary only.
        model: name or path to load the vocabulary again; empty when it was not loaded from anywhere.
    """

    fingerprint: str
    name: str
    n_terms: int
    terms_config: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found by a search.

    Attributes:
        id: the document's id.
        score: its BM25 score.
        rank: its place in the ranking, from 1.
        document: its number in the opened index, for ``BM25Index.stored`` and ``BM25Index.explain``.
    """

    id: str
    score: float
    rank: int
    document: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What an index keeps of a document so that it can be shown: empty title and text when it was built without text."""

    id: str
    title: str
    text: str


class DocumentLike(Protocol):
    """What the writer reads of a document; ``lexite.corpus.Document`` has it."""

    @property
    def id(self) -> str:
        """The document's id."""
        ...

    @property
    def title(self) -> str:
        """Its title, may be empty."""
        ...

    @property
    def text(self) -> str:
        """Its text."""
        ...


class SparseRows(Protocol):
    """A CSR matrix: ``scipy.sparse.csr_array`` or anything with its three arrays and a shape."""

    @property
    def indptr(self) -> NDArray[Any]:
        """Row bounds, (n_rows + 1,)."""
        ...

    @property
    def indices(self) -> NDArray[Any]:
        """Columns."""
        ...

    @property
    def data(self) -> NDArray[Any]:
        """Values."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked weights: terms ascending within a row, each once, values positive and finite.

    Attributes:
        indptr: (n_rows + 1,) int64.
        terms: (n,) int32.
        values: (n,) float32.
    """

    indptr: NDArray[np.int64]
    terms: NDArray[np.int32]
    values: NDArray[np.float32]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1
