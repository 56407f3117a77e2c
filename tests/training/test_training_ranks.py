"""Several ranks in threads: their steps and runs are those of one process, whatever part of a batch or a text each has."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_problems import RULES
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_of_numbers import LATENTS, D, Numbers, distance, records, run, same, token_states, untimed
from thread_ranks import on_ranks

from lexite.errors import ConfigError, TrainingError
from lexite.kernels.ranks import ALONE, Ranks
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.training.batches import Batch, Moment
from lexite.training.buffers import make_buffer
from lexite.training.checkpoint import latest_checkpoint, load_checkpoint
from lexite.training.config import TrainingConfig
from lexite.training.run import METRICS_FILE, TrainingResult, train_autoencoder
from lexite.training.shares import Share
from lexite.training.sources import Chunk, groups_of_chunks, own_part
from lexite.training.step import TrainingState
from simulated_cuda import CUDA, SimulatedCuda

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENS = 160
OFFSETS = np.array([0, 20, 21, 60, 100, 100, 130, 160])
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "all terms": (
        {"flops_coefficient": 0.01, "matryoshka": "sampled", "auxiliary": "zipf", "multi_topk_coefficient": 0.125},
        {"apply_b_dec_to_input": False},
    ),
    "free atoms": ({"normalize_decoder": False, "p_anneal_to": 0.5}, {"normalize_activations": "layer_norm"}),
}
SHARES = {  # ranks of the passages, step by step
    "two": [[0, 1, 0, 1, 0, 1, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 0]],
    "one has nothing": [[0] * 7, [1] * 7, [0] * 7],
    "three": [[0, 1, 2, 0, 1, 2, 0], [2, 2, 0, 1, 1, 2, 2], [1] * 7],
}


def make_state(rule: str, variant: str, ranks: Ranks = ALONE) -> TrainingState:
    objective, sae = VARIANTS[variant]
    recipe = TrainingConfig(batch_tokens=TOKENS, buffer_tokens=2 * TOKENS, dead_after_tokens=200, k_aux=6)
    config = SAEConfig(D, LATENTS, 4, rule=rule, **sae)
    return TrainingState(config, recipe, torch.float32, "cpu", ObjectiveConfig(**objective), ranks)


def part_of(states: torch.Tensor, owners: list[int], rank: int) -> Batch:
    own = np.array(owners) == rank
    lengths = np.diff(OFFSETS)
    offsets = torch.from_numpy(np.r_[0, lengths[own].cumsum()])
    return Batch(states[torch.from_numpy(np.repeat(own, lengths))], offsets, len(states))


def same_numbers(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], atol: float) -> None:
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=2e-4, atol=atol, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", RULES)
def test_a_step_on_ranks_is_the_step_of_one_process(rule: str, variant: str, shares: str) -> None:
    compare_steps(rule, variant, SHARES[shares])


@pytest.mark.parametrize("rule", RULES)
def test_so_it_is_with_what_runs_on_an_accelerator(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("lexite.") and hasattr(module, "on_cpu"):
            monkeypatch.setattr(module, "on_cpu", lambda tensor: False)
    compare_steps(rule, "all terms", SHARES["three"])


def compare_steps(rule: str, variant: str, owners: list[list[int]]) -> None:
    """Three steps of ranks that have the passages of those numbers, beside the same steps of one process."""
    batches = [token_states(TOKENS, seed) for seed in range(3)]
    moments = [Moment(p=1 - 0.2 * number, sparsity=0.5) for number in range(3)]
    alone = make_state(rule, variant)
    alone.look_at(batches[0])
    wanted = []
    for states, now in zip(batches, moments, strict=True):
        before = {name: tensor.clone() for name, tensor in alone.tensors.items()}
        whole = Batch(states, torch.from_numpy(OFFSETS))
        gradients = {name: tensor.clone() for name, tensor in alone.gradients(whole, now).parameters.items()}
        alone.restore(before, alone.steps)
        wanted.append((before, gradients, alone.step(whole, 0.003, now)))

    def work(ranks: Ranks) -> dict[str, torch.Tensor]:
        state = make_state(rule, variant, ranks)
        for number, (before, gradients, metrics) in enumerate(wanted):
            batch = part_of(batches[number], owners[number], ranks.rank)
            state.restore(before, number)
            same_numbers(state.gradients(batch, moments[number]).parameters, gradients, 1e-6)
            state.restore(before, number)
            found = state.step(batch, 0.003, moments[number])
            counts = [(m.tokens, float(m.active), float(m.n_dead)) for m in (found, metrics)]
            assert counts[0] == counts[1]
            losses = [{name: float(loss) for name, loss in m.losses.items()} for m in (found, metrics)]
            assert losses[0] == pytest.approx(losses[1], rel=1e-4)
            assert float(found.gradient_norm) == pytest.approx(float(metrics.gradient_norm), rel=1e-4)
        return state.tensors

    found = on_ranks(1 + max(map(max, owners)), work)
    counted = [name for name in alone.tensors if not name.startswith(("first.", "second.")) and name != "level"]
    for tensors in found:
        same_numbers({n: tensors[n] for n in counted}, {n: alone.tensors[n] for n in counted}, 1e-4)
        assert all(torch.equal(tensors[n].nan_to_num(), found[0][n].nan_to_num()) for n in tensors)  # to the last bit


class OneOf(Ranks):
    """A rank that asks the others nothing."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_ranks_draw_together_is_what_one_process_draws(device: str, passages: bool) -> None:
    states, lengths = torch.arange(600.0)[:, None].expand(600, 2).bfloat16(), np.array([0, 130, 7, 300, 1, 62, 100])
    whole = Chunk(states, np.r_[0, lengths.cumsum()])
    with SimulatedCuda() if device == "cuda" else contextlib.nullcontext():
        place = CUDA if device == "cuda" else torch.device("cpu")
        alone = make_buffer(250, 2, place, None, ALONE, passages=passages)
        shared = [make_buffer(250, 2, place, None, OneOf(rank, 3), passages=passages) for rank in range(3)]
        once = [whole]
        feeds: list[Callable[[], Any]] = [lambda: once.pop() if once else None]
        if not passages:
            feeds = [lambda: once.pop().states if once else None]
        for rank in range(3):
            part = own_part(whole.states, whole.offsets, Share(rank, 3))
            some = [replace(part, lengths=np.diff(whole.offsets))]
            feeds.append(lambda some=some: some.pop() if some else None)
        generators = [np.random.default_rng(0) for _ in range(4)]
        for wanted in (250, 60, 40, 250, 250, 250):
            for buffer, feed in zip([alone, *shared], feeds, strict=True):
                buffer.refill(feed)
            drawn = [buffer.draw(wanted, g) for buffer, g in zip([alone, *shared], generators, strict=True)]
            first, *parts = [Batch(part) if isinstance(part, torch.Tensor) else part for part in drawn]
            assert {buffer.size for buffer in shared} == {alone.size}
            assert {part.whole for part in parts} == {len(first.states)}
            together = torch.cat([part.states for part in parts]).float().cpu()[:, 0]
            assert sorted(together.tolist()) == sorted(first.states.float().cpu()[:, 0].tolist())
            for part in parts if passages else []:
                assert part.offsets is not None and int(part.offsets[-1]) == len(part.states)
        assert alone.size == 0


