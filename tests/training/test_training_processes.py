"""Ranks that are processes: over gloo, by hand and by torchrun, interrupted, killed and in each other's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from forked_ranks import ONE_THREAD, SECONDS, World, free_port

from lexite.errors import ConfigError, TrainingError
from lexite.kernels.ranks import ALONE
from lexite.sae import SparseAutoencoder
from lexite.training.checkpoint import latest_checkpoint
from lexite.training.ranks import joined, started_by_torchrun

TRAIN = ["--n-latents", "64", "--k", "4", "--batch-tokens", "256", "--buffer-tokens", "2048", "--init-tokens", "1000"]
TRAIN += ["--precision", "fp32", "--device", "cpu", "--log-tokens", "2k", "--dead-after-tokens", "1000", "--epochs", "10000"]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of token states, on which no model has to be loaded."""
    folder = tmp_path_factory.mktemp("states")
    generator = torch.Generator().manual_seed(0)
    lengths = np.random.default_rng(0).integers(0, 30, 400)
    parts = torch.relu(torch.randn(int(lengths.sum()), 60, generator=generator) - 1) @ torch.randn(60, 16, generator=generator)
    np.save(folder / "states.npy", parts.numpy())
    np.save(folder / "offsets.npy", np.r_[0, lengths.cumsum()].astype(np.int64))
    return folder


@pytest.mark.slow
def test_two_processes_end_where_one_ends_also_when_they_were_interrupted(states: Path, tmp_path: Path, world: World) -> None:
    def command(output: str) -> list[str]:
        options = [*TRAIN, "--tokens", "40k", "--checkpoint-tokens", "1M"]
        return ["lexite", "train", str(states), "-o", str(tmp_path / output), *options]

    alone = world.start(command("one"))
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    environment = {**os.environ, **ONE_THREAD}
    first = subprocess.Popen(
        [sys.executable, *torchrun, "-m", *command("two")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until = time.monotonic() + SECONDS
        while not (tmp_path / "two" / "training" / "metrics.jsonl").exists() and time.monotonic() < until:
            assert first.poll() is None, first.communicate()[0].decode()
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=SECONDS)
    finally:
        first.kill()
    left = latest_checkpoint(tmp_path / "two" / "training")
    assert left is not None and left.name < f"checkpoint-{40_000:014d}"
    (status, said, logged), (other_status, other_said, other_logged) = (
        rank.result() for rank in world.ranks(2, [*command("two"), "--resume"])
    )
    assert (status, other_status) == (0, 0), logged + other_logged
    assert said.count("Use it:") == logged.count("Going on from") == logged.count("Saving the vocabulary") == 1
    assert not other_said and not other_logged
    assert alone.result()[0] == 0
    one, two = (SparseAutoencoder.load(tmp_path / name) for name in ("one", "two"))
    for name in ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias"):
        assert float((getattr(one, name) - getattr(two, name)).abs().max()) < 1e-4
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert summaries[0]["tokens"] == summaries[1]["tokens"] == 40_000
    assert summaries[0]["fvu"] == pytest.approx(summaries[1]["fvu"], rel=1e-4)


@pytest.mark.slow
def test_a_killed_rank_ends_the_other_with_a_message(states: Path, tmp_path: Path, world: World) -> None:
    options = [*TRAIN, "--tokens", "100M", "--checkpoint-tokens", "2k"]
    ranks = world.ranks(2, ["lexite", "train", str(states), "-o", str(tmp_path / "out"), *options])
    ranks[0].wait_until(lambda: latest_checkpoint(tmp_path / "out" / "training"))
    ranks[1].send(signal.SIGKILL)
    status, said, logged = ranks[0].result()
    assert (status, said) == (1, "")
    assert "Another rank has ended without giving a reason" in logged and logged.rstrip().endswith("go on with --resume.")
    assert latest_checkpoint(tmp_path / "out" / "training") is not None


@pytest.mark.slow
def test_what_ranks_tell_each_other_over_gloo(world: World) -> None:
    for process in world.ranks(2, [str(Path(__file__).parent / "rank_methods.py")]):
        status, said, logged = process.result()
        assert (status, said) == (0, "fine\n"), logged


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_process_without_all_variables_of_torchrun_is_alone(missing: str) -> None:
    whole = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    assert started_by_torchrun(whole)
    assert not started_by_torchrun({**whole, "WORLD_SIZE": "1"})
    with joined({name: value for name, value in whole.items() if name != missing}) as ranks:
        assert ranks is ALONE


def refused(variables: Mapping[str, str]) -> None:
    whole = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "LEXITE_RANK_SECONDS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**whole, **variables}.items():
            patch.setenv(name, value)
        with joined():
            pass


def test_a_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::", 0))
        other.listen()
        with pytest.raises(TrainingError, match="is in use, so the ranks cannot meet there"):
            refused({"MASTER_PORT": str(other.getsockname()[1])})


def test_a_rank_that_stays_away_is_waited_for_no_longer_than_allowed() -> None:
    with pytest.raises(TrainingError, match="Rank 1 of 2 cannot meet the others at 127"):
        refused({"MASTER_PORT": str(free_port()), "RANK": "1"})


def test_a_variable_that_is_no_number_is_named() -> None:
    with pytest.raises(ConfigError, match="LEXITE_RANK_SECONDS is 'soon', but must be a whole number"):
        refused({"MASTER_PORT": "1", "LEXITE_RANK_SECONDS": "soon"})
