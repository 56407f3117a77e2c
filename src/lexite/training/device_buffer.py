"""Shuffled buffers in the memory of an accelerator, from which a batch is taken without a copy.

States are put in random order when they come in, all at once, so that the last ones of the buffer are a random draw: a batch
is a view of the end. A run draws in another order than with the buffers of the host, but from the same distribution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lexite.training.batches import Batch
from lexite.training.passages import PASSAGE_TOKENS
from lexite.training.sources import Chunk


class DeviceShuffleBuffer:
    """What :class:`lexite.training.buffer.ShuffleBuffer` is, in the memory of an accelerator.

    Args:
        capacity: tokens it holds, in bf16; while they are put in order, there are two copies.
        d_model: width of a state.
        device: where.
        dtype: of what is kept, where that is not bf16.
    """

    def __init__(self, capacity: int, d_model: int, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self.capacity, self.size = capacity, 0
        self.pending = torch.empty(0, d_model, dtype=dtype, device=device)
        self._rows = torch.empty(capacity, d_model, dtype=dtype, device=device)
        self._shuffled = False

    @property
    def rows(self) -> torch.Tensor:
        """The states it holds, (size, d_model); a view."""
        return self._rows[: self.size]

    def refill(self, next_chunk: Callable[[], torch.Tensor | None], enough: int | None = None) -> None:
        """Fills it up from ``next_chunk``, as :meth:`lexite.training.buffer.ShuffleBuffer.refill` does."""
        full = self.capacity if enough is None else min(enough, self.capacity)
        while self.size < full:
            if not len(self.pending):
                chunk = next_chunk()
                if chunk is None:
                    return
                self.pending = chunk.to(self._rows.device, self._rows.dtype)
            taken = min(full - self.size, len(self.pending))
            self._rows[self.size : self.size + taken] = self.pending[:taken]
            self.pending = self.pending[taken:]
            self.size += taken
            self._shuffled = False

    def draw(self, n: int, generator: np.random.Generator) -> torch.Tensor:
        """Takes ``n`` states out at random, or all that are left when there are fewer: (n, d_model) bf16.

        They are a view, which the next :meth:`refill` overwrites.
        """
        if not self._shuffled:
            order = torch.from_numpy(generator.permutation(self.size)).to(self._rows.device)
            self._rows[: self.size] = self._rows.index_select(0, order)
            self._shuffled = True
        end, self.size = self.size, self.size - min(n, self.size)
        return self._rows[self.size : end]

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs: its rows in their order, the states that wait, and whether that order is random."""
        shuffled = torch.tensor(self._shuffled, dtype=torch.uint8)
        return {"rows": self.rows.contiguous(), "pending": self.pending.contiguous(), "shuffled": shuffled}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned here, or in a buffer of the host."""
        self.size = len(state["rows"])
        self._rows[: self.size] = state["rows"].to(self._rows.device)
        self.pending = state["pending"].to(self._rows.device)
        self._shuffled = bool(state["shuffled"]) if "shuffled" in state else False


class DevicePassageBuffer:
    """What :class:`lexite.training.passages.PassageBuffer` is, in the memory of an accelerator.

    Args:
        capacity: tokens it holds, in bf16; while they are put in order, there are two copies.
        d_model: width of a state.
        device: where.
        dtype: of what is kept, where that is not bf16.
    """

    def __init__(self, capacity: int, d_model: int, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self.capacity = capacity
        self._rows = torch.empty(0, d_model, dtype=dtype, device=device)
        self._lengths = np.zeros(0, dtype=np.int64)  # of the passages, in their order
        self._pending = self._rows
        self._pending_lengths = self._lengths
        self._shuffled = False

    @property
    def size(self) -> int:
        """Tokens it holds."""
        return len(self._rows)

    @property
    def rows(self) -> torch.Tensor:
        """The states it holds, (size, d_model); a view."""
        return self._rows

    def refill(self, next_chunk: Callable[[], Chunk | None], enough: int | None = None) -> None:
        """Fills it up from ``next_chunk``, as :meth:`lexite.training.passages.PassageBuffer.refill` does."""
        full = self.capacity if enough is None else min(enough, self.capacity)
        parts, lengths, size = [self._rows], [self._lengths], self.size
        while size < full:
            if not len(self._pending_lengths):
                chunk = next_chunk()
                if chunk is None:
                    break
                self._pending = chunk.states.to(self._rows.device, self._rows.dtype)
                self._pending_lengths = passage_lengths(chunk.offsets)
                continue
            ends = np.cumsum(self._pending_lengths)
            count = min(int(np.searchsorted(ends, full - size)) + 1, len(ends))  # the last may go beyond what is wanted
            taken = int(ends[count - 1])
            parts.append(self._pending[:taken])
            lengths.append(self._pending_lengths[:count])
            self._pending, self._pending_lengths = self._pending[taken:], self._pending_lengths[count:]
            size += taken
        if len(parts) > 1:
            self._rows, self._lengths = torch.cat(parts), np.concatenate(lengths)
            self._shuffled = False

    def draw(self, n: int, generator: np.random.Generator) -> Batch:
        """Takes passages out at random, as many as ``n`` states have room for, and at least one, cut to ``n`` if need be."""
        if not self._shuffled:
            self._shuffle(generator)
        sizes = self._lengths[::-1].cumsum()
        count = min(max(int(np.searchsorted(sizes, n, side="right")), 1), len(sizes))
        taken = self._lengths[len(self._lengths) - count :]
        first = self.size - int(taken.sum())
        states = self._rows[first : min(self.size, first + n)]
        self._rows, self._lengths = self._rows[:first], self._lengths[: len(self._lengths) - count]
        offsets = np.minimum(np.concatenate([[0], taken.cumsum()]), len(states))
        return Batch(states, torch.from_numpy(offsets.astype(np.int64)))

    def _shuffle(self, generator: np.random.Generator) -> None:
        order = generator.permutation(len(self._lengths))
        begins = (self._lengths.cumsum() - self._lengths)[order]
        self._lengths = self._lengths[order]
        within = np.arange(self._lengths.sum()) - np.repeat(self._lengths.cumsum() - self._lengths, self._lengths)
        places = torch.from_numpy(np.repeat(begins, self._lengths) + within)
        self._rows = self._rows.index_select(0, places.to(self._rows.device))
        self._shuffled = True

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs: its passages in their order, those that wait, and whether that order is random.

        Those that wait stand from the last to the first, as in the buffer of the host.
        """
        waiting = list(torch.split(self._pending, self._pending_lengths.tolist())) if len(self._pending_lengths) else []
        return {
            "rows": self._rows.contiguous(),
            "rows_lengths": torch.from_numpy(self._lengths.copy()),
            "pending": torch.cat(waiting[::-1]) if waiting else self._pending.contiguous(),
            "pending_lengths": torch.from_numpy(self._pending_lengths[::-1].copy()),
            "shuffled": torch.tensor(self._shuffled, dtype=torch.uint8),
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned here, or in a buffer of the host."""
        device = self._rows.device
        self._rows, self._lengths = state["rows"].to(device), state["rows_lengths"].numpy().copy()
        lengths = state["pending_lengths"].numpy()
        waiting = list(torch.split(state["pending"], lengths.tolist())) if len(lengths) else []
        self._pending = (torch.cat(waiting[::-1]) if waiting else state["pending"]).to(device)
        self._pending_lengths = lengths[::-1].copy()
        self._shuffled = bool(state["shuffled"]) if "shuffled" in state else False


def passage_lengths(offsets: np.ndarray) -> np.ndarray:
    """Lengths of the passages of some texts, in order: texts are cut into pieces of 128 tokens, and empty ones give none."""
    sizes = np.diff(offsets).astype(np.int64)
    whole, rest = sizes // PASSAGE_TOKENS, sizes % PASSAGE_TOKENS
    counts = whole + (rest > 0)
    lengths = np.full(int(counts.sum()), PASSAGE_TOKENS, dtype=np.int64)
    lengths[(counts.cumsum() - 1)[rest > 0]] = rest[rest > 0]
    return lengths
