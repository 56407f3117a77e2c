"""The compiled search over compressed posting lists: exact, and with little work for documents that cannot win.

For each chunk of documents the lists of the query's terms are added up in integers (``lexite.kernels.chunk_sums``). Such a sum
bounds the exact score from both sides. Terms come in the order of how much they can add for the time they take, so the frequent
ones, whose idf is small, come last. As soon as few documents can still reach the k-th best score, the remaining lists are left
alone, and those few documents are scored exactly, from their rows of raw weights. The idea is that of MaxScore (Turtle and
Flood 1995), over chunks instead of documents, with integer bounds instead of stored scores.

Where only some documents may be hits and few of them are in a chunk, they are scored from their rows at once.

``lexite.index.reference`` defines what a search must return, bit for bit: the terms of a query are added in ascending order,
in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.kernels.chunk_sums import (
    LIST_COST,
    Chunk,
    Pruning,
    Query,
    Scratch,
    kth_largest_at_least,
    left_out,
    new_scratch,
    order_by,
    order_chunks,
    read_lists,
    weigh_terms,
    with_full_lists,
)
from lexite.kernels.heaps import push
from lexite.kernels.posting_lists import CHUNK, Among, Heaps, ImpactForm, PostingLists, Queries, SegmentRows, Turns
from lexite.kernels.row_scores import Found, new_found, score_row
from lexite.kernels.sum_bounds import rounding_of, sum_of_score, unit_of
from lexite.kernels.turns import take_turn

# Nanoseconds, about: an exact score, and each entry of its row, or each byte where rows are packed.
ROW_COST, ROW_ENTRY_COST, ROW_BYTE_COST = 120.0, 0.9, 0.4
BLOCK = 64  # sums looked at together
TURN = 1024  # documents that a thread takes at a time where all are scored from their rows
NO_END = np.int64(1 << 40)  # above all sums
NEVER = np.int32(-2_000_000_000)  # the first sum of a document that may not be a hit: lists add 1,100,000,000 at most


class Top(NamedTuple):
    """The heap of one query.

    Attributes:
        scores: (k,) float32, the worst first.
        documents: (k,) int32.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int32]


class Limits(NamedTuple):
    """How a needed score becomes a needed sum, after the lists of a chunk were read.

    Attributes:
        slack: by how much a score can be above its sum.
        slack_looked_up: the same for a sum with the impacts that are looked up.
        unit: the score that 1 stands for in the sums.
        floor: the smallest sum that may belong to a hit.
    """

    slack: float
    slack_looked_up: float
    unit: float
    floor: np.int32


@njit(cache=True, nogil=True, forceinline=True)  # a call with so many arrays takes 50 nanoseconds
def _score_document(rows: SegmentRows, document: int, query: Query, form: ImpactForm, top: Top, size: int, found: Found) -> int:
    # Scores a document of the segment and puts it into the heap if it shares a term with the query. Returns the heap's size,
    # -1 when the row is damaged.
    score, shared = score_row(rows, document, query, form, found)
    if shared < 0:
        return -1
    if shared:
        return push(top.scores, top.documents, size, score, np.int32(rows.first + document))
    return size


@njit(cache=True, nogil=True)
def _score_given(
    given: Any, rows: SegmentRows, query: Query, unwanted: int, form: ImpactForm, top: Top, size: int, found: Found
) -> int:
    # Scores documents of the index that lie in this segment. Returns the heap's size, -1 when a row is damaged.
    for i in range(given.shape[0]):
        document = given[i] - rows.first
        if document == unwanted or (rows.live.shape[0] and not rows.live[document]):
            continue
        size = _score_document(rows, document, query, form, top, size, found)
        if size < 0:
            return -1
    return size


