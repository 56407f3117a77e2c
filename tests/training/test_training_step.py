"""One optimizer step, against the same step written with dense tensors, autograd and torch's AdamW."""

from __future__ import annotations

import pytest
import torch

from lexite.kernels.sparse import centre
from lexite.sae import SAEConfig
from lexite.training.auxiliary import auxiliary_gradients
from lexite.training.config import TrainingConfig
from lexite.training.optimizer import BETA1, BETA2, EPSILON
from lexite.training.results import variance_and_squares
from lexite.training.step import TrainingState
from lexite.training.weights import PARAMETERS

D, F, K, N = 12, 40, 4, 64


def batch(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=generator) * 2 + torch.arange(D) / 4


def config(**changes: object) -> TrainingConfig:
    values = {"batch_tokens": N, "buffer_tokens": 2 * N, "learning_rate": 0.01, "clip_norm": 0.5, **changes}
    return TrainingConfig(**values)  # type: ignore[arg-type]


class DenseStep:
    """The reference: the loss as the papers write it, everything dense."""

    def __init__(self, state: TrainingState) -> None:
        self.leaves = {name: state.tensors[name].clone().requires_grad_() for name in PARAMETERS}
        self.config = state.config
        self.since = torch.zeros(F, dtype=torch.int64)
        decay = self.config.weight_decay
        groups = [
            {"params": [self.leaves[name] for name in PARAMETERS if name.endswith("weight")], "weight_decay": decay},
            {"params": [self.leaves[name] for name in PARAMETERS if name.endswith("bias")], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(BETA1, BETA2), eps=EPSILON)

    def loss(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        p = self.leaves
        u = (states - p["decoder_bias"]) @ p["encoder_weight"].t() + p["encoder_bias"]
        values, indices = u.topk(K, dim=1)
        codes = torch.zeros_like(u).scatter(1, indices, torch.relu(values))
        error = states - (codes @ p["decoder_weight"] + p["decoder_bias"])
        fvu = error.square().sum() / (states - states.mean(0)).square().sum()
        dead = self.since >= self.config.dead_after_tokens
        aux = torch.zeros(())
        if dead.any():
            target = error.detach()
            values, indices = u[:, dead].topk(min(self.config.k_aux, int(dead.sum())), dim=1)
            part = torch.zeros_like(u[:, dead]).scatter(1, indices, torch.relu(values))
            aux = (part @ p["decoder_weight"][dead] - target).square().sum() / target.square().sum()
        return fvu, self.config.aux_loss_coefficient * aux, (codes > 0).any(0)

    def step(self, states: torch.Tensor) -> tuple[float, float, float]:
        self.optimizer.zero_grad()
        fvu, aux, fired = self.loss(states)
        (fvu + aux).backward()
        atoms = self.leaves["decoder_weight"]
        assert atoms.grad is not None
        atoms.grad -= (atoms.grad * atoms.detach()).sum(1, keepdim=True) * atoms.detach()
        norm = torch.nn.utils.clip_grad_norm_(list(self.leaves.values()), self.config.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            atoms /= atoms.norm(dim=1, keepdim=True)
        self.since = torch.where(fired, 0, self.since + len(states))
        return fvu.item(), aux.item(), norm.item()


@pytest.mark.parametrize(
    "changes",
    [
        {"dead_after_tokens": 10**9},
        {"dead_after_tokens": 10**9, "weight_decay": 0.1},
        {"dead_after_tokens": N, "k_aux": 3, "aux_loss_coefficient": 0.5},
        {"dead_after_tokens": N, "k_aux": 100, "aux_loss_coefficient": 0.5},
        {"dead_after_tokens": 10**9, "clip_norm": 1e-3},
    ],
    ids=["plain", "decay", "aux", "aux-all", "clipped"],
)
def test_steps_equal_the_dense_reference(changes: dict[str, object]) -> None:
    state = TrainingState(SAEConfig(D, F, K), config(**changes), torch.float32)
    state.look_at(batch(0))
    reference = DenseStep(state)
    seen_aux = 0.0
    for seed in range(8):
        # Half of the directions are missing at first, so that latents die and the auxiliary loss has work to do.
        states = batch(seed) * (torch.arange(D) < (D if seed > 5 else 3))
        metrics = state.step(states, 0.01)
        fvu, aux, norm = reference.step(states)
        assert metrics.squared_error / metrics.variance == pytest.approx(fvu, rel=1e-3)
        assert metrics.losses.get("aux", 0.0) == pytest.approx(aux, rel=1e-3, abs=1e-7)
        assert metrics.gradient_norm == pytest.approx(norm, rel=1e-2)
        seen_aux += aux
        for name in PARAMETERS:
            torch.testing.assert_close(state.tensors[name], reference.leaves[name].detach(), rtol=1e-2, atol=2e-3)
        assert torch.equal(state.tensors["tokens_since_active"], reference.since)
    assert (seen_aux > 0) == (changes["dead_after_tokens"] == N)


def test_the_state_is_not_changed_by_reading_a_batch() -> None:
    state, states = TrainingState(SAEConfig(D, F, K), config(), torch.float32), batch(1)
    before = states.clone()
    state.step(states, 0.01)
    assert torch.equal(states, before)


def test_the_variance_of_a_batch_does_not_depend_on_the_bias() -> None:
    states = batch(3)
    for bias in (torch.zeros(D), states.mean(0), torch.full((D,), 5.0)):
        variance, squares = variance_and_squares(centre(states, bias), bias)
        assert variance == pytest.approx(float((states - states.mean(0)).double().square().sum()), rel=1e-4)
        assert squares == pytest.approx(float(states.double().square().sum()), rel=1e-4)
    equal = torch.ones(N, D)
    assert variance_and_squares(centre(equal, equal[0]), equal[0]) == (0.0, pytest.approx(N * D))


def test_memory_kept_from_step_to_step_leaves_no_trace() -> None:
    states = batch(1)
    one, other = (TrainingState(SAEConfig(D, F, K), config(), torch.float32) for _ in range(2))
    for size in (N, N // 2, N):
        one.step(states[:size], 0.01)
        fresh = TrainingState(SAEConfig(D, F, K), config(), torch.float32)
        fresh.restore(other.tensors, other.steps)
        fresh.step(states[:size], 0.01)
        other = fresh
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in PARAMETERS)


def test_atoms_have_unit_norm_and_the_encoder_starts_as_their_transpose() -> None:
    state = TrainingState(SAEConfig(D, F, K), config(), torch.float32)
    assert torch.equal(state.tensors["encoder_weight"], state.tensors["decoder_weight"])
    for seed in range(3):
        state.step(batch(seed), 0.1)
    torch.testing.assert_close(state.tensors["decoder_weight"].norm(dim=1), torch.ones(F))


def test_training_lowers_the_unexplained_variance_and_bf16_follows_fp32() -> None:
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        state = TrainingState(SAEConfig(D, F, K), config(), dtype)
        state.look_at(batch(0))
        metrics = [state.step(batch(seed % 4), 0.01) for seed in range(60)]
        fvus = [m.squared_error / m.variance for m in metrics]
        assert fvus[-1] < 0.7 * fvus[0]
        results.append(fvus[-1])
    assert results[1] == pytest.approx(results[0], rel=0.1)


def test_dead_latents_are_counted_in_tokens_not_in_steps() -> None:
    counts = []
    for size in (N, N // 4):
        state = TrainingState(SAEConfig(D, F, K), config(learning_rate=0.0), torch.float32)
        for part in torch.zeros(N, D).split(size):  # a state of zeros at the mean activates nothing
            state.step(part, 0.0)
        counts.append(state.tensors["tokens_since_active"].tolist())
    assert counts == [[N] * F, [N] * F]


def test_the_auxiliary_loss_reaches_the_encoder_of_dead_latents() -> None:
    state = TrainingState(SAEConfig(D, F, K), config(dead_after_tokens=1), torch.float32)
    state.tensors["encoder_bias"][7] = -0.5  # active too rarely to be selected, yet above zero for some tokens
    state.tensors["tokens_since_active"][7] = 10
    before = state.tensors["encoder_weight"][7].clone()
    metrics = state.step(batch(0), 0.01)
    assert metrics.n_dead == 1
    assert metrics.losses["aux"] > 0
    assert not torch.equal(state.tensors["encoder_weight"][7], before)


def test_a_coefficient_of_zero_switches_the_auxiliary_loss_off() -> None:
    state = TrainingState(SAEConfig(D, F, K), config(dead_after_tokens=1, aux_loss_coefficient=0.0), torch.float32)
    state.tensors["tokens_since_active"][:] = 10
    assert "aux" not in state.step(batch(0), 0.01).losses


@pytest.mark.parametrize("k_aux", [2, 9])
def test_auxiliary_gradients_equal_autograd_without_the_bias(k_aux: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.training.auxiliary.TILE_BYTES", 1)  # several tiles
    generator = torch.Generator().manual_seed(0)
    states, errors = torch.randn(150, D, generator=generator), torch.randn(150, D, generator=generator)
    leaves = [torch.randn(shape, generator=generator, requires_grad=True) for shape in ((9, D), (9,), (9, D))]
    codes = torch.relu(states @ leaves[0].t() + leaves[1])
    values, indices = codes.topk(k_aux, dim=1)
    codes = torch.zeros_like(codes).scatter(1, indices, values)
    target = -errors
    loss = 0.25 * (codes @ leaves[2] - target).square().sum() / target.square().sum()
    loss.backward()
    result = auxiliary_gradients(states, errors, *[leaf.detach() for leaf in leaves], k_aux, 0.25)  # type: ignore[misc]
    assert result.loss == pytest.approx(loss.item(), rel=1e-5)
    for mine, leaf in zip((result.encoder, result.bias, result.decoder), leaves, strict=True):
        torch.testing.assert_close(mine, leaf.grad, rtol=1e-4, atol=1e-6)


def test_one_step_on_constant_states_is_finite() -> None:
    state = TrainingState(SAEConfig(D, F, K), config(), torch.float32)
    state.step(torch.ones(N, D), 0.01)
    assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in state.tensors.values())
