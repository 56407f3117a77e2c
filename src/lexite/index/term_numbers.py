"""Terms of an index that is searched together with others: its words have other numbers in the dictionary of all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class TermNumbers:
    """The numbers of terms in an index, and in the dictionary of all indexes.

    Args:
        own: (n_terms,) int32, for each term of the index its number among those of all; -1 for words that no living document
            of it has.
        n_terms: number of terms of all indexes.

    >>> numbers = TermNumbers(np.array([0, 1, 4, -1, 2], dtype=np.int32), 5)
    >>> numbers.in_segment(np.array([4, 3, 2]), 5).tolist(), numbers.in_all(np.array([2, 4])).tolist()
    ([2, -1, 4], [4, 2])
    """

    def __init__(self, own: NDArray[np.int32], n_terms: int) -> None:
        self.own = own
        self._back = np.full(n_terms, -1, dtype=np.int32)
        self._back[own[own >= 0]] = np.flatnonzero(own >= 0)

    def in_segment(self, terms: NDArray[Any], known: int) -> NDArray[np.int32]:
        """The numbers that terms of all indexes have in a segment; -1 for those that it does not have.

        Args:
            terms: the terms.
            known: how many terms there were when the segment was written.
        """
        found: NDArray[np.int32] = self._back[terms]
        return np.where(found < known, found, -1).astype(np.int32)

    def in_all(self, terms: NDArray[Any]) -> NDArray[np.int32]:
        """The numbers that terms of a segment have among those of all indexes."""
        found: NDArray[np.int32] = self.own[terms]
        return found