@njit(cache=True, nogil=True)
def _score_reaching(
    least: Any, end: Any, least_looked_up: Any, n_full: int, chunk: Chunk, lists: Any, rows: SegmentRows, query: Query,
    unwanted: int, form: ImpactForm, top: Top, size: int, limits: Limits, masked: bool,
    permitted: Any, scratch: Scratch,
) -> int:  # fmt: skip
    # Scores documents exactly whose sums are from ``least`` to below ``end``, and puts them into the heap. Once the heap is
    # full, the limits rise with its worst hit. Returns the heap's size, -1 when something is damaged.
    sums, best, k = scratch.sums, top.scores, top.scores.shape[0]
    starts, units, most_from = scratch.starts, scratch.units, scratch.most_from
    for block in range(0, chunk.n_documents, BLOCK):
        block_end = min(block + BLOCK, chunk.n_documents)
        highest = np.int32(0)
        for j in range(block, block_end):
            highest = max(highest, sums[j])
        if highest < least:
            continue
        for j in range(block, block_end):
            document = chunk.begin + j
            if sums[j] < least or sums[j] >= end or (masked and not permitted[j]) or document == unwanted:
                continue
            if n_full and least_looked_up > with_full_lists(
                lists, starts, units, n_full, j, np.int64(sums[j]), least_looked_up, most_from
            ):
                continue
            size = _score_document(rows, document, query, form, top, size, scratch.found)
            if size < 0:
                return -1
            if size == k:
                worst = best[0]
                least = max(least, max(limits.floor, sum_of_score(worst - limits.slack, limits.unit)))
                least_looked_up = max(least_looked_up, sum_of_score(worst - limits.slack_looked_up, limits.unit))
    return size


@njit(cache=True, nogil=True)
def _begin_sums(sums: Any, chunk: Chunk, rows: SegmentRows, restricted: bool, given: Any) -> None:
    # Sets the sums to which lists are added. Documents that are not given, or deleted, begin so low that they never reach a
    # limit and are never counted.
    live, has_deleted = rows.live, rows.live.shape[0] > 0
    sums[:] = NEVER if restricted else np.int32(0)
    for i in range(given.shape[0]):
        document = given[i] - rows.first
        if not has_deleted or live[document]:
            sums[document - chunk.begin] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _search_chunk(
    chunk: Chunk, postings: PostingLists, rows: SegmentRows, query: Query, unwanted: int, restricted: bool, given: Any,
    form: ImpactForm, pruning: Pruning, needed: Any, top: Top, size: int, row_cost: float, scratch: Scratch,
) -> int:  # fmt: skip
    # Searches one chunk, or, if ``restricted``, the documents of it that are given, for hits that score ``needed`` at least.
    # Returns the new size of the heap, or -1 when something is damaged.
    drift, share = pruning.drift, pruning.share
    n_terms, k = query.terms.shape[0], top.scores.shape[0]
    if size == k:
        needed = max(needed, top.scores[0])
    full = size == k or needed > 0.0  # this thread or another one knows k hits
    total, time, largest, rounding, worst = 0.0, 0.0, 0.0, 0.0, 0.0
    few = restricted and given.shape[0] * row_cost <= n_terms * LIST_COST  # scored sooner than lists are looked up
    if not few:
        total, time, largest = weigh_terms(chunk, postings, query, drift, scratch)
        if total < 0.0:
            return -1
        rounding = rounding_of(n_terms, total)
        worst = np.float64(needed) - rounding if full else 0.0
        if time == 0.0 or (full and total < worst):
            return size
        few = restricted and given.shape[0] * row_cost <= time
    if few:
        return _score_given(given, rows, query, unwanted, form, top, size, scratch.found)
    if not scratch.ordered[0]:
        worth, most, cost = scratch.worth, scratch.most, scratch.cost
        for j in range(n_terms):
            worth[j] = most[j] / max(cost[j], 1.0)
        order_by(worth, scratch.order, n_terms)
        scratch.ordered[0] = 1
    unit = unit_of(total, largest)
    sums, masked = scratch.sums[: chunk.n_documents], rows.live.shape[0] > 0 and not restricted
    permitted = rows.live[chunk.begin : chunk.begin + chunk.n_documents] if masked else rows.live
    _begin_sums(sums, chunk, rows, restricted, given)
    stopped, above, below = read_lists(chunk, postings, query, sums, unit, worst, total, time, share, row_cost, scratch)
    if stopped < 0:
        return -1
    n_full, rest, uncertain = left_out(stopped, chunk, postings, query, unit, share, scratch)
    if masked and not full:
        for j in range(chunk.n_documents):
            sums[j] *= permitted[j]
    if 0 <= unwanted - chunk.begin < chunk.n_documents:
        sums[unwanted - chunk.begin] = 0

    floor = np.int32(1 if stopped == n_terms else 0)  # where all lists were read, a sum of 0 is no match
    limits = Limits(rounding + above + rest, rounding + above + uncertain, unit, floor)
    spare, end = 0.0 if full else rounding, NO_END
    for step in range(1 if full else 0, 2):
        if step == 0:  # the best k of this chunk first: they tell how little the others have to reach
            least, least_looked_up = np.int64(kth_largest_at_least(sums, k, restricted, scratch.counts)), np.int64(0)
            if least < 0:
                return -1
        else:
            least = np.int64(max(floor, sum_of_score(worst - above - rest - spare, unit)))
            least_looked_up = np.int64(sum_of_score(worst - above - uncertain - spare, unit))
        size = _score_reaching(
            least, end, least_looked_up, n_full, chunk, postings.lists, rows, query, unwanted, form, top, size, limits, masked,
            permitted, scratch,
        )  # fmt: skip
        if size < 0:
            return -1
        if step == 0:
            worst = max(0.0, (least * unit - below) / (drift * drift) - rounding)
            if size == k:
                worst = max(worst, np.float64(top.scores[0]))
            end = least
    return size


