"""A segment as the writer sees it, between two commits: what was deleted, and the files that a commit adds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.buffer import close_folder
from lexite.index.ids import hash_ids
from lexite.index.manifest import ImpactsRecord, SegmentRecord
from lexite.index.postings import ImpactScoring, norms_of, open_postings, posting_files, write_postings
from lexite.index.segment import Segment, deletion_files
from lexite.index.storage import write_array
from lexite.index.stored_rows import PlainRows
from lexite.scoring.config import BM25Config
from lexite.scoring.transform import TRANSFORMS

REBUILD_DRIFT = 1.02  # of the average length, after which posting lists are built anew; see ImpactScoring.drift


@dataclass(slots=True)
class ChangedSegment:
    """A segment on the disk, and the documents that were deleted since the last commit.

    Attributes:
        folder: of its files.
        record: its description in the last commit, or in the next one for a new segment.
        segment: its files, opened.
        deleted: (n_documents,) bool; None when no document is deleted.
        changed: whether there are deletions that no commit has.
    """

    folder: Path
    record: SegmentRecord
    segment: Segment
    deleted: NDArray[np.bool_] | None
    changed: bool = False

    def delete(self, document: int) -> None:
        """Deletes a document."""
        if self.deleted is None:
            self.deleted = np.zeros(self.segment.n_documents, dtype=bool)
        elif not self.changed:
            self.deleted = self.deleted.copy()
        self.deleted[document] = True
        self.changed = True

    @property
    def n_live(self) -> int:
        """Documents that are not deleted."""
        return self.record.n_documents - (0 if self.deleted is None else int(self.deleted.sum()))

    @property
    def is_plain(self) -> bool:
        """Whether it was written before format 6."""
        return isinstance(self.segment.rows, PlainRows)

    @property
    def sizes(self) -> tuple[int, int]:
        """Postings of living documents, and of all."""
        return int(self.segment.document_frequency.sum()), self.record.n_postings


Place = tuple[ChangedSegment | None, int]
"""Where a document lives: a segment and its number there; no segment for one that is in none yet."""


def find_documents(parts: Sequence[ChangedSegment], waiting: Container[bytes], ids: list[bytes]) -> list[Place | None]:
    """Where each id lives; None when it is nowhere.

    Args:
        parts: the segments.
        waiting: ids of documents that are in no segment yet.
        ids: the encoded ids.
    """
    places: list[Place | None] = [None] * len(ids)
    hashes = hash_ids(ids)
    for part in parts:
        found = part.segment.ids.find(ids, hashes, part.deleted)
        for i in np.flatnonzero(found >= 0).tolist():
            places[i] = (part, int(found[i]))
    for i, identifier in enumerate(ids):
        if identifier in waiting:
            places[i] = (None, 0)
    return places


def count_removed(changed: ChangedSegment, new: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts the postings of deleted documents, by term.

    Args:
        changed: the segment; its counts of the last commit are added to.
        new: (n_documents,) bool, documents deleted since then.

    Returns:
        (n_terms,).

    Raises:
        IndexFormatError: a row of a deleted document is damaged.
    """
    segment = changed.segment
    n_terms = len(segment.frequencies)
    removed = np.zeros(n_terms, dtype=np.int64) if segment.removed is None else segment.removed.copy()
    for document in np.flatnonzero(new).tolist():
        for passage in range(*segment.passages(document)):
            terms, _ = segment.row(passage)
            if len(terms) and int(terms.max()) >= n_terms:
                raise IndexFormatError(
                    f"The rows of segment {changed.record.name} are damaged. Run 'lexite info --verify' on the index."
                )
            removed[terms] += 1
    return removed


def impact_scoring(parts: Sequence[ChangedSegment], scoring: BM25Config) -> ImpactScoring:
    """The scoring to build impacts for, with the average length of the segments as it is now."""
    row = TRANSFORMS.index(scoring.document_transform)
    lengths = np.concatenate([np.empty(0, np.float32), *[part.segment.live_lengths(row) for part in parts]])
    return ImpactScoring.of(scoring, float(lengths.mean(dtype=np.float64)) if len(lengths) else 0.0)


def write_deletions(part: ChangedSegment, generation: int) -> None:
    """Writes the deletions of a segment for a commit."""
    assert part.deleted is not None
    new = part.deleted if part.segment.deleted is None else part.deleted & ~part.segment.deleted
    removed = count_removed(part, new)
    bitmap, counts = deletion_files(generation)
    for name in (bitmap, counts):  # left by a commit that failed
        (part.folder / name).unlink(missing_ok=True)
    old = deletion_files(part.record.deletions or 0)
    files = {name: record for name, record in part.record.files.items() if name not in old}
    files[bitmap] = write_array(part.folder / bitmap, np.packbits(part.deleted))
    files[counts] = write_array(part.folder / counts, removed)
    n_deleted = int(part.deleted.sum())
    part.record = dataclasses.replace(part.record, files=files, n_deleted=n_deleted, deletions=generation)
    part.segment = dataclasses.replace(part.segment, deleted=part.deleted, removed=removed)
    part.changed = False


def update_posting_lists(parts: Sequence[ChangedSegment], generation: int, scoring: BM25Config) -> float:
    """Builds the posting lists of new segments, and those whose impacts have become too wrong for the average length.

    Returns:
        The average length.
    """
    wanted = impact_scoring(parts, scoring)
    for part in parts:
        present = part.segment.postings
        drift = present.scoring.drift(wanted) if present is not None else None
        if drift is None or drift > REBUILD_DRIFT:
            write_posting_lists(part, generation, scoring, wanted)
    return wanted.average_length


def write_posting_lists(part: ChangedSegment, generation: int, scoring: BM25Config, impacts: ImpactScoring) -> None:
    """Builds the posting lists of a segment for a commit.

    Args:
        part: the segment.
        generation: of the commit.
        scoring: of the index.
        impacts: what of it the lists are built for.
    """
    folder, n_terms = part.folder, part.record.n_terms
    rows = functools.partial(part.segment.rows.read, folder)
    norms = norms_of(part.segment.lengths, impacts.average_length, scoring)
    written = write_postings(folder, generation, rows, norms, n_terms, impacts)
    close_folder(folder)
    old = posting_files(part.record.impacts.generation) if part.record.impacts else ()
    files = {name: record for name, record in part.record.files.items() if name not in old}
    record = ImpactsRecord(generation, dataclasses.asdict(impacts))
    part.record = dataclasses.replace(part.record, files={**files, **written}, impacts=record)
    opened = open_postings(folder, generation, part.record.files, n_terms, part.record.n_passages, impacts)
    part.segment = dataclasses.replace(part.segment, postings=opened)
