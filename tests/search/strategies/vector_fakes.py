"""An index of few documents with dense vectors beside it, and what encodes its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.index import BM25Index, EncodedQueries, Hit
from lexite.index.side_data import PassageVectors
from lexite.search import Searcher

N_TERMS, WIDTH = 6, 4


def unit(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    vectors = rng.normal(size=(n, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class VectorIndex:
    """A real index whose documents have dense vectors: none, one or several passages each."""

    def __init__(self, rng: np.random.Generator, n_documents: int, texts: bool = False) -> None:
        rows = rng.integers(0, 3, size=(n_documents, N_TERMS)) * (rng.random((n_documents, N_TERMS)) < 0.5)
        ids = [f"d{number}" for number in range(n_documents)]
        self._index = BM25Index.in_memory(
            csr_array(rows.astype(np.float32)), ids, texts=[f"text {i}" for i in ids] if texts else None
        )
        self.passages = [unit(rng, int(n)) for n in rng.integers(1, 4, size=n_documents)]
        self.side_data = frozenset({"vectors"})
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def vectors(self, hits: Sequence[Hit]) -> PassageVectors:
        self.asked.append(len(hits))
        parts = [self.passages[hit.document] for hit in hits]
        bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return PassageVectors(bounds, np.concatenate([*parts, np.empty((0, WIDTH), np.float32)]))


class VectorQueries:
    """Queries ``"0"``, ``"1"`` … with rows and vectors that were drawn."""

    kind, fingerprint = "model", ""

    def __init__(self, rng: np.random.Generator, n_queries: int) -> None:
        self.rows = (rng.random((n_queries, N_TERMS)) < 0.5).astype(np.float32)
        self.vectors_of_queries = unit(rng, n_queries)
        self.encoded_texts: list[str] = []

    def encode(self, texts: Sequence[str], **options: Any) -> EncodedQueries:
        return EncodedQueries(csr_array(self.rows[[int(text) for text in texts]]), list(texts))

    def dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.vectors_of_queries[[int(text) for text in texts]]


def drawn(seed: int, n_documents: int = 12, n_queries: int = 3) -> tuple[Searcher, VectorIndex, VectorQueries]:
    """A searcher over both."""
    rng = np.random.default_rng(seed)
    index, queries = VectorIndex(rng, n_documents), VectorQueries(rng, n_queries)
    return Searcher(index, queries, label=str), index, queries  # type: ignore[arg-type]


def cosine(index: VectorIndex, queries: VectorQueries, query: int, document: int) -> float:
    """The plain score: of the best passage."""
    return max(float(np.dot(passage, queries.vectors_of_queries[query])) for passage in index.passages[document])
