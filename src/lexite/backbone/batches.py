"""Filling a model's batches: sequences of like length together, up to a budget of tokens, padding included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

SMALLEST_SHARE = 512
_STEP = 8


def plan_batches(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Deals sequences into batches, the longest first, so that a lack of memory shows at once.

    Sequences of length 0 are left out. The plan depends on the lengths alone, ties keep their order, so that the same
    texts always share the same batches.

    Args:
        lengths: length of each sequence.
        tokens_per_batch: limit of (sequences × longest of the batch); a longer sequence gets a batch of its own.

    Yields:
        Numbers of the sequences of one batch; the first is its longest.

    Example:
        >>> list(plan_batches([3, 0, 5, 4, 2], 10))
        [[2, 3], [0, 4]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    order = [i for i in order if lengths[i] > 0]
    start = 0
    while start < len(order):
        size = max(tokens_per_batch // lengths[order[start]], 1)
        yield order[start : start + size]
        start += size


def share_of_batch(tokens_per_batch: int, threads: int, total: int) -> int:
    """Tokens in a batch when ``threads`` batches run at once, so that all together stay within ``tokens_per_batch``.

    Batches below ``SMALLEST_SHARE`` tokens would be slow, so the limit does not make them smaller than that. A few sequences
    are dealt out to all threads all the same.

    Args:
        tokens_per_batch: limit of the tokens that go through the model at once.
        threads: batches that run at once.
        total: tokens of all sequences.

    Example:
        >>> share_of_batch(2048, 2, 100_000), share_of_batch(2048, 16, 100_000), share_of_batch(2048, 2, 600)
        (1024, 512, 300)
    """
    share = max(tokens_per_batch // threads, min(tokens_per_batch, SMALLEST_SHARE))
    return max(1, min(share, -(-total // threads)))


def padded_length(length: int, window: int) -> int:
    """The length that a sequence is padded to: a multiple of 8, so that batches have few different shapes.

    Matrix libraries compile a kernel for each new shape, which takes time, and keep it, which takes memory.

    Args:
        length: tokens of the sequence.
        window: tokens that a sequence may have; longer ones are left as they are.

    Example:
        >>> padded_length(17, 256), padded_length(250, 252), padded_length(0, 256)
        (24, 252, 0)
    """
    return max(length, min(-(-length // _STEP) * _STEP, window))


def pad(sequences: Sequence[npt.NDArray[np.int64]], pad_id: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask of a batch, both ``(sequences, width)`` int64.

    Padding is always on the right, also where the tokenizer pads on the left. Under a causal mask no token sees what follows
    it, and other models are told by the mask. Absolute positions then begin at 0 for every text, as they did in training.
    """
    import torch

    ids = np.full((len(sequences), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
