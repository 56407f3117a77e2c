"""Merging segments: which ones, and how, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexite.files import storage_errors
from lexite.index.buffer import close_folder, write_ids, write_passages
from lexite.index.field_types import FieldType
from lexite.index.fields import FIELDS_NAME, merge_columns
from lexite.index.ids import IdTable
from lexite.index.live_runs import live_runs, living
from lexite.index.manifest import SegmentRecord
from lexite.index.packed_rows import Entries, damaged_rows, packed
from lexite.index.segment import Segment
from lexite.index.side_files import SideLayout, SideSource, merge_side
from lexite.index.storage import FileRecord, FileWriter, verify_file, write_array
from lexite.index.stored_rows import ROWS_NAME, PackedRows
from lexite.index.stored_texts import TextWriter
from lexite.scoring.transform import TRANSFORMS

MERGE_FACTOR = 8
SMALLEST_LEVEL = 10_000  # postings; all smaller segments are of one level
LARGEST_MERGED = 1_000_000_000  # postings: some 4.5 GB, lists of 2.1 GB
PIECE_ROWS = 1 << 20  # bytes of packed rows, or entries of others


@dataclass(frozen=True, slots=True)
class Source:
    """A segment to merge: its files and its present deletions.

    Attributes:
        folder: its folder.
        record: its description.
        segment: its files, opened.
        numbers: (n_terms,) int32, the number that each of its terms has in the new segment, -1 for words that no living
            document has; None: terms stay as they are.
    """

    folder: Path
    record: SegmentRecord
    segment: Segment
    numbers: NDArray[np.int32] | None = None

    @property
    def document_frequency(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Terms of the new segment, and in how many living passages of this one each occurs."""
        counts = self.segment.document_frequency
        if self.numbers is None:
            return np.arange(len(counts)), counts
        kept = self.numbers >= 0
        return self.numbers[kept].astype(np.int64), counts[kept]


def plan_merge(sizes: Sequence[tuple[int, int]], largest: int = LARGEST_MERGED) -> tuple[int, int] | None:
    """Chooses the neighbouring segments to merge next, so that segments stay few and a posting is seldom copied.

    Segments are put in levels of size, each 8 times the level before. Eight neighbours of one level or below become one
    segment, unless one of them has most of the postings; merging neighbours keeps the order of documents. Segments that would
    be larger than a limit together are left apart: a merge needs room on the disk for both, and time while others wait. A
    segment that lost more than half of its postings is rewritten alone.

    Args:
        sizes: for each segment the postings of its living documents, and all its postings.
        largest: postings that a merged segment may have.

    Returns:
        First segment and end of the run, or None when all is well.

    >>> plan_merge([(5, 5)] * 8), plan_merge([(9_000_000, 9_000_000)] + [(5, 5)] * 7), plan_merge([(4, 4), (1, 3)])
    ((0, 8), None, (1, 2))
    >>> plan_merge([(5, 5)] * 20, 50), plan_merge([(5, 5)] * 20, 39)
    ((0, 10), None)
    """
    levels = [max(0, math.ceil(math.log(max(count, 1) / SMALLEST_LEVEL, MERGE_FACTOR))) for count, _ in sizes]
    for level in sorted(set(levels)):
        start = 0
        while start < len(levels):
            stop = start
            while stop < len(levels) and levels[stop] <= level:
                stop += 1
            for first in range(start, stop - MERGE_FACTOR + 1):
                run = _within_limit([live for live, _ in sizes[first:stop]], largest)
                if len(run) >= MERGE_FACTOR and (level == 0 or 2 * max(run) <= sum(run)):
                    return first, first + len(run)
            start = stop + 1
    for i, (live, total) in enumerate(sizes):
        if 2 * live < total:
            return i, i + 1
    return None


def _within_limit(sizes: Sequence[int], largest: int) -> Sequence[int]:
    """As many of the first sizes as are within a limit together."""
    return sizes[: int(np.searchsorted(np.cumsum(sizes), largest, side="right"))]


def merge_segments(
    sources: Sequence[Source],
    folder: Path,
    n_terms: int,
    fields: Mapping[str, FieldType],
    *,
    store_text: bool,
    mantissa: int,
    side: SideLayout | None = None,
) -> SegmentRecord:
    """Writes one segment with the living documents of several, in their order; its posting lists are made afterwards.

    The sources' checksums are verified first: damage must not be copied under a new checksum. Memory is a few megabytes and
    about 60 bytes for each document.

    Args:
        sources: neighbouring segments.
        folder: the new segment's folder; it must not exist.
        n_terms: number of terms of the index; no source has more.
        fields: types of the fields of the index.
        store_text: whether the index keeps titles and texts.
        mantissa: bits of the mantissa of its weights; those of the sources have no more.
        side: which side files it keeps; None: none.

    Raises:
        IndexFormatError: a source is damaged.
        MissingExtraError: documents have fields, and pyarrow is not installed.
        StorageError: the segment cannot be written; the caller removes the files that were begun.
    """
    for source in sources:
        for name, record in source.record.files.items():
            verify_file(source.folder / name, record)
    with storage_errors(folder):
        folder.mkdir(parents=True)
    lengths = [np.concatenate([s.segment.live_lengths(row) for s in sources]) for row in range(len(TRANSFORMS))]
    bounds, files = _merge_rows(sources, folder, mantissa)
    frequencies = np.zeros(n_terms, dtype=np.int64)
    for source in sources:
        terms, counts = source.document_frequency
        frequencies[terms] += counts
    files["row_bounds.npy"] = write_array(folder / "row_bounds.npy", bounds)
    files["lengths.npy"] = write_array(folder / "lengths.npy", np.stack(lengths))
    files["frequencies.npy"] = write_array(folder / "frequencies.npy", frequencies)
    files |= _merge_ids(sources, folder)
    n_documents, n_passages = sum(source.segment.n_live for source in sources), len(bounds) - 1
    if n_passages > n_documents:
        files |= _merge_passages(sources, folder)
    if store_text:
        files |= _merge_texts(sources, folder)
    if side is not None:
        files |= merge_side([_side_source(source) for source in sources], folder, side)
    merged = merge_columns(folder / FIELDS_NAME, [(s.segment.fields, _is_living(s.segment)) for s in sources], fields)
    if merged is not None:
        files[FIELDS_NAME] = merged
    close_folder(folder)
    return SegmentRecord(folder.name, n_documents, n_passages, int(frequencies.sum()), n_terms, files)


