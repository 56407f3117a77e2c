"""What the disk is asked for before a search needs it, and whether a search will wait for it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.index.postings import ImpactScoring
from lexite.index.segment import Segment
from lexite.index.storage import read_all_ahead
from lexite.scoring.config import BM25Config
from lexite.scoring.transform import TRANSFORMS

LARGE_BYTES = 1 << 24  # of rows: fewer are soon read
MANY_FAULTS = 64  # waits of some 60 microseconds, which threads make up for what they cost
try:
    resource: Any = importlib.import_module("resource")
except ImportError:  # on Windows
    resource = None


class Disk:
    """The files of segments, of which some may not be in memory.

    Args:
        segments: of an index.
        n_terms: number of its terms.
    """

    def __init__(self, segments: Sequence[Segment], n_terms: int) -> None:
        self._segments = segments
        self._asked = np.zeros(n_terms, dtype=bool)
        self._large = any(segment.rows.nbytes >= LARGE_BYTES for segment in segments)
        self._waits: bool | None = None
        self._in_memory = False

    def ask(self, terms: NDArray[np.int32], scoring: BM25Config) -> None:
        """Asks for the lists of terms that are searched for the first time; later they are in memory, as a rule.

        Nothing is asked for any more once the index was found to be in memory: as its rows are, so are its lists.

        What says where lists are comes first, for all segments, and what else a first search needs last. So the disk is never
        without work, and most of it is read while norms are computed.

        Args:
            terms: of queries.
            scoring: of the search; lists that do not fit it are not asked for.
        """
        new = terms[~self._asked[terms]]
        if self._in_memory or not len(new):
            return
        self._in_memory = all(segment.rows.on_disk() is False for segment in self._segments)
        if self._in_memory:
            return
        first, new = not self._asked.any(), np.unique(new)
        self._asked[new] = True
        fitting = []
        for segment in self._segments:
            lists = segment.postings
            if lists is not None and lists.scoring.drift(ImpactScoring.of(scoring, lists.scoring.average_length)):
                known = segment.known(new)
                known = np.sort(known[known >= 0])
                lists.read_directory_ahead(known, segment.n_terms)
                fitting.append((lists, known, segment.n_terms))
            if first:
                read_all_ahead(segment.frequencies)  # behind the lists, norms and search would wait for all of them
                read_all_ahead(segment.lengths[TRANSFORMS.index(scoring.document_transform)])
        for lists, known, n_terms in fitting:
            lists.read_ahead(known, n_terms)
        if first:
            for segment in self._segments:
                read_all_ahead(segment.rows.bounds)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[bool]:
        """Around a search: gives whether it will wait for the disk again and again, as the one before did.

        Which rows a search needs is known only when it reads them, so that they cannot be asked for before. The first search is
        told by what is in memory of the rows.
        """
        if not self._large:
            yield False
            return
        if self._waits is None:
            self._waits = any(segment.rows.on_disk() is True for segment in self._segments)
        before = disk_faults()
        yield self._waits
        self._waits = disk_faults() - before > MANY_FAULTS


def disk_faults() -> int:
    """How often this process has waited for a part of a mapped file; 0 where the system does not count that."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_majflt
