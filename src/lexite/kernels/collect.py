"""All pre-activations of a token above thresholds, one threshold per latent; and the order of a token's slots.

As in :mod:`lexite.kernels.topk`, positive floats are compared as the integers that their bits are. Groups of columns without
a hit are passed over by one vectorised count.
"""

from __future__ import annotations

from typing import Any

import torch
from numba import njit

from lexite.kernels.threads import parallel_ranges

GAPS = (701, 301, 132, 57, 23, 10, 4, 1)  # of Ciura 2001
GROUP = 64  # columns that are counted together before any of them is looked at
_INTEGER_VIEW = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def threshold_patterns(thresholds: torch.Tensor, dtype: torch.dtype, slack: float = 0.0) -> torch.Tensor:
    """Thresholds as integers to compare the bits of pre-activations with.

    Args:
        thresholds: (n_latents,); one below zero counts as zero.
        dtype: of the pre-activations.
        slack: share by which they are lowered first, so that a rounded pre-activation is not missed.

    Returns:
        (n_latents,) integers; an entry is above its threshold when its own bits are a larger integer.
    """
    lowered = (thresholds.float() * (1 - slack)).clamp(min=0.0) + 0.0  # -0.0, whose bits are a negative integer, becomes 0.0
    rounded = lowered.to(dtype)
    above = rounded.float() > lowered  # rounding must not raise a threshold
    return rounded.view(_INTEGER_VIEW[dtype]) - above.to(_INTEGER_VIEW[dtype])


def collect_above(
    preactivations: torch.Tensor, patterns: torch.Tensor, first_column: int, counts: torch.Tensor, columns: torch.Tensor
) -> None:
    """Appends the columns of each row that are above their thresholds, on the CPU.

    Args:
        preactivations: (n, m), bf16, fp16 or fp32, without NaN.
        patterns: (m,) of these columns, from :func:`threshold_patterns`.
        first_column: number of the first column among all.
        counts: (n,) int64, entries found so far; raised, also for those that ``columns`` has no room for.
        columns: (n, room) int32; entry ``counts`` of a row is the next to be written.
    """
    bits = preactivations.view(_INTEGER_VIEW[preactivations.dtype]).numpy()
    arrays = (bits, patterns.numpy(), first_column, counts.numpy(), columns.numpy())
    parallel_ranges(_collect_rows, len(bits), *arrays)


def collect_above_reference(preactivations: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """The plain definition of collecting: (n, most in a row) int32, ascending columns, -1 behind them."""
    mask = preactivations > thresholds.clamp(min=0.0).to(preactivations.dtype)
    counts = mask.sum(1)
    columns = torch.full((len(mask), int(counts.max()) if len(mask) else 0), -1, dtype=torch.int32, device=mask.device)
    rows, found = mask.nonzero(as_tuple=True)
    starts = counts.cumsum(0) - counts
    columns[rows, torch.arange(len(rows), device=mask.device) - starts[rows]] = found.to(torch.int32)
    return columns


def sort_slots(values: torch.Tensor, indices: torch.Tensor) -> None:
    """Sorts each token's slots by falling value, then rising index, in place; slots with a value of zero come last.

    Args:
        values: (n, m) fp32, at least 0.
        indices: (n, m) int32; becomes -1 where the value is zero.
    """
    if values.device.type == "cpu":
        parallel_ranges(_sort_rows, len(values), values.numpy(), indices.numpy())
        return
    indices.masked_fill_(values <= 0, -1)
    by_index = torch.where(indices < 0, torch.iinfo(torch.int32).max, indices).argsort(dim=1, stable=True)
    order = by_index.gather(1, values.gather(1, by_index).argsort(dim=1, descending=True, stable=True))
    values.copy_(values.gather(1, order))
    indices.copy_(indices.gather(1, order))


@njit(cache=True, nogil=True)
def _collect_rows(
    bits: Any, patterns: Any, first: int, counts: Any, columns: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    n_columns, room = bits.shape[1], columns.shape[1]
    for row in range(start, stop):
        entries, found = bits[row], counts[row]
        for begin in range(0, n_columns, GROUP):
            end = min(begin + GROUP, n_columns)
            part, limits = entries[begin:end], patterns[begin:end]
            hits = 0
            for j in range(part.shape[0]):
                hits += part[j] > limits[j]
            if hits > 0:
                for j in range(part.shape[0]):
                    if part[j] > limits[j]:
                        if found < room:
                            columns[row, found] = first + begin + j
                        found += 1
        counts[row] = found


@njit(cache=True, nogil=True)
def _sort_rows(values: Any, indices: Any, start: int, stop: int) -> None:  # pragma: no cover - compiled
    for row in range(start, stop):
        value, index = values[row], indices[row]
        used = 0
        for j in range(value.shape[0]):  # those in use to the front
            if value[j] > 0:
                value[used], index[used] = value[j], index[j]
                used += 1
        for j in range(used, value.shape[0]):
            value[j], index[j] = 0, -1
        for gap in GAPS:  # Shell sort: short rows are as good as sorted already, and long ones are rare
            for j in range(gap, used):
                v, i, place = value[j], index[j], j
                while place >= gap and (value[place - gap] < v or (value[place - gap] == v and index[place - gap] > i)):
                    value[place], index[place] = value[place - gap], index[place - gap]
                    place -= gap
                value[place], index[place] = v, i
