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

from lexite.kernels.heaps import push
from lexite.kernels.impacts import CHUNK, FULL, GAPS, saturated
from lexite.kernels.prefetch import prefetch

# Nanoseconds that things take, about: an entry of each form, a list, looking a document up in the lists that were left out,
# scoring it exactly.
FULL_COST, ENTRY_COST, LIST_COST, LOOK_COST, ROW_COST, ROW_ENTRY_COST = 0.025, 0.5, 20.0, 400.0, 120.0, 0.9
CHECK_COST = 800.0  # of counting the documents that can still win
CHECK_AFTER = 0.2  # share of the remaining time after which that is worth repeating
AHEAD = 2048  # bytes of the next list that are asked for while one is read
BLOCK = 64  # sums looked at together
BINS = 1024


@njit(cache=True, nogil=True)
def _add_list(part: Any, kind: int, factor: Any, n_documents: int, sums: Any) -> bool:
    # A list that is not full. False: it names a document that does not exist; addresses are masked, so that nothing is
    # written elsewhere before that is known.
    mask = np.uint64(CHUNK - 1)
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
def _add_full(lists: Any, starts: Any, units: Any, n: int, sums: Any) -> None:
    # Adds up to four full lists at once, since the sums are as much to read and write for one as for four.
    for i in range(n, 4):
        starts[i], units[i] = starts[0], 0
    size = sums.shape[0]
    if n == 1:
        only, factor = lists[starts[0] : starts[0] + size], units[0]
        for j in range(size):
            sums[j] += np.int32(only[j]) * factor
        return
    a, b = lists[starts[0] : starts[0] + size], lists[starts[1] : starts[1] + size]
    c, d = lists[starts[2] : starts[2] + size], lists[starts[3] : starts[3] + size]
    e, f, g, h = units[0], units[1], units[2], units[3]
    for j in range(size):
        sums[j] += np.int32(a[j]) * e + np.int32(b[j]) * f + np.int32(c[j]) * g + np.int32(d[j]) * h


@njit(cache=True, nogil=True)
def _kth_largest_at_least(sums: Any, k: int, counts: Any) -> int:
    # A number that at least k positive sums reach, near the largest such one; 1 when there are fewer. -1 when a sum is
    # negative, which only a damaged list that names a document many times can do.
    largest, smallest = np.int32(0), np.int32(0)
    for j in range(sums.shape[0]):
        largest = max(largest, sums[j])
        smallest = min(smallest, sums[j])
    if smallest < 0:
        return -1
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
    return 1


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
def _units(most: Any, unit: Any) -> Any:
    # What one of 255 parts of a list's largest contribution is in units; never 0, so that a sum of 0 means no match.
    return np.int32(max(1.0, np.floor(most / 255.0 / unit + 0.5)))


@njit(cache=True, nogil=True)
def _ask_for(lists: Any, low: Any, high: Any) -> None:
    for place in range(low, min(high, low + AHEAD), 64):
        prefetch(lists, np.int64(place))


@njit(cache=True, nogil=True)
def _with_full_lists(lists: Any, starts: Any, units: Any, n: int, local: int, total: Any, least: Any, rest: Any) -> Any:
    # The sum of a document with its impacts in the full lists that were left out, which are looked up; ``rest`` is what they
    # can add from each on. Stops when the document cannot reach ``least`` any more.
    for i in range(n):
        if total + rest[i] < least:
            return total
        total += np.int64(lists[starts[i] + local]) * units[i]
    return total


@njit(cache=True, nogil=True)
def _limit(needed: Any, unit: Any) -> Any:
    # The smallest integer sum that may stand for a score of ``needed``; everything above 2**31 is out of reach.
    return np.int32(max(0.0, min(np.floor(needed / unit), 2147483647.0)))


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh_terms(place: Any, postings: Any, query: Any, drift: float, scratch: Any) -> tuple[float, float, float]:
    # What each term can add to a score in this chunk, and the time its list takes: in all, and the largest addition.
    # The first number is -1 when the directory of lists is damaged.
    number, n_chunks, _, _ = place
    lists, offsets, kinds, tops, levels = postings
    terms, factors, _ = query
    most, cost = scratch[1], scratch[2]
    total, time, largest = 0.0, 0.0, 0.0
    for j in range(terms.shape[0]):
        at = np.int64(terms[j]) * n_chunks + number
        low, high = np.int64(offsets[at]), np.int64(offsets[at + 1])
        if low < 0 or low > high or high > lists.shape[0]:
            return -1.0, 0.0, 0.0
        most[j], cost[j] = 0.0, 0.0
        if high > low:
            most[j] = np.float64(factors[j]) * levels[tops[at]] * drift
            cost[j] = LIST_COST + (high - low) * (FULL_COST if kinds[at] == FULL else 0.5 * ENTRY_COST)
            total += most[j]
            time += cost[j]
            largest = max(largest, most[j])
    return total, time, largest