@pytest.mark.parametrize("dealt", ["fairly", "all to the first", "half"])
@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_a_run_on_ranks_ends_where_one_process_ends(tmp_path: Path, size: int, passages: bool, dealt: str) -> None:
    terms = {"flops_coefficient": 0.001} if passages else {}
    alone, shared = run(tmp_path / "alone", **terms), run(tmp_path / "shared", size, Numbers(dealt=dealt), **terms)
    assert distance(alone.autoencoder, shared.autoencoder) < 1e-5
    assert shared.summary["tokens"] == 3000
    for found, wanted in zip(records(tmp_path / "shared"), records(tmp_path / "alone"), strict=True):
        assert found["tokens"] == wanted["tokens"]
        assert found["fvu"] == pytest.approx(wanted["fvu"], rel=1e-4)
        assert found["dead_share"] == wanted["dead_share"]
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["checkpoint-00000000003000", METRICS_FILE]


def test_a_short_text_ends_at_the_same_token(tmp_path: Path) -> None:
    alone, shared = (run(tmp_path / str(size), size, Numbers(90), epochs=2, tokens=5000) for size in (1, 3))
    assert alone.summary["tokens"] == shared.summary["tokens"] == 2 * int(Numbers(90).lengths.sum())
    assert distance(alone.autoencoder, shared.autoencoder) < 1e-5


def test_batches_without_a_token_of_some_rank_do_no_harm(tmp_path: Path) -> None:
    alone, shared = (run(tmp_path / str(size), size, tokens=40, batch_tokens=2, buffer_tokens=8) for size in (1, 3))
    assert distance(alone.autoencoder, shared.autoencoder) < 1e-5


