"""How exactly an index keeps weights: float32 numbers with a shorter mantissa.

A rounded weight depends on the weight alone. So documents get the same scores however they are spread over segments, shards and
indexes, and what an index gives back can be put into another one without a change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FULL_MANTISSA = 23  # of float32: nothing is rounded
MANTISSA = 7  # docs/results/performance.md has what fewer and more bits do to rankings


def rounded_weights(weights: NDArray[np.float32], mantissa: int = MANTISSA) -> NDArray[np.float32]:
    """Weights rounded to the nearest number with a shorter mantissa, ties to even.

    The error is at most one part in ``2 ** (mantissa + 1)``. Only weights below 1e-37 lose more; none becomes 0.

    Args:
        weights: (n,) above 0 and finite.
        mantissa: bits behind the leading one, 1 to 23.

    Returns:
        (n,); the weights themselves where all bits are kept.

    >>> rounded_weights(np.float32([1.0, 1.003, 1.005, 300.9])).tolist()
    [1.0, 1.0, 1.0078125, 300.0]
    """
    if mantissa >= FULL_MANTISSA:
        return weights
    drop = np.uint32(FULL_MANTISSA - mantissa)
    patterns = np.ascontiguousarray(weights).view(np.uint32)
    odd = (patterns >> drop) & np.uint32(1)
    codes = (patterns + odd + np.uint32((1 << int(drop) >> 1) - 1)) >> drop
    rounded: NDArray[np.float32] = (np.maximum(codes, np.uint32(1)) << drop).view(np.float32)
    return rounded
