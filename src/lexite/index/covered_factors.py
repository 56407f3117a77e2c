"""How much of a query passages cover, counted for all passages of a segment from their rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexite.index.packed_rows import damaged_rows
from lexite.index.segment import Segment
from lexite.index.stored_rows import PackedRows
from lexite.kernels.threads import parallel_ranges

PASSAGES_AT_ONCE = 4096


def covered_factors(segment: Segment, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_passages,) the sum of the factors of each passage's terms, by compiled code on all cores."""
    from lexite.kernels.coverage import sum_factors
    from lexite.kernels.packed_rows import sum_packed_factors

    covered, damaged, rows = np.zeros(segment.n_passages), np.zeros(1, dtype=bool), segment.rows
    if isinstance(rows, PackedRows):
        parallel_ranges(sum_packed_factors, segment.n_passages, rows.data, rows.bounds, factors, covered, damaged)
    else:
        parallel_ranges(sum_factors, segment.n_passages, rows.bounds, rows.terms, factors, covered, damaged)
    if damaged[0]:
        raise damaged_rows(segment.place)
    return covered


def covered_factors_plainly(segment: Segment, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """What :func:`covered_factors` gives, without compiled code."""
    covered = np.zeros(segment.n_passages)
    for first in range(0, segment.n_passages, PASSAGES_AT_ONCE):
        bounds, terms, _ = segment.rows.span(first, min(first + PASSAGES_AT_ONCE, segment.n_passages))
        if len(terms) and int(terms.max()) >= len(factors):
            raise damaged_rows(segment.place)
        sums = np.concatenate([[0.0], np.cumsum(factors[terms])])
        covered[first : first + len(bounds) - 1] = np.diff(sums[bounds])
    return covered
