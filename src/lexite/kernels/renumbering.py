"""Rows whose terms get other numbers, as when the words of several dictionaries become those of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def renumber_rows(bounds: Any, terms: Any, weights: Any, numbers: Any, out_terms: Any, out_weights: Any) -> bool:
    """Gives the terms of rows other numbers, and puts each row in ascending order of these.

    Args:
        bounds: (n_rows + 1,) int64, where rows begin in ``terms``.
        terms: (n,) their terms.
        weights: (n,) float32, their weights.
        numbers: (n_terms,) int32, the new number of each term; -1 where it must not occur.
        out_terms: (n,) int32, written.
        out_weights: (n,) float32, written.

    Returns:
        False when a row holds a term that does not exist, or must not occur.
    """
    for row in range(bounds.shape[0] - 1):
        low, high = bounds[row], bounds[row + 1]
        last = np.int32(-1)
        ascending = True
        for j in range(low, high):
            if np.int64(terms[j]) < 0 or np.int64(terms[j]) >= numbers.shape[0]:
                return False
            number = numbers[terms[j]]
            if number < 0:
                return False
            ascending = ascending and number > last
            last = number
            out_terms[j] = number
            out_weights[j] = weights[j]
        if not ascending:
            order = np.argsort(out_terms[low:high])
            own = out_terms[low:high].copy()
            for i in range(high - low):
                out_terms[low + i] = own[order[i]]
                out_weights[low + i] = weights[low + order[i]]
    return True


def renumber_plainly(
    bounds: NDArray[np.int64], terms: NDArray[Any], weights: NDArray[np.float32], numbers: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The same, plainly: the terms and weights of the rows."""
    owners = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    renumbered = numbers[terms]
    order = np.lexsort((renumbered, owners))
    return renumbered[order], weights[order]
