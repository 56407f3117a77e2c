"""What the disk is asked for before a search needs it, and whether a search will wait for it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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


class Wanted(NamedTuple):
    """Terms whose lists may be on the disk, for one search.

    Attributes:
        terms: ascending, each once, of the index.
        segments: those whose lists fit the scoring of the search.
        lengths: which lengths it needs: the place of its transform.
        certain: whether the system says that most of the index is on the disk.
    """

    terms: NDArray[np.int32]
    segments: tuple[Segment, ...]
    lengths: int
    certain: bool


class Disk:
    """The files of segments, of which some may not be in memory.

    Args:
        segments: of an index.
        n_terms: number of its terms.
    """

    def __init__(self, segments: Sequence[Segment], n_terms: int) -> None:
        self._segments = segments
        self._asked, self._left = np.zeros(n_terms, dtype=bool), np.zeros(n_terms, dtype=bool)
        self._large = any(segment.rows.nbytes >= LARGE_BYTES for segment in segments)
        self._waits: bool | None = None
        self._in_memory = self._begun = self._with_all = False

    def wanted(self, terms: NDArray[np.int32], scoring: BM25Config) -> Wanted | None:
        """Which terms are searched for the first time; later their lists are in memory, as a rule. None where none is.

        It asks for what says where lists are, and for what else the first search needs before its lists. Nothing is asked for
        any more once the index was found to be in memory: as its rows are, so are its lists.

        Args:
            terms: of queries.
            scoring: of the search; lists that do not fit it are not asked for.
        """
        new = terms[~self._asked[terms]]
        if self._in_memory or not len(new):
            return None
        states = [segment.rows.on_disk() for segment in self._segments]
        self._in_memory = all(state is False for state in states)
        if self._in_memory:
            return None
        new, fitting = np.unique(new), []
        for segment in self._segments:
            lists = segment.postings
            if lists is not None and lists.scoring.drift(ImpactScoring.of(scoring, lists.scoring.average_length)):
                lists.read_directory_ahead(_known(segment, new), segment.n_terms)
                fitting.append(segment)
            if not self._begun:
                read_all_ahead(segment.frequencies)
        self._begun = True
        row = TRANSFORMS.index(scoring.document_transform)
        return Wanted(new, tuple(fitting), row, any(state is True for state in states))

    def ask(self, wanted: Wanted, terms: NDArray[np.int32] | None = None) -> None:
        """Asks for the lists of terms, at once for all segments, so that the disk is never without work.

        Args:
            wanted: by a search.
            terms: some of its terms. None for all, and for what else a search of all lists needs: lengths before them, since
                norms would wait for all lists; what says where rows are behind them, which is read while norms are computed.
        """
        if terms is None and not self._with_all:
            for segment in self._segments:
                read_all_ahead(segment.lengths[wanted.lengths])
        asked = wanted.terms[~self._asked[wanted.terms]] if terms is None else terms
        self._asked[asked] = True
        for segment in wanted.segments:
            assert segment.postings is not None
            segment.postings.read_ahead(_known(segment, asked), segment.n_terms)
        if terms is None and not self._with_all:
            self._with_all = True
            for segment in self._segments:
                read_all_ahead(segment.rows.bounds)

    def left(self, terms: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which terms an earlier search could do without. They are asked for by the next search that has them."""
        return self._left[terms]

    def leave(self, terms: NDArray[np.int32]) -> None:
        """Says that a search does without the lists of terms, as far as it goes."""
        self._left[terms] = True

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


def _known(segment: Segment, terms: NDArray[np.int32]) -> NDArray[np.int32]:
    """The numbers of terms in a segment, ascending, of those that it knows."""
    known = segment.known(terms)
    return np.sort(known[known >= 0])


def disk_faults() -> int:
    """How often this process has waited for a part of a mapped file; 0 where the system does not count that."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_majflt