@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("fail_at", [60, 190])
def test_a_resumed_run_ends_bit_for_bit_as_one_that_never_stopped(tmp_path: Path, fail_at: int, passages: bool) -> None:
    terms = {"flops_coefficient": 0.001} if passages else {}
    whole = run(tmp_path / "whole", 2, **terms)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", 2, Numbers(fail_at=fail_at), tokens=3000, **terms)
    assert same(run(tmp_path / "parts", 2, resume=True, **terms).autoencoder, whole.autoencoder)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("passages", [False, True])
def test_another_number_of_ranks_goes_on_and_says_so(
    tmp_path: Path, before: int, after: int, passages: bool, caplog: pytest.LogCaptureFixture
) -> None:
    terms = {"flops_coefficient": 0.001} if passages else {}
    whole = run(tmp_path / "whole", **terms)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", before, Numbers(fail_at=160), **terms)
    resumed = run(tmp_path / "parts", after, resume=True, **terms)
    assert distance(resumed.autoencoder, whole.autoencoder) < 1e-5
    assert f"number of processes {before} before, {after} now" in caplog.text


def test_a_checkpoint_holds_the_buffer_of_all_ranks_in_the_order_of_one_process(tmp_path: Path) -> None:
    held = {}
    for size in (1, 3):
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / str(size), size, Numbers(fail_at=150))
        path = latest_checkpoint(tmp_path / str(size))
        assert path is not None
        held[size] = load_checkpoint(path).buffer
    for name in ("rows", "pending"):
        assert torch.equal(held[1][name], held[3][name])
    assert set(held[3]["rows_owners"].tolist()) == {0, 1, 2}


def test_what_ranks_cannot_do_together_is_refused(tmp_path: Path) -> None:
    def work(ranks: Ranks, differ: bool = False, **changes: Any) -> TrainingResult:
        source = Numbers(seed=ranks.rank if differ else 0)
        source.repeatable = not changes.pop("once", False)
        config = TrainingConfig(tokens=500, batch_tokens=50, buffer_tokens=200, **changes)
        return train_autoencoder(source, tmp_path, SAEConfig(D, 48, 3), config, show_progress=False, ranks=ranks)

    with pytest.raises(ConfigError, match="keep the buffer in memory"):
        on_ranks(2, lambda ranks: work(ranks, buffer="disk"))
    with pytest.raises(ConfigError, match="can't share standard input"):
        on_ranks(2, lambda ranks: work(ranks, once=True))
    with pytest.raises(TrainingError, match=r"was started with other settings than rank 0 \(seed: 0 -> 1\)"):
        on_ranks(2, lambda ranks: work(ranks, seed=ranks.rank))
    with pytest.raises(TrainingError, match=r"rank 0 \(log_tokens: 100000 -> 50"):
        on_ranks(2, lambda ranks: work(ranks, log_tokens=50 if ranks.rank else 100_000))
    with pytest.raises(TrainingError, match=r"rank 0 \(sources: .*numbers 200 0.* -> .*numbers 200 1"):
        on_ranks(2, lambda ranks: work(ranks, differ=True))
    assert not list(tmp_path.iterdir())


def test_ranks_that_read_different_texts_are_told(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> TrainingResult:
        source = Numbers(200 - 5 * ranks.rank)
        source.identity = ["the same"]
        config = TrainingConfig(tokens=5000, batch_tokens=50, buffer_tokens=200)
        return train_autoencoder(source, tmp_path, SAEConfig(D, 48, 3), config, show_progress=False, ranks=ranks)

    with pytest.raises(TrainingError, match="The ranks read different texts"):
        on_ranks(2, work)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 5))
def test_texts_are_dealt_evenly(lengths: list[int], size: int) -> None:
    owners = Share(0, size).deal(lengths)
    sums = np.bincount(owners, lengths, minlength=size)
    assert len(owners) == len(lengths) and len(sums) == size
    assert not lengths or sums.max() - sums.min() <= max(lengths)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), max_size=20), st.data())
def test_groups_of_chunks_go_on_from_any_boundary(sizes: list[int], data: st.DataObject) -> None:
    bounds = np.r_[0, np.cumsum(sizes)].astype(int)
    texts = [str(number) for number in range(bounds[-1])]
    chunks = [texts[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    skip, size = int(data.draw(st.sampled_from(bounds.tolist()))), data.draw(st.integers(1, 4))
    groups = list(groups_of_chunks(iter(chunks), skip, size))
    assert [text for _, group in groups for text in group] == texts[skip:]
    assert [int(group[0]) for _, group in groups] == [first for first, _ in groups]
    assert {first for first, _ in groups} <= set(bounds.tolist())
