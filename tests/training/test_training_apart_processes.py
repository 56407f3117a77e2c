"""Ranks that encode beside ranks that train, as processes over gloo: texts through a model, interrupted, killed and hung."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from forked_ranks import Forked, World

from lexite.sae import SparseAutoencoder
from lexite.training.checkpoint import latest_checkpoint

pytestmark = pytest.mark.slow
WORDS = ("the cat and the dog", "apple tree by the lake", "how does a plant grow", "read the file of the python module")
NAMES = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")


@pytest.fixture(scope="module")
def command(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Trains on texts that make three chunks, again and again."""
    texts = tmp_path_factory.mktemp("texts") / "texts.txt"
    texts.write_text("\n".join(" ".join(WORDS[(n * step) % 4] for step in range(1, 2 + n % 3)) for n in range(1200)))
    options = "--n-latents 64 --k 4 --batch-tokens 256 --buffer-tokens 2048 --init-tokens 1000 --log-tokens 2k --epochs 10000"
    model = ["--model", str(tiny_model), "--device", "cpu", "--precision", "fp32"]
    return ["lexite", "train", str(texts), *model, *options.split(), "--dead-after-tokens", "1000"]


def untimed(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def going_on(folder: Path, ranks: list[Forked]) -> None:
    """Waits until a run has a checkpoint."""
    ranks[0].wait_until(lambda: latest_checkpoint(folder / "training"))


def test_one_that_encodes_and_one_that_trains_end_where_one_process_ends(
    command: list[str], tmp_path: Path, world: World
) -> None:
    options = ["--tokens", "30k", "--checkpoint-tokens", "1M"]
    alone = world.start([*command, *options, "-o", str(tmp_path / "one")])
    apart = [*command, *options, "-o", str(tmp_path / "two"), "--encoding-ranks", "1"]
    ranks = world.ranks(2, apart)
    ranks[0].wait_until((tmp_path / "two" / "training" / "metrics.jsonl").exists)
    for rank in ranks:
        rank.send(signal.SIGINT)
    assert [rank.result()[0] for rank in ranks] == [130, 130]
    left = latest_checkpoint(tmp_path / "two" / "training")
    assert left is not None and left.name < f"checkpoint-{30_000:014d}"
    ends = [rank.result() for rank in world.ranks(2, [*apart, "--resume"])]
    assert [end[0] for end in ends] == [0, 0], ends
    assert "Going on from" in ends[0][2] and "last digits will differ" not in ends[0][2]
    assert ends[0][1].startswith("Use it:") and ends[1][1:] == ("", "")
    assert alone.result()[0] == 0
    one, two = (SparseAutoencoder.load(tmp_path / name) for name in ("one", "two"))
    assert all((getattr(one, name) == getattr(two, name)).all() for name in NAMES)  # bit for bit
    assert untimed(tmp_path / "one") == untimed(tmp_path / "two")


def test_two_that_train_and_one_that_encodes_are_near_one_process(command: list[str], tmp_path: Path, world: World) -> None:
    options = ["--tokens", "15k"]
    alone = world.start([*command, *options, "-o", str(tmp_path / "one")])
    ranks = world.ranks(3, [*command, *options, "-o", str(tmp_path / "three"), "--encoding-ranks", "1"])
    ends = [rank.result() for rank in ranks]
    assert [end[0] for end in ends] == [0, 0, 0], ends
    assert alone.result()[0] == 0
    one, three = (SparseAutoencoder.load(tmp_path / name) for name in ("one", "three"))
    assert max(float((getattr(one, name) - getattr(three, name)).abs().max()) for name in NAMES) < 1e-4


@pytest.mark.parametrize("killed", [1, 2])
def test_a_killed_rank_ends_all_with_a_message(command: list[str], tmp_path: Path, world: World, killed: int) -> None:
    options = ["--tokens", "100M", "--checkpoint-tokens", "2k", "--encoding-ranks", "1"]
    ranks = world.ranks(3, [*command, *options, "-o", str(tmp_path / "out")], LEXITE_RANK_SECONDS=60)
    going_on(tmp_path / "out", ranks)
    begun = time.monotonic()
    ranks[killed].send(signal.SIGKILL)
    ends = [ranks[number].result() for number in range(3) if number != killed]
    assert [end[:2] for end in ends] == [(1, ""), (1, "")]
    assert "Another rank has ended without giving a reason" in ends[0][2]
    assert ends[1][2] == "" or "has ended" in ends[1][2]  # people read the same reason once
    assert time.monotonic() - begun < 30  # noticed at once, not after the time limit
    assert latest_checkpoint(tmp_path / "out" / "training") is not None


@pytest.mark.parametrize("hung", [0, 1])
def test_a_hung_rank_ends_the_other_after_the_time_limit(command: list[str], tmp_path: Path, world: World, hung: int) -> None:
    options = ["--tokens", "100M", "--encoding-ranks", "1"]  # without checkpoints, for which ranks wait longer
    ranks = world.ranks(2, [*command, *options, "-o", str(tmp_path / "out")], LEXITE_RANK_SECONDS=6)
    ranks[0].wait_until((tmp_path / "out" / "training" / "metrics.jsonl").exists)
    ranks[hung].send(signal.SIGSTOP)
    status, _, logged = ranks[1 - hung].result()
    assert status == 1
    assert "hangs" in logged and "LEXITE_RANK_SECONDS sets how many seconds a rank waits" in logged


def test_a_rank_that_cannot_encode_tells_why(command: list[str], tmp_path: Path, world: World) -> None:
    records = [json.dumps({"id": str(n), "text": WORDS[n % 4]}) for n in range(1100)]
    records[1000] = '{"id": "broken"'
    (tmp_path / "bad.jsonl").write_text("\n".join(records))
    given = [*command, "--tokens", "100M", "--encoding-ranks", "1", "-o", str(tmp_path / "out")]
    given[2] = str(tmp_path / "bad.jsonl")
    ends = [rank.result() for rank in world.ranks(2, given)]
    assert [end[0] for end in ends] == [1, 1]
    assert all("bad.jsonl, line 1001" in end[2] for end in ends), ends
    assert ends[1][2].startswith("Rank 1: ") or "Rank 1: " in ends[1][2]
    assert "Rank 1 has ended, so this one stops too" in ends[0][2]
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_put_apart_is_refused(command: list[str], tmp_path: Path, world: World) -> None:
    output = ["-o", str(tmp_path / "out"), "--encoding-ranks"]
    status, _, logged = world.start([*command, *output, "1"]).result()
    assert status == 1 and "this process is alone" in logged and "torchrun --nproc-per-node 2" in logged
    ends = [rank.result() for rank in world.ranks(2, [*command, *output, "2"])]
    assert [end[0] for end in ends] == [1, 1]
    assert "there are 2 processes: at least one of them must train" in ends[0][2]
    assert not (tmp_path / "out").exists()
