"""Reconstruction and gradients over chosen latents, nested dictionaries included, against torch's autograd on dense tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels import gradients, rescaling
from lexite.kernels.gradients import LatentGradients
from lexite.kernels.slots import Slots, slot_values


class Problem:
    """Ragged slots over random states; activations are pre-activations as they are, signed."""

    def __init__(self, n: int, d: int, latents: int, prefixes: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.states, self.encoder, self.decoder = (torch.randn(rows, d, generator=generator) for rows in (n, latents, latents))
        self.bias = torch.randn(latents, generator=generator)
        self.mask = torch.rand(n, latents, generator=generator) < 0.15
        self.mask[: n // 4] = False  # tokens without a latent
        self.groups = (torch.arange(latents) * prefixes // latents).to(torch.uint8)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), self.mask.sum(1).cumsum(0)])
        self.slots = Slots(starts, self.mask.nonzero()[:, 1].to(torch.int32))
        self.values = slot_values(self.states, self.slots, self.encoder, self.bias)


problems = st.builds(
    Problem,
    n=st.integers(1, 40),
    d=st.integers(1, 50),
    latents=st.integers(6, 90),
    prefixes=st.integers(1, 4),
    seed=st.integers(0, 999),
)


def empty(latents: int, d: int) -> LatentGradients:
    """Buffers full of what an earlier step left."""
    out = LatentGradients.empty(latents, d)
    for tensor in (out.encoder, out.decoder, out.bias, out.counts, out.active):
        tensor.fill_(9)
    return out


@pytest.mark.parametrize("reference", [False, True])
@given(problem=problems)
def test_gradients_equal_autograd(reference: bool, problem: Problem) -> None:
    p, scale = problem, 0.3
    leaves = [tensor.clone().requires_grad_() for tensor in (p.encoder, p.bias, p.decoder)]
    codes = (p.states @ leaves[0].t() + leaves[1]) * p.mask
    prefixes = int(p.groups[-1]) + 1
    errors = [(codes * (p.groups <= last)) @ leaves[2] - p.states for last in range(prefixes)]
    (scale / prefixes * sum(e.square().sum() for e in errors)).backward()

    run = gradients.reconstruct_reference if reference else gradients.reconstruct
    result = run(p.states, p.slots, p.values, p.decoder, p.groups, scale)
    for number, error in enumerate(errors):
        torch.testing.assert_close(result.squared[:, number], error.detach().square().sum(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(result.whole_errors, errors[-1].detach(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(result.totals.sum(0), sum(errors).detach().sum(0) / prefixes, rtol=1e-3, atol=1e-3)  # type: ignore[union-attr]
    out = empty(*p.encoder.shape)
    gather = gradients.latent_gradients_reference if reference else gradients.latent_gradients
    gather(p.states, p.slots, p.values, result.gradients, result.errors, p.groups, scale, out)
    active = p.mask.sum(0)
    assert torch.equal(out.counts, active)
    assert torch.equal(out.active, active)
    used = active > 0
    for mine, leaf in zip((out.encoder, out.bias, out.decoder), leaves, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(mine[used], leaf.grad[used], rtol=1e-3, atol=1e-3)
        assert not leaf.grad[~used].any()  # rows that are not written have no gradient
    assert not out.bias[~used].any()


@given(first=problems, seed=st.integers(0, 99))
def test_a_second_pass_adds_to_the_first(first: Problem, seed: int) -> None:
    p, generator = first, torch.Generator().manual_seed(seed)
    half = torch.rand(len(p.values), generator=generator) < 0.5
    parts = [torch.where(half, p.values, 0.0), torch.where(half, 0.0, p.values)]
    result = gradients.reconstruct(p.states, p.slots, p.values, p.decoder, p.groups, 0.5)
    whole, split, reference = (empty(*p.encoder.shape) for _ in range(3))
    gradients.latent_gradients(p.states, p.slots, p.values, p.values, result.errors, p.groups, 0.5, whole)
    for out, run in ((split, gradients.latent_gradients), (reference, gradients.latent_gradients_reference)):
        run(p.states, p.slots, parts[0], parts[0], result.errors, p.groups, 0.5, out)
        first_active = out.active.clone()
        run(p.states, p.slots, parts[1], parts[1], result.errors, p.groups, 0.5, out, more=True)
        assert torch.equal(out.active, first_active)
        assert torch.equal(out.counts, whole.counts)
        used = whole.counts > 0
        for name in ("encoder", "decoder", "bias"):
            torch.testing.assert_close(getattr(out, name)[used], getattr(whole, name)[used], rtol=1e-3, atol=1e-3)


def test_a_slot_without_activation_may_have_a_derivative() -> None:
    slots = Slots(torch.tensor([0, 2]), torch.tensor([1, 0], dtype=torch.int32))
    out = empty(3, 2)
    errors, groups = torch.ones(1, 1, 2), torch.zeros(3, dtype=torch.uint8)
    values, derivatives = torch.tensor([0.0, 2.0]), torch.tensor([3.0, 0.0])
    gradients.latent_gradients(torch.tensor([[1.0, 2.0]]), slots, values, derivatives, errors, groups, 0.5, out)
    assert out.counts.tolist() == [1, 1, 0]
    assert out.active.tolist() == [1, 0, 0]
    assert out.encoder[:2].tolist() == [[0.0, 0.0], [3.0, 6.0]]
    assert out.decoder[:2].tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_gradients_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    p = Problem(500, 32, 700, 3, 3)
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("LEXITE_THREADS", threads)
        passed = gradients.reconstruct(p.states, p.slots, p.values, p.decoder, p.groups, 0.1)
        out = LatentGradients.empty(700, 32)
        gradients.latent_gradients(p.states, p.slots, p.values, passed.gradients, passed.errors, p.groups, 0.1, out)
        results.append((passed.errors, passed.gradients, out.encoder, out.decoder))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_grouping_keeps_the_order_of_tokens() -> None:
    slots = Slots(torch.tensor([0, 2, 3, 5]), torch.tensor([2, 0, 0, 2, 1], dtype=torch.int32))
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.0])  # a chosen latent with neither value nor derivative is left out
    starts, entries = gradients.group_by_latent(slots, values, torch.zeros(5), 3)
    assert starts.tolist() == [0, 2, 2, 4]
    assert entries[:4].tolist() == [1, 2, 0, 3]


def test_memory_of_an_earlier_pass_leaves_no_trace() -> None:
    first, second = Problem(200, 24, 60, 2, 1), Problem(200, 24, 60, 2, 2)
    kept = gradients.reconstruct(first.states, first.slots, first.values, first.decoder, first.groups, 0.1)
    again = gradients.reconstruct(second.states, second.slots, second.values, second.decoder, second.groups, 0.1, kept)
    fresh = gradients.reconstruct(second.states, second.slots, second.values, second.decoder, second.groups, 0.1)
    assert again.errors is kept.errors
    for name in ("gradients", "errors", "squared", "totals"):
        assert torch.equal(getattr(again, name), getattr(fresh, name))


@given(problem=problems)
def test_free_atoms_compiled_and_plain_agree(problem: Problem) -> None:
    p = problem
    decoder = p.decoder * torch.linspace(0.1, 3, len(p.decoder))[:, None]
    for dtype in (torch.bfloat16, torch.float32):
        mirror = torch.zeros(len(decoder), decoder.shape[1] + 3, dtype=dtype)
        mine = rescaling.effective(p.encoder, p.bias, decoder, None, mirror)
        expected = rescaling.effective_reference(p.encoder, p.bias, decoder)
        for name in ("encoder", "bias", "atoms", "norms"):
            torch.testing.assert_close(getattr(mine, name), getattr(expected, name), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mirror[:, : decoder.shape[1]].float(), mine.encoder.to(dtype).float())
    out = [LatentGradients.empty(*decoder.shape) for _ in range(2)]
    for each in out:
        each.encoder.copy_(p.encoder)
        each.decoder.copy_(p.decoder)
        each.bias.copy_(p.bias)
        each.counts.copy_(p.mask.sum(0))
    rescaling.to_free(out[0], p.encoder + 1, p.bias - 1, mine)
    rescaling.to_free_reference(out[1], p.encoder + 1, p.bias - 1, mine)
    used = out[0].counts > 0
    for name in ("encoder", "decoder", "bias"):
        torch.testing.assert_close(getattr(out[0], name)[used], getattr(out[1], name)[used], rtol=1e-3, atol=1e-3)
