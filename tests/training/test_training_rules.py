"""Every selection rule, against its dense implementation: codes, losses, gradients, thresholds, and what a run makes of it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_family import PARAMETERS, top
from family_problems import (
    RULES,
    Problem,
    check,
    cut_into_passages,
    dense_codes,
    draw_states,
    make_problem,
    make_state,
    observe,
    shake,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lexite.sae import SparseAutoencoder
from lexite.training.batches import Batch, Moment
from lexite.training.optimizer import BETA1, BETA2, EPSILON
from lexite.training.step import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {
    "d": st.integers(6, 12),
    "latents": st.integers(20, 60),
    "n": st.integers(8, 40),
    "k": st.integers(1, 6),
    "seed": st.integers(0, 2**16),
}
SETTINGS = {"jumprelu_bandwidth": 0.3, "retrieval_temperature": 0.3, "config": {"k_aux": 4}}
BATCHED = ["batch_topk", "mutual_choice", "feature_choice"]
THRESHOLD_RULES = [*BATCHED, "jumprelu", "gated", "relu_l1"]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=10, derandomize=True)
@given(**SIZES)
def test_codes_losses_and_gradients_equal_the_dense_reference(
    rule: str, d: int, latents: int, n: int, k: int, seed: int
) -> None:
    assume(check(make_problem(rule, n, seed, d=d, latents=latents, k=k, **SETTINGS)))


def allowed(rule: str, atoms: str) -> str:
    """Rules that penalise activations refuse free atoms whose norms they do not weigh."""
    return "rescaled" if atoms == "free" and rule in ("gated", "relu_l1") else atoms


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, derandomize=True)
@given(
    **SIZES,
    bias=st.booleans(),
    atoms=st.sampled_from(["unit", "free", "rescaled"]),
    auxiliary=st.sampled_from(["none", "dead", "zipf", "auto"]),
    nested=st.booleans(),
    flops=st.sampled_from([0.0, 0.01]),
)
def test_all_combinations_with_other_options(
    rule: str, n: int, seed: int, latents: int, atoms: str, nested: bool, flops: float, **others: object
) -> None:
    atoms = allowed(rule, atoms)
    choice = {
        "matryoshka": "fixed" if nested else "none",
        "matryoshka_widths": f"{latents // 5},{latents // 2}",
        "normalize_decoder": atoms == "unit",
        "rescale_acts_by_decoder_norm": atoms == "rescaled",
        "flops_coefficient": flops,
        "multi_topk_coefficient": 0.125,
    }
    assume(check(make_problem(rule, n, seed, latents=latents, **choice, **others, **SETTINGS)))


@pytest.mark.parametrize("rule", RULES)
def test_the_plain_definitions_of_the_kernels_give_the_same(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on an accelerator, here on the CPU."""
    asking = [module for name, module in sys.modules.items() if name.startswith("lexite.") and hasattr(module, "on_cpu")]
    assert len(asking) > 8
    for module in asking:
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)
    options = {"flops_coefficient": 0.01, "multi_topk_coefficient": 0.1, "matryoshka": "fixed", "matryoshka_widths": "9,20"}
    assert any(check(make_problem(rule, 24, seed, **options, **SETTINGS)) for seed in range(3))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("atoms", ["unit", "free", "rescaled"])
