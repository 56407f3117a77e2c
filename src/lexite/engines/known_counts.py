"""What an engine said of its documents, kept for a while, so that not every search asks again."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.engines.driver import Counts, Driver


class KnownCounts:
    """Counts and frequencies of a collection, for which a driver asks the engine.

    Args:
        age: seconds for which they are kept.
    """

    def __init__(self, age: float) -> None:
        self._age = age
        self._counts: Counts | None = None
        self._frequencies: dict[str, int] = {}
        self._counted_at = 0.0

    def counts(self, driver: Driver) -> Counts:
        """What the collection holds. When it is asked for again, frequencies are too."""
        if self._counts is None or time.monotonic() - self._counted_at > self._age:
            self.forget()
            self._counts, self._counted_at = driver.counts(), time.monotonic()
        return self._counts

    def frequencies(self, driver: Driver, names: Sequence[str]) -> NDArray[np.int64]:
        """In how many passages terms occur; the engine is asked for those that are not known."""
        known = self._frequencies
        new = [name for name in names if name not in known]
        if new:
            known.update(zip(new, driver.frequencies(new).tolist(), strict=True))
        return np.array([known[name] for name in names], dtype=np.int64)

    def forget(self) -> None:
        """Asks the engine again when something is next needed."""
        self._counts, self._frequencies = None, {}
