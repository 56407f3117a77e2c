"""Loops over selected latents, against dense formulas and torch's autograd."""

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
    torch.testing.assert_close(values.sum(1), codes.sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values, sparse.selected_values_reference(states, indices, encoder, bias), rtol=1e-4, atol=1e-4)
    decoded = sparse.decode(values, indices, decoder)
    torch.testing.assert_close(decoded, codes @ decoder, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sparse.decode_reference(values, indices, decoder), codes @ decoder, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("reference", [False, True])
@given(problem=problems)
def test_gradients_equal_autograd(reference: bool, problem: Problem) -> None:
    states, indices, encoder, bias, decoder = problem
    n_latents, scale = len(encoder), 0.3
    leaves = [tensor.clone().requires_grad_() for tensor in (encoder, bias, decoder)]
    codes = dense_codes(states, indices, leaves[0], leaves[1])
    errors = codes @ leaves[2] - states
    (scale * errors.square().sum()).backward()

    result = (sparse.reconstruct_reference if reference else sparse.reconstruct)(states, indices, encoder, bias, decoder, scale)
    torch.testing.assert_close(result.errors, errors.detach(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(result.squared, errors.detach().square().sum(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(result.totals.sum(0), errors.detach().sum(0), rtol=1e-3, atol=1e-3)
    out = sparse.LatentGradients(
        torch.full_like(encoder, 9.0), torch.full_like(decoder, 9.0), torch.full_like(bias, 9.0), torch.zeros(n_latents).long()
    )
    gather = sparse.latent_gradients_reference if reference else sparse.latent_gradients
    gather(states, indices, result, n_latents, scale, out)
    active = (codes.detach() > 0).sum(0)
    assert torch.equal(out.counts, active)
    used = active > 0
    for mine, leaf in zip((out.encoder, out.bias, out.decoder), leaves, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(mine[used], leaf.grad[used], rtol=1e-3, atol=1e-3)
        assert not leaf.grad[~used].any()  # rows that are not written have no gradient
    assert not out.bias[~used].any()


def test_gradients_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    states, indices, encoder, bias, decoder = make(500, 32, 700, 8, 3)
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("LEXITE_THREADS", threads)
        passed = sparse.reconstruct(states, indices, encoder, bias, decoder, 0.1)
        out = sparse.LatentGradients(
            torch.zeros_like(encoder), torch.zeros_like(decoder), torch.zeros_like(bias), torch.zeros(700).long()
        )
        sparse.latent_gradients(states, indices, passed, 700, 0.1, out)
        results.append((passed.values, out.encoder, out.decoder))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_grouping_keeps_the_order_of_tokens() -> None:
    indices = torch.tensor([[2, 0], [0, -1], [2, 1]], dtype=torch.int32)
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0], [4.0, 0.0]])  # a selected latent whose value is zero is not active
    starts, entries = sparse.group_by_latent(indices, values, 3)
    assert starts.tolist() == [0, 2, 2, 4]
    assert entries[:4].tolist() == [1, 2, 0, 4]


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


def test_memory_of_an_earlier_pass_leaves_no_trace() -> None:
    first, second = make(200, 24, 60, 4, 1), make(200, 24, 60, 4, 2)
    kept = sparse.reconstruct(*first, 0.1)
    again = sparse.reconstruct(*second, 0.1, kept)
    fresh = sparse.reconstruct(*second, 0.1)
    assert again is kept
    for name in ("values", "value_gradients", "errors", "squared", "totals"):
        assert torch.equal(getattr(again, name), getattr(fresh, name))
