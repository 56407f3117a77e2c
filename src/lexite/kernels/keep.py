"""Keeping the largest entries of each row in place, where they are too many to be kept in a sorted list."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.threads import parallel_ranges

DIGITS = ((21, 10), (11, 10), (0, 11))  # how a fp32 pattern without its sign is cut: shift and number of bits


def keep_largest(codes: torch.Tensor, k: int) -> torch.Tensor:
    """Sets all but the k largest entries of each row to zero, in place, and returns the rows.

    Of equal entries the CPU keeps those of lower index, and an accelerator any.

    Args:
        codes: (n, m) fp32, at least 0, contiguous.
        k: how many to keep.
    """
    if codes.device.type == "cpu":
        parallel_ranges(_keep, len(codes), codes.view(torch.int32).numpy(), k)
        return codes
    largest, places = codes.topk(min(k, codes.shape[1]), dim=1, sorted=False)  # of equal entries, any
    return codes.zero_().scatter_(1, places, largest)


def keep_largest_reference(codes: torch.Tensor, k: int) -> torch.Tensor:
    """The plain definition of :func:`keep_largest`; the rows are left as they are."""
    order = codes.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(codes).scatter_(1, order, codes.gather(1, order))


@njit(cache=True, nogil=True)
def _keep(bits: Any, k: int, start: int, stop: int) -> None:  # pragma: no cover - compiled
    counts = np.empty(1 << 11, dtype=np.int64)
    for row in range(start, stop):
        entries = bits[row]
        # Finds the pattern of the k-th largest entry digit by digit from the top, and how many entries equal to it are kept.
        pattern, left = 0, k
        for shift, width in DIGITS:
            counts[: 1 << width] = 0
            mask = (1 << width) - 1
            for j in range(entries.shape[0]):
                if entries[j] >> (shift + width) == pattern:
                    counts[(entries[j] >> shift) & mask] += 1
            digit = mask
            while digit > 0 and counts[digit] < left:
                left -= counts[digit]
                digit -= 1
            pattern = (pattern << width) | digit
        for j in range(entries.shape[0]):
            if entries[j] < pattern:
                entries[j] = 0
            elif entries[j] == pattern:
                if left > 0:
                    left -= 1
                else:
                    entries[j] = 0
