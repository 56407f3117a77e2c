"""The largest pre-activations of each token whose squares add up to a target, without sorting all of them.

A histogram over the leading bits of the pre-activations says where the sum of squares, from the top, passes the target. All
entries above that place are collected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.bits import widen
from lexite.kernels.threads import parallel_ranges

FIRST_TAKEN = 64  # latents of each token, on an accelerator
BINS = 1 << 10  # exponent and two bits of the mantissa: entries of a bin differ by a quarter at most


def collect_energy(preactivations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The latents above the place where the squares of the larger pre-activations add up to a target, on the CPU.

    Args:
        preactivations: (n, n_latents), bf16 or fp32, without NaN.
        targets: (n,) fp32 sums of squares.

    Returns:
        (n, most in a row) int32, ascending, -1 behind the last: enough of the largest to reach the target, or all positive
        ones; at least one where any is positive.
    """
    bf16 = preactivations.dtype == torch.bfloat16
    bits = preactivations.view(torch.int16 if bf16 else torch.int32).numpy()
    shift = 5 if bf16 else 21
    levels, counts = np.empty(len(bits), dtype=bits.dtype), np.empty(len(bits), dtype=np.int64)
    values = bits if bf16 else preactivations.numpy()
    parallel_ranges(_levels, len(bits), bits, values, shift, targets.numpy(), levels, counts)
    columns = np.full((len(bits), int(counts.max()) if len(counts) else 0), -1, dtype=np.int32)
    parallel_ranges(_collect, len(bits), bits, levels, columns)
    return torch.from_numpy(columns)


def collect_energy_reference(preactivations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The plain definition of :func:`collect_energy`: exactly as many as reach the target, the largest first."""
    values, order = torch.relu(preactivations.float()).sort(dim=1, descending=True, stable=True)
    before = values.square().cumsum(1) - values.square()
    kept = (values > 0) & ((before < targets[:, None]) | (before == 0))  # at least the largest
    width = int(kept.sum(1).max()) if len(kept) else 0
    return torch.where(kept, order, -1)[:, :width].to(torch.int32)


def largest_to_target(preactivations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """:func:`collect_energy` on an accelerator: four times as many of the largest are taken until all tokens have enough."""
    n, n_latents = preactivations.shape
    k = min(FIRST_TAKEN, n_latents)
    while True:
        values, order = preactivations.topk(k, dim=1)
        values = torch.relu(values.float())
        before = values.square().cumsum(1) - values.square()
        kept = (values > 0) & ((before < targets[:, None]) | (before == 0))
        if k == n_latents or not n or not bool(kept[:, -1].any()):
            return torch.where(kept, order, -1).to(torch.int32)
        k = min(4 * k, n_latents)


@njit(cache=True, nogil=True)
def _levels(
    bits: Any, values: Any, shift: int, targets: Any, levels: Any, counts: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    energy = np.empty(BINS, dtype=np.float32)
    number = np.empty(BINS, dtype=np.int64)
    for row in range(start, stop):
        energy[:] = 0
        number[:] = 0
        for column in range(bits.shape[1]):
            pattern = bits[row, column]
            if pattern > 0:
                value = widen(values[row, column])
                energy[pattern >> shift] += value * value
                number[pattern >> shift] += 1
        reached, found, place = np.float32(0), 0, BINS
        while place > 0 and (reached < targets[row] or found == 0):
            place -= 1
            reached += energy[place]
            found += number[place]
        levels[row] = max(place << shift, 1)
        counts[row] = found


@njit(cache=True, nogil=True)
def _collect(bits: Any, levels: Any, columns: Any, start: int, stop: int) -> None:  # pragma: no cover - compiled
    for row in range(start, stop):
        found, level = 0, levels[row]
        for column in range(bits.shape[1]):
            if bits[row, column] >= level:
                columns[row, found] = column
                found += 1
