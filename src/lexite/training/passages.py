"""A bounded buffer of whole passages, for losses that look at texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lexite.training.batches import Batch
from lexite.training.sources import Chunk

PASSAGE_TOKENS = 128
"""Longest passage; a longer text is cut into such pieces."""


class PassageBuffer:
    """Keeps passages of up to ``capacity`` token states in bf16 and gives them out in random order, each once.

    Args:
        capacity: tokens it holds.
        d_model: width of a state.
        dtype: of what is kept.
    """

    def __init__(self, capacity: int, d_model: int, dtype: torch.dtype = torch.bfloat16) -> None:
        self.capacity, self.size = capacity, 0
        self._empty = torch.empty(0, d_model, dtype=dtype)
        self._passages: list[torch.Tensor] = []
        self._pending: list[torch.Tensor] = []  # the next to be kept is the last

    @property
    def rows(self) -> torch.Tensor:
        """The states it holds, (size, d_model); a copy."""
        return _joined(self._passages, self._empty)

    def refill(self, next_chunk: Callable[[], Chunk | None], enough: int | None = None) -> None:
        """Fills it up from ``next_chunk``, which returns states of some texts, or None when there are no more.

        Args:
            next_chunk: called as often as needed.
            enough: stop at so many states (default: the capacity).
        """
        full = self.capacity if enough is None else min(enough, self.capacity)
        while self.size < full:
            if not self._pending:
                chunk = next_chunk()
                if chunk is None:
                    return
                self._pending = _cut(chunk, self._empty.dtype)[::-1]
                continue
            self._passages.append(self._pending.pop())
            self.size += len(self._passages[-1])

    def draw(self, n: int, generator: np.random.Generator) -> Batch:
        """Takes passages out at random, as many as ``n`` states have room for, and at least one, cut to ``n`` if need be."""
        taken: list[torch.Tensor] = []
        room = n
        while self._passages:
            number = int(generator.integers(len(self._passages)))
            if taken and len(self._passages[number]) > room:
                break
            self._passages[number], self._passages[-1] = self._passages[-1], self._passages[number]
            passage = self._passages.pop()
            self.size -= len(passage)
            taken.append(passage[:room])
            room -= len(taken[-1])
            if room == 0:
                break
        lengths = torch.tensor([0, *(len(passage) for passage in taken)])
        return Batch(_joined(taken, self._empty), lengths.cumsum(0))

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs: its passages in their order, and those that wait."""
        parts = {"rows": self._passages, "pending": self._pending}
        lengths = {f"{name}_lengths": torch.tensor([len(p) for p in some], dtype=torch.int64) for name, some in parts.items()}
        return {**{name: _joined(some, self._empty) for name, some in parts.items()}, **lengths}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Brings back what :meth:`state` returned."""
        self._passages, self._pending = (
            [part.clone() for part in torch.split(state[name], state[f"{name}_lengths"].tolist())] if len(state[name]) else []
            for name in ("rows", "pending")
        )
        self.size = len(state["rows"])


def _joined(passages: list[torch.Tensor], empty: torch.Tensor) -> torch.Tensor:
    return torch.cat(passages) if passages else empty


def _cut(chunk: Chunk, dtype: torch.dtype) -> list[torch.Tensor]:
    """The passages of some texts, in order; empty texts give none."""
    states = chunk.states.to("cpu", dtype)
    pieces = [
        states[start : min(start + PASSAGE_TOKENS, end)]
        for begin, end in zip(chunk.offsets[:-1].tolist(), chunk.offsets[1:].tolist(), strict=True)
        for start in range(begin, end, PASSAGE_TOKENS)
    ]
    return [piece.clone() for piece in pieces]  # views would keep the whole chunk
