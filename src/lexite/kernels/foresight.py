"""A search of lists that are on a disk, with few of them read: which ones are worth it, and what may be a hit by them.

Some chunks whose lists are all in memory have k documents with at least some score. So a search of all chunks needs no document
below that score, and the number of documents that may still reach it, after some of the lists were added, falls elsewhere about
as it falls there. Reading ends where the lists that are left would take the disk longer than the rows of these documents do.

The lists that are read bound the score of each document from both sides: from below by what they add, from above by that and
all that others can add. A document whose upper bound is below the k-th best lower bound is no hit. The rows of the others are
read, all at once, and they are scored exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.kernels.chunk_sums import (
    BINS,
    Chunk,
    Query,
    Scratch,
    add_list,
    count_reaching,
    kth_largest_at_least,
    left_out,
    new_scratch,
    order_by,
    read_lists,
    weigh_terms,
    with_full_lists,
)
from lexite.kernels.heaps import push
from lexite.kernels.posting_lists import CHUNK, PostingLists, SegmentRows
from lexite.kernels.sum_bounds import least_part, rounding_of, sum_of_score, unit_of, units_of

ROW_WAIT = 25_000.0  # nanoseconds that a row on the disk takes, among many that are asked for together
BLOCK = 64  # sums looked at together
KEPT = 0.25  # share, about, of the documents that may still reach a score which still may when better hits are known


class Sample(NamedTuple):
    """Neighbouring chunks of a segment whose lists are in memory, or will be soon.

    Attributes:
        first: the first of them.
        n: how many.
        n_chunks: chunks of the segment.
        n_documents: documents of the segment.
    """

    first: int
    n: int
    n_chunks: int
    n_documents: int


class Asked(NamedTuple):
    """A query of a segment.

    Attributes:
        terms: (n,) int32.
        factors: (n,) float32, what impacts are multiplied by.
        unwanted: a document of the segment that is no hit; a number that no document has for none.
        k: how many hits are asked for.
    """

    terms: NDArray[np.int32]
    factors: NDArray[np.float32]
    unwanted: int
    k: int


@njit(cache=True, nogil=True, error_model="numpy")
def foresee(
    postings: PostingLists, sample: Sample, asked: Asked, drift: float, live: NDArray[np.uint8], waits: NDArray[np.float64],
    times: int,
) -> tuple[float, NDArray[np.int64]]:  # fmt: skip
    """A score that k documents reach, and the terms whose lists are worth reading from the disk for a query.

    Args:
        postings: the lists of a segment.
        sample: chunks of it.
        asked: the query.
        drift: as in :class:`lexite.kernels.chunk_sums.Pruning`.
        live: (n_documents,) 0 for deleted documents; empty when there are none.
        waits: (n,) nanoseconds that the disk takes for all lists of each term; 0 where they are in memory.
        times: how many chunks are to be searched for each of the sample.

    Returns:
        The score, 0 where less than k documents are found or a list is damaged; and places of terms in the query, those first
        whose lists add most for the time that they take. All lists in memory and those worth reading are among them.
    """
    n, size = asked.terms.shape[0], np.int64(sample.n) * CHUNK
    scratch, query = new_scratch(max(n, 1), 0), Query(asked.terms, asked.factors, np.empty(0, np.int32), np.empty(0, np.uint8))
    most, worth, order, sums = np.empty(sample.n * n), np.zeros(n), np.empty(n, np.int64), np.zeros(size, np.int32)
    total, unit = 0.0, 0.0
    for j in range(n):
        order[j] = j
    for s in range(sample.n):
        chunk = Chunk(sample.first + s, sample.n_chunks, (sample.first + s) * CHUNK, _size(sample, s))
        own, _, largest = weigh_terms(chunk, postings, query, drift, scratch)
        if own < 0.0:
            return 0.0, order
        for j in range(n):
            most[s * n + j] = scratch.most[j]
            worth[j] += scratch.most[j]
        total, unit = max(total, own), max(unit, unit_of(own, largest))
    for j in range(n):
        worth[j] /= max(scratch.cost[j] * sample.n * times + waits[j], 1.0)
    order_by(worth, order, n)
    for j in range(n):
        if not _add_term(j, postings, sample, asked.terms, most, unit, sums):
            return 0.0, order
    needed = _reached(sums, most, total, unit, drift, live, sample, asked)
    sums[:] = 0
    return needed, order[: _worth_reading(needed, order, postings, sample, asked.terms, most, unit, waits, times, sums)]


@njit(cache=True, nogil=True)
def _size(sample: Sample, s: int) -> Any:
    # Documents of a chunk of the sample.
    return min(CHUNK, sample.n_documents - (sample.first + s) * CHUNK)


@njit(cache=True, nogil=True)
def _add_term(j: Any, postings: PostingLists, sample: Sample, terms: Any, most: Any, unit: Any, sums: Any) -> bool:
    # Adds the lists of a term to the sums of all chunks of the sample. False: one is damaged.
    for s in range(sample.n):
        part = most[s * terms.shape[0] + j]
        if part > 0.0:
            at, begin, size = np.int64(terms[j]) * sample.n_chunks + sample.first + s, s * CHUNK, _size(sample, s)
            if not add_list(at, postings, units_of(part, unit), size, sums[begin : begin + size]):
                return False
    return True


@njit(cache=True, nogil=True)
def _reached(sums: Any, most: Any, total: Any, unit: Any, drift: float, live: Any, sample: Sample, asked: Asked) -> Any:
    # A score that k documents of the sample reach for certain, by the bounds of a search.
    n, begin, below = asked.terms.shape[0], np.int64(sample.first) * CHUNK, 0.0
    for i in range(min(sums.shape[0], live.shape[0] - begin)):
        sums[i] *= live[begin + i]
    if 0 <= asked.unwanted - begin < sums.shape[0]:
        sums[asked.unwanted - begin] = 0
    for s in range(sample.n):
        parts = 0.0
        for j in range(s * n, s * n + n):
            if most[j] > 0.0:
                parts += least_part(most[j], unit)
        below = max(below, parts)
    if below == 0.0:  # all terms are worth nothing, and documents that have them are hits of score 0
        return 0.0
    least = kth_largest_at_least(sums, asked.k, False, np.empty(BINS, np.int64))
    return max(0.0, (least * unit - below) / (drift * drift) - rounding_of(n, total))


@njit(cache=True, nogil=True)
def _worth_reading(
    needed: Any, order: Any, postings: PostingLists, sample: Sample, terms: Any, most: Any, unit: Any, waits: Any, times: int,
    sums: Any,
) -> Any:  # fmt: skip
    # How many terms, in their order, are worth reading before the rows of the documents that may still reach a score.
    n, rest, above = order.shape[0], np.zeros(sample.n), np.zeros(sample.n)
    read, least, best = 0.0, 0.0, n
    for j in range(n):
        least += waits[j]
        for s in range(sample.n):
            rest[s] += most[s * n + j]
    for i in range(n):
        j, count, certain = order[i], 0, True
        for s in range(sample.n):
            certain = certain and rest[s] < needed
        if waits[j] > 0.0 and certain:
            for s in range(sample.n):
                own = sums[s * CHUNK : (s + 1) * CHUNK]
                count += count_reaching(own, sum_of_score(needed - above[s] - rest[s], unit))
            if read + count * times * KEPT * ROW_WAIT < least:
                least, best = read + count * times * KEPT * ROW_WAIT, i
        _add_term(j, postings, sample, terms, most, unit, sums)
        read += waits[j]
        for s in range(sample.n):
            rest[s] -= most[s * n + j]
            above[s] += most[s * n + j] / 510.0 + 127.5 * unit
    return best


class Found(NamedTuple):
    """Documents that may be hits.

    Attributes:
        documents: (room,) int64, numbers in the segment.
        most: (room,) float64, what each can score at most.
        lowest: (k,) float32, the best scores that documents reach for certain, the worst first; those of all segments.
        numbers: (k,) int32, whose scores these are.
    """

    documents: NDArray[np.int64]
    most: NDArray[np.float64]
    lowest: NDArray[np.float32]
    numbers: NDArray[np.int32]


@njit(cache=True, nogil=True, error_model="numpy")
def gather(
    postings: PostingLists, rows: SegmentRows, asked: Asked, n_read: int, drift: float, needed: float, size: int,
    found: Found,
) -> tuple[int, float, int]:  # fmt: skip
    """The documents of a segment that may be among the k best hits, told by the lists of some terms of a query.

    Args:
        postings: the lists of a segment.
        rows: the rows; they are not read.
        asked: the query, the terms whose lists are read first.
        n_read: how many these are.
        drift: as in :class:`lexite.kernels.chunk_sums.Pruning`.
        needed: a score that k documents reach.
        size: scores in ``found.lowest``.
        found: filled.

    Returns:
        How many documents were found (-1: a list is damaged, or there is no room), a score that k documents reach, and the new
        size.
    """
    n_documents = rows.norms.shape[0]
    n_chunks, nothing = (n_documents + CHUNK - 1) // CHUNK, (np.empty(0, np.int32), np.empty(0, np.uint8))
    read = Query(asked.terms[:n_read], asked.factors[:n_read], nothing[0], nothing[1])
    left = Query(asked.terms[n_read:], asked.factors[n_read:], nothing[0], nothing[1])
    scratch, other = new_scratch(max(n_read, 1), 0), new_scratch(max(left.terms.shape[0], 1), 0)
    n_found = 0
    for number in range(n_chunks):
        chunk = Chunk(number, n_chunks, number * CHUNK, min(CHUNK, n_documents - number * CHUNK))
        n_found, needed, size = _gather_chunk(
            chunk, postings, rows, read, left, asked.unwanted, drift, needed, size, scratch, other, n_found, found
        )
        if n_found < 0:
            break
    return n_found, needed, size


@njit(cache=True, nogil=True, error_model="numpy")
def _gather_chunk(
    chunk: Chunk, postings: PostingLists, rows: SegmentRows, read: Query, left: Query, unwanted: int, drift: float, needed: Any,
    size: Any, scratch: Scratch, other: Scratch, n_found: Any, found: Found,
) -> tuple[Any, Any, Any]:  # fmt: skip
    # The documents of one chunk, behind those that were found before.
    total, time, largest = weigh_terms(chunk, postings, read, drift, scratch)
    beside, beside_time, beside_largest = weigh_terms(chunk, postings, left, drift, other)
    if total < 0.0 or beside < 0.0:
        return -1, needed, size
    rounding = rounding_of(read.terms.shape[0] + left.terms.shape[0], total + beside)
    if time + beside_time == 0.0 or total + beside < needed - rounding:
        return n_found, needed, size
    worth = scratch.worth
    for j in range(read.terms.shape[0]):
        worth[j] = scratch.most[j] / max(scratch.cost[j], 1.0)
    order_by(worth, scratch.order, read.terms.shape[0])
    unit = unit_of(total + beside, max(largest, beside_largest))
    sums, k = scratch.sums[: chunk.n_documents], found.lowest.shape[0]
    sums[:] = 0
    worst = needed - rounding - beside
    stopped, above, below = read_lists(chunk, postings, read, sums, unit, worst, total, time, 1.0, 0.0, scratch)
    if stopped < 0:
        return -1, needed, size
    n_full, rest, uncertain = left_out(stopped, chunk, postings, read, unit, 1.0, scratch)
    least = sum_of_score(worst - above - rest, unit)
    least_looked_up = np.int64(sum_of_score(worst - above - uncertain, unit))
    live, first, j, block, highest = rows.live, np.int32(rows.first), -1, 0, np.int32(0)
    while j + 1 < chunk.n_documents:
        j += 1
        if j == block:
            block, highest = min(j + BLOCK, chunk.n_documents), np.int32(0)
            for place in range(j, block):
                highest = max(highest, sums[place])
            if highest < least:
                j = block - 1
                continue
        document = chunk.begin + j
        if sums[j] < least or document == unwanted or (live.shape[0] and not live[document]):
            continue
        most = sums[j] * unit + above + rest
        if n_full:
            looked_up = with_full_lists(
                postings.lists, scratch.starts, scratch.units, n_full, j, np.int64(sums[j]), least_looked_up, scratch.most_from
            )
            if looked_up < least_looked_up:
                continue
            most = min(most, looked_up * unit + above + uncertain)
        if most + beside + rounding < needed:
            continue
        if n_found == found.documents.shape[0]:
            return -1, needed, size
        found.documents[n_found], found.most[n_found] = document, most + beside + rounding
        n_found += 1
        certain = (sums[j] * unit - below) / (drift * drift) - rounding
        if certain > 0.0:
            size = push(found.lowest, found.numbers, size, np.float32(certain * (1.0 - 1e-6)), first + np.int32(document))
            if size == k:
                needed = max(needed, np.float64(found.lowest[0]))
    return n_found, needed, size
