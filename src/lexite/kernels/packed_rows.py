"""Rows of weights in few bytes: written, and read again, by compiled code.

A row is a run of bytes; one without postings has none. It begins with a head of six: the number of postings n (24 bits), the
base of the weights (16 bits) and the width w of a code (8 bits), little-endian. The n codes follow, w bits each, the first in
the lowest bits. A code stands for the float32 number with the pattern ``(base << 16) + (code << drop)``, since ``drop`` bits of
the mantissa are always 0. As numbers above 0 are ordered like their patterns, the smallest weight of the row gives the base,
and the largest one the width.

Then come the terms, in ascending order, as distances: from term to term, the first from -1. Each byte adds to the term
(:data:`STEPS`); a byte below ``FIRST_LONG`` also ends it. So a distance up to 224 takes one byte, one up to 3,808 two, one
up to 64,736 three.

``lexite.index.packed_rows`` reads the same bytes with numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from lexite.kernels.posting_lists import FIRST_LONG, HEAD_BYTES, LONG_STEP, LONGEST_STEP, STEPS


def most_bytes(n_rows: int, n_postings: int, n_terms: int) -> int:
    """Bytes that rows take at most."""
    return n_rows * (HEAD_BYTES + 1 + n_terms // LONGEST_STEP) + 6 * n_postings


@njit(cache=True, nogil=True)
def pack_rows(bounds: Any, terms: Any, patterns: Any, drop: int, out: Any, out_bounds: Any) -> None:
    """Writes rows.

    Args:
        bounds: (n_rows + 1,) int64, where rows begin in ``terms``.
        terms: int32, ascending within a row, each once.
        patterns: uint32, the patterns of float32 weights above 0, whose last ``drop`` bits are 0.
        drop: bits of the mantissa that are left out, 0 to 22.
        out: uint8, as long as :func:`most_bytes` says, written.
        out_bounds: (n_rows + 1,) int64, written: where each row begins in ``out``.
    """
    place = np.int64(0)
    for row in range(bounds.shape[0] - 1):
        out_bounds[row] = place
        low, high = bounds[row], bounds[row + 1]
        if low == high:
            continue
        least, most = np.int64(patterns[low]), np.int64(patterns[low])
        for j in range(low, high):
            least, most = min(least, np.int64(patterns[j])), max(most, np.int64(patterns[j]))
        base = least >> 16
        width, spread = 0, (most - (base << 16)) >> drop
        while spread >> width:
            width += 1
        n = high - low
        for i in range(3):
            out[place + i] = (n >> (8 * i)) & 255
        out[place + 3], out[place + 4], out[place + 5] = base & 255, base >> 8, width
        place += HEAD_BYTES
        waiting, n_waiting = np.int64(0), 0
        for j in range(low, high):
            waiting |= ((np.int64(patterns[j]) - (base << 16)) >> drop) << n_waiting
            n_waiting += width
            while n_waiting >= 8:
                out[place] = waiting & 255
                place += 1
                waiting >>= 8
                n_waiting -= 8
        if n_waiting:
            out[place] = waiting
            place += 1
        before = np.int64(-1)
        for j in range(low, high):
            rest = np.int64(terms[j]) - before - 1
            before = np.int64(terms[j])
            while rest >= LONGEST_STEP:
                steps = min(rest // LONGEST_STEP, np.int64(16))
                out[place] = 239 + steps
                place += 1
                rest -= steps * LONGEST_STEP
            if rest >= LONG_STEP:
                steps = rest // LONG_STEP
                out[place] = 223 + steps
                place += 1
                rest -= steps * LONG_STEP
            out[place] = rest
            place += 1
    out_bounds[bounds.shape[0] - 1] = place


@njit(cache=True, nogil=True, inline="always")
def head(data: Any, low: Any, high: Any) -> Any:
    """Postings, base, width, and where codes and terms begin, of the row from ``low`` to ``high``; -1 postings: damaged."""
    if low < 0 or low > high or high > data.shape[0]:
        return np.int64(-1), np.int64(0), np.int64(0), low, low
    if low == high:
        return np.int64(0), np.int64(0), np.int64(0), low, low
    if high - low < HEAD_BYTES:
        return np.int64(-1), np.int64(0), np.int64(0), low, low
    n = np.int64(data[low]) | np.int64(data[low + 1]) << 8 | np.int64(data[low + 2]) << 16
    base, width = np.int64(data[low + 3]) | np.int64(data[low + 4]) << 8, np.int64(data[low + 5])
    codes = low + HEAD_BYTES
    terms = codes + ((n * width + 7) >> 3)
    if width > 31 or high - terms < n:
        return np.int64(-1), base, width, codes, terms
    return n, base, width, codes, terms


@njit(cache=True, nogil=True, inline="always")
def pattern(data: Any, codes: Any, i: Any, base: Any, width: Any, drop: Any) -> Any:
    """The pattern of the weight number ``i`` of a row."""
    bit = i * width
    place, shift = codes + (bit >> 3), bit & 7
    code, read = np.int64(0), 0
    while read < shift + width:
        code |= np.int64(data[place]) << read
        place += 1
        read += 8
    code = (code >> shift) & ((np.int64(1) << width) - 1)
    return np.uint32((base << 16) + (code << drop))


@njit(cache=True, nogil=True)
def unpack_rows(data: Any, begins: Any, ends: Any, drop: int, bounds: Any, terms: Any, patterns: Any) -> bool:
    """Reads rows.

    Args:
        data: uint8, the bytes of rows.
        begins: (n_rows,) int64, where each begins.
        ends: (n_rows,) int64, where it ends.
        drop: bits of the mantissa that were left out.
        bounds: (n_rows + 1,) int64, where each row is to begin in ``terms``, from the numbers of postings in the heads.
        terms: int32, written.
        patterns: uint32, written: the patterns of the weights.

    Returns:
        False when a row is damaged.
    """
    for row in range(begins.shape[0]):
        low, high = begins[row], ends[row]
        n, base, width, codes, place = head(data, low, high)
        if n < 0 or n != bounds[row + 1] - bounds[row]:
            return False
        first, i, term = bounds[row], np.int64(0), np.int64(-1)
        while place < high:
            byte = data[place]
            place += 1
            term += STEPS[byte]
            if byte < FIRST_LONG:
                if i == n or term > 2147483647:
                    return False
                terms[first + i] = term
                patterns[first + i] = pattern(data, codes, i, base, width, drop)
                i += 1
        if i != n:
            return False
    return True


@njit(cache=True, nogil=True)
def sum_packed_factors(data: Any, bounds: Any, factors: Any, covered: Any, damaged: Any, start: int, stop: int) -> None:
    """What :func:`lexite.kernels.coverage.sum_factors` adds up, for rows from ``start`` to ``stop`` that are packed.

    Args:
        data: uint8, the bytes of rows.
        bounds: (n_rows + 1,) int64, where rows begin.
        factors: (n_terms,) float64, of the query; 0 for terms that it has not.
        covered: (n_rows,) float64, filled.
        damaged: (1,) bool, set to true where a row is damaged.
        start: the first row.
        stop: their end.
    """
    for row in range(start, stop):
        high = bounds[row + 1]
        n, _, _, _, place = head(data, bounds[row], high)
        total, term = 0.0, np.int64(-1)
        if n < 0:
            damaged[0] = True
            return
        while place < high:
            byte = data[place]
            place += 1
            term += STEPS[byte]
            if byte < FIRST_LONG:
                if term >= factors.shape[0]:
                    damaged[0] = True
                    return
                total += factors[term]
        covered[row] = total
