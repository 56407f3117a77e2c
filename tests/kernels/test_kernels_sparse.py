"""Values and decoding of selected latents, and centring, against dense formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels import sparse
from lexite.kernels.topk import select_topk_reference

Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def make(n: int, d: int, latents: int, k: int, seed: int) -> Problem:
    """States, indices, encoder, bias, decoder."""
    generator = torch.Generator().manual_seed(seed)
    states, encoder, decoder = (torch.randn(rows, d, generator=generator) for rows in (n, latents, latents))
    bias = torch.randn(latents, generator=generator)
    indices = select_topk_reference(states @ encoder.t() + bias, k)
    return states, indices, encoder, bias, decoder


def dense_codes(states: torch.Tensor, indices: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(len(states), len(encoder))
    mask.scatter_add_(1, indices.clamp(min=0).long(), (indices >= 0).float())
    return torch.relu(states @ encoder.t() + bias) * mask


problems = st.builds(
    make, n=st.integers(1, 40), d=st.integers(1, 50), latents=st.integers(6, 90), k=st.integers(1, 6), seed=st.integers(0, 999)
)


@given(problems)
def test_values_and_decoding_equal_the_dense_formula(problem: Problem) -> None:
    states, indices, encoder, bias, decoder = problem
    codes = dense_codes(states, indices, encoder, bias)
    values = sparse.selected_values(states, indices, encoder, bias)
    signed = sparse.selected_values(states, indices, encoder, bias, signed=True)
    torch.testing.assert_close(torch.relu(signed), values)
    torch.testing.assert_close(values.sum(1), codes.sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values, sparse.selected_values_reference(states, indices, encoder, bias), rtol=1e-4, atol=1e-4)
    decoded = sparse.decode(values, indices, decoder)
    torch.testing.assert_close(decoded, codes @ decoder, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sparse.decode_reference(values, indices, decoder), codes @ decoder, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@given(n=st.integers(0, 300), seed=st.integers(0, 99))
def test_centred_states_and_their_sums_equal_the_reference(dtype: torch.dtype, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch, bias = torch.randn(n, 7, generator=generator).to(dtype), torch.randn(7, generator=generator)
    before, out = batch.clone(), sparse.Centred.empty(n, 7)
    result, expected = sparse.centre(batch, bias, out), sparse.centre_reference(batch, bias)
    assert torch.equal(batch, before)
    assert result is out
    assert torch.equal(result.states, expected.states)
    torch.testing.assert_close(result.squared, expected.squared, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.totals.sum(0), expected.totals.sum(0), rtol=1e-4, atol=1e-4)