@njit(cache=True, nogil=True)
def _first_from(documents: Any, low: Any, high: Any, wanted: Any) -> Any:
    # The first place from ``low`` to before ``high`` with a document at least ``wanted``; ``high`` when there is none.
    while low < high:
        middle = (low + high) // 2
        if documents[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _longest(bounds: Any, start: int, stop: int) -> Any:
    # Terms of the longest query of a range.
    longest = np.int64(0)
    for query in range(start, stop):
        longest = max(longest, bounds[query + 1] - bounds[query])
    return longest


def search_segment(
    postings: PostingLists, rows: SegmentRows, queries: Queries, among: Among, form: ImpactForm, pruning: Pruning, heaps: Heaps,
    turns: Turns, start: int, stop: int,
) -> bool:  # fmt: skip
    """Searches the chunks of a segment that are left for a range of queries, and keeps the best k hits of each in heaps.

    Chunks that may hold the best hits come first. Heaps go from call to call: the better their hits, the less is left to look
    at.

    Args:
        postings: lists of the segment.
        rows: its rows.
        queries: all queries.
        among: the documents that may be their hits.
        form: how raw weights become impacts.
        pruning: what decides how much may be left out.
        heaps: of all queries.
        turns: of all queries; threads that have heaps of their own may share them.
        start: first query of the range.
        stop: its end.

    Returns:
        False when a posting names a document, or a row a term, that does not exist: a file is damaged.
    """
    given = [*_plain(postings, rows, queries, among, form, pruning, heaps, turns), start, stop]
    return bool(_search_segment(*given))


def score_among(
    rows: SegmentRows, queries: Queries, among: Among, form: ImpactForm, heaps: Heaps, turns: Turns, start: int, stop: int
) -> bool:
    """Scores the documents that may be hits from their rows, without posting lists.

    Args:
        rows: of the segment.
        queries: all queries.
        among: the documents that may be their hits; not all documents.
        form: how raw weights become impacts.
        heaps: of all queries.
        turns: of all queries; here a turn is ``TURN`` documents.
        start: first query of a range.
        stop: its end.

    Returns:
        False when a row names a term that does not exist: a file is damaged.
    """
    given = [*_plain(rows, queries, among, form, heaps, turns), start, stop]
    return bool(_score_among(*given))


def _plain(*named: tuple[Any, ...]) -> list[Any]:
    """Tuples without the names of their parts, since handing a named one to compiled code takes 5 microseconds."""
    return [tuple(one) for one in named]


@njit(cache=True, nogil=True)
def _begin_query(asked: Any, number: int, slots: Any, flags: Any) -> Query:
    # A query, its terms marked.
    low, high = asked.bounds[number], asked.bounds[number + 1]
    terms = asked.terms[low:high]
    for j in range(terms.shape[0]):
        slots[terms[j]] = j + 1
        flags[terms[j]] = 1
    return Query(terms, asked.factors[low:high], slots, flags)


@njit(cache=True, nogil=True)
def _end_query(query: Query) -> None:
    # Takes the marks away.
    terms, slots, flags = query.terms, query.slots, query.asked
    for j in range(terms.shape[0]):
        slots[terms[j]] = 0
        flags[terms[j]] = 0


@njit(cache=True, nogil=True)
def _search_segment(
    postings: Any, rows: Any, queries: Any, among: Any, form: Any, pruning: Any, heaps: Any, turns: Any, start: int, stop: int
) -> bool:
    lists, segment, asked, chosen = PostingLists(*postings), SegmentRows(*rows), Queries(*queries), Among(*among)
    impact_form, limits, best, shared = ImpactForm(*form), Pruning(*pruning), Heaps(*heaps), Turns(*turns)
    n_documents = segment.norms.shape[0]
    n_chunks = (n_documents + CHUNK - 1) // CHUNK
    each = ROW_BYTE_COST if segment.packed.shape[0] else ROW_ENTRY_COST
    row_cost = ROW_COST + each * (segment.bounds[n_documents] - segment.bounds[0]) / max(n_documents, 1)
    slots, flags = np.zeros(asked.n_terms, np.int32), np.zeros(asked.n_terms, np.uint8)
    scratch = new_scratch(_longest(asked.bounds, start, stop), asked.n_terms)
    worth, order = np.empty(n_chunks), np.empty(n_chunks, np.int64)
    restricted = chosen.starts.shape[0] > 0
    given = chosen.documents
    for number in range(start, stop):
        query = _begin_query(asked, number, slots, flags)
        scratch.ordered[0] = 0
        order_chunks(lists, query, n_chunks, worth, order)
        top = Top(best.scores[number], best.documents[number])
        unwanted = asked.excluded[number] - segment.first
        begin, end = np.int64(0), np.int64(0)
        while True:
            turn = take_turn(shared.taken, np.int64(number), np.int64(shared.step))
            if turn >= n_chunks:
                break
            at = order[turn]
            chunk = Chunk(at, n_chunks, at * CHUNK, min(CHUNK, n_documents - at * CHUNK))
            if restricted:
                stop_at = chosen.stops[number]
                begin = _first_from(given, chosen.starts[number], stop_at, segment.first + chunk.begin)
                end = _first_from(given, begin, stop_at, segment.first + chunk.begin + chunk.n_documents)
                if begin == end:
                    continue
            size = _search_chunk(
                chunk, lists, segment, query, unwanted, restricted, given[begin:end], impact_form, limits,
                shared.needed[number], top, best.sizes[number], row_cost, scratch,
            )  # fmt: skip
            if size < 0:
                return False
            best.sizes[number] = size
            if size == top.scores.shape[0]:  # another thread may write a smaller number in its place, which is true as well
                shared.needed[number] = max(shared.needed[number], top.scores[0])
        _end_query(query)
    return True


@njit(cache=True, nogil=True)
def _score_among(rows: Any, queries: Any, among: Any, form: Any, heaps: Any, turns: Any, start: int, stop: int) -> bool:
    segment, asked, chosen, impact_form = SegmentRows(*rows), Queries(*queries), Among(*among), ImpactForm(*form)
    best, shared = Heaps(*heaps), Turns(*turns)
    slots, flags = np.zeros(asked.n_terms, np.int32), np.zeros(asked.n_terms, np.uint8)
    found = new_found(asked.n_terms)
    for number in range(start, stop):
        stop_at = chosen.stops[number]
        begin = _first_from(chosen.documents, chosen.starts[number], stop_at, segment.first)
        given = chosen.documents[begin : _first_from(chosen.documents, begin, stop_at, segment.first + segment.norms.shape[0])]
        query = _begin_query(asked, number, slots, flags)
        top = Top(best.scores[number], best.documents[number])
        unwanted = asked.excluded[number] - segment.first
        while True:
            turn = take_turn(shared.taken, np.int64(number), np.int64(shared.step))
            if turn * TURN >= given.shape[0]:
                break
            some = given[turn * TURN : (turn + 1) * TURN]
            size = _score_given(some, segment, query, unwanted, impact_form, top, best.sizes[number], found)
            if size < 0:
                return False
            best.sizes[number] = size
        _end_query(query)
    return True
