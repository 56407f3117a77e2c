"""A bounded buffer of token states from which batches are drawn at random."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lexite.files import storage_errors


class ShuffleBuffer:
    """Keeps up to ``capacity`` token states in bf16 and gives them out in random order, each once.

    Memory is allocated once. The last rows move into the places of drawn ones, so the buffer stays dense. States that do not
    fit wait as ``pending``.

    Args:
        capacity: tokens it holds.
        d_model: width of a state.
        file: a file that holds the states in place of memory. It is created here, and useless after the process has ended.
        dtype: of what is kept, where that is not bf16; in memory only.
    """

    def __init__(self, capacity: int, d_model: int, file: Path | None = None, dtype: torch.dtype = torch.bfloat16) -> None:
        self.capacity, self.dtype = capacity, dtype
        self.size = 0
        self.pending = torch.empty(0, d_model, dtype=dtype)
        if file is None:
            self._rows = torch.empty(capacity, d_model, dtype=dtype)
        else:
            with storage_errors(file):
                with open(file, "wb") as made:  # reserved at once: a write to a mapped file on a full disk would be a bus error
                    if hasattr(os, "posix_fallocate"):
                        os.posix_fallocate(made.fileno(), 0, capacity * d_model * 2)
                    else:
                        made.truncate(capacity * d_model * 2)
                mapped = np.memmap(file, dtype=np.uint16, mode="r+", shape=(capacity, d_model))
            self._rows = torch.from_numpy(mapped).view(torch.bfloat16)

    @property
    def rows(self) -> torch.Tensor:
        """The states it holds, (size, d_model); a view."""
        return self._rows[: self.size]

    def refill(self, next_chunk: Callable[[], torch.Tensor | None], enough: int | None = None) -> None:
        """Fills it up from ``next_chunk``, which returns (n, d_model) states, or None when there are no more.

        Args:
            next_chunk: called as often as needed.
            enough: stop at so many states (default: the capacity).
        """
        full = self.capacity if enough is None else min(enough, self.capacity)
        while self.size < full:
            if not len(self.pending):
                chunk = next_chunk()
                if chunk is None:
                    return
                self.pending = chunk.to("cpu", self.dtype)
            taken = min(full - self.size, len(self.pending))
            self._rows[self.size : self.size + taken] = self.pending[:taken]
            self.pending = self.pending[taken:]
            self.size += taken

    def draw(self, n: int, generator: np.random.Generator) -> torch.Tensor:
        """Takes ``n`` states out at random, or all that are left when there are fewer: (n, d_model)."""
        n = min(n, self.size)
        chosen = generator.choice(self.size, size=n, replace=False)
        batch = self._rows.index_select(0, torch.from_numpy(chosen))
        self.size -= n
        is_chosen = np.zeros(n, dtype=bool)
        is_chosen[chosen[chosen >= self.size] - self.size] = True
        movers = np.flatnonzero(~is_chosen) + self.size
        holes = np.sort(chosen[chosen < self.size])
        self._rows.index_copy_(0, torch.from_numpy(holes), self._rows.index_select(0, torch.from_numpy(movers)))
        return batch

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs: its rows in their order, and the states that wait."""
        return {"rows": self.rows.contiguous(), "pending": self.pending.contiguous()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned."""
        self.size = len(state["rows"])
        self._rows[: self.size] = state["rows"]
        self.pending = state["pending"]
