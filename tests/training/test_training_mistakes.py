"""Mistakes that other implementations made, one test each.

Those that are tested beside what they concern are not tested again here: gradients of AuxK reach the encoder
(test_training_step.py), the decoder's bias is the mean of many batches, a run resumes exactly (test_training_run.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_problems import RULES, dense_codes, draw_states, make_problem, make_state, shake
from torch.utils._python_dispatch import TorchDispatchMode

from lexite.kernels import largest, product
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.training import auxiliary
from lexite.training.batches import Batch
from lexite.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from lexite.training.config import TrainingConfig
from lexite.training.run import TrainingResult, train_autoencoder
from lexite.training.sources import Chunk

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_gradient_of_multi_topk_reaches_the_encoder_of_latents_beyond_k() -> None:
    problem = make_problem("topk", 4, k=2, dead=0.0)
    plain = problem.state.gradients(problem.batch)
    active = (dense_codes(plain, 30) > 0).any(0)
    without = plain.parameters["encoder_weight"]
    more = make_problem("topk", 4, k=2, dead=0.0, multi_topk_coefficient=0.125)
    found = more.state.gradients(more.batch).parameters
    beyond = more.family
    u = beyond.z.detach() + beyond.bias.detach()
    wanted = torch.zeros(30, dtype=torch.bool)
    for row in u:
        wanted[[i for i in row.argsort(descending=True)[:8].tolist() if row[i] > 0]] = True
    assert int((wanted & ~active).sum()) > 3
    assert bool((without[~active] == 0).all())
    for name in ("encoder_weight", "encoder_bias", "decoder_weight"):
        moved = found[name].reshape(30, -1).abs().sum(1) > 0
        assert torch.equal(moved, wanted), name


@pytest.mark.parametrize("kind", ["dead", "zipf"])
def test_the_mask_of_dead_latents_leaves_other_codes_as_they_are(kind: str) -> None:
    """Nearly all latents are dead: a mask that stayed in the pre-activations would empty both codes."""
    arguments: dict[str, Any] = {"k": 2, "dead": 0.9, "multi_topk_coefficient": 0.125, "zipf_fraction": 0.9}
    one, other = (make_problem("topk", auxiliary=name, **arguments) for name in (kind, "none"))
    masked, plain = one.state.gradients(one.batch), other.state.gradients(other.batch)
    assert masked.losses["aux"] > 0
    for name in ("fvu", "multi_topk"):
        assert masked.losses[name] == pytest.approx(plain.losses[name])
    assert torch.equal(dense_codes(masked, 30), dense_codes(plain, 30))


@pytest.mark.parametrize("rule", RULES)
def test_dead_latents_are_counted_in_tokens_whatever_the_rule(rule: str) -> None:
    counts = []
    for size in (32, 8):
        state = make_state(rule)
        shake(state, 0)
        state.tensors["encoder_bias"].fill_(-99)
        if "gate_bias" in state.tensors:
            state.tensors["gate_bias"].fill_(-99)
        state.tensors["tokens_since_active"].zero_()
        state.restore(state.tensors, 0)
        for part in torch.zeros(32, 8).split(size):
            state.step(Batch(part), 0.0)
        counts.append(state.tensors["tokens_since_active"].tolist())
    if rule == "abs_topk":  # what is far below zero is active there
        assert counts[0] == counts[1]
    else:
        assert counts == [[32] * 30] * 2


@pytest.mark.parametrize("rule", RULES)
def test_unexplained_variance_is_about_the_mean(rule: str) -> None:
    """A code of nothing at the mean leaves all of the variance; where the mean is does not matter."""
    found = []
    for shift in (0.0, 50.0):
        state = make_state(rule, auxiliary="none")
        shake(state, 0)
        states = draw_states(40, 8, 0) + shift
        state.tensors["decoder_bias"].copy_(states.mean(0))
        state.restore(state.tensors, 0)
        found.append(state.gradients(Batch(states)).losses["fvu"])
        state.tensors["encoder_bias"].fill_(-999)
        if "gate_bias" in state.tensors:
            state.tensors["gate_bias"].fill_(-999)
        state.restore(state.tensors, 0)
        nothing = state.gradients(Batch(states))
        if rule != "abs_topk":
            assert nothing.losses["fvu"] == pytest.approx(1, rel=1e-3)
            assert nothing.squared_error / nothing.variance == pytest.approx(1, rel=1e-3)
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_atoms_are_normalised_and_not_the_dimensions() -> None:
    state = make_state("batch_topk", 8, 30)
    for seed in range(3):
        state.step(Batch(draw_states(64, 8, seed)), 0.1)
    weight = state.tensors["decoder_weight"]
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(30))
    assert float((weight.norm(dim=0) - 1).abs().min()) > 0.1


@pytest.mark.parametrize("kind", ["dead", "zipf"])
def test_the_auxiliary_reconstruction_has_no_bias(kind: str) -> None:
    """Dead latents that never get above zero reconstruct nothing: the loss is its weight, however large the bias."""
    for size in (0.0, 100.0):
        problem = make_problem("topk", auxiliary=kind, zipf_fraction=1e-9)
        state = problem.state
        dead = state.tensors["tokens_since_active"] >= state.config.dead_after_tokens
        state.tensors["encoder_bias"][dead] = -9999
        state.tensors["decoder_bias"].fill_(size)
        state.restore(state.tensors, 0)
        assert state.gradients(problem.batch).losses["aux"] == pytest.approx(state.config.aux_loss_coefficient, rel=1e-5)


@pytest.mark.parametrize("rule", ["batch_topk", "mutual_choice", "feature_choice"])
def test_running_thresholds_move_by_less_than_single_precision_tells_apart(rule: str, tmp_path: Path) -> None:
    rate = 1e-9
    state = make_state(rule, topk_threshold_lr=rate)
    shake(state, 0)
    state.tensors["running_threshold"].fill_(1.0)
    states = draw_states(30, 8, 0)
    for number in range(4):
        before = state.tensors["running_threshold"].clone()
        codes = dense_codes(state.gradients(Batch(states)), 30)
        state.step(Batch(states), 0.0)
        after = state.tensors["running_threshold"]
        smallest = torch.where(codes > 0, codes, torch.inf)
        smallest = smallest.amin(0) if rule == "feature_choice" else smallest.min()
        expected = torch.where(smallest.isfinite(), before + rate * (smallest - before), before)
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-15)
        assert bool((after != before)[smallest.isfinite()].all())
        assert torch.equal(after.float(), torch.ones_like(after).float())  # where it would have stood still
        if number == 1:  # nor does a checkpoint round it
            folder = save_checkpoint(tmp_path, 1, Checkpoint(state.tensors, {}, {}))
            state.restore(load_checkpoint(folder).state, state.steps)
            assert torch.equal(state.tensors["running_threshold"], after)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.what = 0, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.untyped_storage().size() // 4 > self.elements:
            self.elements, self.what = found.untyped_storage().size() // 4, f"{func} {tuple(found.shape)}"
        return found


@pytest.mark.parametrize("rule", RULES)
def test_no_tensor_has_tokens_times_k_times_width_or_tokens_times_latents(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n, d, latents, k = 1024, 64, 2048, 16
    monkeypatch.setattr(product, "TILE_ROWS", 64)
    monkeypatch.setattr(auxiliary, "TILE_BYTES", 1 << 16)
    monkeypatch.setattr(largest, "DENSE_LATENTS", 32)
    config = {"batch_tokens": n, "buffer_tokens": 2 * n, "k_aux": 64}
    state = make_state(rule, d, latents, k, config=config, auxiliary="dead", flops_coefficient=0.01, multi_topk_coefficient=0.1)
    offsets = torch.arange(0, n + 1, 8)
    state.look_at(draw_states(n, d, 0))
    state.step(Batch(draw_states(n, d, 0), offsets), 1e-3)
    state.tensors["tokens_since_active"][:200] = 10**6  # a tenth is dead
    states = draw_states(n, d, 1)
    with Largest() as seen:
        state.step(Batch(states, offsets), 1e-3)
    assert seen.elements >= latents * d  # it did look
    assert seen.elements < n * k * d / 2, seen.what
    assert n * k * d < n * latents


class Texts:
    """States of texts of six tokens; stops a run at a text."""

    repeatable = True

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.identity = fail_at, ["texts"]
        generator = torch.Generator().manual_seed(0)
        atoms = torch.randn(20, 8, generator=generator)
        self.states = torch.relu(torch.randn(1200, 20, generator=generator) - 1) @ atoms

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        for text in range(skip_texts // 10 * 10, 200, 10):
            if self.fail_at is not None and text >= self.fail_at:
                raise RuntimeError("killed")
            yield Chunk(self.states[text * 6 : (text + 10) * 6], np.arange(0, 61, 6))


@pytest.mark.parametrize("rule", RULES)
def test_trackers_thresholds_and_anneals_go_on_where_a_run_stopped(rule: str, tmp_path: Path) -> None:
    objective = ObjectiveConfig(
        auxiliary="zipf", zipf_fraction=0.9, multi_topk_coefficient=0.1, flops_coefficient=0.01, matryoshka="sampled",
        p_anneal_to=0.5, k_anneal_from=6, sparsity_warm_up_tokens=900, topk_threshold_lr=0.1, normalize_decoder=False,
    )  # fmt: skip
    config = TrainingConfig(
        tokens=1200, batch_tokens=60, buffer_tokens=240, log_tokens=600, checkpoint_tokens=300, dead_after_tokens=200
    )

    def run(name: str, source: Texts, *, resume: bool = False) -> TrainingResult:
        sae = SAEConfig(8, 24, 3, rule=rule)
        return train_autoencoder(source, tmp_path / name, sae, config, objective=objective, resume=resume, show_progress=False)

    run("whole", Texts())
    with pytest.raises(RuntimeError, match="killed"):
        run("parts", Texts(fail_at=120))
    run("parts", Texts(), resume=True)
    ends = [load_checkpoint(latest_checkpoint(tmp_path / name)).state for name in ("whole", "parts")]  # type: ignore[arg-type]
    assert set(ends[0]) == set(ends[1])
    for name, tensor in ends[0].items():
        assert torch.equal(tensor.nan_to_num(nan=-1.0), ends[1][name].nan_to_num(nan=-1.0)), name
    assert {"density", "tokens_since_active", "text_share", "tokens_seen"} <= set(ends[0])


def test_outlier_dimensions_kill_latents_unless_the_bias_starts_from_the_mean() -> None:
    """One dimension is far from zero for all tokens, as some of ModernBERT's are."""
    dead = []
    for start in (True, False):
        state = make_state("topk", 16, 64, 4, config={"dead_after_tokens": 2000})
        outlier = torch.zeros(16).index_fill(0, torch.tensor([3]), 200.0)
        if start:
            state.look_at(draw_states(2000, 16, 99) + outlier)
        for step in range(60):
            state.step(Batch(draw_states(64, 16, step) + outlier), 0.003)
        dead.append(int((state.tensors["tokens_since_active"] >= 2000).sum()))
    assert dead[0] == 0
    assert dead[1] > 16
