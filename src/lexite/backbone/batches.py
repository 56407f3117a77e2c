"""Filling a model's batches: sequences of like length together, up to a budget of tokens, padding included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


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


def pad(sequences: Sequence[npt.NDArray[np.int64]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask of a batch, both ``(sequences, longest)`` int64.

    Padding is always on the right, whatever the tokenizer's side: under a causal mask no token sees what follows it, and
    other models are told by the mask; absolute positions then begin at 0 for every text, as they did in training.
    """
    import torch

    width = max(len(ids) for ids in sequences)
    ids = np.full((len(sequences), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
