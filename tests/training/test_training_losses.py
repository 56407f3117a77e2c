"""Terms of the loss, one by one and in their variants, against the dense implementation; anneals and nested dictionaries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from family_problems import DEAD_AFTER, RULES, Problem, check, dense_codes, draw_states, make_problem, make_state, shake
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lexite.errors import ConfigError
from lexite.sae.objective import ObjectiveConfig
from lexite.training.batches import Batch, Moment, moment
from lexite.training.nested import prefix_groups

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = [0, 1, 2]


def checked(rule: str, seed: int, **arguments: object) -> Problem:
    """A problem whose losses and gradients were compared; another seed where rounding could change a decision."""
    for again in range(5):
        problem = make_problem(rule, seed=seed + 100 * again, **arguments)  # type: ignore[arg-type]
        if check(problem):
            return problem
    raise AssertionError("no clear problem was found")


def losses(problem: Problem) -> dict[str, float]:
    return problem.state.gradients(problem.batch, problem.moment).losses


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("k", "coefficient"), [(1, 0.125), (4, 1.0), (9, 0.5)])
def test_multi_topk(seed: int, k: int, coefficient: float) -> None:
    """k = 9: fewer than 4k latents there are."""
    problem = checked("topk", seed, k=k, multi_topk_coefficient=coefficient)
    assert losses(problem)["multi_topk"] > 0
    assert losses(checked("batch_topk", seed, k=k, multi_topk_coefficient=coefficient)).get("multi_topk", 0) == 0
    assert "multi_topk" not in losses(checked("topk", seed, k=k))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k_aux", [1, 3, 500])
@pytest.mark.parametrize("dead", [0.1, 1.0])
def test_auxk(rule: str, k_aux: int, dead: float) -> None:
    problem = checked(rule, 0, auxiliary="dead", dead=dead, config={"k_aux": k_aux, "aux_loss_coefficient": 0.5})
    assert losses(problem)["aux"] > 0


@pytest.mark.parametrize("rule", RULES)
def test_no_auxiliary_term_without_dead_latents_or_weight(rule: str) -> None:
    assert "aux" not in losses(checked(rule, 0, auxiliary="dead", dead=0.0))
    assert "aux" not in losses(checked(rule, 0, auxiliary="none"))
    assert "aux" not in losses(checked(rule, 0, auxiliary="zipf", config={"aux_loss_coefficient": 0.0}))


@pytest.mark.parametrize("rule", ["topk", "mutual_choice", "gated"])
@pytest.mark.parametrize("k_aux", [2, 500])
@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_aux_zipf(rule: str, k_aux: int, fraction: float) -> None:
    problem = checked(rule, 0, auxiliary="zipf", zipf_fraction=fraction, zipf_offset=3.0, config={"k_aux": k_aux})
    weights = problem.family.under_used()
    assert bool(((weights > 0) & (weights < 1)).any())  # some are alive and under-used
    assert losses(problem)["aux"] > 0


def test_aux_zipf_over_dead_latents_alone_is_auxk() -> None:
    found = []
    for kind in ("zipf", "dead"):
        problem = make_problem("topk", seed=4, auxiliary=kind, zipf_fraction=1e-9)
        gone = problem.state.tensors["tokens_since_active"] >= DEAD_AFTER
        assert torch.equal(gone, problem.state.tensors["density"] == 0)
        found.append(problem.state.gradients(problem.batch))
    assert found[0].losses == pytest.approx(found[1].losses)
    for name, gradient in found[0].parameters.items():
        torch.testing.assert_close(gradient, found[1].parameters[name])


def test_aux_zipf_waits_until_densities_are_known() -> None:
    problem = make_problem("topk", auxiliary="zipf", zipf_fraction=0.9)
    problem.state.tensors["tokens_seen"].fill_(DEAD_AFTER - 1)
    assert check(problem)
    assert "aux" not in losses(problem)


def test_what_auto_stands_for() -> None:
    for rule in RULES:
        problem = checked(rule, 0, auxiliary="auto", zipf_fraction=0.9)
        other = "zipf" if rule in ("mutual_choice", "feature_choice") else "dead"
        same = make_problem(rule, seed=0, auxiliary=other, zipf_fraction=0.9)
        assert problem.state.loss.auxiliary.kind == same.state.loss.auxiliary.kind == other


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("before", [1.0, 0.9])
def test_l1_with_any_p(seed: int, p: float, before: float) -> None:
    for again in range(9):
        problem = make_problem("relu_l1", n=10, latents=20, seed=seed + 100 * again, moment=Moment(p=p))
        family = problem.family
        positive = family.z.detach() + family.bias.detach()
        if bool(((positive > 0) & (positive < 3e-3)).any()):  # p below 1 has a steep derivative there
            continue
        problem.state.tensors["penalty_p"].fill_(before)
        if check(problem):
            return
    raise AssertionError("no clear problem was found")


def test_the_l1_term_is_continuous_when_p_changes() -> None:
    problem = make_problem("relu_l1")
    found = []
    for p in (1.0, 0.9, 0.7, 0.7):
        problem.moment = Moment(p=p)
        found.append(losses(problem)["l1"])
    assert found == pytest.approx([found[0]] * 4, rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("target", "coefficient", "bandwidth"), [(None, 1.0, 0.05), (1.0, 0.3, 0.3), (12.0, 1.0, 0.2), (30.0, 0.0, 0.3)]
)
def test_l0(seed: int, target: float | None, coefficient: float, bandwidth: float) -> None:
    options = {"l0_target": target, "l0_coefficient": coefficient, "jumprelu_bandwidth": bandwidth}
    problem = checked("jumprelu", seed, n=40, **options)
    l0 = float((problem.family.codes() > 0).sum()) / 40
    assert losses(problem)["l0"] == pytest.approx(coefficient * (l0 / (target or 3) - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coefficient", [0.0, 1 / 32, 2.0])
def test_afa(seed: int, coefficient: float) -> None:
    for bias in (True, False):
        found = losses(checked("top_afa", seed, afa_coefficient=coefficient, bias=bias))
        assert (found.get("afa", 0.0) > 0) == (coefficient > 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("coefficient", [0.0, 1.0, 5.0])
def test_terms_of_gates(seed: int, coefficient: float) -> None:
    found = losses(checked("gated", seed, l1_coefficient=coefficient))
    assert (found["gate_l1"] > 0) == (coefficient > 0)
    assert found["gate_reconstruction"] > 0


@pytest.mark.parametrize("rule", RULES)
def test_flops_over_passages(rule: str) -> None:
    problem = checked(rule, 0, flops_coefficient=0.05, jumprelu_bandwidth=0.3)
    assert problem.state.needs_passages
    assert losses(problem)["flops"] > 0
    shuffled = Problem(problem.state, Batch(problem.batch.states), Moment())
    assert "flops" not in losses(shuffled)


def test_flops_counts_rare_terms_less() -> None:
    """The same activations cost more where the latent is in many texts."""
    problem = make_problem("topk", flops_coefficient=1.0)
    found = []
    for share in (0.0, 0.01, 0.5, 1.0):
        problem.state.tensors["text_share"].fill_(share)
        found.append(losses(problem)["flops"])
    assert found == sorted(found)
    assert found[0] < found[-1] / 100
    assert all(np.isfinite(found))


def test_shares_of_texts_are_tracked() -> None:
    state = make_state("topk", flops_coefficient=1.0)
    states, offsets = draw_states(20, 8, 0), torch.tensor([0, 5, 6, 20])
    codes = dense_codes(state.gradients(Batch(states, offsets)), 30)
    expected = torch.zeros(30, dtype=torch.double)
    for start, stop in ((0, 5), (5, 6), (6, 20)):
        expected += (codes[start:stop] > 0).any(0) / 3
    state.step(Batch(states, offsets), 0.0)
    torch.testing.assert_close(state.tensors["text_share"], expected)  # the first batch alone
    assert int(state.tensors["tokens_seen"]) == 20


@pytest.mark.parametrize(("rule", "options"), [
    ("relu_l1", {}), ("jumprelu", {"jumprelu_bandwidth": 0.3}), ("gated", {}), ("topk", {"flops_coefficient": 0.1}),
])  # fmt: skip
@pytest.mark.parametrize("sparsity", [0.0, 0.4])
def test_penalties_that_warm_up(rule: str, options: dict[str, object], sparsity: float) -> None:
    problem = checked(rule, 0, moment=Moment(sparsity=sparsity), **options)
    name = {"relu_l1": "l1", "jumprelu": "l0", "gated": "gate_l1", "topk": "flops"}[rule]
    whole = losses(Problem(problem.state, problem.batch, Moment()))[name]
    assert losses(problem).get(name, 0.0) == pytest.approx(sparsity * whole, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sizes", ["1", "7,8,29", "30", "10,20"])
def test_fixed_nested_dictionaries(rule: str, sizes: str) -> None:
    checked(rule, 0, matryoshka="fixed", matryoshka_widths=sizes, jumprelu_bandwidth=0.3, multi_topk_coefficient=0.1)


@settings(max_examples=10, derandomize=True)
@given(rule=st.sampled_from(RULES), step=st.integers(0, 999), seed=st.integers(0, 99), prefixes=st.integers(2, 12))
def test_drawn_nested_dictionaries(rule: str, step: int, seed: int, prefixes: int) -> None:
    problem = make_problem(rule, seed=seed, matryoshka="sampled", matryoshka_prefixes=prefixes, config={"seed": seed})
    problem.state.restore(problem.state.tensors, step)
    groups = prefix_groups(problem.state.objective, 30, step, seed).tolist()
    family = problem.family
    family.widths = [i for i in range(1, 31) if i == 30 or groups[i] != groups[i - 1]]
    assert groups == sorted(groups)
    assert 1 <= len(family.widths) <= prefixes
    assume(family.is_clear())
    _, terms, gradients = family.run()
    found = problem.state.gradients(problem.batch)
    assert found.losses["fvu"] == pytest.approx(terms["fvu"], rel=1e-3)
    for name, gradient in gradients.items():
        atol = 3e-5 * float(gradient.abs().max()) + 1e-8
        torch.testing.assert_close(found.parameters[name].double(), gradient, rtol=1e-3, atol=atol)


def test_drawn_prefixes_follow_their_distribution() -> None:
    """P(a prefix ends behind latent i) ∝ √((i + 1) / F) - √(i / F), and each step draws anew."""
    objective, n_latents = ObjectiveConfig(matryoshka="sampled", matryoshka_prefixes=2), 64
    widths = np.array([(prefix_groups(objective, n_latents, step, 0) == 0).sum().item() for step in range(2000)])
    for limit in (1, 4, 16, 40):
        assert (widths <= limit).mean() == pytest.approx((limit / n_latents) ** 0.5, abs=0.04)
    one = prefix_groups(objective, n_latents, 3, 0)
    assert torch.equal(one, prefix_groups(objective, n_latents, 3, 0))
    assert not torch.equal(one, prefix_groups(objective, n_latents, 3, 1))


def test_the_usual_widths() -> None:
    assert ObjectiveConfig(matryoshka="fixed").widths(1024) == [64, 128, 256, 512, 1024]
    assert ObjectiveConfig(matryoshka="fixed").widths(3) == [1, 3]
    assert ObjectiveConfig(matryoshka="fixed", matryoshka_widths="8, 2").widths(10) == [2, 8, 10]
    assert ObjectiveConfig(matryoshka_widths="8, 2").widths(10) == [10]


@pytest.mark.parametrize("sizes", ["0", "31", "-3,4", "a", "4,,5", "4;5", "2.5"])
def test_widths_that_are_none_are_refused_before_a_run(sizes: str) -> None:
    with pytest.raises(ConfigError, match="matryoshka_widths is .* from 1 to 30"):
        make_state("topk", matryoshka="fixed", matryoshka_widths=sizes)


def test_prefixes_of_a_nested_dictionary_reconstruct_better_than_those_of_a_plain_one() -> None:
    atoms = torch.nn.functional.normalize(torch.randn(20, 12, generator=torch.Generator().manual_seed(0)), dim=1)

    def states(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return (torch.rand(128, 20, generator=generator) < 0.15).float() @ atoms

    shares = []
    for kind in ("fixed", "none"):
        state = make_state("topk", 12, 32, 4, matryoshka=kind, matryoshka_widths="8,16")
        for step in range(200):
            state.step(Batch(states(step)), 0.01)
        sae, held_out = state.autoencoder(), states(9999)
        variance = (held_out - held_out.mean(0)).square().sum()
        shares.append([float((sae.prefix(n).reconstruct(held_out) - held_out).square().sum() / variance) for n in (8, 32)])
    assert shares[0][0] < 0.8 * shares[1][0]
    assert shares[0][1] < shares[0][0]


@pytest.mark.parametrize("rule", RULES)
def test_the_metrics_of_a_step_are_those_of_its_gradients(rule: str) -> None:
    problem = make_problem(rule, matryoshka="fixed", matryoshka_widths="9")
    expected = problem.state.gradients(problem.batch)
    terms, error = dict(expected.losses), expected.squared_error
    metrics = problem.state.step(problem.batch, 0.01)
    assert metrics.losses == pytest.approx(terms)
    assert metrics.squared_error == pytest.approx(error)
    family = make_problem(rule, matryoshka="fixed", matryoshka_widths="9").family
    codes = family.codes().detach()
    assert metrics.variance == pytest.approx(family.variance, rel=1e-4)
    assert metrics.active == int((codes != 0).sum())
    with torch.no_grad():
        assert metrics.squared_error == pytest.approx(float((family.decoded(codes) - family.x).square().sum()), rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_batches_without_variance_or_activations_or_of_one_token_stay_finite(rule: str) -> None:
    for states in (torch.ones(20, 8), torch.zeros(20, 8), draw_states(1, 8, 0), torch.full((20, 8), 1e-20)):
        state = make_state(rule, auxiliary="dead", flops_coefficient=0.1, config={"dead_after_tokens": 1})
        for _ in range(3):
            state.step(Batch(states, torch.tensor([0, (len(states) + 1) // 2, len(states)])), 0.01)
        for name, tensor in state.tensors.items():
            if name != "running_threshold":  # not a number before anything was active
                assert bool(torch.isfinite(tensor.double()).all()), name


@pytest.mark.parametrize("rule", RULES)
def test_densities_and_tokens_since_active_are_tracked(rule: str) -> None:
    state = make_state(rule, k=2)
    shake(state, 0, dead=0.0)
    state.tensors["tokens_seen"].zero_()
    state.tensors["tokens_since_active"].zero_()
    seen = torch.zeros(30, dtype=torch.double)
    since = torch.zeros(30, dtype=torch.int64)
    for number, n in enumerate((20, 40, 4)):
        problem = Problem(state, Batch(draw_states(n, 8, number)), Moment())
        if state.needs_passages:
            problem.batch = dataclasses.replace(problem.batch, offsets=torch.tensor([0, n]))
        active = problem.family.codes().detach() != 0
        state.step(problem.batch, 0.0)
        seen += active.sum(0)
        since = torch.where(active.any(0), 0, since + n)
        torch.testing.assert_close(state.tensors["density"], seen / [20, 60, 64][number])  # a plain mean at first
        assert torch.equal(state.tensors["tokens_since_active"], since)


def test_old_tokens_fade_from_densities() -> None:
    state = make_state("topk", config={"dead_after_tokens": 40})
    for number in range(20):
        state.step(Batch(draw_states(20, 8, number)), 0.0)
    before = state.tensors["density"].clone()
    state.tensors["encoder_bias"].fill_(-99)
    state.restore(state.tensors, 1)
    state.step(Batch(draw_states(20, 8, 0)), 0.0)
    torch.testing.assert_close(state.tensors["density"], before / 2)  # the window is about dead_after_tokens long


def test_anneals() -> None:
    plain = ObjectiveConfig()
    assert {moment(plain, 8, done, 100) for done in range(101)} == {Moment(8, 1.0, 1.0)}
    falling = [moment(ObjectiveConfig(k_anneal_from=64), 8, done, 1000).k for done in range(1001)]
    assert falling[0] == 64
    assert falling[350] == 36
    assert set(falling[700:]) == {8}
    assert all(a >= b for a, b in zip(falling, falling[1:], strict=False))  # type: ignore[operator]
    assert moment(ObjectiveConfig(k_anneal_from=64, k_anneal_share=0.0), 8, 0, 100).k == 8
    rising = [moment(ObjectiveConfig(k_anneal_from=4, k_anneal_share=1.0), 8, done, 100).k for done in (0, 50, 100)]
    assert rising == [4, 6, 8]
    assert [moment(ObjectiveConfig(p_anneal_to=0.2), 8, done, 100).p for done in (0, 50, 75, 100)] == pytest.approx(
        [1, 1, 0.6, 0.2]
    )
    warm = ObjectiveConfig(sparsity_warm_up_tokens=50)
    assert [moment(warm, 8, done, 100).sparsity for done in (0, 25, 50, 99)] == [0, 0.5, 1, 1]


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="l0_target must be above 0"):
        make_state("jumprelu", l0_target=0.0)
    with pytest.raises(ConfigError, match="sae: unknown rule 'batchtopk'"):
        make_state("batchtopk")
    with pytest.raises(ConfigError, match="k_anneal_from is 64, but there are only 30 latents"):
        make_state("feature_choice", k_anneal_from=64)
    for rule in ("relu_l1", "gated"):
        with pytest.raises(ConfigError, match=f"{rule} penalises activations, which would shrink while free atoms grow"):
            make_state(rule, normalize_decoder=False, rescale_acts_by_decoder_norm=False)


@pytest.mark.parametrize("rule", ["jumprelu", "relu_l1", "gated"])
def test_a_rule_sets_itself_up_once_by_the_l0_aimed_at(rule: str) -> None:
    state, states = make_state(rule, 16, 200, 5), draw_states(100, 16, 0)
    state.look_at(states)
    first = state.step(Batch(states), 0.0)
    aimed = {"jumprelu": 5.0}.get(rule, 40.0)
    assert first.active / 100 == pytest.approx(aimed, rel=0.02)
    assert bool(state.tensors["rule_started"])
    before = {name: state.tensors[name].clone() for name in state.weights.trained}
    state.step(Batch(states * 3), 0.0)
    for name, tensor in before.items():
        torch.testing.assert_close(state.tensors[name], tensor)  # but for norms of atoms


def test_thresholds_may_be_given() -> None:
    state = make_state("jumprelu", jumprelu_init_threshold=0.7)
    state.step(Batch(draw_states(20, 8, 0)), 0.0)
    assert bool((state.tensors["threshold"] == torch.tensor(0.7)).all())


@pytest.mark.parametrize("rule", ["relu_l1", "gated"])
def test_penalties_are_steered_towards_the_l0_aimed_at(rule: str) -> None:
    for target, grows in ((0.5, True), (25.0, False)):
        state = make_state(rule, l0_target=target)
        shake(state, 0)
        before = float(state.tensors["penalty_factor"])
        state.step(Batch(draw_states(20, 8, 0)), 0.0)
        assert (float(state.tensors["penalty_factor"]) > before) == grows
    state = make_state(rule, l0_target=0.0)
    shake(state, 0)
    before = float(state.tensors["penalty_factor"])
    state.step(Batch(draw_states(20, 8, 0)), 0.0)
    assert float(state.tensors["penalty_factor"]) == before
