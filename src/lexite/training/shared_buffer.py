"""A shuffled buffer that ranks fill and draw from together, each keeping the states of its own texts.

Every rank keeps the same buffer of *tickets*, one for each state on any rank, and draws the same tickets from it as a process
alone would draw states. A rank's part of a batch is what it has of the states that were drawn. So the batches of several ranks
are those of one process, whatever rank a text went to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from lexite.kernels.ranks import Ranks
from lexite.training.batches import Batch
from lexite.training.buffer import ShuffleBuffer
from lexite.training.device_buffer import DevicePassageBuffer, DeviceShuffleBuffer
from lexite.training.passages import PassageBuffer
from lexite.training.sources import Chunk

_SPREAD = ("rows", "pending")  # tensors of a buffer's state that hold states of tokens


class Buffer(Protocol):
    """What the buffers of a run have in common."""

    @property
    def size(self) -> int:
        """Tokens it holds."""
        ...

    @property
    def rows(self) -> torch.Tensor:
        """What it holds, (size, d_model)."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned."""
        ...


class SharedBuffer:
    """Part of a buffer that several ranks have together.

    Args:
        capacity: tokens that all ranks together hold.
        d_model: width of a state.
        ranks: the processes.
        device: where the states are.
        passages: whether whole passages are kept and drawn.
    """

    def __init__(self, capacity: int, d_model: int, ranks: Ranks, device: torch.device, *, passages: bool) -> None:
        self._ranks, host = ranks, torch.device("cpu")
        self._tokens: ShuffleBuffer | DeviceShuffleBuffer | None = None
        self._passages: PassageBuffer | DevicePassageBuffer | None = None
        if passages and device.type == "cpu":
            self._passages = PassageBuffer(capacity, 1, torch.int64)
        elif passages:
            self._passages = DevicePassageBuffer(capacity, 1, host, torch.int64)
        elif device.type == "cpu":
            self._tokens = ShuffleBuffer(capacity, 1, dtype=torch.int64)
        else:
            self._tokens = DeviceShuffleBuffer(capacity, 1, host, torch.int64)
        self._own = _Places(capacity // ranks.size, d_model, device)

    @property
    def _tickets(self) -> Buffer:
        buffer = self._tokens or self._passages
        assert buffer is not None
        return buffer

    @property
    def size(self) -> int:
        """Tokens that all ranks together hold."""
        return self._tickets.size

    def first(self, n: int) -> torch.Tensor:
        """The first states that are held, (at most n, d_model) bf16, on the first rank; nothing on the others."""
        return self._brought(self._tickets.rows[:n])

    def refill(self, next_chunk: Callable[[], Chunk | None], enough: int | None = None) -> None:
        """Fills it up from ``next_chunk``, which returns states of this rank's texts and the lengths of all texts.

        Args:
            next_chunk: called as often as needed, as often on every rank.
            enough: stop at so many states over all ranks (default: the capacity).
        """
        self._own.keep(torch.cat([self._tickets.state()[name] for name in _SPREAD]))

        def next_tickets() -> Chunk | None:
            chunk = next_chunk()
            return None if chunk is None else self._ticketed(chunk)

        def next_rows() -> torch.Tensor | None:
            chunk = next_tickets()
            return None if chunk is None else chunk.states

        if self._tokens is not None:
            self._tokens.refill(next_rows, enough)
        if self._passages is not None:
            self._passages.refill(next_tickets, enough)

    def _ticketed(self, chunk: Chunk) -> Chunk:
        """Tickets of the states of all texts of a chunk: for those of this rank where they are, for others whose they are."""
        assert chunk.owners is not None and chunk.lengths is not None
        tickets = _foreign(torch.from_numpy(np.repeat(chunk.owners, chunk.lengths)))
        is_own = tickets == _foreign(torch.tensor(self._ranks.rank))
        tickets[is_own] = self._own.put(chunk.states.to(torch.bfloat16))
        return Chunk(tickets.unsqueeze(1), np.concatenate([[0], chunk.lengths.cumsum()]))

    def draw(self, n: int, generator: np.random.Generator) -> Batch:
        """This rank's part of ``n`` states that are taken out at random, or of all that are left when there are fewer.

        Args:
            n: over all ranks.
            generator: in the same state on all ranks.
        """
        if self._passages is None:
            assert self._tokens is not None
            tickets = self._tokens.draw(n, generator).squeeze(1)
            return Batch(self._own.take(tickets[tickets >= 0]), whole=len(tickets))
        drawn = self._passages.draw(n, generator)
        assert drawn.offsets is not None
        tickets, begins, lengths = drawn.states.squeeze(1), drawn.offsets[:-1], drawn.offsets.diff()
        is_own = torch.zeros(len(lengths), dtype=torch.bool)
        filled = lengths > 0
        is_own[filled] = tickets[begins[filled]] >= 0  # a passage is on one rank
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths[is_own].cumsum(0)])
        return Batch(self._own.take(tickets[tickets >= 0]), offsets, len(tickets))

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs, on the first rank: all states, as a process alone keeps them, and whose they are."""
        state = dict(self._tickets.state())
        for name in _SPREAD:
            state[f"{name}_owners"] = self._owners(state[name].squeeze(1)).to(torch.int32)
            state[name] = self._brought(state[name])
        return {**state, "ranks": torch.tensor(self._ranks.size)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned on the first rank, or what a process alone or other ranks have left.

        Their states are dealt out anew.
        """
        as_before = "ranks" in state and int(state["ranks"]) == self._ranks.size
        self._own.keep(torch.empty(0, dtype=torch.int64))
        tickets = {}
        for name in _SPREAD:
            rows = state[name]
            owners = state[f"{name}_owners"].long() if as_before else self._dealt(len(rows), state.get(f"{name}_lengths"))
            given = _foreign(owners)
            is_own = owners == self._ranks.rank
            given[is_own] = self._own.put(rows[is_own])
            tickets[name] = given.unsqueeze(1)
        self._tickets.restore({**state, **tickets})

    def _dealt(self, n: int, lengths: torch.Tensor | None) -> torch.Tensor:
        """Owners of n states, passage by passage where there are passages."""
        if lengths is None:
            return torch.arange(n) % self._ranks.size
        return torch.repeat_interleave(torch.arange(len(lengths)) % self._ranks.size, lengths.cpu())

    def _owners(self, tickets: torch.Tensor) -> torch.Tensor:
        return torch.where(tickets < 0, -1 - tickets, self._ranks.rank)

    def _brought(self, tickets: torch.Tensor) -> torch.Tensor:
        tickets = tickets.squeeze(1)
        return self._ranks.collect(self._own.take(tickets[tickets >= 0]).cpu(), self._owners(tickets))


