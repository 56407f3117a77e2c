"""Keeping the largest entries of rows, against a sort."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels.keep import keep_largest, keep_largest_reference


@given(
    n=st.integers(0, 6),
    m=st.integers(1, 300),
    k=st.integers(1, 320),
    seed=st.integers(0, 999),
    steps=st.sampled_from([0, 2, 1000]),
)
def test_rows_keep_what_a_sort_keeps(n: int, m: int, k: int, seed: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.relu(torch.randn(n, m, generator=generator)) * 10.0 ** torch.randint(-8, 8, (n, 1), generator=generator)
    if steps:  # ties
        codes = (codes.clamp(max=3) * steps).round() / steps
    expected = keep_largest_reference(codes, k)
    given_rows = codes.clone()
    assert keep_largest(given_rows, k) is given_rows
    assert torch.equal(given_rows, expected)


def test_of_equal_entries_the_first_are_kept() -> None:
    assert keep_largest(torch.tensor([[1.0, 3.0, 0.0, 2.0], [1.0, 1.0, 1.0, 0.0]]), 2).tolist() == [[0, 3, 0, 2], [1, 1, 0, 0]]
