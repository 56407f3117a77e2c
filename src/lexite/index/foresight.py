"""A first search of an index on a disk, for which few of the lists of a query are read.

The lists of frequent terms are long and add little. In memory they are read quickly; from a disk they take most of the time of
a first search. So the lists of a few chunks are asked for, and those that every search needs. The few chunks then tell which
other lists are worth it, and these tell which passages may be hits (``lexite.kernels.foresight``). Their rows are read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.index.disk import Disk, Wanted
from lexite.index.segment import Segment
from lexite.index.stored_rows import read_numbers_ahead
from lexite.kernels.posting_lists import SegmentRows

SAMPLE = 4  # chunks, neighbours in a segment: more would tell more and take longer to read
LEAST_CHUNKS = 4 * SAMPLE
LEAST_BYTES = 4 << 20  # of lists: fewer are soon read
EARLY = 0.25  # share of the lists that is asked for before the others are judged; a search needs more than that
BYTE_WAIT = 1.2  # nanoseconds for a byte of lists that are asked for together
ROOM = 1 << 16  # passages of a segment that may be hits


class SingleQuery(NamedTuple):
    """A query with what decides which passages are its hits.

    Attributes:
        terms: (n,) ascending.
        factors: (n,) float32, what impacts are multiplied by.
        excluded: a passage that is no hit, or -1.
        top_k: how many hits are asked for.
    """

    terms: NDArray[np.int32]
    factors: NDArray[np.float32]
    excluded: int
    top_k: int


class Scored(NamedTuple):
    """What scores depend on beside the query.

    Attributes:
        rows: of each segment.
        drifts: by how much the impacts of each may differ from stored ones.
    """

    rows: Sequence[SegmentRows]
    drifts: Sequence[float]


class Candidates(NamedTuple):
    """The passages that may be hits; all others are none.

    Attributes:
        passages: (n,) int64, numbers in the index, ascending.
        most: (n,) what each can score at most.
        left_seconds: how long reading the lists takes that were left.
    """

    passages: NDArray[np.int64]
    most: NDArray[np.float64]
    left_seconds: float


class _Directory(NamedTuple):
    """What the directory of a segment says about a query.

    Attributes:
        known: (n,) the numbers of the terms in the segment; -1 for those that it lacks.
        sizes: (n,) bytes of all lists of each.
        most: (n, n_chunks) the most that each can add to a score in each chunk.
    """

    known: NDArray[np.int32]
    sizes: NDArray[np.int64]
    most: NDArray[np.float32]


def is_worth_foreseeing(wanted: Wanted) -> bool:
    """Whether so much is on the disk that it pays to look which of it a query needs."""
    if not wanted.certain:
        return False
    chunks = n_bytes = 0
    for segment in wanted.segments:
        terms, lists = segment.known(wanted.terms), segment.postings
        assert lists is not None
        begins, ends = lists.places(terms[terms >= 0], segment.n_terms)
        chunks, n_bytes = chunks + len(lists.kinds) // segment.n_terms, n_bytes + int((ends - begins).sum())
    return chunks >= LEAST_CHUNKS and n_bytes >= LEAST_BYTES


def find_candidates(disk: Disk, wanted: Wanted, query: SingleQuery, prepare: Callable[[], Scored | None]) -> Candidates | None:
    """The passages that may be hits. The lists that tell it are asked for in the order in which they are needed.

    Args:
        disk: of the index.
        wanted: what may be on the disk; all segments are among its segments.
        query: the query.
        prepare: gives what scores depend on; None when the lists are of no use. It is called while the disk reads.

    Returns:
        None where the lists that are worth it do not tell enough. The others are not asked for then.
    """
    directories = [_directory(segment, query) for segment in wanted.segments]
    home, begin, end = _sample(directories)
    segment, known = wanted.segments[home], directories[home].known
    assert segment.postings is not None
    segment.postings.read_ahead(np.sort(known[known >= 0]), segment.n_terms, (begin, end))
    sizes = np.sum([directory.sizes for directory in directories], axis=0)
    sizes[~np.isin(query.terms, wanted.terms)] = 0
    early = _early(sizes, np.sum([directory.most.sum(axis=1) for directory in directories], axis=0)) | disk.left(query.terms)
    disk.ask(wanted, np.sort(query.terms[early & (sizes > 0)]))
    scored = prepare()
    if scored is None:
        return None
    waits = np.where(early, 0.0, sizes * BYTE_WAIT)
    times = -(-sum(directory.most.shape[1] for directory in directories) // (end - begin))
    needed, chosen = _judge(segment, known, query, scored, home, (begin, end), waits, times)
    left = (waits > 0.0) & ~chosen
    disk.ask(wanted, np.sort(query.terms[(waits > 0.0) & chosen]))
    disk.leave(query.terms[left])
    found = _gather(wanted.segments, directories, query, scored, ~left, needed) if needed > 0.0 else None
    return found and Candidates(*found, float(waits[left].sum()) * 1e-9)


def seconds_of_rows(n: int) -> float:
    """How long the disk takes for so many rows that are asked for together."""
    from lexite.kernels.foresight import ROW_WAIT

    return n * ROW_WAIT * 1e-9


def ask_for_rows(segments: Sequence[Segment], first: NDArray[np.int64], passages: NDArray[np.int64], lengths: int) -> None:
    """Asks for the rows and lengths of passages, of all segments at once.

    Args:
        segments: of the index.
        first: the first passage of each, and the end.
        passages: numbers in the index, ascending.
        lengths: which lengths.
    """
    bounds = np.searchsorted(passages, first)
    parts = [
        (segment, passages[low:high] - begin)
        for segment, begin, low, high in zip(segments, first, bounds, bounds[1:], strict=False)
    ]
    for segment, own in parts:
        segment.rows.read_bounds_ahead(own)
        read_numbers_ahead(segment.lengths[lengths], own, own + 1)
    for segment, own in parts:
        segment.rows.read_ahead(own)


def _directory(segment: Segment, query: SingleQuery) -> _Directory:
    lists = segment.postings
    assert lists is not None
    known, n_chunks = segment.known(query.terms), len(lists.kinds) // segment.n_terms
    here = np.maximum(known, 0)
    begins, ends = lists.places(here, segment.n_terms)
    tops = lists.tops[here.astype(np.int64)[:, None] * n_chunks + np.arange(n_chunks)]
    factors = np.where(known >= 0, query.factors, np.float32(0))
    return _Directory(known, np.where(known >= 0, np.maximum(ends - begins, 0), 0), lists.levels[tops] * factors[:, None])


def _sample(directories: Sequence[_Directory]) -> tuple[int, int, int]:
    """The segment, the first and the end of the neighbouring chunks that can add most to a score."""
    best = (-1.0, 0, 0, 0)
    for number, directory in enumerate(directories):
        n_chunks = directory.most.shape[1]
        sums = np.r_[0.0, np.cumsum(directory.most.sum(axis=0, dtype=np.float64))]
        width = min(SAMPLE, n_chunks)
        if width:
            runs = (sums[width:] - sums[:-width]) / width
            begin = int(runs.argmax())
            best = max(best, (float(runs[begin]), number, begin, begin + width))
    return best[1:]


def _early(sizes: NDArray[np.int64], most: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The terms that add most for their bytes, up to a share of all bytes."""
    by_worth = np.argsort(-most / np.maximum(sizes, 1), kind="stable")
    early = np.zeros(len(sizes), dtype=bool)
    early[by_worth] = np.cumsum(sizes[by_worth]) <= EARLY * sizes.sum()
    return early


