"""Ranks that encode beside ranks that train, as threads: the run is that of ranks which do both."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs_of_numbers import Numbers, agreed, distance, fit, records, run, same, untimed
from thread_ranks import PATIENCE, Table, ThreadRanks, ThreadWire

from lexite.backbone import BackboneConfig, load_backbone
from lexite.errors import ConfigError, TrainingError
from lexite.kernels.ranks import ALONE, Ranks
from lexite.training.ahead import CHUNKS
from lexite.training.apart import EncodingRanks, Order, SentStates, check_encoding_ranks, serve
from lexite.training.run import TrainingResult
from lexite.training.shares import Share
from lexite.training.sources import Chunk, DivisibleSource, TextSource

pytestmark = pytest.mark.usefixtures("one_thread")
LAYOUTS = [(1, 1), (1, 2), (2, 1), (2, 3)]  # ranks that train, and that encode


def run_apart(
    folder: Path, layout: tuple[int, int], source: Callable[[int], DivisibleSource] = lambda rank: Numbers(), **changes: Any
) -> TrainingResult:
    """A run on threads. Where one of them fails, its error is raised; the others are told, as by a closed connection."""
    training, encoding = layout
    queues: defaultdict[object, queue.Queue[Any]] = defaultdict(queue.Queue)
    table, failed = Table(training), []

    def work(rank: int) -> TrainingResult | None:
        encoders = EncodingRanks(ThreadWire(rank, queues), training, encoding)
        try:
            if rank >= training:
                return serve(source(rank), encoders)
            ranks = Ranks() if training == 1 else ThreadRanks(rank, training, table)
            ranks.audience = encoders
            with encoders.until_done():
                return fit(folder, SentStates(source(rank), encoders), ranks, **changes)
        except BaseException as error:
            failed.append(error)
            table.barrier.abort()
            for other in range(training + encoding):
                for place in ((rank, other), ("orders", other)):
                    queues[place].put(TrainingError("gone"))
            raise

    with ThreadPoolExecutor(training + encoding) as pool:
        futures = [pool.submit(work, rank) for rank in range(training + encoding)]
    if failed:
        raise failed[0]
    return agreed([result for future in futures[:training] if (result := future.result()) is not None])


@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_whose_states_come_from_elsewhere_ends_where_others_end(
    tmp_path: Path, layout: tuple[int, int], passages: bool
) -> None:
    terms = {"flops_coefficient": 0.001} if passages else {}
    both, apart = run(tmp_path / "both", **terms), run_apart(tmp_path / "apart", layout, **terms)
    assert apart.summary["tokens"] == both.summary["tokens"] == 3000
    if layout[0] == 1:  # bit for bit, since batches and states are the same
        assert same(apart.autoencoder, both.autoencoder)
        assert untimed(tmp_path / "apart") == untimed(tmp_path / "both")
    else:
        assert distance(apart.autoencoder, both.autoencoder) < 1e-5
    counted = [[(r["tokens"], r["dead_share"]) for r in records(tmp_path / name)] for name in ("both", "apart")]
    assert counted[0] == counted[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_short_text_is_read_again_by_all(tmp_path: Path, layout: tuple[int, int]) -> None:
    given = {"epochs": 3, "tokens": 5000}
    both = run(tmp_path / "both", 1, Numbers(90), **given)
    apart = run_apart(tmp_path / "apart", layout, lambda rank: Numbers(90), **given)
    assert apart.summary["tokens"] == both.summary["tokens"] == 3 * int(Numbers(90).lengths.sum())
    assert apart.summary["passes"] == 3
    assert distance(apart.autoencoder, both.autoencoder) < 1e-5


@pytest.mark.parametrize("layout", [(1, 1), (2, 2)])
def test_a_resumed_run_ends_bit_for_bit(tmp_path: Path, layout: tuple[int, int]) -> None:
    whole = run_apart(tmp_path / "whole", layout)
    with pytest.raises(RuntimeError, match="killed"):
        run_apart(tmp_path / "parts", layout, lambda rank: Numbers(fail_at=190))
    assert same(run_apart(tmp_path / "parts", layout, resume=True).autoencoder, whole.autoencoder)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


@pytest.mark.parametrize(("layout", "said"), [((1, 2), False), ((2, 1), True)])
def test_a_run_may_go_on_without_ranks_that_encode(
    tmp_path: Path, layout: tuple[int, int], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        run_apart(tmp_path / "parts", layout, lambda rank: Numbers(fail_at=190))
    resumed, whole = run(tmp_path / "parts", layout[0], resume=True), run(tmp_path / "whole")
    assert distance(resumed.autoencoder, whole.autoencoder) < (1e-5 if said else 1e-30)
    assert ("texts go through the model on other processes" in caplog.text) == said


def test_ranks_that_read_different_texts_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="The encoding ranks read different texts"):
        run_apart(tmp_path, (1, 2), lambda rank: Numbers(200 if rank == 2 else 180), tokens=100_000, epochs=1)


def test_chunks_that_begin_elsewhere_are_noticed(tmp_path: Path) -> None:
    class Shifted(Numbers):
        def chunks_by_turns(self, skip_texts: int, turn: Share) -> Iterator[Chunk]:
            yield from super().chunks_by_turns(skip_texts + 10, turn)

    with pytest.raises(TrainingError, match="The encoding ranks read different texts"):
        run_apart(tmp_path, (1, 2), lambda rank: Shifted() if rank == 2 else Numbers())


def beginnings(wait: float = PATIENCE) -> tuple[EncodingRanks, EncodingRanks]:
    """One rank that trains and one that encodes, which have told each other nothing."""
    queues: defaultdict[object, queue.Queue[Any]] = defaultdict(queue.Queue)
    first, second = (EncodingRanks(ThreadWire(rank, queues, wait), 1, 1) for rank in (0, 1))
    return first, second


def test_an_encoding_rank_works_ahead_but_not_far() -> None:
    made: list[int] = []

    class Counted(Numbers):
        def chunks_by_turns(self, skip_texts: int, turn: Share) -> Iterator[Chunk]:
            for chunk in super().chunks_by_turns(skip_texts, turn):
                made.append(chunk.first)
                yield chunk

    first, encoder = beginnings()
    thread = threading.Thread(target=serve, args=(Counted(), encoder))
    thread.start()
    stream = SentStates(Counted(), first).chunks(30)
    assert next(stream).n_texts == next(stream).n_texts == 10
    until = time.monotonic() + 20
    while len(made) < 2 + CHUNKS + 1 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [30, 40, 50, 60, 70]  # two were asked for, two wait, one is in the making
    first.tell(Order.DONE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_silence_of_the_training_ranks_ends_an_encoding_rank() -> None:
    first, encoder = beginnings(wait=0.2)
    first.tell(Order.AT_WORK)
    with pytest.raises(TrainingError, match="have said nothing for .* one of them hangs"):
        serve(Numbers(), encoder)


def test_while_the_first_rank_measures_an_encoding_rank_waits_longer() -> None:
    first, encoder = beginnings(wait=1.0)
    thread = threading.Thread(target=serve, args=(Numbers(), encoder))
    with first.waits():
        thread.start()
        thread.join(2.0)  # an encoding rank would give up after one and a half
        assert thread.is_alive()
    first.tell(Order.DONE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_an_interrupted_run_interrupts_those_that_encode() -> None:
    first, encoder = beginnings()
    with pytest.raises(KeyboardInterrupt), first.until_done():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        serve(Numbers(), encoder)


def test_the_first_rank_is_heard_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    queues: defaultdict[object, queue.Queue[Any]] = defaultdict(queue.Queue)
    first, second = (EncodingRanks(ThreadWire(rank, queues, wait=8.0), 2, 1) for rank in (0, 1))
    for now[0] in (1.0, 2.0, 2.5, 3.0, 5.0):
        first.goes_on()
        second.goes_on()
    assert list(queues["orders", 2].queue) == [[Order.AT_WORK, 0]] * 2


def test_texts_by_turns_have_the_states_of_one_process(tiny_model: Path, tmp_path: Path) -> None:
    words = ("the cat and the dog", "apple tree by the lake", "how does a plant grow")
    (tmp_path / "texts.txt").write_text("\n".join(words[n % 3] for n in range(700)))
    model = load_backbone(BackboneConfig(model=str(tiny_model), device="cpu"))
    source = TextSource([tmp_path / "texts.txt"], model)
    whole = list(source.chunks())
    for skip, wanted in ((0, whole), (whole[0].n_texts, whole[1:])):
        parts = [list(source.chunks_by_turns(skip, Share(turn, 2))) for turn in range(2)]
        mixed = [parts[number % 2][number // 2] for number in range(len(wanted))]
        assert [len(part) for part in parts] == [len(wanted[0::2]), len(wanted[1::2])]
        position = skip
        for found, expected in zip(mixed, wanted, strict=True):
            assert torch.equal(found.states, expected.states) and np.array_equal(found.offsets, expected.offsets)
            assert found.first == position
            position += found.n_texts


def test_layouts_that_leave_nothing_to_train_are_refused() -> None:
    two = Ranks()
    two.size = 2
    check_encoding_ranks(0, ALONE)
    check_encoding_ranks(1, two)
    with pytest.raises(ConfigError, match=r"this process is alone.*torchrun --nproc-per-node 2 -m lexite train"):
        check_encoding_ranks(1, ALONE)
    with pytest.raises(ConfigError, match=r"there are 2 processes: at least one of them must train.*at most 1"):
        check_encoding_ranks(2, two)
