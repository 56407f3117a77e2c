"""What a merge takes of a segment: what is not deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def living(deleted: NDArray[np.bool_] | None, values: NDArray[Any]) -> NDArray[Any]:
    """The values of what is not deleted."""
    return values if deleted is None else values[~deleted]


def live_runs(deleted: NDArray[np.bool_] | None, bounds: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end, in the unit of ``bounds``, of each run of neighbours that are not deleted."""
    live = np.ones(len(bounds) - 1, dtype=bool) if deleted is None else ~deleted
    steps = np.diff(np.concatenate([[False], live, [False]]).astype(np.int8))
    for first, end in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
        yield int(bounds[first]), int(bounds[end])
