"""Packed rows: what is written is read again, by compiled code, by numpy, and by the words of the format's page."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.packed_rows import Entries, packed, sizes_of, unpack_plainly, unpacked
from lexite.scoring.rounding import rounded_weights

MANTISSAS = st.sampled_from([1, 6, 7, 10, 22, 23])


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entries, int]:
    mantissa = draw(MANTISSAS)
    highest = draw(st.sampled_from([5, 400, 70_000, 3_000_000]))
    rows = draw(st.lists(st.lists(st.integers(0, highest), unique=True, max_size=40), max_size=6))
    sizes = [len(row) for row in rows]
    terms = np.array([term for row in rows for term in sorted(row)], dtype=np.int32)
    weights = draw(st.lists(st.floats(np.float32(1e-20), np.float32(1e18), width=32), min_size=len(terms), max_size=len(terms)))
    rounded = rounded_weights(np.array(weights, dtype=np.float32), mantissa)
    return Entries(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64), terms, rounded), mantissa


def read_by_the_page(row: bytes, mantissa: int) -> tuple[list[int], list[float]]:
    """A row, read as docs/index-format.md says it."""
    if not row:
        return [], []
    n, base, width = int.from_bytes(row[:3], "little"), int.from_bytes(row[3:5], "little"), row[5]
    codes = int.from_bytes(row[6 : 6 + (n * width + 7) // 8], "little")
    patterns = [(base << 16) + (((codes >> (i * width)) & ((1 << width) - 1)) << (23 - mantissa)) for i in range(n)]
    term, terms = -1, []
    for byte in row[6 + (n * width + 7) // 8 :]:
        if byte < 224:
            term += byte + 1
            terms.append(term)
        else:
            term += (byte - 223) * 224 if byte < 240 else (byte - 239) * 3808
    return terms, np.array(patterns, dtype=np.uint32).view(np.float32).tolist()


@given(entries())
def test_rows_come_back(given_rows: tuple[Entries, int]) -> None:
    rows, mantissa = given_rows
    data, bounds = packed(rows, mantissa)
    read = unpacked(data, bounds[:-1], bounds[1:], mantissa, None)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(read, rows, strict=True))
    plainly = unpack_plainly(data, bounds[:-1], bounds[1:], mantissa, rows.bounds)
    assert plainly is not None
    assert np.array_equal(plainly[0], rows.terms) and np.array_equal(plainly[1], rows.weights)
    for row in range(len(bounds) - 1):
        terms, weights = read_by_the_page(data[bounds[row] : bounds[row + 1]].tobytes(), mantissa)
        own = slice(rows.bounds[row], rows.bounds[row + 1])
        assert terms == rows.terms[own].tolist() and weights == rows.weights[own].tolist()


@given(entries(), st.data())
def test_rows_come_in_any_order(given_rows: tuple[Entries, int], data: st.DataObject) -> None:
    rows, mantissa = given_rows
    content, bounds = packed(rows, mantissa)
    n_rows = len(bounds) - 1
    order = np.array(data.draw(st.lists(st.integers(0, n_rows - 1), max_size=8)) if n_rows else [], dtype=np.int64)
    read = unpacked(content, bounds[:-1][order], bounds[1:][order], mantissa, None)
    for place, row in enumerate(order):
        mine, theirs = slice(*read.bounds[place : place + 2]), slice(*rows.bounds[row : row + 2])
        assert np.array_equal(read.terms[mine], rows.terms[theirs])
        assert np.array_equal(read.weights[mine], rows.weights[theirs])


def test_a_posting_takes_a_byte_and_the_bits_that_its_row_needs() -> None:
    weights = np.linspace(1.0, 255.0, 500, dtype=np.float32)  # eight octaves of 128 numbers
    rows = Entries(np.array([0, 500]), np.arange(0, 16_000, 32, dtype=np.int32), rounded_weights(weights, 7))
    assert len(packed(rows, 7)[0]) == 6 + 500 * 10 // 8 + 500
    assert len(packed(Entries(rows.bounds, rows.terms, np.ones(500, np.float32)), 7)[0]) == 6 + 500


def damaged(data: NDArray[np.uint8], place: int, byte: int) -> NDArray[np.uint8]:
    return np.concatenate([data[:place], np.array([byte], np.uint8), data[place + 1 :]])


def test_damage_is_noticed_by_both_readers() -> None:
    rows = Entries(np.array([0, 3, 5]), np.array([1, 2, 900, 0, 7], np.int32), np.array([1, 2, 3, 1, 1], np.float32))
    data, bounds = packed(rows, 7)
    begins, ends = bounds[:-1], bounds[1:]
    spoiled = [damaged(data, 0, 2), damaged(data, 0, 255), damaged(data, 5, 32), damaged(data, len(data) - 1, 240)]
    for content in spoiled:
        with pytest.raises(IndexFormatError, match=r"rows of the index are damaged.*--verify"):
            unpacked(content, begins, ends, 7, None)
        try:
            sizes = sizes_of(content, begins, ends, None)
        except IndexFormatError:
            continue
        assert unpack_plainly(content, begins, ends, 7, np.concatenate([[0], np.cumsum(sizes)])) is None
    for low, high in ((-1, 5), (0, len(data) + 1), (0, 3), (9, 4)):
        with pytest.raises(IndexFormatError, match="damaged"):
            unpacked(data, np.array([low]), np.array([high]), 7, None)
