"""What an integer sum of posting lists says of a score: its unit, and how far the two can be apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def unit_of(total: Any, largest: Any) -> Any:
    """The score that 1 stands for in sums of what terms add: ``total`` together, ``largest`` at most."""
    unit = max(largest / 255.0 / 65535.0, total / 255.0 / 4194304.0)
    return unit if unit > 0.0 else 1.0  # only terms of idf 0


@njit(cache=True, nogil=True)
def units_of(most: Any, unit: Any) -> Any:
    """What one of 255 parts of a list's largest contribution is in units; never 0, so that a sum of 0 means no match."""
    return np.int32(max(1.0, np.floor(most / 255.0 / unit + 0.5)))


@njit(cache=True, nogil=True)
def sum_of_score(needed: Any, unit: Any) -> Any:
    """The smallest integer sum that may stand for a score of ``needed``; everything above 2**31 is out of reach."""
    return np.int32(max(0.0, min(np.floor(needed / unit), 2147483647.0)))


@njit(cache=True, nogil=True)
def least_part(most: Any, unit: Any) -> Any:
    """By how much a list of a largest contribution can make a score smaller than its sum."""
    return most / 255.0 + 255.0 * unit


@njit(cache=True, nogil=True)
def rounding_of(n_terms: int, total: Any) -> Any:
    """The rounding of float32 numbers, the smallest of which are far apart, in scores of at most ``total``."""
    return (n_terms + 16) * (1.2e-7 * total + 1.5e-45)
