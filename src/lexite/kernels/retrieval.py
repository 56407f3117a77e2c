"""The compiled search over compressed posting lists: exact, and with little work for documents that cannot win.

For each chunk of documents the lists of the query's terms are added up in integers (a term's factor, in units of ``unit``,
times the 8-bit impact). Such a sum bounds the exact score from both sides. Terms come in the order of how much they can add for
the time they take, so the frequent ones, whose idf is small, come last; as soon as few documents can still reach the k-th
best score, the remaining lists are left alone and those few are scored exactly, from their rows of raw weights. The idea is
that of MaxScore (Turtle and Flood 1995), over chunks instead of documents, with integer bounds instead of stored scores.

``lexite.index.reference`` defines what a search must return, bit for bit: the terms of a query are added in ascending order,
in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from lexite.kernels.impacts import CHUNK, FULL, GAPS, saturated

# Nanoseconds that things take, about: an entry of each form, a list, a document scored exactly, a check of all sums.
FULL_COST, ENTRY_COST, LIST_COST, ROW_COST, ROW_ENTRY_COST, CHECK_COST = 0.025, 0.4, 12.0, 120.0, 0.9, 500.0
CHECK_AFTER = 0.2  # share of the remaining time after which the check is worth repeating
BLOCK = 64  # sums looked at together
BINS = 1024


@njit(cache=True, nogil=True)
def _add_list(part: Any, kind: int, factor: Any, n_documents: int, sums: Any) -> bool:
    # False: the list names a document that does not exist. Addresses are masked, so that none is written before that is known.
    mask = np.uint64(CHUNK - 1)
    if kind == FULL:
        if part.shape[0] != n_documents:
            return False
        for j in range(n_documents):
            sums[j] += np.int32(part[j]) * factor
        return True
    if kind == GAPS:
        n = part.shape[0] // 2
        document = np.uint64(0) - np.uint64(1)
        for j in range(n):
            document += np.uint64(part[2 * j])
            sums[document & mask] += np.int32(part[2 * j + 1]) * factor
        return bool(n == 0 or document < np.uint64(n_documents))
    n = part.shape[0] // 3
    last = np.uint64(0)
    for j in range(n):
        document = np.uint64(part[3 * j]) | (np.uint64(part[3 * j + 1]) << np.uint64(8))
        last = max(last, document)
        sums[document & mask] += np.int32(part[3 * j + 2]) * factor
    return bool(last < np.uint64(n_documents))


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
    # Puts a hit into a heap; when it is full, in the place of the worst one, if that is worse. Returns the new size.
    if size == scores.shape[0]:
        if _worse(scores[0], documents[0], score, document):
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
def _score_row(terms: Any, weights: Any, norm: Any, form: Any, slots: Any, factors: Any, found: Any) -> tuple[Any, int]:
    # The exact score of a document and the number of terms it shares with the query (-1: a term that does not exist).
    # Its entries are sifted without a branch first: which of them the query has cannot be predicted.
    transform, scale, delta = form
    n = 0
    for j in range(terms.shape[0]):
        if np.uint32(terms[j]) >= np.uint32(slots.shape[0]):
            return np.float32(0.0), -1
        found[n] = j
        n += slots[terms[j]] != 0
    score = np.float32(0.0)
    for i in range(n):
        j = found[i]
        score += factors[slots[terms[j]] - 1] * saturated(weights[j], norm, transform, scale, delta)
    return score, n


@njit(cache=True, nogil=True)
def _kth_largest_at_least(sums: Any, k: int, counts: Any) -> int:
    # A number that at least k positive sums reach, near the largest such one; 0 when there are fewer.
    largest = np.int32(0)
    for j in range(sums.shape[0]):
        largest = max(largest, sums[j])
    shift = 0
    while (largest >> shift) >= BINS:
        shift += 1
    counts[:] = 0
    for j in range(sums.shape[0]):
        counts[sums[j] >> shift] += 1
    reached = 0
    for place in range(BINS - 1, 0, -1):
        reached += counts[place]
        if reached >= k:
            return place << shift
    return 0


@njit(cache=True, nogil=True)
def _count_reaching(sums: Any, least: Any) -> int:
    count = 0
    for j in range(sums.shape[0]):
        count += sums[j] >= least
    return count


@njit(cache=True, nogil=True)
def _order_by(worth: Any, order: Any, n: int) -> None:
    # Fills ``order`` with the numbers below n by falling worth: Shell's sort, which compiles in a moment.
    for j in range(n):
        order[j] = j
    gap = 1
    while gap < n // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            moved, place = order[i], i
            while place >= gap and worth[order[place - gap]] < worth[moved]:
                order[place] = order[place - gap]
                place -= gap
            order[place] = moved
        gap //= 3


@njit(cache=True, nogil=True)
def _limit(needed: Any, unit: Any) -> Any:
    # The smallest integer sum that may stand for a score of ``needed``; everything above 2**31 is out of reach.
    return np.int32(max(0.0, min(np.floor(needed / unit), 2147483647.0)))


@njit(cache=True, nogil=True, error_model="numpy")
def _search_chunk(
    number: int, n_chunks: int, postings: Any, rows: Any, live: Any, first: int, query: Any, unwanted: int, form: Any,
    pruning: Any, top: Any, size: int, scratch: Any, row_cost: float,
) -> int:  # fmt: skip
    """Searches one chunk. Returns the new size of the heap, or -1 when something is damaged."""
    lists, offsets, kinds, tops, levels = postings
    bounds, terms, weights, norms = rows
    query_terms, factors, slots = query
    drift, share = pruning
    top_scores, top_documents = top
    sums, most, cost, worth, order, found, counts, ordered = scratch
    begin = number * CHUNK
    n_documents = min(CHUNK, norms.shape[0] - begin)
    n_terms, k = query_terms.shape[0], top_scores.shape[0]

    # What each term can add at most, and the time its list takes.
    total, rest_cost, largest = 0.0, 0.0, 0.0
    for j in range(n_terms):
        place = np.int64(query_terms[j]) * n_chunks + number
        low, high = np.int64(offsets[place]), np.int64(offsets[place + 1])
        if low > high or high > lists.shape[0]:
            return -1
        most[j], cost[j] = 0.0, 0.0
        if high > low:
            most[j] = np.float64(factors[j]) * levels[tops[place]] * drift
            entries = (high - low) * (FULL_COST if kinds[place] == FULL else 0.5 * ENTRY_COST)
            cost[j] = LIST_COST + entries
            total += most[j]
            rest_cost += cost[j]
            largest = max(largest, most[j])
    rounding = (n_terms + 16) * 1.2e-7 * total  # of float32 additions
    full = size == k
    if rest_cost == 0.0 or (full and total + rounding < top_scores[0]):
        return size
    if full and not ordered[0]:
        for j in range(n_terms):
            worth[j] = most[j] / max(cost[j], 1.0)
        _order_by(worth, order, n_terms)
        ordered[0] = 1
    unit = max(largest / 255.0 / 65535.0, total / 255.0 / 4194304.0)
    if not unit > 0.0:  # only terms of idf 0
        unit = 1.0

    sums[:n_documents] = 0
    rest, above, below, check_at = total, 0.0, 0.0, rest_cost
    for i in range(n_terms):
        j = order[i] if full else i
        if cost[j] == 0.0:
            continue
        if full and rest * share < top_scores[0] and rest_cost <= check_at and rest_cost > CHECK_COST:
            least = _limit(top_scores[0] - rounding - above - rest * share, unit)
            if _count_reaching(sums[:n_documents], least) * row_cost <= rest_cost:
                break
            check_at = rest_cost * (1.0 - CHECK_AFTER)
        place = np.int64(query_terms[j]) * n_chunks + number
        low, high = np.int64(offsets[place]), np.int64(offsets[place + 1])
        units = np.int32(max(1.0, np.floor(most[j] / 255.0 / unit + 0.5)))
        if not _add_list(lists[low:high], kinds[place], units, n_documents, sums):
            return -1
        rest -= most[j]
        rest_cost -= cost[j]
        above += most[j] / 510.0 + 127.5 * unit
        below += most[j] / 255.0 + 255.0 * unit
    if rest_cost <= 0.5:
        rest = 0.0

    if live.shape[0]:
        for j in range(n_documents):
            sums[j] *= live[begin + j]
    if 0 <= unwanted - begin < n_documents:
        sums[unwanted - begin] = 0
    # Whatever reaches the k-th best score so far, or of this chunk, is scored exactly.
    needed = np.float64(top_scores[0]) if full else 0.0
    if not full:
        reached = _kth_largest_at_least(sums[:n_documents], k, counts)
        needed = max(0.0, (reached * unit - below) / (drift * drift) - rounding)
    slack = rounding + above + rest * share
    least = max(_limit(needed - slack, unit), np.int32(1 if rest == 0.0 else 0))
    for block in range(0, n_documents, BLOCK):
        end = min(block + BLOCK, n_documents)
        highest = np.int32(0)
        for j in range(block, end):
            highest = max(highest, sums[j])
        if highest < least:
            continue
        for j in range(block, end):
            document = begin + j
            if sums[j] < least or (live.shape[0] and not live[document]) or document == unwanted:
                continue
            low, high = bounds[document], bounds[document + 1]
            if low < 0 or low > high or high > terms.shape[0] or high - low > found.shape[0]:
                return -1
            score, shared = _score_row(terms[low:high], weights[low:high], norms[document], form, slots, factors, found)
            if shared < 0:
                return -1
            if shared:
                size = _push(top_scores, top_documents, size, score, np.int32(first + document))
                if size == k and top_scores[0] > needed:
                    needed = np.float64(top_scores[0])
                    least = max(_limit(needed - slack, unit), np.int32(1 if rest == 0.0 else 0))
    return size


@njit(cache=True, nogil=True)
def search_segment(
    postings: Any, rows: Any, live: Any, first: int, queries: Any, excluded: Any, form: Any, pruning: Any, top_scores: Any,
    top_documents: Any, sizes: Any, first_chunk: int, last_chunk: int, start: int, stop: int,
) -> bool:  # fmt: skip
    """Searches a range of chunks for a range of queries and keeps the best k hits of each in heaps.

    Heaps go from call to call: the better they are, the less is looked at.

    Args:
        postings: lists (uint8), offsets (n_terms * n_chunks + 1, unsigned) of the list of term t and chunk c at
            ``t * n_chunks + c``, kinds and tops (n_terms * n_chunks, uint8), levels (256,) float32; see
            ``lexite.kernels.impacts``.
        rows: bounds (n_documents + 1,) int64, terms, weights float32 (the raw rows), norms (n_documents,) float32.
        live: (n_documents,) uint8, 0 for deleted documents; empty when there are none.
        first: number of the segment's first document in the index.
        queries: indptr (n_queries + 1,) int64, terms int32, factors float32 (query weight times idf), and n_terms.
        excluded: (n_queries,) int64, a document of the index that is no hit of this query, or -1.
        form: transform (int code), scale (float32), delta (float32).
        pruning: how much larger than its stored impact an impact can be (1 unless the average length has changed), and the
            share of what the terms that are left out could add that is counted on: 1 for an exact search.
        top_scores: (n_queries, k) float32 heaps, the worst hit first.
        top_documents: (n_queries, k) int32, the documents in the heaps.
        sizes: (n_queries,) int64, hits in each heap.
        first_chunk: first chunk of the range.
        last_chunk: its end.
        start: first query of the range.
        stop: its end.

    Returns:
        False when a posting names a document, or a row a term, that does not exist: a file is damaged.
    """
    indptr, terms, factors, n_terms = queries
    bounds, norms = rows[0], rows[3]
    n_documents = norms.shape[0]
    n_chunks = (n_documents + CHUNK - 1) // CHUNK
    row_cost = ROW_COST + ROW_ENTRY_COST * (bounds[n_documents] - bounds[0]) / max(n_documents, 1)
    slots = np.zeros(n_terms, np.int32)
    longest = np.int64(0)
    for query in range(start, stop):
        longest = max(longest, indptr[query + 1] - indptr[query])
    scratch = (
        np.empty(CHUNK, np.int32), np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest, np.int64),
        np.empty(n_terms + 1, np.int32), np.empty(BINS, np.int64), np.zeros(1, np.int64),
    )  # fmt: skip
    for query in range(start, stop):
        low, high = indptr[query], indptr[query + 1]
        for j in range(low, high):
            slots[terms[j]] = j - low + 1
        scratch[7][0] = 0
        asked = (terms[low:high], factors[low:high], slots)
        top = (top_scores[query], top_documents[query])
        for number in range(first_chunk, last_chunk):
            size = _search_chunk(
                number, n_chunks, postings, rows, live, first, asked, excluded[query] - first, form, pruning, top, sizes[query],
                scratch, row_cost,
            )  # fmt: skip
            if size < 0:
                return False
            sizes[query] = size
        for j in range(low, high):
            slots[terms[j]] = 0
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