def _judge(
    segment: Segment,
    known: NDArray[np.int32],
    query: SingleQuery,
    scored: Scored,
    home: int,
    chunks: tuple[int, int],
    waits: NDArray[np.float64],
    times: int,
) -> tuple[float, NDArray[np.bool_]]:
    """A score that enough passages reach, and (n,) whose lists are worth reading; those of terms that the segment lacks are."""
    from lexite.kernels.foresight import Asked, Sample, foresee

    lists, here, rows = segment.postings, np.flatnonzero(known >= 0), scored.rows[home]
    assert lists is not None
    sample = Sample(chunks[0], chunks[1] - chunks[0], len(lists.kinds) // segment.n_terms, segment.n_passages)
    asked = Asked(known[here], query.factors[here], query.excluded - rows.first, query.top_k)
    needed, places = foresee(lists.arrays, sample, asked, scored.drifts[home], rows.live, waits[here], times)
    chosen = known < 0
    chosen[here[places]] = True
    return float(needed), chosen


def _gather(
    segments: Sequence[Segment],
    directories: Sequence[_Directory],
    query: SingleQuery,
    scored: Scored,
    read: NDArray[np.bool_],
    needed: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """The passages that may be hits by the lists of some terms, and what they can score; None where there are too many."""
    from lexite.kernels.foresight import Asked, Found, gather

    lowest, numbers, size = np.zeros(query.top_k, np.float32), np.full(query.top_k, -1, np.int32), 0
    passages, most = np.empty(0, np.int64), np.empty(0)
    for segment, directory, rows, drift in zip(segments, directories, scored.rows, scored.drifts, strict=True):
        assert segment.postings is not None
        found = Found(np.empty(ROOM, np.int64), np.empty(ROOM), lowest, numbers)
        here = np.r_[np.flatnonzero(read & (directory.known >= 0)), np.flatnonzero(~read & (directory.known >= 0))]
        asked = Asked(directory.known[here], query.factors[here], query.excluded - rows.first, query.top_k)
        n_read = int((read & (directory.known >= 0)).sum())
        n, needed, size = gather(segment.postings.arrays, rows, asked, n_read, drift, needed, size, found)
        if n < 0:
            return None
        passages, most = np.r_[passages, found.documents[:n] + rows.first], np.r_[most, found.most[:n]]
    return passages[most >= needed], most[most >= needed]
