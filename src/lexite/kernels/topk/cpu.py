"""The k largest positive pre-activations of each token, on the CPU.

Positive floats are ordered like their bit patterns read as integers, and negative floats are negative integers. So the
selection runs on integers, also for bf16, which numpy and numba do not know. Columns are put in interleaved groups, and one
pass takes each group's maximum. The k-th largest maximum bounds the k-th largest entry from below, so only groups that reach
this bound are looked into.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.threads import parallel_ranges

_INTEGER_VIEW = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def select_topk_into(preactivations: torch.Tensor, indices: torch.Tensor) -> None:
    """The k largest of each row, as :func:`lexite.kernels.topk.select_topk` gives them, into ``indices`` (n, k)."""
    merge_topk(preactivations, 0, empty_best(preactivations, indices), indices)


def empty_best(preactivations: torch.Tensor, indices: torch.Tensor) -> np.ndarray:
    """The start of :func:`merge_topk`: sets ``indices`` to -1 and returns the patterns that belong to them, (n, k) zeros."""
    indices.fill_(-1)
    return np.zeros(indices.shape, dtype=np.int16 if preactivations.element_size() == 2 else np.int32)


def merge_topk(preactivations: torch.Tensor, first_column: int, best: np.ndarray, indices: torch.Tensor) -> None:
    """Takes further columns of each row into its k largest, on the CPU.

    Calls for all columns, from left to right, together give what :func:`lexite.kernels.topk.select_topk` gives.

    Args:
        preactivations: (n, columns), bf16, fp16 or fp32, without NaN.
        first_column: number of their first column among all.
        best: (n, k) patterns of the largest entries so far, read as integers, largest first; changed.
        indices: (n, k) int32, their columns, -1 where there are fewer; changed.
    """
    bits = preactivations.view(_INTEGER_VIEW[preactivations.dtype]).numpy()
    n, columns = bits.shape
    group = max(1, min(64, columns // 128, columns // (4 * indices.shape[1])))
    parallel_ranges(_merge_rows, n, bits, group, first_column, best, indices.numpy())


@njit(cache=True, nogil=True)
def _insert(values: Any, columns: Any, value: Any, column: int) -> None:  # pragma: no cover - compiled
    """Puts an entry in its place in a list that is sorted by falling value, then rising column; the last one drops out."""
    place = values.shape[0] - 1
    while place > 0 and (values[place - 1] < value or (values[place - 1] == value and columns[place - 1] > column)):
        values[place] = values[place - 1]
        columns[place] = columns[place - 1]
        place -= 1
    values[place] = value
    columns[place] = column


@njit(cache=True, nogil=True)
def _lower_bound(maxima: Any, largest: Any) -> Any:  # pragma: no cover - compiled
    """The k-th largest positive group maximum, or zero when there are fewer than k; ``largest`` is scratch of size k."""
    k = largest.shape[0]
    largest[:] = 0
    for j in range(maxima.shape[0]):
        value = maxima[j]
        if value > largest[k - 1]:
            place = k - 1
            while place > 0 and largest[place - 1] < value:
                largest[place] = largest[place - 1]
                place -= 1
            largest[place] = value
    return largest[k - 1]


@njit(cache=True, nogil=True)
def _merge_rows(
    bits: Any, group: int, first: int, best: Any, indices: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    n_columns, k = bits.shape[1], indices.shape[1]
    n_groups = n_columns // group  # group j holds the columns j, j + n_groups, j + 2 n_groups, …
    maxima = np.empty(n_groups, bits.dtype)
    largest = np.empty(k, bits.dtype)
    for row in range(start, stop):
        entries, values, columns = bits[row], best[row], indices[row]
        maxima[:] = entries[:n_groups]
        for g in range(1, group):
            part = entries[g * n_groups : (g + 1) * n_groups]
            for j in range(n_groups):
                maxima[j] = max(maxima[j], part[j])
        # Entries to the left win ties, so a new one must be above the k-th so far. The smallest positive pattern is 1.
        bound = values[k - 1] + 1 if values[k - 1] > 0 else max(_lower_bound(maxima, largest), 1)
        for j in range(n_groups):
            if maxima[j] >= bound:
                for g in range(group):
                    value, column = entries[g * n_groups + j], first + g * n_groups + j
                    if value >= bound and (value > values[k - 1] or (value == values[k - 1] and column < columns[k - 1])):
                        _insert(values, columns, value, column)
        for column in range(n_groups * group, n_columns):
            if entries[column] > values[k - 1]:
                _insert(values, columns, entries[column], first + column)
