"""Ranks that are threads of one process: the same interface as processes, without starting any."""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from lexite.kernels.numbers import Number
from lexite.kernels.ranks import Ranks

T = TypeVar("T")
PATIENCE = 120.0  # seconds; a machine that does other work may stand still for half a minute


class Table:
    """What the threads lay down for each other, in rounds."""

    def __init__(self, size: int) -> None:
        self.places: list[object] = [None] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE)


class ThreadRanks(Ranks):
    """A rank in a thread."""

    def __init__(self, rank: int, size: int, table: Table) -> None:
        self.rank, self.size, self._table = rank, size, table

    def _all(self, value: T) -> list[T]:
        """What every rank has given in this round."""
        self._table.places[self.rank] = value
        self._table.barrier.wait()
        given = list(self._table.places)
        self._table.barrier.wait()
        return given  # type: ignore[return-value]

    def sums(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = self._all([tensor.clone() for tensor in tensors])
        assert len({tensor.dtype for tensor in tensors}) == 1
        return tuple(torch.stack(parts).sum(0).to(parts[0].dtype) for parts in zip(*given, strict=True))

    def totals(self, values: Sequence[Number]) -> list[Number]:
        return [sum(parts) for parts in zip(*self._all([float(value) for value in values]), strict=True)]

    def count(self, n: int) -> int:
        return sum(self._all(n))

    def smallest(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._all(tensor.clone())).amin(0)

    def joined(self, tensor: torch.Tensor) -> tuple[torch.Tensor, slice]:
        parts = self._all(tensor.clone())
        begin = sum(len(part) for part in parts[: self.rank])
        return torch.cat(parts), slice(begin, begin + len(tensor))

    def any(self, flag: bool) -> bool:
        return any(self._all(flag))

    def by_first(self, action: Callable[[], T]) -> T:
        with self.patience():
            value = action() if self.leads else None
        told: T = json.loads(json.dumps(self._all(value)[0]))
        return value if self.leads else told  # type: ignore[return-value]

    def from_first(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self._all(tensors)[0].items()}

    def collect(self, rows: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        given = self._all(rows)
        whole = torch.cat(given).clone()
        for rank, part in enumerate(given):
            whole[owners == rank] = part
        return whole if self.leads else rows[:0]


class ThreadWire:
    """How threads that train and threads that encode reach each other, as processes do."""

    def __init__(self, rank: int, queues: defaultdict[object, queue.Queue[Any]], wait: float = PATIENCE) -> None:
        self.rank, self.wait, self._queues = rank, wait, queues

    def send(self, tensor: torch.Tensor, rank: int) -> None:
        assert tensor.is_contiguous()
        self._queues[self.rank, rank].put(tensor.clone())

    def receive(self, tensor: torch.Tensor, rank: int) -> torch.Tensor:
        sent = self._queues[rank, self.rank].get(timeout=self.wait)
        if isinstance(sent, Exception):
            raise sent
        assert sent.dtype == tensor.dtype and sent.shape == tensor.shape
        return tensor.copy_(sent)

    def order(self, numbers: Sequence[int], rank: int) -> None:
        self._queues["orders", rank].put(list(numbers))

    def ordered(self, n: int) -> list[int]:
        numbers: list[int] | Exception = self._queues["orders", self.rank].get()
        if isinstance(numbers, Exception):
            raise numbers
        assert len(numbers) == n
        return numbers


def on_ranks(size: int, function: Callable[[Ranks], T]) -> list[T]:
    """What a function returns on each rank."""
    table = Table(size)

    def work(rank: int) -> T:
        try:
            return function(ThreadRanks(rank, size, table))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(work, rank) for rank in range(size)]
        errors = [future.exception() for future in futures]
        first = [error for error in errors if error is not None and not isinstance(error, threading.BrokenBarrierError)]
        if first:
            raise first[0]
        return [future.result() for future in futures]
