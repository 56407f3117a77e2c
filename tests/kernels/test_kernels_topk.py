"""The selection of the k largest positive entries, against a full sort."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels.topk import empty_best, merge_topk, select_topk, select_topk_reference

DTYPES = [torch.bfloat16, torch.float16, torch.float32]


@given(
    rows=st.integers(0, 9),
    columns=st.integers(1, 700),
    k=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
    shift=st.sampled_from([-3.0, 0.0, 2.0]),
)
def test_equals_a_full_sort_with_ties_to_the_lower_index(
    rows: int, columns: int, k: int, dtype: torch.dtype, seed: int, shift: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Rounded to halves, so that there are many exact ties, zeros of both signs and rows with fewer than k positive entries.
    values = ((torch.randn(rows, columns, generator=generator) + shift) * 2).round() / 2
    entries = values.to(dtype)
    assert torch.equal(select_topk(entries, min(k, columns)), select_topk_reference(entries, min(k, columns)))


@given(
    columns=st.integers(1, 300),
    k=st.integers(1, 20),
    width=st.integers(1, 90),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_columns_may_come_in_parts(columns: int, k: int, width: int, dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    entries = ((torch.randn(5, columns, generator=generator) * 2).round() / 2).to(dtype)
    k = min(k, columns)
    indices = torch.empty(5, k, dtype=torch.int32)
    best = empty_best(entries, indices)
    for start in range(0, columns, width):
        merge_topk(entries[:, start : start + width].contiguous(), start, best, indices)
    assert torch.equal(indices, select_topk_reference(entries, k))


@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_rows_over_several_threads(dtype: torch.dtype) -> None:
    entries = torch.randn(300, 8192 + 13, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(select_topk(entries, 16), select_topk_reference(entries, 16))


def test_rows_without_a_positive_entry_select_nothing() -> None:
    entries = torch.tensor([[-1.0, -2.0, 0.0], [-0.0, 3.0, -1.0]])
    assert select_topk(entries, 2).tolist() == [[-1, -1], [1, -1]]


def test_infinity_is_the_largest() -> None:
    entries = torch.tensor([[1.0, float("inf"), 5.0]], dtype=torch.bfloat16)
    assert select_topk(entries, 2).tolist() == [[1, 2]]
