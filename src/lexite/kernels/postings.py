"""The compiled loops of the index: building posting lists, merging them, counting, and scoring queries.

Posting lists of a segment are a CSC matrix: ``offsets`` (n_terms + 1) int64, ``documents`` int32 ascending within a term, and
``weights`` float32, all raw. ``lexite.index.reference`` defines in plain numpy and scipy what the scoring must return, bit
for bit: everything is float32, and the terms of a query are added in ascending order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

NONE, SQRT, LOG1P = 0, 1, 2  # codes of the transforms of document weights
BLOCK = 512  # postings that are scored at once: small enough for the first cache, long enough for vector instructions


@njit(cache=True, nogil=True)
def count_terms(terms: Any, counts: Any) -> None:
    """Adds to ``counts`` (n_terms,) how often each number occurs in ``terms`` (n,)."""
    for j in range(terms.shape[0]):
        counts[terms[j]] += 1


@njit(cache=True, nogil=True)
def fill_postings(indptr: Any, terms: Any, values: Any, position: Any, documents: Any, weights: Any) -> None:
    """The second half of a counting sort from rows (CSR) to posting lists (CSC).

    Args:
        indptr: (n_documents + 1,) int64, row bounds.
        terms: (n,) int32, the term of each entry.
        values: (n,) float32, its weight.
        position: (n_terms,) int64, where the list of each term starts; moved to its end.
        documents: (n,) int32, written.
        weights: (n,) float32, written.
    """
    for row in range(indptr.shape[0] - 1):
        for j in range(indptr[row], indptr[row + 1]):
            place = position[terms[j]]
            documents[place] = row
            weights[place] = values[j]
            position[terms[j]] = place + 1


@njit(cache=True, nogil=True)
def row_lengths(indptr: Any, values: Any, lengths: Any) -> None:
    """Document lengths under each transform.

    Args:
        indptr: (n_documents + 1,) int64, row bounds.
        values: (n,) float32, raw weights.
        lengths: (3, n_documents) float32, written: sums of the float32 transforms, taken in float64, in the order of the row.
    """
    for row in range(indptr.shape[0] - 1):
        plain, root, logarithm = np.float64(0.0), np.float64(0.0), np.float64(0.0)
        for j in range(indptr[row], indptr[row + 1]):
            value = values[j]
            plain += value
            root += math.sqrt(value)
            logarithm += np.float32(math.log1p(np.float64(value)))
        lengths[NONE, row] = plain
        lengths[SQRT, row] = root
        lengths[LOG1P, row] = logarithm


@njit(cache=True, nogil=True)
def gather_live(
    offsets: Any, documents: Any, weights: Any, renumbered: Any, position: Any, out_documents: Any, out_weights: Any
) -> None:
    """Copies the postings of living documents of one segment into a block of a merged one.

    Args:
        offsets: (terms of the block + 1,) int64, bounds of the lists within ``documents``.
        documents: int32, the segment's postings of these terms.
        weights: float32, their weights.
        renumbered: (n_documents,) int32, number of each document in the merged segment, -1 for a deleted one.
        position: (terms of the block,) int64, where each list goes on in the block; moved.
        out_documents: int32, the block, written.
        out_weights: float32, the block, written.
    """
    for term in range(offsets.shape[0] - 1):
        place = position[term]
        for j in range(offsets[term], offsets[term + 1]):
            number = renumbered[documents[j]]
            if number >= 0:
                out_documents[place] = number
                out_weights[place] = weights[j]
                place += 1
        position[term] = place


@njit(cache=True, nogil=True)
def count_marked(offsets: Any, documents: Any, marked: Any, counts: Any) -> bool:
    """Adds to ``counts`` (n_terms,) how many postings of each term belong to documents with ``marked[document]``.

    Returns False when a posting names a document that does not exist: the file is damaged.
    """
    for term in range(offsets.shape[0] - 1):
        found = 0
        for j in range(offsets[term], offsets[term + 1]):
            document = np.uint32(documents[j])
            if document >= marked.shape[0]:
                return False
            found += marked[document]
        counts[term] += found
    return True


@njit(cache=True, nogil=True)
def find_postings(offsets: Any, documents: Any, wanted: Any, counts: Any) -> None:
    """The same as :func:`count_marked` for a few documents (``wanted``, int32): a binary search in every list."""
    for term in range(offsets.shape[0] - 1):
        for document in wanted:
            low, high = offsets[term], offsets[term + 1]
            end = high
            while low < high:
                middle = (low + high) // 2
                if documents[middle] < document:
                    low = middle + 1
                else:
                    high = middle
            if low < end and documents[low] == document:
                counts[term] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _accumulate(
    documents: Any, weights: Any, norms: Any, factor: Any, transform: int, scale: Any, delta: Any, scores: Any, part: Any
) -> bool:
    # documents: uint32, so that indexing needs no test for negative numbers. One pass checks the numbers before they are
    # used as addresses: files are mapped into memory unread, and a damaged one must not make the process write elsewhere.
    for begin in range(0, documents.shape[0], BLOCK):
        block = documents[begin : begin + BLOCK]
        raw = weights[begin : begin + BLOCK]
        size = block.shape[0]
        largest = np.uint32(0)
        for j in range(size):
            largest = max(largest, block[j])
        if largest >= norms.shape[0]:
            return False
        if transform == SQRT:
            for j in range(size):
                part[j] = math.sqrt(raw[j])
        elif transform == LOG1P:
            for j in range(size):
                part[j] = np.float32(math.log1p(np.float64(raw[j])))
        else:
            for j in range(size):
                part[j] = raw[j]
        for j in range(size):
            part[j] = factor * (part[j] * scale / (part[j] + norms[block[j]]) + delta)
        for j in range(size):
            scores[block[j]] += part[j]
    return True


@njit(cache=True, nogil=True)
def _worse(score: Any, document: Any, other_score: Any, other_document: Any) -> Any:
    return score < other_score or (score == other_score and document > other_document)


@njit(cache=True, nogil=True)
def _sift_down(scores: Any, documents: Any, size: int) -> None:
    # Restores a heap whose root, the worst hit, was replaced.
    score, document = scores[0], documents[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _worse(scores[child + 1], documents[child + 1], scores[child], documents[child]):
            child += 1
        if not _worse(scores[child], documents[child], score, document):
            break
        scores[place] = scores[child]
        documents[place] = documents[child]
        place = child
    scores[place] = score
    documents[place] = document


@njit(cache=True, nogil=True)
def _push(scores: Any, documents: Any, size: int, score: Any, document: Any) -> int:
    # Puts a hit into a heap; when it is full, in the place of the worst one (the caller has compared them).
    if size == scores.shape[0]:
        scores[0] = score
        documents[0] = document
        _sift_down(scores, documents, size)
        return size
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(score, document, scores[parent], documents[parent]):
            break
        scores[place] = scores[parent]
        documents[place] = documents[parent]
        place = parent
    scores[place] = score
    documents[place] = document
    return size + 1


@njit(cache=True, nogil=True)
def _select(scores: Any, live: Any, first: Any, top_scores: Any, top_documents: Any, size: int) -> int:
    # Moves the best of scores (n_documents,) into the heap and leaves -0.0 everywhere. A document no term has touched still
    # has its -0.0; adding anything to it, even 0.0, gave a number without the sign bit, so the bits tell them apart.
    bits = scores.view(np.int32)
    k = top_scores.shape[0]
    for document in range(scores.shape[0]):
        if bits[document] >= 0:
            score = scores[document]
            scores[document] = np.float32(-0.0)
            if size == k and not score > top_scores[0]:
                continue
            if live.shape[0] and not live[document]:
                continue
            size = _push(top_scores, top_documents, size, score, np.int32(first + document))
    return size


@njit(cache=True, nogil=True)
def search_segment(
    postings: Any,
    norms: Any,
    live: Any,
    first: Any,
    queries: Any,
    excluded: Any,
    form: Any,
    top_scores: Any,
    top_documents: Any,
    sizes: Any,
    start: int,
    stop: int,
) -> bool:
    """Scores a range of queries on one segment and keeps the best k hits of each in heaps that go from segment to segment.

    The score of a document is the sum, over the query's terms in ascending order, of
    ``factor * (tf * scale / (tf + norms[document]) + delta)`` with ``tf = transform(weight)``; all of it in float32.

    Args:
        postings: offsets (n_terms + 1,) int64, documents uint32, weights float32.
        norms: (n_documents,) float32, ``k1 * (1 - b + b * length / average length)``.
        live: (n_documents,) uint8, 0 for deleted documents; empty when there are none.
        first: number of the segment's first document in the index.
        queries: indptr (n_queries + 1,) int64, terms int32, factors float32 (query weight times IDF).
        excluded: (n_queries,) int64, a document of the index that is no hit of this query, or -1.
        form: transform (int code), scale (float32), delta (float32).
        top_scores: (n_queries, k) float32 heaps, the worst hit first.
        top_documents: (n_queries, k) int32, the documents in the heaps.
        sizes: (n_queries,) int64, hits in each heap.
        start: first query of the range.
        stop: end of the range.

    Returns:
        False when a posting names a document that does not exist: the file is damaged.
    """
    offsets, documents, weights = postings
    indptr, terms, factors = queries
    transform, scale, delta = form
    scores = np.full(norms.shape[0], np.float32(-0.0), np.float32)
    part = np.empty(BLOCK, np.float32)
    for query in range(start, stop):
        for j in range(indptr[query], indptr[query + 1]):
            low, high = offsets[terms[j]], offsets[terms[j] + 1]
            if not _accumulate(
                documents[low:high], weights[low:high], norms, factors[j], transform, scale, delta, scores, part
            ):
                return False
        unwanted = excluded[query] - first
        if 0 <= unwanted < scores.shape[0]:
            scores[unwanted] = np.float32(-0.0)
        sizes[query] = _select(scores, live, first, top_scores[query], top_documents[query], sizes[query])
    return True


@njit(cache=True, nogil=True)
def sort_heaps(top_scores: Any, top_documents: Any, sizes: Any, start: int, stop: int) -> None:
    """Turns heaps into rankings: best first, equal scores by document number; unused places hold document -1 and score 0."""
    for query in range(start, stop):
        scores, documents = top_scores[query], top_documents[query]
        size = sizes[query]
        for place in range(size, scores.shape[0]):
            scores[place] = 0.0
            documents[place] = -1
        for last in range(size - 1, 0, -1):
            scores[0], scores[last] = scores[last], scores[0]
            documents[0], documents[last] = documents[last], documents[0]
            _sift_down(scores, documents, last)