@njit(cache=True, nogil=True)
def _read_lists(
    place: Any, postings: Any, query: Any, sums: Any, unit: float, needed: float, total: float, time: float, share: float,
    row_cost: float, scratch: Any,
) -> tuple[int, float, float]:  # fmt: skip
    # Adds lists up until few documents can still reach ``needed`` (0: all lists). Returns how many terms were gone through
    # (-1: damage), and by how much a score can be above its sum and below it.
    number, n_chunks, _, n_documents = place
    lists, offsets, kinds, _, _ = postings
    most, cost, order = scratch[1], scratch[2], scratch[4]
    n_terms = query[0].shape[0]
    waiting, starts, units = 0, scratch[8], scratch[9]  # full lists, added four at a time
    rest, above, below, check_at = total, 0.0, 0.0, time
    for i in range(n_terms):
        j = order[i]
        if cost[j] == 0.0:
            continue
        if rest * share < needed and time <= check_at and time > CHECK_COST and waiting == 0:
            possible = _count_reaching(sums, _limit(needed - above - rest * share, unit))
            if possible * (LOOK_COST + 0.2 * row_cost) <= time:
                return i, above, below
            check_at = time * (1.0 - CHECK_AFTER)
        at = np.int64(query[0][j]) * n_chunks + number
        low, high = np.int64(offsets[at]), np.int64(offsets[at + 1])
        if i + 1 < n_terms:
            ahead = np.int64(query[0][order[i + 1]]) * n_chunks + number
            _ask_for(lists, np.int64(offsets[ahead]), min(np.int64(offsets[ahead + 1]), lists.shape[0]))
        if kinds[at] == FULL:
            if high - low != n_documents:
                return -1, 0.0, 0.0
            starts[waiting], units[waiting] = low, _units(most[j], unit)
            waiting += 1
            if waiting == 4:
                _add_full(lists, starts, units, waiting, sums)
                waiting = 0
        elif not _add_list(lists[low:high], kinds[at], _units(most[j], unit), n_documents, sums):
            return -1, 0.0, 0.0
        rest -= most[j]
        time -= cost[j]
        above += most[j] / 510.0 + 127.5 * unit
        below += most[j] / 255.0 + 255.0 * unit
    if waiting:
        _add_full(lists, starts, units, waiting, sums)
    return n_terms, above, below


@njit(cache=True, nogil=True)
def _left_out(
    stopped: int, place: Any, postings: Any, query: Any, unit: float, share: float, scratch: Any
) -> tuple[int, float, float]:
    # The lists from ``stopped`` on: those that are full, where documents are looked up; what all can add, and what they can
    # add beyond the looked up impacts.
    number, n_chunks, _, n_documents = place
    _, offsets, kinds, _, _ = postings
    most, cost, order, starts, units, most_from = scratch[1], scratch[2], scratch[4], scratch[8], scratch[9], scratch[10]
    n, rest, uncertain = 0, 0.0, 0.0
    for i in range(stopped, query[0].shape[0]):
        j = order[i]
        at = np.int64(query[0][j]) * n_chunks + number
        rest += most[j] * share
        if cost[j] > 0.0 and kinds[at] == FULL and np.int64(offsets[at + 1] - offsets[at]) == n_documents:
            starts[n], units[n] = np.int64(offsets[at]), _units(most[j], unit)
            uncertain += most[j] / 510.0 + 127.5 * unit
            n += 1
        else:
            uncertain += most[j] * share
    from_here = np.int64(0)
    for i in range(n - 1, -1, -1):
        from_here += 255 * np.int64(units[i])
        most_from[i] = from_here
    return n, rest, uncertain


@njit(cache=True, nogil=True)
def _score_reaching(
    least: Any, end: Any, least_looked_up: Any, n_full: int, place: Any, lists: Any, rows: Any, live: Any, first: int,
    query: Any, unwanted: int, form: Any, top: Any, size: int, limits: Any, scratch: Any,
) -> int:  # fmt: skip
    # Scores the documents exactly whose sums are from ``least`` to below ``end``, and puts them into the heap. Once that is
    # full, the limits rise with its worst hit. Returns the heap's size, -1 when something is damaged.
    _, _, begin, n_documents = place
    bounds, terms, weights, norms = rows
    slack, slack_looked_up, unit, floor = limits
    sums, found, starts, units, most_from = scratch[0], scratch[5], scratch[8], scratch[9], scratch[10]
    for block in range(0, n_documents, BLOCK):
        block_end = min(block + BLOCK, n_documents)
        highest = np.int32(0)
        for j in range(block, block_end):
            highest = max(highest, sums[j])
        if highest < least:
            continue
        for j in range(block, block_end):
            document = begin + j
            if sums[j] < least or sums[j] >= end or (live.shape[0] and not live[document]) or document == unwanted:
                continue
            if n_full and least_looked_up > _with_full_lists(
                lists, starts, units, n_full, j, np.int64(sums[j]), least_looked_up, most_from
            ):
                continue
            low, high = bounds[document], bounds[document + 1]
            if low < 0 or low > high or high > terms.shape[0] or high - low > found.shape[0]:
                return -1
            for at in range(low, high, 16):
                prefetch(weights, np.int64(at))
            score, shared = _score_row(terms[low:high], weights[low:high], norms[document], form, query[2], query[1], found)
            if shared < 0:
                return -1
            if shared:
                size = push(top[0], top[1], size, score, np.int32(first + document))
                if size == top[0].shape[0]:
                    least = max(least, max(floor, _limit(top[0][0] - slack, unit)))
                    least_looked_up = max(least_looked_up, _limit(top[0][0] - slack_looked_up, unit))
    return size