def test_steps_are_those_of_adamw_on_the_reference_gradients(rule: str, atoms: str) -> None:
    rate, clip, decay = 0.001, 0.5, 0.1
    atoms = allowed(rule, atoms)
    choice = {"normalize_decoder": atoms == "unit", "rescale_acts_by_decoder_norm": atoms == "rescaled"}
    config = {"clip_norm": clip, "weight_decay": decay, "k_aux": 4}
    problem = make_problem(rule, 24, 2, auxiliary="dead", **{**SETTINGS, **choice, "config": config})
    state = problem.state
    state.restore(state.tensors, 0)
    weights = {name: torch.nn.Parameter(state.tensors[name].double().clone()) for name in state.weights.trained}
    groups: list[dict[str, Any]] = [
        {"params": [weights[name] for name in PARAMETERS if name.endswith("weight")], "weight_decay": decay},
        {"params": [weights[name] for name in PARAMETERS if name.endswith("bias")], "weight_decay": 0.0},
    ]
    if state.rule.parameters:
        own = [weights[name] for name in state.rule.parameters]
        groups.append({"params": own, "weight_decay": 0.0, "lr": rate * state.rule.learning_rate_factor})
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(BETA1, BETA2), eps=EPSILON)
    for number in range(3):
        batch = Batch(draw_states(24, 8, number), problem.batch.offsets)
        family = Problem(state, batch, Moment()).family
        assert family.is_clear()
        gradients = family.run()[2]
        decoder = weights["decoder_weight"].detach()
        if atoms == "unit":
            along = (gradients["decoder_weight"] * decoder).sum(1, keepdim=True)
            gradients["decoder_weight"] = gradients["decoder_weight"] - along * decoder
        for name, weight in weights.items():
            weight.grad = gradients[name].clone()
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), clip)
        optimizer.step()
        with torch.no_grad():
            if atoms == "unit":
                weights["decoder_weight"] /= decoder.norm(dim=1, keepdim=True)
            if "threshold" in weights:
                weights["threshold"].clamp_(min=0)
        assert state.step(batch, rate).gradient_norm == pytest.approx(float(norm), rel=1e-3)
        for name, weight in weights.items():
            # A gradient of nearly zero has either sign under rounding, and Adam's first steps look at the sign.
            near = torch.isclose(state.tensors[name].double(), weight.detach(), rtol=1e-3, atol=3e-5)
            assert float(near.double().mean()) > 0.99, name
        product = state.weights.product.matrix.clone()
        state.restore(state.tensors, state.steps)
        torch.testing.assert_close(product, state.weights.product.matrix)  # it followed the weights


def state_and_states(rule: str, n: int, seed: int, **arguments: object) -> tuple[TrainingState, torch.Tensor]:
    problem = make_problem(rule, n, seed, **arguments)
    return problem.state, problem.batch.states


def preactivations(state: TrainingState, states: torch.Tensor) -> torch.Tensor:
    get = {name: tensor.double() for name, tensor in state.tensors.items()}
    return (states.double() - get["decoder_bias"]) @ get["encoder_weight"].t() + get["encoder_bias"]


@pytest.mark.parametrize("rule", ["batch_topk", "mutual_choice"])
@settings(max_examples=20, derandomize=True)
@given(**SIZES, lowered=st.sampled_from([0.0, 1.0, 2.5, 99.0]))
def test_a_batch_spends_its_budget_exactly(rule: str, d: int, latents: int, n: int, k: int, seed: int, lowered: float) -> None:
    """min(k n, positive entries), also where most or all pre-activations are negative, and at every call anew."""
    state, _ = state_and_states(rule, n, seed, d=d, latents=latents, k=k)
    state.tensors["encoder_bias"] -= lowered
    state.restore(state.tensors, 0)
    for number in range(3):
        states = draw_states(n, d, seed + number) * (1 + number)
        positive = int((preactivations(state, states) > 1e-5).sum())
        codes = observe(state, states)
        assert int((codes > 0).sum()) == min(k * n, positive)


@settings(max_examples=20, derandomize=True)
@given(**SIZES)
def test_a_latent_keeps_no_more_tokens_than_its_budget(d: int, latents: int, n: int, k: int, seed: int) -> None:
    problem = make_problem("feature_choice", n, seed, d=d, latents=latents, k=k, zipf_offset=2.0)
    budgets = torch.tensor(problem.family.budgets())
    assert int(budgets.sum()) == max(k * n, latents)
    assert int(budgets.min()) >= 1
    assert int(budgets.max()) <= n
    order = problem.state.tensors["density"].argsort(descending=True, stable=True)
    assert bool((budgets[order].diff() <= 0).all())  # the densest gets most
    positive = (preactivations(problem.state, problem.batch.states) > 0).sum(0)
    for _ in range(3):  # levels of the search move, the result does not
        kept = (dense_codes(problem.state.gradients(problem.batch), latents) > 0).sum(0)
        assert torch.equal(kept, torch.minimum(budgets, positive))


@pytest.mark.parametrize("rule", RULES)
def test_the_choice_does_not_depend_on_the_order_of_tokens(rule: str) -> None:
    """Passages stay together where a rule looks at them."""
    n, seed = 36, 11
    problem = make_problem(rule, n, seed)
    states, offsets = problem.batch.states, cut_into_passages(n, seed)
    lengths = offsets.diff()
    shuffled = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(3))
    order = torch.cat([torch.arange(n)[offsets[i] : offsets[i + 1]] for i in shuffled])
    moved = Batch(states[order], torch.cat([torch.zeros(1, dtype=torch.int64), lengths[shuffled].cumsum(0)]))
    one = dense_codes(problem.state.gradients(Batch(states, offsets)), 30)
    other = dense_codes(make_problem(rule, n, seed).state.gradients(moved), 30)
    torch.testing.assert_close(one[order], other, rtol=1e-5, atol=1e-5)
    assert torch.equal(one[order] != 0, other != 0)


