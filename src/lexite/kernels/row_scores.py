"""The exact score of a document: its row is gone through for the terms of a query, and their parts are added up."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.kernels.bits import number_of
from lexite.kernels.impacts import saturated
from lexite.kernels.packed_rows import head, pattern
from lexite.kernels.posting_lists import FIRST_LONG, STEPS, ImpactForm, SegmentRows
from lexite.kernels.prefetch import prefetch


class Found(NamedTuple):
    """Entries of a row whose terms a query has; memory that is used again for every row, (n_terms + 1,) each.

    Attributes:
        places: int32, which entry of the row it is.
        slots: int32, the place of its term in the query, from 1.
        weights: float32, its raw weight.
    """

    places: NDArray[np.int32]
    slots: NDArray[np.int32]
    weights: NDArray[np.float32]


@njit(cache=True, nogil=True)
def new_found(n_terms: int) -> Found:
    """Memory for rows of a segment that knows ``n_terms``."""
    return Found(np.empty(n_terms + 1, np.int32), np.empty(n_terms + 1, np.int32), np.empty(n_terms + 1, np.float32))


@njit(cache=True, nogil=True, forceinline=True)
def _sift(rows: SegmentRows, low: Any, high: Any, slots: Any, found: Found) -> int:
    # The entries of a row that is not packed whose terms the query has: how many (-1: a term that does not exist).
    # They are sifted without a branch, since no branch predictor can know which of them the query has.
    terms, weights, places, own, raw = rows.terms, rows.weights, found.places, found.slots, found.weights
    n = 0
    for j in range(low, high):
        if np.uint32(terms[j]) >= np.uint32(slots.shape[0]):
            return -1
        slot = slots[terms[j]]
        places[n], own[n] = j, slot
        n += slot != 0
    for i in range(n):
        raw[i] = weights[places[i]]
    return n


@njit(cache=True, nogil=True, forceinline=True)
def _sift_packed(rows: SegmentRows, low: Any, high: Any, query: Any, found: Found) -> Any:
    # The same for a packed row; only the weights that are found are unpacked. Places are unsigned, since numba looks whether a
    # signed one counts from the end, which takes as long as all else.
    data, places, own, slots, asked = rows.packed, found.places, found.slots, query.slots, query.asked
    raw, drop = found.weights, rows.drop
    n_entries, base, width, codes, first = head(data, low, high)
    if n_entries < 0:
        return -1
    place, end, n_terms, one = np.uint64(first), np.uint64(high), np.uint64(asked.shape[0]), np.uint64(1)
    n, i, term = np.uint64(0), np.uint64(0), np.uint64(0)  # the least that the next term can be
    while place < end:
        byte = np.uint64(data[place])
        place += one
        if byte >= np.uint64(FIRST_LONG):
            term += np.uint64(STEPS[byte])
            continue
        term += byte
        if term >= n_terms:
            return -1
        places[n], own[n] = np.int32(i), np.int32(term)
        n += np.uint64(asked[term])
        term += one
        i += one
    if np.int64(i) != n_entries:
        return -1
    for j in range(np.int64(n)):
        own[j] = slots[own[j]]
        raw[j] = number_of(pattern(data, codes, np.int64(places[j]), base, width, drop))
    return np.int64(n)


@njit(cache=True, nogil=True, forceinline=True)
def _sum_found(n: int, norm: Any, form: ImpactForm, factors: Any, found: Found) -> Any:
    # The exact score of a document: the parts of its terms, added in the order of the query's terms.
    slots, weights = found.slots, found.weights
    score, last, ascending = np.float32(0.0), 0, True
    for i in range(n):
        slot = slots[i]
        ascending = ascending and slot > last
        last = slot
        score += factors[slot - 1] * saturated(weights[i], norm, form.transform, form.scale, form.delta)
    if ascending:
        return score
    for i in range(1, n):  # the words of one index among several are in another order than the query's terms
        slot, weight, at = slots[i], weights[i], i
        while at > 0 and slots[at - 1] > slot:
            slots[at], weights[at] = slots[at - 1], weights[at - 1]
            at -= 1
        slots[at], weights[at] = slot, weight
    score = np.float32(0.0)
    for i in range(n):
        score += factors[slots[i] - 1] * saturated(weights[i], norm, form.transform, form.scale, form.delta)
    return score


@njit(cache=True, nogil=True, forceinline=True)
def score_row(rows: SegmentRows, document: int, query: Any, form: ImpactForm, found: Found) -> Any:
    """The exact score of a document of a segment.

    Args:
        rows: of the segment.
        document: its number there.
        query: slots, flags and factors of the query, as ``lexite.kernels.chunk_sums.Query`` has them.
        form: how raw weights become impacts.
        found: memory.

    Returns:
        The score, and how many terms the document shares with the query; -1 terms when its row is damaged.
    """
    low, high = rows.bounds[document], rows.bounds[document + 1]
    if rows.packed.shape[0]:
        prefetch(rows.norms, np.int64(document))
        for at in range(max(low, 0), min(high, rows.packed.shape[0]), 64):  # all its lines at once: reading waits for one
            prefetch(rows.packed, np.int64(at))
        shared = _sift_packed(rows, low, high, query, found)
    elif low < 0 or low > high or high > rows.terms.shape[0] or high - low > found.slots.shape[0]:
        shared = -1
    else:
        for at in range(low, high, 16):
            prefetch(rows.weights, np.int64(at))
        shared = _sift(rows, low, high, query.slots, found)
    return _sum_found(shared, rows.norms[document], form, query.factors, found), shared
