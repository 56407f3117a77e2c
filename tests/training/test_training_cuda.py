"""Training on a simulated CUDA device: the same numbers as on the CPU, and few moments at which the host waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_problems import RULES

from lexite.errors import TrainingError
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.objective import ObjectiveConfig
from lexite.training.ahead import CHUNKS, ReadAhead
from lexite.training.batches import Batch
from lexite.training.buffer import ShuffleBuffer
from lexite.training.config import TrainingConfig
from lexite.training.device_buffer import DevicePassageBuffer, DeviceShuffleBuffer, passage_lengths
from lexite.training.passages import PassageBuffer
from lexite.training.run import METRICS_FILE, STEPS_UNREAD, TrainingResult, train_autoencoder
from lexite.training.sources import Chunk
from lexite.training.step import TrainingState
from simulated_cuda import CUDA, CudaTensor, SimulatedCuda

pytestmark = pytest.mark.usefixtures("one_thread")
D, LATENTS, TOKENS = 24, 96, 160
OFFSETS = torch.tensor([0, 20, 21, 60, 100, 100, 130, 160])
VARIANTS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "plain": ({}, {}),
    "all terms": ({"flops_coefficient": 0.01, "matryoshka": "fixed", "auxiliary": "zipf"}, {"apply_b_dec_to_input": False}),
    "free atoms": (
        {"normalize_decoder": False, "multi_topk_coefficient": 0.125},
        {"normalize_activations": "expected_average_only_in"},
    ),
}
WAITS = {"topk": 0, "abs_topk": 0, "gradient_topk": 0, "jumprelu": 1, "gated": 1, "relu_l1": 1, "top_afa": 2}
WAITS |= {"batch_topk": 5, "mutual_choice": 5, "feature_choice": 20}  # a batch may have to be collected a second time


@pytest.fixture(autouse=True)
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter of Triton is slow; its kernels are tested with the references that run here."""
    monkeypatch.setenv("LEXITE_TRITON", "0")


@pytest.fixture
def cuda() -> Iterator[SimulatedCuda]:
    with SimulatedCuda() as simulated:
        yield simulated


