"""Rows of weights in few bytes, as ``lexite.kernels.packed_rows`` describes them: packing, and reading by what is at hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.ids import VERIFY
from lexite.kernels.posting_lists import FIRST_LONG, HEAD_BYTES, STEPS
from lexite.scoring.rounding import FULL_MANTISSA

WIDEST = 31  # bits of a code
TERMS = 1 << 31


class Entries(NamedTuple):
    """The entries of some rows.

    Attributes:
        bounds: (n_rows + 1,) int64, where the entries of each row begin; the first is 0.
        terms: ascending within a row.
        weights: float32, raw.
    """

    bounds: NDArray[np.int64]
    terms: NDArray[Any]
    weights: NDArray[np.float32]


def damaged_rows(place: Path | None) -> IndexFormatError:
    """The error for rows or lists that cannot be, with the folder of their segment; None in memory."""
    return IndexFormatError(f"The rows of {place or 'the index'} are damaged. {VERIFY}")


def packed(entries: Entries, mantissa: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of rows, and where each row begins in them.

    Args:
        entries: with weights that are rounded to the mantissa (:func:`lexite.scoring.rounding.rounded_weights`).
        mantissa: its bits.

    Returns:
        (n_bytes,) and (n_rows + 1,).
    """
    from lexite.kernels.packed_rows import most_bytes, pack_rows

    terms = entries.terms.astype(np.int32, copy=False)
    n_rows, n_terms = len(entries.bounds) - 1, int(terms.max()) + 1 if len(terms) else 0
    out, bounds = np.empty(most_bytes(n_rows, len(terms), n_terms), np.uint8), np.empty(n_rows + 1, np.int64)
    patterns = np.ascontiguousarray(entries.weights).view(np.uint32)
    pack_rows(entries.bounds, terms, patterns, FULL_MANTISSA - mantissa, out, bounds)
    return out[: bounds[-1]], bounds


def sizes_of(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], place: Path | None
) -> NDArray[np.int64]:
    """The number of postings of rows, from their heads.

    Args:
        data: the bytes of rows.
        begins: (n,) where rows begin.
        ends: (n,) where they end.
        place: the folder, for an error.

    Raises:
        IndexFormatError: bounds or heads are damaged.
    """
    lengths, sizes = ends - begins, np.zeros(len(begins), dtype=np.int64)
    filled = np.flatnonzero(lengths)
    low = begins[filled]
    if np.any(begins < 0) or np.any(ends > len(data)) or np.any(lengths[filled] < HEAD_BYTES):
        raise damaged_rows(place)
    sizes[filled] = data[low] | data[low + 1].astype(np.int64) << 8 | data[low + 2].astype(np.int64) << 16
    if np.any(sizes[filled] > lengths[filled] - HEAD_BYTES):
        raise damaged_rows(place)
    return sizes


def bits_of(data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], place: Path | None) -> tuple[int, int]:
    """The bits of all weights of rows together, and how many these are; arguments and errors are those of :func:`sizes_of`."""
    sizes = sizes_of(data, begins, ends, place)
    filled = ends > begins
    return int((sizes[filled] * data[begins[filled] + 5]).sum()), int(sizes.sum())


def unpacked(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], mantissa: int, place: Path | None
) -> Entries:
    """The entries of rows; by compiled code where that is loaded already.

    Args:
        data: the bytes of rows.
        begins: (n,) where the rows that are asked for begin.
        ends: (n,) where they end.
        mantissa: bits of the mantissa of their weights.
        place: the folder, for an error.

    Raises:
        IndexFormatError: a row is damaged.
    """
    bounds = np.concatenate([[0], np.cumsum(sizes_of(data, begins, ends, place))]).astype(np.int64)
    unpack = _unpack_compiled if "numba" in sys.modules else unpack_plainly
    found = unpack(data, begins, ends, mantissa, bounds)
    if found is None:
        raise damaged_rows(place)
    return Entries(bounds, *found)


def _unpack_compiled(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], mantissa: int, bounds: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    from lexite.kernels.packed_rows import unpack_rows

    terms, patterns = np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.uint32)
    whole = unpack_rows(data, begins, ends, FULL_MANTISSA - mantissa, bounds, terms, patterns)
    return (terms, patterns.view(np.float32)) if whole else None


def unpack_plainly(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], mantissa: int, bounds: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """Terms and weights of rows, by numpy; None where a row is damaged.

    Args:
        data: the bytes of rows.
        begins: (n,) where the rows begin.
        ends: (n,) where they end.
        mantissa: bits of the mantissa of their weights.
        bounds: (n + 1,) where their entries begin, from :func:`sizes_of`.
    """
    filled = np.flatnonzero(ends > begins)
    low, high, n = begins[filled], ends[filled], np.diff(bounds)[filled]
    width = data[low + 5].astype(np.int64)
    first_byte = low + HEAD_BYTES + ((n * width + 7) >> 3)
    lengths = high - first_byte
    if not len(filled):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    if np.any(width > WIDEST) or np.any(lengths < np.maximum(n, 1)):
        return None
    terms = _terms(data, first_byte, lengths, n)
    return None if terms is None else (terms, _weights(data, low, n, width, FULL_MANTISSA - mantissa))


def _terms(
    data: NDArray[np.uint8], first: NDArray[np.int64], lengths: NDArray[np.int64], n: NDArray[np.int64]
) -> NDArray[np.int32] | None:
    starts = np.cumsum(lengths) - lengths
    read = data[np.repeat(first - starts, lengths) + np.arange(lengths.sum())]
    steps, ending = STEPS[read], read < FIRST_LONG
    if not np.array_equal(np.add.reduceat(ending.astype(np.int64), starts), n):
        return None
    reached = np.cumsum(steps)
    reached -= np.repeat(reached[starts] - steps[starts], lengths)
    terms = reached[ending] - 1
    return terms.astype(np.int32) if len(terms) == 0 or int(terms.max()) < TERMS else None


def _weights(
    data: NDArray[np.uint8], low: NDArray[np.int64], n: NDArray[np.int64], width: NDArray[np.int64], drop: int
) -> NDArray[np.float32]:
    base = data[low + 3] | data[low + 4].astype(np.int64) << 8
    starts = np.cumsum(n) - n
    bits = (np.arange(n.sum()) - np.repeat(starts, n)) * np.repeat(width, n)
    at, codes = np.repeat(low + HEAD_BYTES, n) + (bits >> 3), np.zeros(len(bits), dtype=np.int64)
    for byte in range((int(width.max()) + 14) // 8):  # a code may lie across a byte more than it fills
        codes |= data[np.minimum(at + byte, len(data) - 1)].astype(np.int64) << (8 * byte)
    codes = (codes >> (bits & 7)) & np.repeat((1 << width) - 1, n)
    return ((np.repeat(base, n) << 16) + (codes << drop)).astype(np.uint32).view(np.float32)
