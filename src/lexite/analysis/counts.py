"""How many documents of a group have each term, by strata of length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.analysis.chance import Floats

STRATA = 10


class StratumCounts:
    """Counts documents with each term by stratum and group."""

    def __init__(self, rows: csr_array[np.float32], strata: NDArray[np.int64]) -> None:
        self.rows, self.strata = rows, strata
        self.totals = np.bincount(rows.indices, minlength=rows.shape[1])
        self._sizes = np.bincount(strata, minlength=STRATA)
        self._all = self._count(np.ones(len(strata), dtype=np.bool_))

    def _count(self, chosen: NDArray[np.bool_]) -> Floats:
        places = np.flatnonzero(chosen)
        member = csr_array((np.ones(len(places), np.float32), (self.strata[places], places)), shape=(STRATA, len(self.strata)))
        return np.asarray((member @ self.rows).toarray(), dtype=np.float64)  # strata are few

    def of(self, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
        """Documents with each term of a group and of the others, ``(n_strata, n)``, and documents of both by stratum."""
        a = self._count(chosen)
        n_a = np.bincount(self.strata[chosen], minlength=STRATA).astype(np.float64)
        return a, self._all - a, n_a, self._sizes - n_a
