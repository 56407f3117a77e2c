"""Weights with a shorter mantissa, against the types of numpy and torch that have one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.scoring.rounding import FULL_MANTISSA, rounded_weights

WEIGHTS = st.floats(np.float32(1e-30), np.float32(1e18), width=32)
MANTISSAS = st.integers(1, FULL_MANTISSA)


@given(st.lists(WEIGHTS), MANTISSAS)
def test_the_relative_error_is_bounded_and_order_is_kept(weights: list[float], mantissa: int) -> None:
    given_weights = np.sort(np.array(weights, dtype=np.float32))
    rounded = rounded_weights(given_weights, mantissa)
    assert rounded.dtype == np.float32 and np.all(np.diff(rounded) >= 0)
    assert np.all(np.abs(rounded.astype(np.float64) / given_weights - 1) <= 2.0 ** -(mantissa + 1))
    assert np.array_equal(rounded_weights(rounded, mantissa), rounded)
    assert np.all(rounded.view(np.uint32) % (1 << (FULL_MANTISSA - mantissa)) == 0)


@given(st.lists(WEIGHTS))
def test_seven_bits_are_those_of_bfloat16(weights: list[float]) -> None:
    torch = pytest.importorskip("torch")
    given_weights = np.array(weights, dtype=np.float32)
    expected = torch.from_numpy(given_weights).to(torch.bfloat16).to(torch.float32).numpy()
    assert np.array_equal(rounded_weights(given_weights, 7), expected)


@given(st.lists(st.floats(np.float32(1e-3), np.float32(6e4), width=32)))
def test_ten_bits_are_those_of_float16(weights: list[float]) -> None:
    given_weights = np.array(weights, dtype=np.float32)
    assert np.array_equal(rounded_weights(given_weights, 10), given_weights.astype(np.float16).astype(np.float32))


def test_no_weight_becomes_nothing() -> None:
    tiny = np.array([1e-45, 1e-38], dtype=np.float32)
    assert np.all(rounded_weights(tiny, 7) > 0)
    assert rounded_weights(tiny, FULL_MANTISSA) is tiny
