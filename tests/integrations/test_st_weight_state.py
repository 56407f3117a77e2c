"""Whatever writes to weights, and however, their state is another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.integrations.sentence_transformers.weight_state import weight_state

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@given(st.integers(1, 5), st.integers(1, 9), st.sampled_from(DTYPES), st.integers(0, 3), st.data())
def test_one_number_written_unseen_changes_the_state(rows: int, width: int, dtype: torch.dtype, shift: int, data) -> None:
    memory = torch.arange(shift + rows * width, dtype=torch.float32).to(dtype)
    matrix = memory[shift:].view(rows, width)  # may begin anywhere in the memory
    before = weight_state([matrix, None])
    assert weight_state([matrix, None]) == before and hash(before) == hash(weight_state([matrix, None]))
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, width - 1))
    matrix.data[row, column] += 4.0
    assert matrix._version == 0
    assert weight_state([matrix, None]) != before
    matrix.data[row, column] -= 4.0
    assert weight_state([matrix, None]) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda weights: weights.data.mul_(2.0),
        lambda weights: weights.data.neg_(),
        lambda weights: weights.data.copy_(weights.flip(0)),
        lambda weights: weights.detach().numpy().__iadd__(np.float32(1e-3)),
        lambda weights: weights.add_(0.0),
        lambda weights: setattr(weights, "data", weights.data.double()),
        lambda weights: setattr(weights, "data", weights.data.clone()),
    ],
    ids=["scaled", "turned", "rows in another order", "numpy", "written by torch", "another type", "moved"],
)
def test_writes_that_torch_counts_or_not(write) -> None:
    weights = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    before = weight_state([weights])
    write(weights)
    assert weight_state([weights]) != before


def test_vectors_numbers_and_what_holds_nothing() -> None:
    vector, number = torch.arange(5.0), torch.tensor(2.0)
    tensors = [vector, number, torch.zeros(0), torch.zeros(3, 0), torch.zeros(0, 4)]
    before = weight_state(tensors)
    vector.data[4] = 9.0
    changed = weight_state(tensors)
    number.data.fill_(3.0)
    assert len({before, changed, weight_state(tensors)}) == 3


def test_tensors_of_inference_mode() -> None:
    with torch.inference_mode():
        weights = torch.ones(3, 4)
        before = weight_state([weights])
        weights.mul_(3.0)
        assert weight_state([weights]) != before
