"""Weights of terms as a baseline: documents and queries are sparse rows, and a score is their dot product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lexite.errors import ConfigError
from lexite.evaluation.systems import Costs, SystemResult
from lexite.ranking.rankings import Ranking, best

if TYPE_CHECKING:
    from scipy.sparse import csr_array

QUERIES_AT_ONCE = 64
BYTES_PER_POSTING = 8  # a float32 weight and an int32 number of a document


@dataclass(frozen=True)
class Cut:
    """How many terms are kept, so that systems are compared at equal cost.

    Attributes:
        postings: mean postings per document that are kept; None keeps all.
        query_terms: mean terms per query that are kept; None keeps all.

    Raises:
        ConfigError: a number is not above 0.
    """

    postings: float | None = None
    query_terms: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("postings", self.postings), ("query_terms", self.query_terms)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}, but must be above 0.")


def measured(documents: csr_array, queries: csr_array, top_k: int, cut: Cut = Cut()) -> SystemResult:
    """Ranks documents by the dot product of their weights with those of queries.

    Args:
        documents: weights of terms, ``(n_documents, n_terms)``. Weights that are not above 0 are left out.
        queries: the same of queries, ``(n_queries, n_terms)``.
        top_k: documents ranked per query.
        cut: how many terms are kept.
    """
    documents, queries = lightest_cut(documents, cut.postings), lightest_cut(queries, cut.query_terms)
    inverted = documents.T.tocsr()
    n_documents, n_queries = max(documents.shape[0], 1), max(queries.shape[0], 1)
    costs = Costs(
        documents.nnz / n_documents,
        queries.nnz / n_queries,
        (BYTES_PER_POSTING * inverted.nnz + inverted.indptr.nbytes) / n_documents,
    )
    return SystemResult(list(_rankings(queries, inverted, top_k)), costs)


def _rankings(queries: csr_array, inverted: csr_array, top_k: int) -> Iterator[Ranking]:
    for start in range(0, queries.shape[0], QUERIES_AT_ONCE):
        scores = (queries[start : start + QUERIES_AT_ONCE] @ inverted).tocsr()
        scores.sort_indices()  # ties in document order
        for first, last in zip(scores.indptr[:-1], scores.indptr[1:], strict=True):
            yield best(scores.data[first:last], top_k, scores.indices[first:last].astype(np.int64))


def lightest_cut(rows: csr_array, mean: float | None) -> csr_array:
    """Rows whose lightest weights are cut, so that the mean row has a given number of entries.

    Every row keeps its m heaviest entries, with one m for all. Where that leaves room for a few more, the rows whose next entry
    is heaviest keep that one too, so that ``floor(mean · n_rows)`` entries are left. Rows with fewer than m keep theirs.
    A mean of 1 or more empties no row (document-centric pruning).

    Args:
        rows: weights; those that are not above 0 are left out.
        mean: entries per row that are kept; None keeps all.

    >>> from scipy.sparse import csr_array
    >>> rows = csr_array(np.array([[3.0, 1.0, 2.0], [5.0, 0.0, 4.0]], dtype=np.float32))
    >>> lightest_cut(rows, 1.5).toarray().tolist()
    [[3.0, 0.0, 0.0], [5.0, 0.0, 4.0]]
    """
    from scipy.sparse import csr_array

    entries = rows.tocoo()
    positive = entries.data > 0
    of_row, columns, weights = entries.coords[0][positive], entries.coords[1][positive], entries.data[positive]
    kept = np.ones(len(weights), dtype=bool)
    if mean is not None and len(weights) > (allowed := int(mean * rows.shape[0])):
        kept = _heaviest(of_row, weights, rows.shape[0], max(allowed, 0))
    parts = (weights[kept].astype(np.float32), (of_row[kept], columns[kept]))
    return csr_array(parts, shape=rows.shape)


def _heaviest(of_row: np.ndarray, weights: np.ndarray, n_rows: int, allowed: int) -> np.ndarray:
    """Which entries are kept where ``allowed`` are."""
    order = np.lexsort((-weights, of_row))  # stable: among equals the first column stays
    sizes = np.bincount(of_row, minlength=n_rows)
    places = np.empty(len(weights), dtype=np.int64)  # of each entry among those of its row, from 0 for the heaviest
    places[order] = np.arange(len(weights)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    fitting = np.cumsum(np.bincount(places))  # entries that are left when each row keeps so many
    m = int(np.searchsorted(fitting, allowed, side="right"))
    kept: np.ndarray = places < m
    following = np.flatnonzero(places == m)
    more = allowed - int(kept.sum())
    kept[following[np.argsort(-weights[following], kind="stable")[:more]]] = True
    return kept
