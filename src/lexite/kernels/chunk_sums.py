"""Adding up the posting lists of a chunk: integer sums that bound the exact score of each document from both sides.

A term's factor is taken in units of ``unit`` and multiplied by the 8-bit impacts of its list. ``lexite.kernels.retrieval`` says
what the sums are for.

Arrays are taken out of named tuples before a loop. Inside it, compiled code would count references to them in every round.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.kernels.posting_lists import CHUNK, FULL, GAPS, PostingLists
from lexite.kernels.prefetch import prefetch
from lexite.kernels.row_scores import Found, new_found
from lexite.kernels.sum_bounds import least_part, sum_of_score, units_of

# Nanoseconds, about: an entry of a full list, an entry of another list, a list, looking a document up in the unread lists.
FULL_COST, ENTRY_COST, LIST_COST, LOOK_COST = 0.025, 0.5, 20.0, 400.0
CHECK_COST = 800.0  # nanoseconds to count the documents that can still win
CHECK_AFTER = 0.2  # share of the remaining time after which counting again pays
AHEAD = 2048  # bytes of the next list that are asked for while one is read
BINS = 1024


class Chunk(NamedTuple):
    """A chunk of a segment.

    Attributes:
        number: of the chunk.
        n_chunks: chunks of the segment.
        begin: its first document in the segment.
        n_documents: its documents.
    """

    number: int
    n_chunks: int
    begin: int
    n_documents: int


class Query(NamedTuple):
    """One query.

    Attributes:
        terms: (n,) int32, ascending.
        factors: (n,) float32.
        slots: (n_terms,) int32, for each term of the segment its place in the query plus 1, 0 where the query has it not.
        asked: (n_terms,) uint8, 1 for the terms of the query: it stays in the first cache.
    """

    terms: NDArray[np.int32]
    factors: NDArray[np.float32]
    slots: NDArray[np.int32]
    asked: NDArray[np.uint8]


class Pruning(NamedTuple):
    """What decides how much may be left out.

    Attributes:
        drift: largest ratio of an impact to its stored value; 1 unless the average length has changed.
        share: part of what the unread lists could add that the search counts on; 1 for an exact search.
    """

    drift: float
    share: float


class Scratch(NamedTuple):
    """Memory that searches use again and again. Arrays are as long as the longest query unless said otherwise.

    Attributes:
        sums: (CHUNK,) int32, the sum of each document.
        most: the most that each term can add to a score in this chunk.
        cost: the time that reading each term's list takes, 0 where there is none.
        worth: the order of reading follows it: most by cost.
        order: int64, places of the query's terms in the order of reading.
        ordered: (1,) int64, 1 when ``order`` is filled for this query.
        found: entries of a row whose terms the query has.
        counts: (BINS,) int64, a histogram of sums.
        starts: int64, four longer, where full lists begin.
        units: int32, four longer, what one of 255 parts of each full list stands for.
        most_from: int64, what full lists can add from each on.
    """

    sums: NDArray[np.int32]
    most: NDArray[np.float64]
    cost: NDArray[np.float64]
    worth: NDArray[np.float64]
    order: NDArray[np.int64]
    ordered: NDArray[np.int64]
    found: Found
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    units: NDArray[np.int32]
    most_from: NDArray[np.int64]


@njit(cache=True, nogil=True)
def new_scratch(longest: int, n_terms: int) -> Scratch:
    """Memory for queries of up to ``longest`` terms against a segment that knows ``n_terms``."""
    return Scratch(
        np.empty(CHUNK, np.int32),
        np.empty(longest),
        np.empty(longest),
        np.empty(longest),
        np.empty(longest, np.int64),
        np.zeros(1, np.int64),
        new_found(n_terms),
        np.empty(BINS, np.int64),
        np.empty(longest + 4, np.int64),
        np.empty(longest + 4, np.int32),
        np.empty(longest, np.int64),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def weigh_terms(
    chunk: Chunk, postings: PostingLists, query: Query, drift: float, scratch: Scratch
) -> tuple[float, float, float]:
    """What all terms together can add to a score in this chunk, the time that their lists take, and the largest addition.

    Fills ``scratch.most`` and ``scratch.cost``. The first number is -1 when the directory of lists is damaged.
    """
    most, cost, terms, factors = scratch.most, scratch.cost, query.terms, query.factors
    offsets, kinds, tops, levels = postings.offsets, postings.kinds, postings.tops, postings.levels
    n_bytes = postings.lists.shape[0]
    total, time, largest = 0.0, 0.0, 0.0
    for j in range(terms.shape[0]):
        at = np.int64(terms[j]) * chunk.n_chunks + chunk.number
        low, high = np.int64(offsets[at]), np.int64(offsets[at + 1])
        if low < 0 or low > high or high > n_bytes:
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
def read_lists(
    chunk: Chunk, postings: PostingLists, query: Query, sums: Any, unit: float, needed: float, total: float, time: float,
    share: float, row_cost: float, scratch: Scratch,
) -> tuple[int, float, float]:  # fmt: skip
    """Adds lists up until few documents can still reach a score.

    Args:
        chunk: the chunk.
        postings: the lists of its segment.
        query: the query.
        sums: (chunk.n_documents,) int32, added to.
        unit: the score that 1 stands for in the sums.
        needed: the score to reach; 0 to read all lists.
        total: what all terms can add.
        time: what reading all lists takes, in nanoseconds.
        share: as in :class:`Pruning`.
        row_cost: nanoseconds that the exact score of a document takes.
        scratch: with ``most``, ``cost`` and ``order`` of this chunk.

    Returns:
        How many lists were read (-1: one is damaged), and by how much a score can be above its sum and below it.
    """
    lists, offsets, kinds, terms = postings.lists, postings.offsets, postings.kinds, query.terms
    most, cost, order, starts, units = scratch.most, scratch.cost, scratch.order, scratch.starts, scratch.units
    n_terms, waiting = terms.shape[0], 0  # full lists wait until four can be added at once
    rest, above, below, check_at = total, 0.0, 0.0, time
    for i in range(n_terms):
        j = order[i]
        if cost[j] == 0.0:
            continue
        if rest * share < needed and time <= check_at and time > CHECK_COST and waiting == 0:
            possible = count_reaching(sums, sum_of_score(needed - above - rest * share, unit))
            if possible * (LOOK_COST + 0.2 * row_cost) <= time:
                return i, above, below
            check_at = time * (1.0 - CHECK_AFTER)
        at = np.int64(terms[j]) * chunk.n_chunks + chunk.number
        low, high = np.int64(offsets[at]), np.int64(offsets[at + 1])
        if i + 1 < n_terms:
            ahead = np.int64(terms[order[i + 1]]) * chunk.n_chunks + chunk.number
            _ask_for(lists, np.int64(offsets[ahead]), min(np.int64(offsets[ahead + 1]), lists.shape[0]))
        if kinds[at] == FULL:
            if high - low != chunk.n_documents:
                return -1, 0.0, 0.0
            starts[waiting], units[waiting] = low, units_of(most[j], unit)
            waiting += 1
            if waiting == 4:
                _add_full(lists, starts, units, waiting, sums)
                waiting = 0
        elif not _add_list(lists[low:high], kinds[at], units_of(most[j], unit), chunk.n_documents, sums):
            return -1, 0.0, 0.0
        rest -= most[j]
        time -= cost[j]
        above += most[j] / 510.0 + 127.5 * unit
        below += least_part(most[j], unit)
    if waiting:
        _add_full(lists, starts, units, waiting, sums)
    return n_terms, above, below


@njit(cache=True, nogil=True)
def left_out(
    stopped: int, chunk: Chunk, postings: PostingLists, query: Query, unit: float, share: float, scratch: Scratch
) -> tuple[int, float, float]:
    """The lists that were not read, those from ``stopped`` on.

    Returns:
        How many of them are full, so that documents can be looked up in them (``scratch.starts``, ``units``, ``most_from``);
        what all of them can add to a score; and what is left of that after the look-up.
    """
    most, cost, order, terms = scratch.most, scratch.cost, scratch.order, query.terms
    starts, units, most_from = scratch.starts, scratch.units, scratch.most_from
    offsets, kinds = postings.offsets, postings.kinds
    n, rest, uncertain = 0, 0.0, 0.0
    for i in range(stopped, terms.shape[0]):
        j = order[i]
        at = np.int64(terms[j]) * chunk.n_chunks + chunk.number
        low, high = offsets[at], offsets[at + 1]
        rest += most[j] * share
        if cost[j] > 0.0 and kinds[at] == FULL and np.int64(high - low) == chunk.n_documents:
            starts[n], units[n] = np.int64(low), units_of(most[j], unit)
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
def kth_largest_at_least(sums: Any, k: int, lowered: bool, counts: Any) -> int:
    """A number near the k-th largest positive sum, and not above it; 1 when there are fewer.

    With ``lowered``, sums of documents that may not be hits are negative. Otherwise a negative sum gives -1: a damaged list
    names a document many times.
    """
    largest, smallest = np.int32(0), np.int32(0)
    for j in range(sums.shape[0]):
        largest = max(largest, sums[j])
        smallest = min(smallest, sums[j])
    if smallest < 0 and not lowered:
        return -1
    shift = 0
    while (largest >> shift) >= BINS:
        shift += 1
    counts[:] = 0
    for j in range(sums.shape[0]):
        counts[max(sums[j], np.int32(0)) >> shift] += 1
    reached = 0
    for place in range(BINS - 1, 0, -1):
        reached += counts[place]
        if reached >= k:
            return place << shift
    return 1


@njit(cache=True, nogil=True)
def order_by(worth: Any, order: Any, n: int) -> None:
    """Fills ``order`` with the numbers below n by falling worth: Shell's sort, which compiles in a moment."""
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
def order_chunks(postings: PostingLists, query: Query, n_chunks: int, worth: Any, order: Any) -> None:
    """Fills ``order`` with the chunks of a segment by what all terms together can add to a score there, the most first."""
    terms, factors, tops, levels = query.terms, query.factors, postings.tops, postings.levels
    worth[:] = 0.0
    if n_chunks > 1:
        for j in range(terms.shape[0]):
            first, factor = np.int64(terms[j]) * n_chunks, factors[j]
            for at in range(n_chunks):
                worth[at] += factor * levels[tops[first + at]]
    order_by(worth, order, n_chunks)