def _foreign(owners: torch.Tensor) -> torch.Tensor:
    """Tickets of states that other ranks have."""
    return -1 - owners


class _Places:
    """Rows of memory that are given out and taken back.

    Args:
        room: rows at the beginning; there can be more.
        d_model: width of a row.
        device: where.
    """

    def __init__(self, room: int, d_model: int, device: torch.device) -> None:
        self._rows = torch.empty(room, d_model, dtype=torch.bfloat16, device=device)
        self._free = torch.arange(room)

    def keep(self, tickets: torch.Tensor) -> None:
        """Takes back all places but those that tickets name; negative tickets name none."""
        is_free = torch.ones(len(self._rows), dtype=torch.bool)
        is_free[tickets[tickets >= 0]] = False
        self._free = is_free.nonzero().squeeze(1)

    def put(self, rows: torch.Tensor) -> torch.Tensor:
        """(n,) int64 places in which rows (n, d_model) are kept from now on."""
        missing = len(rows) - len(self._free)
        if missing > 0:
            before = len(self._rows)
            more = max(missing, before // 4)
            self._rows = torch.cat([self._rows, self._rows.new_empty(more, self._rows.shape[1])])
            self._free = torch.cat([self._free, torch.arange(before, before + more)])
        places, self._free = self._free[: len(rows)], self._free[len(rows) :]
        self._rows[places.to(self._rows.device)] = rows.to(self._rows.device, torch.bfloat16)
        return places

    def take(self, places: torch.Tensor) -> torch.Tensor:
        """(n, d_model) a copy of the rows in some places."""
        return self._rows.index_select(0, places.to(self._rows.device))
