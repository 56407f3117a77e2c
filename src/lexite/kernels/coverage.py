"""How much of a query each row covers: the sum of the factors of its terms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def sum_factors(bounds: Any, terms: Any, factors: Any, covered: Any, damaged: Any, start: int, stop: int) -> None:
    """Adds up, for each row, the factors of its terms.

    Args:
        bounds: (n_rows + 1,) int64, where rows begin.
        terms: uint16 or int32, the terms of the rows.
        factors: (n_terms,) float64, of the query; 0 for terms that it has not.
        covered: (n_rows,) float64, filled.
        damaged: (1,) bool, set to true where a row names a term or an entry that does not exist.
        start: the first row.
        stop: their end.
    """
    for row in range(start, stop):
        low, high = bounds[row], bounds[row + 1]
        if low < 0 or low > high or high > terms.shape[0]:
            damaged[0] = True
            return
        total = 0.0
        for j in range(low, high):
            if np.uint32(terms[j]) >= np.uint32(factors.shape[0]):
                damaged[0] = True
                return
            total += factors[terms[j]]
        covered[row] = total