def _renumbering(sources: Sequence[Source]) -> Iterator[NDArray[np.int32]]:
    """For each source the new number of every document, -1 for deleted ones."""
    first = 0
    for source in sources:
        live = _is_living(source.segment)
        numbers = (np.cumsum(live) - 1 + first).astype(np.int32)
        numbers[~live] = -1
        first += int(live.sum())
        yield numbers


def _merge_rows(sources: Sequence[Source], folder: Path, mantissa: int) -> tuple[NDArray[np.int64], dict[str, FileRecord]]:
    sizes: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]
    with FileWriter(folder / ROWS_NAME) as file:
        for source in sources:
            for first, last in _live_passages(source.segment):
                rows, bounds = _packed(source, first, last, mantissa)
                file.write(rows)
                sizes.append(np.diff(bounds))
    return np.cumsum(np.concatenate(sizes)), {ROWS_NAME: file.record}


def _live_passages(segment: Segment) -> Iterator[tuple[int, int]]:
    """Runs of living passages of a segment, some megabytes at a time: whole rows, one at least."""
    bounds = segment.rows.bounds
    for begin, end in live_runs(segment.deleted_passages, np.arange(len(bounds))):
        while begin < end:
            last = int(np.searchsorted(bounds[begin : end + 1], bounds[begin] + PIECE_ROWS, side="right")) - 1
            yield begin, (stop := begin + max(last, 1))
            begin = stop


def _packed(source: Source, first: int, last: int, mantissa: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The rows of passages as the new segment has them, and where each begins."""
    rows = source.segment.rows
    if isinstance(rows, PackedRows) and source.numbers is None and rows.mantissa == mantissa:
        return rows.read_packed(source.folder, first, last)
    entries = rows.read(source.folder, first, last)
    return packed(entries if source.numbers is None else _renumbered(source, entries), mantissa)


def _renumbered(source: Source, entries: Entries) -> Entries:
    from lexite.kernels.renumbering import renumber_rows

    bounds, terms, weights = entries
    new_terms, new_weights = np.empty(len(terms), dtype=np.int32), np.empty(len(terms), dtype=np.float32)
    if not renumber_rows(bounds, terms, weights, source.numbers, new_terms, new_weights):
        raise damaged_rows(source.folder)
    return Entries(bounds, new_terms, new_weights)


def _merge_ids(sources: Sequence[Source], folder: Path) -> dict[str, FileRecord]:
    hashes, order, sizes, parts = [], [], [], []
    for source, numbers in zip(sources, _renumbering(sources), strict=True):
        table = source.segment.ids
        renumbered = numbers[table.order]
        kept = renumbered >= 0
        hashes.append(table.hashes[kept])
        order.append(renumbered[kept])
        sizes.append(np.diff(table.bounds)[numbers >= 0])
        parts += [table.data[begin:end] for begin, end in live_runs(source.segment.deleted, table.bounds)]
    all_hashes, all_order = np.concatenate(hashes), np.concatenate(order)
    sorting = np.argsort(all_hashes, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    data = np.concatenate([np.empty(0, dtype=np.uint8), *parts])
    return write_ids(folder, IdTable(data, bounds, all_hashes[sorting], all_order[sorting]))


def _merge_texts(sources: Sequence[Source], folder: Path) -> dict[str, FileRecord]:
    writer = TextWriter(folder)
    try:
        for source in sources:
            assert source.segment.texts is not None
            writer.take(source.segment.texts, source.segment.deleted, source.folder)
        return writer.finish()
    finally:
        writer.close(durable=False)


def _merge_passages(sources: Sequence[Source], folder: Path) -> dict[str, FileRecord]:
    sizes, spans = [], []
    for source in sources:
        segment = source.segment
        if segment.passage_bounds is None or segment.passage_spans is None:
            sizes.append(np.ones(segment.n_live, dtype=np.int64))
            spans.append(np.zeros((segment.n_live, 2), dtype=np.int64))
        else:
            sizes.append(living(segment.deleted, np.diff(segment.passage_bounds)))
            spans.append(living(segment.deleted_passages, segment.passage_spans))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return write_passages(folder, bounds, np.concatenate(spans))


def _side_source(source: Source) -> SideSource:
    segment = source.segment
    assert segment.side is not None
    return SideSource(source.folder, segment.side, segment.n_passages, segment.deleted_passages)


def _is_living(segment: Segment) -> NDArray[np.bool_]:
    return np.ones(segment.n_documents, dtype=bool) if segment.deleted is None else ~segment.deleted
