"""Which rank has which text: every rank reads all texts, and sends its own through the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a stream of texts that one rank has; all of it by default.

    Attributes:
        rank: number of the process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def deal(self, lengths: Sequence[int]) -> npt.NDArray[np.int64]:
        """The rank of each text: the next text goes to the rank that has least so far, so that all have about as much.

        >>> Share(size=2).deal([5, 1, 1, 1, 1, 1, 3]).tolist()
        [0, 1, 1, 1, 1, 1, 0]
        """
        owners = np.zeros(len(lengths), dtype=np.int64)
        given = [0] * self.size
        for text, length in enumerate(lengths):
            owner = min(range(self.size), key=given.__getitem__)
            owners[text] = owner
            given[owner] += length
        return owners


WHOLE = Share()


def digest(owners: npt.NDArray[np.int64]) -> int:
    """A number by which ranks see that they have dealt the same texts."""
    return int.from_bytes(hashlib.sha256(owners.tobytes()).digest()[:7], "little")
