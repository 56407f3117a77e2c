from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.checks import check_weights
from lexite.index.covered_factors import covered_factors, covered_factors_plainly
from lexite.index.packed_rows import packed
from lexite.index.segment import Segment, segment_in_memory
from lexite.index.stored_rows import PackedRows


def segment_of(n_rows: int, n_terms: int, seed: int) -> Segment:
    from scipy.sparse import random_array

    generator = np.random.default_rng(seed)
    rows = random_array((n_rows, n_terms), density=0.3, format="csr", rng=generator, dtype=np.float64).astype(np.float32)
    return segment_in_memory(check_weights(rows, n_terms, str), n_terms, [str(row).encode() for row in range(n_rows)])


def packed_segment_of(n_rows: int, n_terms: int, seed: int) -> Segment:
    segment = segment_of(n_rows, n_terms, seed)
    entries = segment.rows.span(0, n_rows)
    data, bounds = packed(entries, 23)
    return dataclasses.replace(segment, rows=PackedRows(bounds, data, len(entries.terms), 23))


@pytest.mark.parametrize("make", [segment_of, packed_segment_of])
@given(n_rows=st.integers(0, 300), n_terms=st.integers(1, 40), seed=st.integers(0, 99))
def test_sums_are_those_of_the_plain_way_and_of_a_loop(
    make: Callable[[int, int, int], Segment], n_rows: int, n_terms: int, seed: int
) -> None:
    segment = make(n_rows, n_terms, seed)
    factors = np.random.default_rng(seed).random(n_terms) * (np.arange(n_terms) % 2)
    expected = [sum(factors[term] for term in segment.row(row)[0]) for row in range(n_rows)]
    np.testing.assert_allclose(covered_factors(segment, factors), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(covered_factors_plainly(segment, factors), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [segment_of, packed_segment_of])
@pytest.mark.parametrize("way", [covered_factors, covered_factors_plainly])
def test_a_term_that_there_is_not_is_damage(
    way: Callable[[Segment, NDArray[np.float64]], NDArray[np.float64]], make: Callable[[int, int, int], Segment]
) -> None:
    segment = make(50, 30, 1)
    with pytest.raises(IndexFormatError, match="damaged"):
        way(segment, np.ones(int(segment.rows.span(0, 50).terms.max())))
    bounds = segment.rows.bounds.copy()
    bounds[7] = bounds[-1] + 1
    segment = dataclasses.replace(segment, rows=dataclasses.replace(segment.rows, bounds=bounds))
    with pytest.raises(IndexFormatError, match="damaged"):
        way(segment, np.ones(30))
