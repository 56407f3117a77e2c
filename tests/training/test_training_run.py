"""Whole runs on small states: they learn, log, stop, go on exactly, and refuse what does not fit."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexite.errors import ConfigError, StorageError, TrainingError
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.training import checkpoint as checkpoints
from lexite.training.batches import Batch, Moment
from lexite.training.checkpoint import latest_checkpoint, load_checkpoint
from lexite.training.config import TrainingConfig
from lexite.training.results import StepMetrics
from lexite.training.run import METRICS_FILE, TrainingResult, train_autoencoder
from lexite.training.schedule import learning_rate
from lexite.training.sources import Chunk
from lexite.training.step import TrainingState

D = 8


class Numbers:
    """A source of random states, cut into texts of five tokens; it can stop the run or the process at a text."""

    def __init__(self, texts: int = 200, *, repeatable: bool = True, fail_at: int | None = None, seed: int = 0) -> None:
        self.texts, self.repeatable, self.fail_at = texts, repeatable, fail_at
        self.identity = [f"numbers {texts} {seed}"]
        generator = torch.Generator().manual_seed(seed)
        atoms = torch.randn(30, D, generator=generator)
        self.states = torch.relu(torch.randn(texts * 5, 30, generator=generator) - 1) @ atoms

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        for start in range(0, self.texts, 10):
            if start >= skip_texts:
                if self.fail_at is not None and start >= self.fail_at:
                    raise RuntimeError("killed")
                count = min(10, self.texts - start)
                yield Chunk(self.states[start * 5 : (start + 10) * 5], np.arange(count + 1) * 5)


def config(**changes: object) -> TrainingConfig:
    values = {"tokens": 3000, "batch_tokens": 50, "buffer_tokens": 200, "log_tokens": 300, "checkpoint_tokens": 500, **changes}
    return TrainingConfig(**values)  # type: ignore[arg-type]


def run(folder: Path, source: Numbers | None = None, *, resume: bool = False, **changes: object) -> TrainingResult:
    source = source or Numbers()
    return train_autoencoder(source, folder, SAEConfig(D, 24, 3), config(**changes), resume=resume, show_progress=False)


def same(a: SparseAutoencoder, b: SparseAutoencoder) -> bool:
    names = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


def test_a_run_learns_and_logs(tmp_path: Path) -> None:
    result = run(tmp_path, tokens=9000, learning_rate=0.01)
    log = records(tmp_path)
    assert [record["tokens"] for record in log] == list(range(300, 9001, 300))
    assert log[-1]["fvu"] < 0.8 * log[0]["fvu"]
    assert log[-1]["l0"] <= 3
    assert log[-1]["learning_rate"] == pytest.approx(0, abs=1e-6)
    assert set(log[0]) >= {
        "fvu",
        "l0",
        "dead_share",
        "losses",
        "zipf_exponent",
        "gradient_norm",
        "tokens_per_second",
        "seconds",
    }
    assert result.summary["tokens"] == 9000
    assert result.summary["passes"] == 9
    assert result.summary["fvu"] == log[-1]["fvu"]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    results = [run(tmp_path / name, seed=seed).autoencoder for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize("buffer", ["memory", "disk"])
@pytest.mark.parametrize("fail_at", [100, 190])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(tmp_path: Path, buffer: str, fail_at: int) -> None:
    whole = run(tmp_path / "whole", buffer=buffer)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "parts", Numbers(fail_at=fail_at), buffer=buffer)
    resumed = run(tmp_path / "parts", resume=True, buffer=buffer)
    assert same(whole.autoencoder, resumed.autoencoder)
    untimed = [
        [{k: v for k, v in r.items() if k not in ("seconds", "tokens_per_second")} for r in records(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert untimed[0] == untimed[1]


def test_every_checkpoint_leads_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole").autoencoder
    saved = checkpoints.save_checkpoint
    for number in range(1, 6):
        folder, calls = tmp_path / str(number), iter(range(1, 99))

        def stop(*arguments: object, number: int = number, calls: Iterator[int] = calls) -> Path:
            path = saved(*arguments)  # type: ignore[arg-type]
            if next(calls) == number:
                raise RuntimeError("killed")
            return path

        monkeypatch.setattr("lexite.training.run.save_checkpoint", stop)
        with pytest.raises(RuntimeError):
            run(folder)
        monkeypatch.setattr("lexite.training.run.save_checkpoint", saved)
        assert same(run(folder, resume=True).autoencoder, whole)


def test_resuming_before_the_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path / "parts", Numbers(fail_at=0))
    assert same(run(tmp_path / "parts", resume=True).autoencoder, run(tmp_path / "whole").autoencoder)


def test_another_configuration_is_refused_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, Numbers(fail_at=150))
    log = (tmp_path / METRICS_FILE).read_bytes()
    with pytest.raises(TrainingError, match=r"learning_rate: 0\.001 -> 0\.5.*overwrite=True"):
        run(tmp_path, resume=True, learning_rate=0.5)
    with pytest.raises(TrainingError, match="sources"):
        run(tmp_path, Numbers(seed=3), resume=True)
    assert (tmp_path / METRICS_FILE).read_bytes() == log
    run(tmp_path, resume=True, log_tokens=1000, checkpoint_tokens=1000)  # these do not touch the result


@pytest.mark.parametrize("name", ["state.safetensors", "buffer.safetensors"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, Numbers(fail_at=150))
    path = latest_checkpoint(tmp_path)
    assert path is not None
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(bytes(data))
    with pytest.raises(TrainingError, match=f"{name} is damaged"):
        run(tmp_path, resume=True)
    (path / name).unlink()
    with pytest.raises(TrainingError, match=f"{name} cannot be read"):
        run(tmp_path, resume=True)


def test_a_checkpoint_edited_by_hand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, Numbers(fail_at=150))
    path = latest_checkpoint(tmp_path)
    assert path is not None
    info = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**info, "done": 1}))
    with pytest.raises(TrainingError, match=r"checkpoint\.json is damaged"):
        run(tmp_path, resume=True)


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "checkpoint.json").write_text('{"format_version": 99}')
    with pytest.raises(TrainingError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path / "checkpoint-1")


def test_only_the_newest_checkpoint_is_kept_and_half_a_one_is_ignored(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, Numbers(fail_at=190))
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1
    (tmp_path / "checkpoint-99999999999999").mkdir()  # the kill came before its last file
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name != "checkpoint-99999999999999"
    assert "tokens_since_active" in load_file(newest / "state.safetensors")


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(99))

    def fail(*arguments: object, **others: object) -> None:
        if next(calls) >= 4:
            raise OSError(28, "No space left on device")
        real(*arguments, **others)  # type: ignore[arg-type]

    real = checkpoints.save_file
    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(StorageError, match="disk is full"):
        run(tmp_path)
    monkeypatch.setattr(checkpoints, "save_file", real)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    assert load_checkpoint(path).info["done"] == 1000
    assert not list(tmp_path.glob(".*"))
    assert same(run(tmp_path, resume=True).autoencoder, run(tmp_path / "whole").autoencoder)


@pytest.mark.parametrize(("epochs", "repeatable", "tokens"), [(2, True, 2000), (10, False, 1000), (1, True, 1000)])
def test_a_short_text_ends_the_run_with_a_rate_of_zero(tmp_path: Path, epochs: int, repeatable: bool, tokens: int) -> None:
    result = run(tmp_path, Numbers(repeatable=repeatable), epochs=epochs, tokens=5000)
    assert result.summary["tokens"] == tokens
    assert records(tmp_path)[-1]["learning_rate"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("tokens", [1, 51, 101, 149])
def test_a_small_rest_of_tokens_does_no_harm(tmp_path: Path, tokens: int) -> None:
    result = run(tmp_path, tokens=tokens)
    assert result.summary["tokens"] == tokens
    assert torch.isfinite(result.autoencoder.encoder_weight).all()


@pytest.mark.parametrize(
    ("changes", "steps"), [({"tokens": 40}, 1), ({"tokens": 461}, 9), ({"tokens": 462}, 9), ({"tokens": 463}, 10)]
)
def test_too_few_steps_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, int], steps: int
) -> None:
    taken: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        real = TrainingState.step
        patch.setattr(TrainingState, "step", lambda self, *given: taken.append(given[1]) or real(self, *given))
        run(tmp_path, **changes)
    warned = [record.getMessage() for record in caplog.records if "too few to learn anything" in record.getMessage()]
    assert len(taken) == steps and len(warned) == (steps < 10)
    if warned:
        assert warned[0].startswith(f"{changes['tokens']} tokens in all and 50 a step make {steps} step")
        assert "more tokens or epochs, or smaller batches" in warned[0]


def test_a_text_that_turns_out_to_be_short_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, Numbers(50), epochs=1, tokens=5000)  # more than the buffer holds, so the end comes after the first steps
    warned = [record.getMessage() for record in caplog.records if "too few to learn anything" in record.getMessage()]
    assert len(warned) == 1 and warned[0].startswith("250 tokens in all and 50 a step make 5 steps: ")


def test_a_run_that_is_cut_short_warms_up_in_proportion(tmp_path: Path) -> None:
    run(tmp_path, epochs=1, tokens=5000, warmup_tokens=2500, log_tokens=50)
    rates = [record["learning_rate"] for record in records(tmp_path)]
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert max(rates) < 1e-3  # the peak was never reached, since the end of the text came before


def test_a_signal_in_the_last_step_lets_the_run_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: TrainingState, batch: Batch, rate: float, now: Moment) -> StepMetrics:
        if rate == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, rate, now)

    real = TrainingState.step
    monkeypatch.setattr(TrainingState, "step", step)
    assert run(tmp_path, tokens=500).summary["tokens"] == 500


def test_a_finished_run_can_be_resumed_and_gives_the_same(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, Numbers(fail_at=0), resume=True)  # nothing is read any more
    assert same(first.autoencoder, again.autoencoder)
    assert again.summary["fvu"] == first.summary["fvu"]


def test_no_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no token to train on"):
        run(tmp_path, Numbers(0))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no longer a finite number"):
        run(tmp_path, learning_rate=float("1e38"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_a_step_with_a_checkpoint(tmp_path: Path, number: int) -> None:
    class Interrupting(Numbers):
        def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
            for start, chunk in enumerate(super().chunks(skip_texts)):
                if start == 8:
                    os.kill(os.getpid(), number)
                yield chunk

    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupting(), checkpoint_tokens=10**6)
    assert signal.getsignal(number) is handler
    assert latest_checkpoint(tmp_path) is not None
    assert same(run(tmp_path, resume=True).autoencoder, run(tmp_path / "whole").autoencoder)


def test_a_run_in_another_thread_works_without_signals(tmp_path: Path) -> None:
    results: list[TrainingResult] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path)))
    thread.start()
    thread.join()
    assert results[0].summary["tokens"] == 3000


def test_the_mean_state_starts_the_decoder_bias(tmp_path: Path) -> None:
    result = run(tmp_path, tokens=50, learning_rate=0.0, init_tokens=200)
    expected = Numbers().states[:50].bfloat16().float().mean(0)  # only as much was read as the run needs
    torch.testing.assert_close(result.autoencoder.decoder_bias, expected, rtol=1e-3, atol=1e-3)


def test_configurations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least twice batch_tokens"):
        TrainingConfig(batch_tokens=100, buffer_tokens=150)
    with pytest.raises(ConfigError, match="warmup_tokens"):
        TrainingConfig(tokens=10, warmup_tokens=11)


def test_the_learning_rate_without_warmup_starts_at_the_peak() -> None:
    assert learning_rate(0, 100, 1.0, 0) == 1.0
    assert learning_rate(200, 100, 1.0, 0) == 0.0
