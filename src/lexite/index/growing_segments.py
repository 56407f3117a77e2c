"""The segments of an index that is changed: those on the disk, the documents that wait to become one, and their merging."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lexite.errors import MissingExtraError, StorageError
from lexite.index.buffer import SegmentBuffer
from lexite.index.field_types import FieldType
from lexite.index.incoming import Incoming
from lexite.index.manifest import SEGMENTS_NAME, Commit, SegmentRecord
from lexite.index.merging import Source, merge_segments, plan_merge
from lexite.index.segment import open_segment
from lexite.index.segment_changes import (
    ChangedSegment,
    Place,
    find_documents,
    impact_scoring,
    update_posting_lists,
    write_deletions,
    write_posting_lists,
)

logger = logging.getLogger("lexite")


class GrowingSegments:
    """Segments between two commits. A new one is named by no commit until :class:`IndexWriter` writes the next.

    Args:
        folder: of the index.
        state: what segments keep, and how searches score.
        keep: the segments of ``state`` that stay part of the index.
        capacity: postings after which a segment is closed and the next one begun.

    Attributes:
        parts: the segments on the disk, in document order.
    """

    def __init__(self, folder: Path, state: Commit, keep: Sequence[SegmentRecord], capacity: int) -> None:
        self._folder, self._settings, self._capacity = folder / SEGMENTS_NAME, state, capacity
        self._n_terms = state.n_terms
        self.parts = [self._open(record) for record in keep]
        self._next = 1 + max((int(path.name) for path in self._folder.iterdir() if path.name.isdigit()), default=0)
        self._buffer = self._new_buffer()

    @property
    def n_documents(self) -> int:
        """Documents that are not deleted."""
        return sum(part.n_live for part in self.parts) + len(self._buffer.rows_of_ids)

    def find(self, ids: list[bytes]) -> list[Place | None]:
        """Where each id lives; None when it is nowhere."""
        return find_documents(self.parts, self._buffer.rows_of_ids, ids)

    def delete(self, ids: list[bytes], places: Sequence[Place | None]) -> int:
        """Deletes the documents of some ids, where they live; says how many there were."""
        count = 0
        for identifier, place in zip(ids, places, strict=True):
            if place is not None:
                part, document = place
                if part is None:
                    self._buffer.delete(identifier)
                else:
                    part.delete(document)
                count += 1
        return count

    def grow(self, n_terms: int) -> None:
        """Makes room for more terms."""
        self._n_terms = n_terms
        self._buffer.grow(n_terms)

    def add(self, new: Incoming, *, with_fields: bool) -> None:
        """Takes documents, and closes a segment whenever it is full.

        Args:
            new: the documents, none of whose ids lives here.
            with_fields: whether to keep their fields.

        Raises:
            StorageError: a segment cannot be written.
        """
        start, bounds = 0, new.cut.bounds
        while start < len(new.documents):
            count = self._buffer.fitting(new.rows, bounds, start)
            if count:
                stop = start + count
                part, ids = list(new.documents[start:stop]), new.ids[start:stop]
                self._buffer.append(part, ids, new.rows, new.cut, start, with_fields=with_fields, side=new.side)
                start = stop
            else:
                self.flush()

    def flush(self) -> None:
        """Makes the documents that wait a segment, which no commit names yet."""
        buffer = self._buffer
        if buffer.n_documents == len(buffer.deleted):
            buffer.discard()
        else:
            part = self._open(buffer.write())
            self.parts.append(part)
            for document in buffer.deleted:
                part.delete(document)
        self._buffer = self._new_buffer()

    def discard(self) -> None:
        """Removes what was written of the documents that wait."""
        self._buffer.discard()

    def adopt(self, groups: Iterable[Sequence[Source]], n_terms: int, fields: Mapping[str, FieldType]) -> None:
        """Takes the living documents of segments of other indexes, each group of them as one segment.

        Args:
            groups: segments whose terms have the numbers of this index.
            n_terms: its terms.
            fields: the types of their fields.
        """
        self._n_terms = n_terms
        for group in groups:
            self.parts.append(self._merged(group, self._new_folder(), fields))
        self._buffer = self._new_buffer()

    def write_changes(self, generation: int) -> tuple[tuple[SegmentRecord, ...], float]:
        """Writes deletions and posting lists for a commit.

        Returns:
            Its segments, those with a living document, and the average length.
        """
        self._drop_empty()
        for part in self.parts:
            if part.changed:
                write_deletions(part, generation)
        average = update_posting_lists(self.parts, generation, self._settings.scoring)
        return tuple(part.record for part in self.parts), average

    def plan(self, first: int = 0) -> tuple[int, int] | None:
        """First segment and end of the run to merge next, among those from ``first`` on; None when all is well."""
        plan = plan_merge([part.sizes for part in self.parts[first:]])
        return None if plan is None else (first + plan[0], first + plan[1])

    def merge_new(self, generation: int, fields: Mapping[str, FieldType]) -> None:
        """Merges new segments of a large build before their posting lists are made, which takes most of the time.

        Where that is not possible they stay as they are.

        Args:
            generation: of the commit that comes.
            fields: the types of fields.
        """
        self._drop_empty()
        first = next((place for place, part in enumerate(self.parts) if part.segment.postings is None), len(self.parts))
        for part in self.parts[first:]:
            if part.changed:
                write_deletions(part, generation)
        while plan := self.plan(first):
            start, stop = plan
            parts, target = self.parts[start:stop], self._new_folder()
            try:
                merged = self._merged([_source(part) for part in parts], target, fields)
            except (StorageError, MissingExtraError) as error:
                shutil.rmtree(target, ignore_errors=True)
                logger.warning("New segments could not be merged. %s", error)
                return
            self.parts[start:stop] = [merged]
            for part in parts:  # no commit has named them, and their room may be needed
                shutil.rmtree(part.folder, ignore_errors=True)

    def merged(self, start: int, stop: int, generation: int, fields: Mapping[str, FieldType]) -> ChangedSegment:
        """Committed segments as one, with its posting lists; :attr:`parts` stays as it is.

        Args:
            start: the first of them.
            stop: the end of the run.
            generation: of the commit that comes.
            fields: the types of fields.

        Raises:
            StorageError, IndexFormatError, MissingExtraError: they cannot be merged; nothing is left of the attempt.
        """
        sources, target = [_source(part) for part in self.parts[start:stop]], self._new_folder()
        try:
            merged, scoring = self._merged(sources, target, fields), self._settings.scoring
            write_posting_lists(merged, generation, scoring, impact_scoring(self.parts, scoring))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return merged

    def _merged(self, sources: Sequence[Source], target: Path, fields: Mapping[str, FieldType]) -> ChangedSegment:
        settings = self._settings
        record = merge_segments(
            sources,
            target,
            self._n_terms,
            fields,
            store_text=settings.store_text,
            mantissa=settings.mantissa,
            side=settings.side_layout,
        )
        return self._open(record)

    def _open(self, record: SegmentRecord) -> ChangedSegment:
        folder, settings = self._folder / record.name, self._settings
        segment = open_segment(
            folder, record, with_texts=settings.store_text, mantissa=settings.mantissa, side=settings.side_layout
        )
        return ChangedSegment(folder, record, segment, segment.deleted)

    def _new_buffer(self) -> SegmentBuffer:
        settings = self._settings
        return SegmentBuffer(
            self._new_folder(),
            self._n_terms,
            self._capacity,
            store_text=settings.store_text,
            mantissa=settings.mantissa,
            side=settings.side_layout,
        )

    def _new_folder(self) -> Path:
        self._next += 1
        return self._folder / f"{self._next - 1:08d}"

    def _drop_empty(self) -> None:
        self.parts = [part for part in self.parts if part.n_live]


def _source(part: ChangedSegment) -> Source:
    return Source(part.folder, part.record, part.segment)