@pytest.mark.parametrize("rule", ["batch_topk", "mutual_choice"])
def test_the_running_threshold_follows_its_formula_in_double_precision(rule: str) -> None:
    state, _ = state_and_states(rule, 20, 0, topk_threshold_lr=0.3)
    expected = None
    for number in range(6):
        codes = observe(state, draw_states(20, 8, number) * (0.5 + number))
        smallest = float(codes[codes > 0].min())
        expected = smallest if expected is None else 0.7 * expected + 0.3 * smallest
        assert state.tensors["running_threshold"].dtype == torch.float64
        assert state.tensors["running_threshold"].item() == pytest.approx(expected, rel=1e-12)
    finished = state.autoencoder()
    assert finished.activation == "jumprelu"
    assert finished.thresholds is not None
    assert torch.equal(finished.thresholds, torch.full((30,), expected, dtype=torch.float32))


@pytest.mark.parametrize("rule", ["batch_topk", "mutual_choice"])
def test_a_batch_without_activations_leaves_the_threshold(rule: str) -> None:
    state, states = state_and_states(rule, 20, 0)
    state.tensors["encoder_bias"] -= 99
    state.restore(state.tensors, 0)
    gradients = state.gradients(Batch(states))
    assert not gradients.values.any()
    observe(state, states)
    assert bool(state.tensors["running_threshold"].isnan())
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.parameters.values())
    assert bool((state.autoencoder().thresholds == 0).all())  # type: ignore[union-attr]


def test_thresholds_of_feature_choice_follow_their_formula_per_latent() -> None:
    state, _ = state_and_states("feature_choice", 30, 0, topk_threshold_lr=0.3, k=2)
    expected: dict[int, float] = {}
    for number in range(5):
        codes = observe(state, draw_states(30, 8, number))
        if number == 0:
            state.tensors["encoder_bias"][4] = -99  # this one is never active again
        for latent in range(30):
            kept = codes[codes[:, latent] > 0, latent]
            if len(kept):
                before = expected.get(latent)
                expected[latent] = float(kept.min()) if before is None else 0.7 * before + 0.3 * float(kept.min())
        state.restore(state.tensors, 0)
        running = state.tensors["running_threshold"]
        assert running.dtype == torch.float64
        for latent in range(30):
            if latent in expected:
                assert running[latent].item() == pytest.approx(expected[latent], rel=1e-6)
            else:
                assert bool(running[latent].isnan())
    thresholds = state.autoencoder().thresholds
    assert thresholds is not None
    assert bool(torch.isfinite(thresholds).all())
    for latent, value in expected.items():
        assert float(thresholds[latent]) == pytest.approx(value, rel=1e-6)


def test_a_latent_that_feature_choice_never_saw_active_stays_silent() -> None:
    state, states = state_and_states("feature_choice", 30, 0)
    state.tensors["encoder_bias"][4] = -99
    state.restore(state.tensors, 0)
    observe(state, states)
    state.tensors["encoder_bias"][4] = 99
    assert bool((state.autoencoder().encode(states).to_dense()[:, 4] == 0).all())


