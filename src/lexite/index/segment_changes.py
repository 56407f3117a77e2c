"""A segment as the writer sees it, between two commits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.manifest import SegmentRecord
from lexite.index.segment import Segment


@dataclass(slots=True)
class Part:
    """A segment: what is on the disk, and which documents were deleted since.

    Attributes:
        record: what the last commit says about it, or the next will.
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


def count_removed(part: Part, new: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Postings of deleted documents by term, those of ``new`` added to the ones counted before."""
    segment = part.segment
    n_terms = len(segment.frequencies)
    removed = np.zeros(n_terms, dtype=np.int64) if segment.removed is None else segment.removed.copy()
    for document in np.flatnonzero(new).tolist():
        terms, _ = segment.row(document)
        if len(terms) and int(terms.max()) >= n_terms:
            raise IndexFormatError(
                f"The rows of segment {part.record.name} are damaged. Run 'lexite info --verify' on the index."
            )
        removed[terms] += 1
    return removed