def token_states(n: int, seed: int) -> torch.Tensor:
    """States of a few sparse directions, as a dictionary finds them."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(48, D, generator=torch.Generator().manual_seed(99))
    return (torch.relu(torch.randn(n, 48, generator=generator) - 1) @ directions + torch.arange(D) / D).bfloat16()


def make_state(rule: str, variant: str, device: str) -> TrainingState:
    objective, sae = VARIANTS[variant]
    recipe = TrainingConfig(batch_tokens=TOKENS, buffer_tokens=2 * TOKENS, dead_after_tokens=400, k_aux=6)
    config = SAEConfig(D, LATENTS, 4, rule=rule, **sae)  # type: ignore[arg-type]
    return TrainingState(config, recipe, torch.float32, device, ObjectiveConfig(**objective))  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", RULES)
def test_a_step_computes_what_it_computes_on_the_cpu(rule: str, variant: str) -> None:
    batches = [Batch(token_states(TOKENS, seed), OFFSETS) for seed in range(4)]
    host = make_state(rule, variant, "cpu")
    host.look_at(batches[0].states)
    for batch in batches[:3]:
        host.step(batch, 0.003)
    with SimulatedCuda() as cuda:
        device = make_state(rule, variant, "cuda")
        device.restore(host.tensors, host.steps)
        first = device.gradients(batches[3])
        expected = host.gradients(batches[3])
        for name, gradient in expected.parameters.items():
            torch.testing.assert_close(first.parameters[name].cpu(), gradient, rtol=2e-3, atol=2e-5)
        names = expected.losses.keys() | ({"aux"} & first.losses.keys())  # 0 on the device where no latent is dead
        assert first.losses.keys() == names
        for name in names:
            assert float(first.losses[name]) == pytest.approx(float(expected.losses.get(name, 0.0)), rel=1e-4, abs=1e-7)
        measured = [host.step(batches[3], 0.003), device.step(batches[3], 0.003).packed()]
        known = measured[0].read(measured)
        for name in ("squared_error", "variance", "active", "gradient_norm", "n_dead"):
            assert getattr(known[1], name) == pytest.approx(getattr(known[0], name), rel=5e-4)
        assert all(isinstance(tensor, CudaTensor) or not tensor.ndim for tensor in device.tensors.values())
        with cuda.counted() as counts:
            device.step(batches[1], 0.003).packed()
    assert sum(counts.waits.values()) <= WAITS[rule], counts.waits
    assert sum(counts.launches.values()) <= 650, counts.launches
    assert counts.uploads.total() <= 3, counts.uploads  # the batch, and numbers of passages


def test_a_step_of_topk_is_planned_without_waiting_in_few_launches(cuda: SimulatedCuda) -> None:
    state = make_state("topk", "plain", "cuda")
    states = token_states(TOKENS, 0).to(CUDA)
    state.look_at(states)
    for _ in range(4):  # latents die, so that the auxiliary loss takes part
        state.step(states, 0.003)
    with cuda.counted() as counts:
        state.step(states, 0.003).packed()
    assert not counts.waits
    assert not counts.uploads
    assert sum(counts.launches.values()) <= 270


@pytest.mark.slow
def test_a_step_through_the_kernels_of_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="this build of torch comes without Triton")
    if torch.cuda.is_available():
        pytest.skip("where there is a GPU, the interpreter of Triton is not in use")
    from lexite.kernels import accelerator
    from lexite.kernels.adam import triton as adam
    from lexite.kernels.gathers import triton as gathers
    from lexite.kernels.topk import triton as topk

    started: list[str] = []

    def launch(kernel: Any, grid: Any, *arguments: Any, **constants: Any) -> None:
        started.append(kernel.fn.__name__)
        held = [argument.held if isinstance(argument, CudaTensor) else argument for argument in arguments]
        accelerator.launch(kernel, grid, *held, **constants)

    states = token_states(40, 0)
    host = make_state("topk", "plain", "cpu")
    host.look_at(states)
    expected = host.gradients(states)
    with SimulatedCuda() as cuda, monkeypatch.context() as patch:
        patch.delenv("LEXITE_TRITON")
        for module in (adam, gathers, topk):
            patch.setattr(module, "launch", launch)
        device = make_state("topk", "plain", "cuda")
        device.restore(host.tensors, 0)
        with cuda.counted() as counts:
            found = device.gradients(states)
        for name, gradient in expected.parameters.items():
            torch.testing.assert_close(found.parameters[name].cpu(), gradient, rtol=2e-3, atol=2e-5)
        with cuda.counted() as more:
            device.optimizer.update(found, device.optimizer.norm(found), 0.003)
        for name in ("encoder_weight", "decoder_weight"):  # Adam's first step goes as far for any gradient
            moved = device.tensors[name].cpu() - host.tensors[name]
            assert 0.001 < float(moved.abs().max()) < 0.01
    assert list(counts.waits.values()) == [1]  # for the latents that may die, once in many steps
    assert not more.waits
    assert started.count("_adam_rows") == 3  # both matrices, and the bias of the decoder
    # Candidates, values and derivatives; reconstructions, and encoder, decoder and bias in pieces that are then added.
    assert (started.count("_group_maxima"), started.count("_gather_dots"), started.count("_segment_sums")) == (1, 3, 7)


def test_dead_latents_are_looked_up_once_for_many_steps(cuda: SimulatedCuda) -> None:
    state = make_state("topk", "plain", "cuda")
    states = token_states(TOKENS, 0).to(CUDA)
    state.look_at(states)
    with cuda.counted() as counts:
        for _ in range(20):
            state.step(states, 0.003)
    assert sum(counts.waits.values()) == 1


class Source:
    """Texts of states; each is read from any text on."""

    repeatable = True
    identity = ("states of the test",)

    def __init__(self, n: int = 12) -> None:
        self.n, self.read = n, 0

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        for number in range(skip_texts // 8, self.n):
            self.read += 1
            lengths = np.random.default_rng(number).integers(1, 40, 8)
            yield Chunk(token_states(int(lengths.sum()), number), np.concatenate([[0], lengths.cumsum()]))


def train(
    folder: Path, device: str, *, rule: str = "topk", tokens: int = 1200, resume: bool = False, **more: object
) -> TrainingResult:
    recipe = {"tokens": tokens, "batch_tokens": 150, "buffer_tokens": 400, "init_tokens": 300, "dead_after_tokens": 600}
    recipe |= {"log_tokens": 450, "checkpoint_tokens": 450, "k_aux": 6, "learning_rate": 0.01, "warmup_tokens": 100}
    probe: Callable[[SparseAutoencoder], dict[str, float]] | None = more.pop("probe", None)  # type: ignore[assignment]
    config = TrainingConfig(**{**recipe, **more})  # type: ignore[arg-type]
    return train_autoencoder(
        Source(), folder, SAEConfig(D, LATENTS, 4, rule=rule), config, probe=probe, device=device, resume=resume,
        show_progress=False,
    )  # fmt: skip


def stopping_after(calls: int) -> Callable[[SparseAutoencoder], dict[str, float]]:
    """A probe that ends the process, as it were, when it is called for the n-th time."""
    left = [calls]

    def probe(autoencoder: SparseAutoencoder) -> dict[str, float]:
        left[0] -= 1
        if not left[0]:
            raise OSError("stopped")
        codes = autoencoder.encode(token_states(20, 5))
        return {"probed": codes.l0}

    return probe


@pytest.mark.parametrize("rule", RULES)
def test_a_run_ends_about_where_it_ends_on_the_cpu(rule: str, tmp_path: Path) -> None:
    here = train(tmp_path / "cpu", "cpu", rule=rule)
    with SimulatedCuda():
        there = train(tmp_path / "cuda", "cuda", rule=rule, probe=stopping_after(99), probe_tokens=450)
        assert there.autoencoder.device == CUDA
        assert there.autoencoder.thresholds is None or there.autoencoder.thresholds.device == CUDA
        there.autoencoder.save(tmp_path / "saved")
    assert there.summary["tokens"] == here.summary["tokens"] == 1200
    # Batches are drawn in another order, so only the quality is the same.
    assert there.summary["fvu"] == pytest.approx(here.summary["fvu"], abs=0.1)
    assert SparseAutoencoder.load(tmp_path / "saved").device.type == "cpu"
    records = [json.loads(line) for line in (tmp_path / "cuda" / METRICS_FILE).read_text().splitlines()]
    assert sum("probed" in record for record in records) == 3


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("topk", "cuda", "cuda"),
        ("topk", "cpu", "cuda"),
        ("relu_l1", "cuda", "cpu"),
        ("gradient_topk", "cuda", "cuda"),
        ("gradient_topk", "cuda", "cpu"),
    ],
)
def test_a_run_goes_on_on_any_device(
    rule: str, first: str, second: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SimulatedCuda():
        with pytest.raises(OSError, match="stopped"):
            train(tmp_path / "run", first, rule=rule, probe=stopping_after(2), probe_tokens=450)
        assert list((tmp_path / "run").glob("checkpoint-*"))
        ended = train(tmp_path / "run", second, rule=rule, resume=True)
        assert ended.summary["tokens"] == 1200
        moved = "goes on in another way" in caplog.text
        assert moved == (first != second)
        if first == second:
            whole = train(tmp_path / "whole", first, rule=rule)
            for mine, other in ((ended, whole), (whole, ended)):
                assert torch.equal(mine.autoencoder.encoder_weight, other.autoencoder.encoder_weight)


def test_a_number_format_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="stopped"):
        train(tmp_path, "cpu", probe=stopping_after(2), probe_tokens=450)
    sae, config = SAEConfig(D, LATENTS, 4), TrainingConfig(tokens=1200, batch_tokens=150, buffer_tokens=400)
    with pytest.raises(TrainingError, match="another configuration"):
        train_autoencoder(Source(), tmp_path, sae, config, precision="bf16", resume=True, show_progress=False)


def test_a_run_reads_its_numbers_seldom(tmp_path: Path, cuda: SimulatedCuda) -> None:
    with cuda.counted() as counts:
        train(tmp_path, "cuda", tokens=10 * 150, log_tokens=10**6, checkpoint_tokens=10**6)
    reads = sum(count for place, count in counts.waits.items() if place.startswith("training/results.py"))
    assert reads == 1 < 10 < STEPS_UNREAD


def test_a_loss_that_is_not_finite_ends_the_run_before_a_checkpoint(tmp_path: Path, cuda: SimulatedCuda) -> None:
    with pytest.raises(TrainingError, match="no longer a finite number"):
        train(tmp_path, "cuda", learning_rate=1e30, clip_norm=0.0, warmup_tokens=0)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_buffer_on_the_device_gives_each_state_once(cuda: SimulatedCuda) -> None:
    buffer = DeviceShuffleBuffer(100, 2, CUDA)
    chunks = [torch.arange(start, start + 40).bfloat16()[:, None].expand(-1, 2) for start in (0, 40, 80)]
    generator = np.random.default_rng(0)
    buffer.refill(lambda: chunks.pop(0) if chunks else None)
    assert buffer.size == 100
    seen = [buffer.draw(30, generator)[:, 0].tolist() for _ in range(2)]
    assert seen[0] != sorted(seen[0])
    state = buffer.state()
    other = DeviceShuffleBuffer(100, 2, CUDA)
    other.restore(state)
    assert torch.equal(other.draw(30, generator).cpu(), buffer.draw(30, generator).cpu())
    buffer.refill(lambda: None)  # what waited comes in
    rest = buffer.draw(99, generator)[:, 0].tolist()
    assert len(rest) == 10 + 20
    assert buffer.size == 0


def test_passages_on_the_device_stay_whole(cuda: SimulatedCuda) -> None:
    lengths = [5, 0, 300, 1, 128, 60]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    assert passage_lengths(offsets).tolist() == [5, 128, 128, 44, 1, 128, 60]
    states = torch.arange(494).float()[:, None].bfloat16()
    states = torch.stack([torch.arange(494) // 64, torch.arange(494) % 64], 1).bfloat16()
    numbers, generator = [], np.random.default_rng(0)
    chunks = [Chunk(states, offsets)]
    buffer = DevicePassageBuffer(250, 2, CUDA)
    while True:
        buffer.refill(lambda: chunks.pop() if chunks else None)
        if not buffer.size:
            break
        batch = buffer.draw(200, generator)
        assert batch.offsets is not None and batch.offsets.device.type == "cpu"
        assert len(batch.states) == int(batch.offsets[-1]) <= 200
        place = (batch.states[:, 0].float() * 64 + batch.states[:, 1].float()).tolist()
        for begin, end in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
            assert place[begin:end] == list(np.arange(place[begin], place[begin] + end - begin))
        numbers += place
    assert sorted(numbers) == list(range(494))


@pytest.mark.parametrize("host", [ShuffleBuffer, PassageBuffer])
def test_a_buffer_moves_to_the_device_and_back(host: type, cuda: SimulatedCuda) -> None:
    passages = host is PassageBuffer
    chunk = Chunk(token_states(300, 0), np.array([0, 100, 150, 300]))
    there = (DevicePassageBuffer if passages else DeviceShuffleBuffer)(200, D, CUDA)
    here, back = host(200, D), host(200, D)
    once = [chunk if passages else chunk.states]
    here.refill(lambda: once.pop() if once else None)
    there.restore(here.state())
    assert (there.size, there.rows.device) == (here.size, CUDA)
    back.restore({name: tensor.cpu() for name, tensor in there.state().items()})
    for name, tensor in here.state().items():
        assert torch.equal(back.state()[name], tensor)


def test_reading_ahead_gives_what_is_read_and_stops(cuda: SimulatedCuda) -> None:
    source = Source()
    ahead = ReadAhead(source.chunks(), CUDA)
    first = next(ahead)
    assert first.states.device == CUDA
    assert torch.equal(first.states.cpu(), next(Source().chunks()).states)
    ahead.close()
    assert source.read <= CHUNKS + 2
    assert sum(chunk.n_texts for chunk in ReadAhead(Source(3).chunks(), CUDA)) == 24


def test_an_error_of_the_source_comes_out_where_a_chunk_is_asked_for(cuda: SimulatedCuda) -> None:
    def broken() -> Iterator[Chunk]:
        yield from Source(1).chunks()
        raise OSError("the disk is gone")

    ahead = ReadAhead(broken(), CUDA)
    next(ahead)
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert list(ahead) == []
