"""A segment as the writer sees it, between two commits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.manifest import SegmentRecord
from lexite.index.segment import Segment


@dataclass(slots=True)
class ChangedSegment:
    """A segment on the disk, and the documents that were deleted since the last commit.

    Attributes:
        record: its description in the last commit, or in the next one for a new segment.
        segment: its files, opened.
        deleted: (n_documents,) bool; None when no document is deleted.
        changed: whether there are deletions that no commit has.
    """

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
    def sizes(self) -> tuple[int, int]:
        """Postings of living documents, and of all."""
        return int(self.segment.document_frequency.sum()), self.record.n_postings


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
