"""Recursive graph bisection: an order of documents in which those that share terms are neighbours.

Dhulipala et al. 2016 halve the documents so that the logarithms of the gaps in all lists become small, and go on with each
half. A term with a documents in a half of n takes a · log2(n / (a + 1)) bits there, about. Documents change places in pairs,
those that gain most first, until a pair gains nothing. ``reordering.py`` measures what it brings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEAF, ROUNDS, FEWEST, MOST_SHARE, STILL = 32, 6, 64, 0.25, 0.005


def bisected(bounds: NDArray[np.int64], terms: NDArray[Any], n_terms: int, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """The documents in their new order.

    Args:
        bounds: (n + 1,) where the documents' terms begin.
        terms: of all documents. Those of less than ``FEWEST`` documents or more than a share of ``MOST_SHARE`` are not looked
            at: they say little of where a document belongs.
        n_terms: number of terms.
        start: the order to begin with.
    """
    n = len(bounds) - 1
    frequency = np.bincount(terms, minlength=n_terms)
    kept = ((frequency >= FEWEST) & (frequency <= MOST_SHARE * n))[terms]
    own = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[bounds]
    order = start.astype(np.int32)
    logarithms = np.log2(np.maximum(np.arange(n + 4), 1)).astype(np.float32)
    _bisect(order, own, terms[kept], n_terms, logarithms)
    return order.astype(np.int64)


@njit(cache=True)
def _count(order: Any, low: Any, high: Any, bounds: Any, terms: Any, counts: Any, met: Any, n_met: Any, known: Any) -> Any:
    # Counts the terms of documents, and lists those that are met for the first time.
    for i in range(low, high):
        for j in range(bounds[order[i]], bounds[order[i] + 1]):
            term = terms[j]
            if known[term] == 0:
                known[term], met[n_met] = 1, term
                n_met += 1
            counts[term] += 1
    return n_met


@njit(cache=True)
def _gain(order: Any, low: Any, high: Any, bounds: Any, terms: Any, gain_of_term: Any, gains: Any) -> None:
    for i in range(low, high):
        total = np.float32(0)
        for j in range(bounds[order[i]], bounds[order[i] + 1]):
            total += gain_of_term[terms[j]]
        gains[i] = total


@njit(cache=True)
def _gains_of_terms(met: Any, left: Any, right: Any, n_left: Any, n_right: Any, logs: Any, to_right: Any, to_left: Any) -> None:
    # What a document that changes sides saves of the bits of each of its terms.
    for place in range(met.shape[0]):
        term = met[place]
        a, b = left[term], right[term]
        now = a * (logs[n_left] - logs[a + 1]) + b * (logs[n_right] - logs[b + 1])
        to_right[term], to_left[term] = 0.0, 0.0
        if a > 0:
            then = (a - 1) * (logs[n_left] - logs[a]) + (b + 1) * (logs[n_right] - logs[b + 2])
            to_right[term] = now - then
        if b > 0:
            then = (a + 1) * (logs[n_left] - logs[a + 2]) + (b - 1) * (logs[n_right] - logs[b])
            to_left[term] = now - then


@njit(cache=True)
def _move(document: Any, bounds: Any, terms: Any, source: Any, target: Any) -> None:
    for j in range(bounds[document], bounds[document + 1]):
        source[terms[j]] -= 1
        target[terms[j]] += 1


@njit(cache=True)
def _bisect(order: Any, bounds: Any, terms: Any, n_terms: Any, logs: Any) -> None:
    gains = np.empty(order.shape[0], np.float32)
    left, right = np.zeros(n_terms, np.int32), np.zeros(n_terms, np.int32)
    to_right, to_left = np.zeros(n_terms, np.float32), np.zeros(n_terms, np.float32)
    known, met = np.zeros(n_terms, np.uint8), np.empty(n_terms, np.int32)
    waiting = [(0, order.shape[0])]
    while len(waiting):
        low, high = waiting.pop()
        if high - low <= LEAF:
            continue
        middle = (low + high) // 2
        n_met = _count(order, low, middle, bounds, terms, left, met, 0, known)
        n_met = _count(order, middle, high, bounds, terms, right, met, n_met, known)
        for _ in range(ROUNDS):
            _gains_of_terms(met[:n_met], left, right, middle - low, high - middle, logs, to_right, to_left)
            _gain(order, low, middle, bounds, terms, to_right, gains)
            _gain(order, middle, high, bounds, terms, to_left, gains)
            from_left, from_right = np.argsort(-gains[low:middle]), np.argsort(-gains[middle:high])
            swapped = 0
            for pair in range(middle - low):
                i, j = low + from_left[pair], middle + from_right[pair]
                if gains[i] + gains[j] <= 0:
                    break
                _move(order[i], bounds, terms, left, right)
                _move(order[j], bounds, terms, right, left)
                order[i], order[j] = order[j], order[i]
                swapped += 1
            if swapped <= STILL * (middle - low):
                break
        for place in range(n_met):
            term = met[place]
            left[term], right[term], known[term] = 0, 0, 0
        waiting.append((low, middle))
        waiting.append((middle, high))
