"""The shuffled buffer: every state once, bounded, repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.errors import StorageError
from lexite.training.buffer import ShuffleBuffer


def chunks_of(sizes: list[int]) -> list[torch.Tensor]:
    """Chunks whose rows are numbered through, in a form that bf16 holds exactly."""
    numbers = torch.arange(sum(sizes))
    rows = torch.stack([numbers % 128, numbers // 128], dim=1).float()
    return list(rows.split(sizes)) if sizes else []


def numbers_of(rows: torch.Tensor) -> list[int]:
    return [int(low + 128 * high) for low, high in rows.float().tolist()]


def drain(buffer: ShuffleBuffer, chunks: list[torch.Tensor], batch: int, seed: int) -> list[int]:
    generator, source, seen = np.random.default_rng(seed), iter(chunks), []
    while True:
        if buffer.size < buffer.capacity // 2:
            buffer.refill(lambda: next(source, None))
        drawn = buffer.draw(batch, generator)
        assert buffer.size <= buffer.capacity
        if not len(drawn):
            return seen
        seen += numbers_of(drawn)


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(2, 50), st.integers(1, 20), st.integers(0, 99))
def test_every_state_comes_out_exactly_once(sizes: list[int], capacity: int, batch: int, seed: int) -> None:
    seen = drain(ShuffleBuffer(capacity, 2), chunks_of(sizes), batch, seed)
    assert sorted(seen) == list(range(sum(sizes)))


def test_the_order_is_shuffled_and_depends_on_the_seed_only() -> None:
    orders = [drain(ShuffleBuffer(100, 2), chunks_of([50] * 6), 10, seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_a_buffer_on_disk_gives_the_same(tmp_path: Path) -> None:
    on_disk = ShuffleBuffer(64, 2, tmp_path / "buffer.bin")
    assert drain(on_disk, chunks_of([30] * 5), 8, 0) == drain(ShuffleBuffer(64, 2), chunks_of([30] * 5), 8, 0)


def test_a_restored_buffer_goes_on_as_the_first() -> None:
    first, generator = ShuffleBuffer(64, 2), np.random.default_rng(0)
    chunks = iter(chunks_of([40] * 4))
    first.refill(lambda: next(chunks, None))
    first.draw(20, generator)
    saved, state = {k: v.clone() for k, v in first.state().items()}, generator.bit_generator.state
    rest = [first.draw(10, generator) for _ in range(3)]
    second, other = ShuffleBuffer(64, 2), np.random.default_rng(9)
    second.restore(saved)
    other.bit_generator.state = state
    assert len(saved["pending"]) == 16
    assert all(torch.equal(a, second.draw(10, other)) for a in rest)


def test_refill_stops_when_there_is_enough() -> None:
    buffer = ShuffleBuffer(100, 2)
    buffer.refill(lambda: chunks_of([30])[0], enough=50)
    assert buffer.size == 50
    assert len(buffer.pending) == 10


def test_a_file_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot write"):
        ShuffleBuffer(10, 2, tmp_path / "missing" / "buffer.bin")