EXACT = ["topk", "abs_topk", "top_afa", "jumprelu", "relu_l1", "gated"]


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("atoms", ["unit", "free", "rescaled"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_finished_autoencoder_gives_the_codes_of_the_training(rule: str, atoms: str, bias: bool) -> None:
    atoms = allowed(rule, atoms)
    choice = {"normalize_decoder": atoms == "unit", "rescale_acts_by_decoder_norm": atoms == "rescaled"}
    problem = make_problem(rule, 40, 5, bias=bias, **choice)
    trained = dense_codes(problem.state.gradients(problem.batch), 30)
    sae = problem.state.autoencoder()
    codes = sae.encode(problem.batch.states)
    used = codes.to_dense().double()
    if rule == "abs_topk":
        used = used[:, :30] - used[:, 30:]
    torch.testing.assert_close(used, trained, rtol=1e-4, atol=1e-4)
    family = problem.family
    with torch.no_grad():
        torch.testing.assert_close(sae.decode(codes).double(), family.decoded(trained), rtol=1e-4, atol=1e-4)
    assert sae.config.rule == rule


@pytest.mark.parametrize("rule", BATCHED)
def test_the_finished_autoencoder_applies_the_running_thresholds(rule: str) -> None:
    state, states = state_and_states(rule, 40, 5, k=2)
    for number in range(3):
        observe(state, draw_states(40, 8, number))
    sae, u = state.autoencoder(), preactivations(state, states)
    assert sae.activation == "jumprelu"
    assert sae.thresholds is not None
    expected = torch.where(u > sae.thresholds.double(), u, 0.0)
    torch.testing.assert_close(sae.encode(states).to_dense().double(), expected, rtol=1e-4, atol=1e-4)
    assert sae.encode(states).l0 > 0


def test_gradient_topk_at_use_is_a_plain_topk() -> None:
    problem = make_problem("gradient_topk", 40, 5)
    codes = problem.state.autoencoder().encode(problem.batch.states).to_dense().double()
    u = preactivations(problem.state, problem.batch.states)
    torch.testing.assert_close(codes, torch.where(top(u, 3), torch.relu(u), 0.0), rtol=1e-4, atol=1e-4)


def test_gradient_topk_without_passages_or_weight_is_a_plain_topk() -> None:
    problem = make_problem("gradient_topk", 40, 5)
    u = preactivations(problem.state, problem.batch.states)
    plain = torch.where(top(u, 3), torch.relu(u), 0.0)
    singles = torch.arange(41)
    for offsets in (None, torch.tensor([0, 40]), singles):  # one passage has none to be told from; one token has no halves
        found = dense_codes(problem.state.gradients(Batch(problem.batch.states, offsets)), 30)
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)
    without = make_problem("gradient_topk", 40, 5, retrieval_weight=0.0)
    torch.testing.assert_close(dense_codes(without.state.gradients(without.batch), 30), plain, rtol=1e-4, atol=1e-4)
    chosen = dense_codes(problem.state.gradients(problem.batch), 30)
    assert not torch.equal(chosen > 0, plain > 0)  # and with both it is not


def test_k_may_change_from_step_to_step() -> None:
    for rule in ("topk", "batch_topk", "feature_choice", "abs_topk", "gradient_topk"):
        for k in (1, 5, 30):
            assert check(make_problem(rule, 24, 1, moment=Moment(k=k))), rule


@pytest.mark.parametrize("rule", RULES)
def test_products_in_bf16_choose_nearly_the_same(rule: str) -> None:
    chosen = []
    for dtype in (torch.float32, torch.bfloat16):
        problem = make_problem(rule, 40, 2, d=12, latents=60, k=4, dtype=dtype)
        chosen.append(dense_codes(problem.state.gradients(problem.batch), 60))
    assert float(((chosen[0] != 0) & (chosen[1] != 0)).sum()) > 0.95 * float((chosen[0] != 0).sum())
    both = (chosen[0] != 0) & (chosen[1] != 0)
    torch.testing.assert_close(chosen[0][both], chosen[1][both], rtol=1e-4, atol=1e-4)  # values are exact


# Runs

ATOMS, WIDTH, LATENTS, K = 24, 16, 40, 3


def synthetic(n: int, seed: int) -> torch.Tensor:
    """States that are sums of about three of 24 atoms, around a mean."""
    atoms = torch.nn.functional.normalize(torch.randn(ATOMS, WIDTH, generator=torch.Generator().manual_seed(99)), dim=1)
    generator = torch.Generator().manual_seed(seed)
    codes = (torch.rand(n, ATOMS, generator=generator) < K / ATOMS) * (1 + torch.rand(n, ATOMS, generator=generator))
    return codes @ atoms + 0.02 * torch.randn(n, WIDTH, generator=generator) + torch.arange(WIDTH) / WIDTH


def train(rule: str, steps: int = 300, n: int = 128, **settings: object) -> tuple[TrainingState, list[float]]:
    state = make_state(rule, WIDTH, LATENTS, K, config={"batch_tokens": n, "buffer_tokens": 2 * n}, **settings)
    state.look_at(synthetic(1000, 0))
    offsets = torch.arange(0, n + 1, 8) if state.needs_passages else None
    fvus = []
    for step in range(steps):
        rate = 0.01 * min(1.0, (step + 1) / 20) * min(1.0, 2 * (steps - step) / steps)
        metrics = state.step(Batch(synthetic(n, step + 1), offsets), rate)
        fvus.append(metrics.squared_error / metrics.variance)
    return state, fvus


def fvu(sae: SparseAutoencoder, states: torch.Tensor) -> float:
    return float((sae.reconstruct(states) - states).square().sum() / (states - states.mean(0)).square().sum())


@pytest.mark.parametrize("rule", RULES)
def test_a_short_run_lowers_the_unexplained_variance_and_use_follows_the_training(rule: str, tmp_path: Path) -> None:
    state, fvus = train(rule)
    last, held_out = sum(fvus[-10:]) / 10, synthetic(1000, 12345)
    share = 0.7 if rule == "relu_l1" else 0.4  # an L1 penalty makes activations too small
    assert last < share * sum(fvus[:3]) / 3
    assert last < share
    sae = state.autoencoder()
    at_use = fvu(sae, held_out)
    assert at_use < last + 0.1
    codes = sae.encode(held_out)
    if rule in THRESHOLD_RULES:  # about k are active at use too
        assert 0.6 * K < codes.l0 < 1.6 * K
    elif rule != "top_afa":
        assert codes.l0 <= K
    sae.save(tmp_path)
    loaded = SparseAutoencoder.load(tmp_path, precision="fp32")
    assert torch.equal(loaded.encode(held_out).values, codes.values)
    assert torch.equal(loaded.encode(held_out).indices, codes.indices)
    assert loaded.fingerprint == sae.fingerprint
    if state.objective.normalize_decoder:
        torch.testing.assert_close(state.tensors["decoder_weight"].norm(dim=1), torch.ones(LATENTS))


@pytest.mark.parametrize("rule", ["topk", "batch_topk", "jumprelu"])
@pytest.mark.parametrize("rescaled", [True, False])
def test_a_short_run_with_free_atoms(rule: str, rescaled: bool) -> None:
    state, fvus = train(rule, normalize_decoder=False, rescale_acts_by_decoder_norm=rescaled, decoder_init_norm=0.5)
    assert sum(fvus[-10:]) / 10 < 0.45
    sae = state.autoencoder()
    assert fvu(sae, synthetic(1000, 12345)) < sum(fvus[-10:]) / 10 + 0.1
    norms = state.tensors["decoder_weight"].norm(dim=1)
    assert float(norms.std()) > 1e-3  # they were free
    assert sae.decoder_weight is not None
    if rescaled:  # folded at the end
        torch.testing.assert_close(sae.decoder_weight.norm(dim=1), torch.ones(LATENTS))


@pytest.mark.parametrize("kind", ["expected_average_only_in", "constant_norm_rescale", "layer_norm"])
@pytest.mark.parametrize("rule", ["topk", "top_afa", "jumprelu"])
def test_states_are_normalised_in_training_as_at_use(rule: str, kind: str) -> None:
    state = make_state(rule, 10, 40, 4)
    sae = dataclasses.replace(state.sae, normalize_activations=kind)  # type: ignore[arg-type]
    state = TrainingState(sae, state.config, torch.float32, objective=state.objective)
    states = draw_states(50, 10, 3) * 20
    shake(state, 0)
    state.look_at(states)
    trained = state.gradients(Batch(states))
    dense = dense_codes(trained, 40)
    use = state.autoencoder()
    codes = use.encode(states).to_dense().double()
    factor = float(state.tensors["input_scale"]) if rule == "top_afa" else 1.0
    torch.testing.assert_close(codes * factor, dense, rtol=1e-3, atol=1e-3)
    assert (use.config.normalize_activations == "none") == (kind == "expected_average_only_in")
    if kind == "expected_average_only_in":
        scale = 10**0.5 / float(states.norm(dim=1).mean())
        assert float(state.tensors["input_scale"]) == pytest.approx(scale, rel=1e-4)
        scaled = states * scale
        plain = TrainingState(
            dataclasses.replace(sae, normalize_activations="none"), state.config, torch.float32, objective=state.objective
        )
        plain.restore({**state.tensors, "input_scale": torch.ones((), dtype=torch.float64)}, 0)
        assert check(Problem(plain, Batch(scaled), Moment()))
        assert plain.gradients(Batch(scaled)).losses["fvu"] == pytest.approx(trained.losses["fvu"], rel=1e-3)