@njit(cache=True, nogil=True)
def with_full_lists(lists: Any, starts: Any, units: Any, n: int, local: int, total: Any, least: Any, rest: Any) -> Any:
    """The sum of a document, ``total``, with its impacts in the n full lists that were not read.

    ``rest`` is what these lists can add from each on. The look-up stops when the document cannot reach ``least`` any more.
    """
    for i in range(n):
        if total + rest[i] < least:
            return total
        total += np.int64(lists[starts[i] + local]) * units[i]
    return total


@njit(cache=True, nogil=True)
def add_list(at: Any, postings: PostingLists, units: Any, n_documents: int, sums: Any) -> bool:
    """Adds the list number ``at`` to the sums of its chunk. False: it is damaged."""
    lists, low, high = postings.lists, np.int64(postings.offsets[at]), np.int64(postings.offsets[at + 1])
    if postings.kinds[at] != FULL:
        return _add_list(lists[low:high], postings.kinds[at], units, n_documents, sums)
    if high - low != n_documents:
        return False
    _add_one(lists[low:high], units, sums)
    return True


@njit(cache=True, nogil=True)
def _add_one(full: Any, factor: Any, sums: Any) -> None:
    # Adds a full list.
    for j in range(sums.shape[0]):
        sums[j] += np.int32(full[j]) * factor


