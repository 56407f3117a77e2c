"""Reading a source of token states from pass to pass, from where a run stopped."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from lexite.errors import TrainingError
from lexite.kernels.ranks import ALONE, Ranks
from lexite.training.ahead import ReadAhead
from lexite.training.shares import Share, digest
from lexite.training.sources import Chunk, StateSource

logger = logging.getLogger("lexite")


class Reader:
    """Gives the chunks of a source, again and again.

    Args:
        source: the states.
        most_passes: how often a source that can be read again is read.
        device: where the states are used; on CUDA the source is read ahead (:mod:`lexite.training.ahead`), unless other
            processes do that (:mod:`lexite.training.apart`).
        ranks: the processes that share the texts; counts are over all of them.

    Attributes:
        passes: passes that came to the end of the source.
        texts_read: texts of the present pass so far.
        tokens_read: tokens over all passes.
        tokens_available: tokens that all passes together can give; None until the first came to its end.
    """

    def __init__(self, source: StateSource, most_passes: int, device: torch.device | None = None, ranks: Ranks = ALONE) -> None:
        self.source, self._device, self._ranks = source, device, ranks
        self.passes = self.texts_read = self.tokens_read = 0
        self.tokens_available: int | None = None
        self._most_passes = most_passes if source.repeatable else 1
        self._chunks: Iterator[Chunk] | None = None

    def next_chunk(self) -> Chunk | None:
        """The states of the next texts; None when the last pass came to its end, or the source is empty."""
        while True:
            if self._chunks is None:
                if self.passes >= self._most_passes:
                    return None
                if self.texts_read:
                    logger.info("Passing over %s texts that the run has read before.", f"{self.texts_read:,}")
                self._chunks = self._open()
            chunk = told_to_all(next(self._chunks, None), self._ranks)
            if chunk is not None:
                self.texts_read += chunk.n_texts
                self.tokens_read += chunk.n_tokens
                return chunk
            if not self.tokens_read:
                return None
            self.passes, self.texts_read, self._chunks = self.passes + 1, 0, None
            if self.passes == 1:
                self.tokens_available = self.tokens_read * self._most_passes

    def _open(self) -> Iterator[Chunk]:
        shared = self._ranks.size > 1
        share = (Share(self._ranks.rank, self._ranks.size),) if shared else ()
        chunks = self.source.chunks(self.texts_read, *share)
        cuda = self._device is not None and self._device.type == "cuda"
        return ReadAhead(chunks, self._device) if cuda and self._device is not None and self._ranks.audience is None else chunks

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Keeps the source still meanwhile, so that its model can be used for something else."""
        with self._chunks.quiet if isinstance(self._chunks, ReadAhead) else contextlib.nullcontext():
            yield

    def close(self) -> None:
        """Stops reading."""
        if isinstance(self._chunks, ReadAhead):
            self._chunks.close()
        self._chunks = None

    def next_states(self) -> torch.Tensor | None:
        """The states of :meth:`next_chunk` alone, (n, d_model)."""
        chunk = self.next_chunk()
        return None if chunk is None else chunk.states

    def state(self) -> dict[str, int]:
        """The position, for :meth:`restore`."""
        return {"passes": self.passes, "texts_read": self.texts_read, "tokens_read": self.tokens_read}

    def restore(self, state: dict[str, int]) -> None:
        """Goes on from the position in ``state``, which may hold more than that."""
        self.passes, self.texts_read, self.tokens_read = (state[name] for name in ("passes", "texts_read", "tokens_read"))


def told_to_all(chunk: Chunk | None, ranks: Ranks) -> Chunk | None:
    """A chunk with the lengths of all its texts, also of those that other ranks have; None at the end of the text.

    Raises:
        TrainingError: another rank has other texts.
    """
    if ranks.size == 1:
        return chunk
    owners = np.zeros(0, dtype=np.int64) if chunk is None or chunk.owners is None else chunk.owners
    facts = torch.tensor([-1 if chunk is None else len(owners), digest(owners)])
    if not torch.equal(ranks.smallest(facts.clone()), -ranks.smallest(-facts)):
        raise TrainingError(
            "The ranks read different texts. Give all of them the same files, which do not change while the run goes on."
        )
    if chunk is None:
        return None
    lengths = torch.zeros(len(owners), dtype=torch.int64)
    lengths[torch.from_numpy(owners == ranks.rank)] = torch.from_numpy(np.diff(chunk.offsets))
    return replace(chunk, owners=owners, lengths=ranks.sums(lengths)[0].numpy())
