"""What an order of documents makes of posting lists: their bytes, the bits of their gaps, and bounds of blocks of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from search_systems import TOP_K, Query

from lexite.kernels.impacts import DIRECTORY_BYTES
from lexite.kernels.posting_lists import CHUNK


@njit(cache=True)
def blocks_reaching(
    bounds: Any, documents: Any, impacts: Any, terms: Any, weights: Any, place: Any, size: Any, least: Any
) -> Any:
    """Blocks of a size whose bound reaches a score, and how many largest impacts the bounds are made of."""
    n_blocks = (place.shape[0] + size - 1) // size
    sums, largest, n_largest = np.zeros(n_blocks, np.float64), np.zeros(n_blocks, np.float32), 0
    for i in range(terms.shape[0]):
        begin, end = bounds[terms[i]], bounds[terms[i] + 1]
        for j in range(begin, end):
            block = place[documents[j]] // size
            n_largest += largest[block] == 0
            largest[block] = max(largest[block], impacts[j])
        for j in range(begin, end):
            block = place[documents[j]] // size
            sums[block] += weights[i] * largest[block]
            largest[block] = 0
    count = 0
    for block in range(n_blocks):
        count += sums[block] >= least
    return count, n_largest


def bounds_of_blocks(
    by_term: csc_array, queries: Sequence[Query], orders: dict[str, NDArray[np.int64]], blocks: Sequence[int]
) -> Iterator[tuple[str, int, float, float]]:
    """For each order and size of blocks: the share whose bound reaches the score of the tenth hit, and how many largest
    impacts the bounds of a query are made of, for each posting of its lists; means over queries."""
    arrays = by_term.indptr.astype(np.int64), by_term.indices, by_term.data
    n, tenth = by_term.shape[0], []
    n_postings = np.array([np.diff(by_term.indptr)[terms].sum() for terms, _ in queries])
    for terms, weights in queries:
        scores = np.zeros(n)
        for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
            own = slice(arrays[0][term], arrays[0][term + 1])
            scores[arrays[1][own]] += weight * arrays[2][own]
        tenth.append(float(np.partition(scores, -TOP_K)[-TOP_K]) * (1 - 1e-6))
    for name, order in orders.items():
        place = np.argsort(order)
        for size in blocks:
            pairs = zip(queries, tenth, strict=True)
            counts = np.array([blocks_reaching(*arrays, *query, place, size, least) for query, least in pairs])
            yield name, size, float(counts[:, 0].mean()) / ((n + size - 1) // size), float((counts[:, 1] / n_postings).mean())


@njit(cache=True)
def least_bytes(bounds: Any, documents: Any, n_documents: Any) -> Any:
    """Bytes of all lists if each had its smallest form (``lexite.kernels.impacts``), and bits of all gaps."""
    total, bits = 0, 0.0
    for term in range(bounds.shape[0] - 1):
        before, chunk, n, entries = -1, -1, 0, 0
        for j in range(bounds[term], bounds[term + 1]):
            document = documents[j]
            bits += np.log2(document - before)
            if document // CHUNK != chunk:
                total += min(2 * entries, 3 * n, CHUNK)
                chunk, n, entries = document // CHUNK, 0, 0
                before = chunk * CHUNK - 1
            entries += 1 + (document - before - 1) // 255
            n += 1
            before = document
        total += min(2 * entries, 3 * n, CHUNK)
    return total + DIRECTORY_BYTES * (bounds.shape[0] - 1) * ((n_documents + CHUNK - 1) // CHUNK), bits


def sizes(documents: csr_array, order: NDArray[np.int64]) -> tuple[float, float]:
    """Bytes of a posting in the smallest lists, and bits of a gap."""
    moved = csc_array(documents[order])
    moved.sort_indices()
    total, bits = least_bytes(moved.indptr.astype(np.int64), moved.indices.astype(np.int64), documents.shape[0])
    return total / documents.nnz, bits / documents.nnz
