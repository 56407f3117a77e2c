"""Gradients of the loops over selected latents are those of dense products that torch differentiates by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.kernels import autograd
from lexite.kernels.autograd import decoded, jump_relu, selected_preactivations, sum_by_latent, sum_by_latent_reference

shapes = st.tuples(st.integers(0, 9), st.integers(1, 12), st.integers(1, 14), st.integers(1, 6), st.integers(0, 2**16))


def draw(shape: tuple[int, int, int, int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, indices with unused slots, weight, bias, values with zeros among them; no latent twice for a token."""
    n, d_model, n_latents, k, seed = shape
    k = min(k, n_latents)
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, d_model, generator=generator)
    indices = torch.rand(n, n_latents, generator=generator).argsort(1)[:, :k].to(torch.int32)
    indices[torch.rand(n, k, generator=generator) < 0.3] = -1
    values = torch.relu(torch.randn(n, k, generator=generator))
    weight = torch.randn(n_latents, d_model, generator=generator)
    return states, indices, weight, torch.randn(n_latents, generator=generator), values


def leaves(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.clone().requires_grad_() for tensor in tensors]


def gradients(result: torch.Tensor, inputs: list[torch.Tensor], upstream: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad((result * upstream).sum(), inputs))


def one_hot(indices: torch.Tensor, n_latents: int) -> torch.Tensor:
    """(n, k, n_latents) which latent each slot is; zeros for unused slots."""
    return (indices[..., None] == torch.arange(n_latents)).float()


def dense_preactivations(states, indices, weight, bias):
    wide = states @ weight.t() + bias
    return torch.einsum("nf,nkf->nk", wide, one_hot(indices, len(weight)))


def dense_decoded(values, indices, weight):
    return torch.einsum("nk,nkf->nf", values, one_hot(indices, len(weight))) @ weight


@given(shapes)
@settings(max_examples=40)
def test_preactivations_and_their_gradients_are_those_of_the_dense_product(shape) -> None:
    states, indices, weight, bias, _ = draw(shape)
    upstream = torch.randn(indices.shape)
    own, dense = leaves(states, weight, bias), leaves(states, weight, bias)
    result = selected_preactivations(own[0], indices, own[1], own[2])
    expected = dense_preactivations(dense[0], indices, dense[1], dense[2])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    assert not result[indices < 0].any()
    for mine, theirs in zip(gradients(result, own, upstream), gradients(expected, dense, upstream), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@given(shapes)
@settings(max_examples=40)
def test_decoding_and_its_gradients_are_those_of_the_dense_product(shape) -> None:
    states, indices, weight, _, values = draw(shape)
    own, dense = leaves(values, weight), leaves(values, weight)
    result, expected = decoded(own[0], indices, own[1]), dense_decoded(dense[0], indices, dense[1])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(gradients(result, own, states), gradients(expected, dense, states), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@given(shapes)
@settings(max_examples=40)
def test_sums_by_latent_are_those_of_the_dense_product_compiled_and_plain(shape) -> None:
    states, indices, weight, _, values = draw(shape)
    expected = torch.einsum("nk,nkf,nd->fd", values, one_hot(indices, len(weight)), states)
    for function in (sum_by_latent, sum_by_latent_reference):
        torch.testing.assert_close(function(values, indices, states, len(weight)), expected, rtol=1e-4, atol=1e-5)


def test_the_plain_functions_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on an accelerator, run here."""
    states, indices, weight, bias, values = draw((40, 12, 30, 5, 1))
    upstream = torch.randn(indices.shape)

    def all_gradients() -> list[torch.Tensor]:
        own, code = leaves(states, weight, bias), leaves(values, weight)
        first = gradients(selected_preactivations(own[0], indices, own[1], own[2]), own, upstream)
        return [*first, *gradients(decoded(code[0], indices, code[1]), code, states)]

    compiled = all_gradients()
    monkeypatch.setattr("lexite.kernels.sparse.on_cpu", lambda tensor: False)
    monkeypatch.setattr(autograd, "on_cpu", lambda tensor: False)
    for plain, quick in zip(all_gradients(), compiled, strict=True):
        torch.testing.assert_close(plain, quick, rtol=1e-4, atol=1e-5)


def test_only_what_needs_a_gradient_gets_one() -> None:
    states, indices, weight, bias, values = draw((8, 6, 10, 3, 2))
    trained = weight.clone().requires_grad_()
    selected_preactivations(states, indices, trained, bias).sum().backward()
    assert states.grad is None and bias.grad is None and trained.grad is not None
    code = values.clone().requires_grad_()
    decoded(code, indices, weight).sum().backward()
    assert code.grad is not None and weight.grad is None


def test_a_gradient_that_is_a_view_is_taken() -> None:
    """An upstream gradient of a sum is one number expanded, which compiled loops cannot read."""
    states, indices, weight, _, values = draw((7, 5, 9, 3, 3))
    code = values.clone().requires_grad_()
    decoded(code, indices, weight).sum().backward()
    expected = torch.where(indices >= 0, weight.sum(1)[indices.clamp(min=0).long()], 0.0)
    torch.testing.assert_close(code.grad, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("preactivation", "by_preactivation", "by_threshold"),
    [(0.30, 1.0, 0.0), (0.14, 1.0, -2.0), (0.09, 0.0, -2.0), (0.02, 0.0, 0.0), (-0.5, 0.0, 0.0)],
)
def test_jump_relu_has_the_straight_through_derivative(preactivation, by_preactivation, by_threshold) -> None:
    """θ = 0.1, ε = 0.1 and an upstream gradient of 2: -(θ / ε) 2 within θ ± ε / 2, nothing outside (equation 11)."""
    u, theta = torch.tensor([[preactivation]], requires_grad=True), torch.tensor([[0.1]], requires_grad=True)
    value = jump_relu(u, theta, 0.1)
    assert value.item() == pytest.approx(preactivation if preactivation > 0.1 else 0.0)
    (2 * value).sum().backward()
    assert u.grad is not None and theta.grad is not None
    assert u.grad.item() == 2 * by_preactivation
    assert theta.grad.item() == pytest.approx(by_threshold)
