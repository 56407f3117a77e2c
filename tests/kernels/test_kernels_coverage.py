from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.errors import IndexFormatError
from lexite.index.checks import check_weights
from lexite.index.covered_factors import covered_factors, covered_factors_plainly
from lexite.index.segment import Segment, segment_in_memory


def segment_of(n_rows: int, n_terms: int, seed: int) -> Segment:
    from scipy.sparse import random_array

    generator = np.random.default_rng(seed)
    rows = random_array((n_rows, n_terms), density=0.3, format="csr", rng=generator, dtype=np.float64).astype(np.float32)
    return segment_in_memory(check_weights(rows, n_terms, str), n_terms, [str(row).encode() for row in range(n_rows)])


@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 99))
def test_sums_are_those_of_the_plain_way_and_of_a_loop(n_rows: int, n_terms: int, seed: int) -> None:
    segment = segment_of(n_rows, n_terms, seed)
    factors = np.random.default_rng(seed).random(n_terms) * (np.arange(n_terms) % 2)
    expected = [sum(factors[term] for term in segment.row(row)[0]) for row in range(n_rows)]
    np.testing.assert_allclose(covered_factors(segment, factors), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(covered_factors_plainly(segment, factors), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("way", [covered_factors, covered_factors_plainly])
def test_a_term_that_there_is_not_is_damage(way) -> None:
    segment = segment_of(50, 30, 1)
    with pytest.raises(IndexFormatError, match="damaged"):
        way(segment, np.ones(int(segment.row_terms.max())))
    bounds = segment.row_bounds.copy()
    bounds[7] = len(segment.row_terms) + 1
    object.__setattr__(segment, "row_bounds", bounds)
    with pytest.raises(IndexFormatError, match="damaged"):
        way(segment, np.ones(30))