@njit(cache=True, nogil=True)
def _add_list(part: Any, kind: int, factor: Any, n_documents: int, sums: Any) -> bool:
    # Adds a list that is not full. False: it names a document that does not exist. Addresses are masked, so that nothing is
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
def _add_full(lists: Any, starts: Any, units: Any, n: int, sums: Any) -> None:
    # Adds up to four full lists at once: reading and writing the sums takes as long for one list as for four.
    for i in range(n, 4):
        starts[i], units[i] = starts[0], 0
    size = sums.shape[0]
    if n == 1:
        _add_one(lists[starts[0] : starts[0] + size], units[0], sums)
        return
    a, b = lists[starts[0] : starts[0] + size], lists[starts[1] : starts[1] + size]
    c, d = lists[starts[2] : starts[2] + size], lists[starts[3] : starts[3] + size]
    e, f, g, h = units[0], units[1], units[2], units[3]
    for j in range(size):
        sums[j] += np.int32(a[j]) * e + np.int32(b[j]) * f + np.int32(c[j]) * g + np.int32(d[j]) * h


@njit(cache=True, nogil=True)
def count_reaching(sums: Any, least: Any) -> int:
    """How many sums are ``least`` or more."""
    count = 0
    for j in range(sums.shape[0]):
        count += sums[j] >= least
    return count


@njit(cache=True, nogil=True)
def _ask_for(lists: Any, low: Any, high: Any) -> None:
    for place in range(low, min(high, low + AHEAD), 64):
        prefetch(lists, np.int64(place))