@njit(cache=True, nogil=True, error_model="numpy")
def _search_chunk(
    place: Any, postings: Any, rows: Any, live: Any, first: int, query: Any, unwanted: int, form: Any, pruning: Any, top: Any,
    size: int, scratch: Any, row_cost: float,
) -> int:  # fmt: skip
    # Searches one chunk. Returns the new size of the heap, or -1 when something is damaged.
    _, _, begin, n_documents = place
    drift, share = pruning
    cost, worth, order, counts, ordered = scratch[2], scratch[3], scratch[4], scratch[6], scratch[7]
    n_terms, k, full = query[0].shape[0], top[0].shape[0], size == top[0].shape[0]
    total, time, largest = _weigh_terms(place, postings, query, drift, scratch)
    if total < 0.0:
        return -1
    rounding = (n_terms + 16) * (1.2e-7 * total + 1.5e-45)  # of float32 numbers, the smallest of which are far apart
    worst = np.float64(top[0][0]) - rounding if full else 0.0
    if time == 0.0 or (full and total < worst):
        return size
    if not ordered[0]:
        for j in range(n_terms):
            worth[j] = scratch[1][j] / max(cost[j], 1.0)
        _order_by(worth, order, n_terms)
        ordered[0] = 1
    unit = max(largest / 255.0 / 65535.0, total / 255.0 / 4194304.0)
    if not unit > 0.0:  # only terms of idf 0
        unit = 1.0
    sums = scratch[0][:n_documents]
    sums[:] = 0
    stopped, above, below = _read_lists(place, postings, query, sums, unit, worst, total, time, share, row_cost, scratch)
    if stopped < 0:
        return -1
    n_full, rest, uncertain = _left_out(stopped, place, postings, query, unit, share, scratch)
    if live.shape[0]:
        for j in range(n_documents):
            sums[j] *= live[begin + j]
    if 0 <= unwanted - begin < n_documents:
        sums[unwanted - begin] = 0

    floor = np.int32(1 if stopped == n_terms else 0)  # where all lists were read, a sum of 0 is no match
    limits = (rounding + above + rest, rounding + above + uncertain, unit, floor)
    highest: Any = np.int64(1) << 40
    if not full:  # the best k of this chunk first: they tell how little the others have to reach
        reached = _kth_largest_at_least(sums, k, counts)
        if reached < 0:
            return -1
        size = _score_reaching(
            reached, highest, np.int64(0), n_full, place, postings[0], rows, live, first, query, unwanted, form, top, size,
            limits, scratch,
        )  # fmt: skip
        if size < 0:
            return -1
        highest = reached
        worst = max(0.0, (reached * unit - below) / (drift * drift) - rounding)
        if size == k:
            worst = max(worst, np.float64(top[0][0]))
    least = np.int64(max(floor, _limit(worst - above - rest - (0.0 if full else rounding), unit)))
    least_looked_up = np.int64(_limit(worst - above - uncertain - (0.0 if full else rounding), unit))
    return _score_reaching(
        least, highest, least_looked_up, n_full, place, postings[0], rows, live, first, query, unwanted, form, top, size,
        limits, scratch,
    )  # fmt: skip


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
    longest = np.int64(0)  # query; full lists wait in fours, so two arrays are longer
    for query in range(start, stop):
        longest = max(longest, indptr[query + 1] - indptr[query])
    scratch = (
        np.empty(CHUNK, np.int32), np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest, np.int64),
        np.empty(n_terms + 1, np.int32), np.empty(BINS, np.int64), np.zeros(1, np.int64), np.empty(longest + 4, np.int64),
        np.empty(longest + 4, np.int32), np.empty(longest, np.int64),
    )  # fmt: skip
    for query in range(start, stop):
        low, high = indptr[query], indptr[query + 1]
        for j in range(low, high):
            slots[terms[j]] = j - low + 1
        scratch[7][0] = 0
        asked = (terms[low:high], factors[low:high], slots)
        top = (top_scores[query], top_documents[query])
        for number in range(first_chunk, last_chunk):
            begin = number * CHUNK
            place = (number, n_chunks, begin, min(CHUNK, n_documents - begin))
            size = _search_chunk(
                place, postings, rows, live, first, asked, excluded[query] - first, form, pruning, top, sizes[query],
                scratch, row_cost,
            )  # fmt: skip
            if size < 0:
                return False
            sizes[query] = size
        for j in range(low, high):
            slots[terms[j]] = 0
    return True
