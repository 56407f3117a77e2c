"""Documents that wait to become a segment."""

from __future__ import annotations

import contextlib
import shutil
from array import array
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.errors import StorageError
from lexite.files import fsync_folder, storage_errors
from lexite.index.config import DocumentLike
from lexite.index.fields import FIELDS_NAME, FieldBuffer
from lexite.index.ids import IdTable, encode_text
from lexite.index.manifest import SegmentRecord
from lexite.index.packed_rows import Entries, packed
from lexite.index.segment import BOUNDS_NAME, SPANS_NAME, build_lengths
from lexite.index.side_files import SideBuffer, SideLayout, SideRows
from lexite.index.storage import FileRecord, FileWriter, write_array
from lexite.index.stored_rows import ROWS_NAME
from lexite.index.stored_texts import TextWriter
from lexite.scoring.rounding import rounded_weights
from lexite.scoring.rows import Rows

MAX_DOCUMENTS = 250_000  # bounds the ids in memory when documents have few postings


class CutBounds(Protocol):
    """Which passages belong to which document; :class:`lexite.corpus.passages.CutDocuments` has it."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """(n_documents + 1,) the first passage of each document."""
        ...

    @property
    def spans(self) -> NDArray[np.int64]:
        """(n_passages, 2) where passages begin and end in the text of their document."""
        ...


class SegmentBuffer:
    """Collects documents for one segment. Their ids wait in memory; their weights and texts go to the disk at once.

    Args:
        folder: the segment's folder; it must not exist and is made when the first document comes.
        n_terms: number of terms of the index now; :meth:`grow` raises it.
        capacity: postings it may hold.
        store_text: whether to keep titles and texts.
        mantissa: bits of the mantissa that weights are rounded to.
        side: which side files to keep; None: none.
    """

    def __init__(
        self,
        folder: Path,
        n_terms: int,
        capacity: int,
        *,
        store_text: bool,
        mantissa: int,
        side: SideLayout | None = None,
    ) -> None:
        self.folder, self.n_terms, self.capacity, self.mantissa = folder, n_terms, capacity, mantissa
        self.ids: list[bytes] = []
        self.rows_of_ids: dict[bytes, int] = {}  # living documents only
        self.deleted: set[int] = set()
        self._bounds, self._n_postings = array("q", [0]), 0
        self._passage_bounds = array("q", [0])
        self._spans: list[NDArray[np.int64]] = []
        self._frequencies = np.zeros(n_terms, dtype=np.int64)
        self._lengths: list[NDArray[np.float32]] = []
        self._store_text = store_text
        self._texts: TextWriter | None = None
        self._fields = FieldBuffer(folder)
        self._side = None if side is None else SideBuffer(folder, side)
        self._files: dict[str, FileWriter] = {}

    @property
    def n_documents(self) -> int:
        """Number of documents taken, including documents that were deleted since."""
        return len(self.ids)

    @property
    def n_postings(self) -> int:
        """Postings taken."""
        return self._n_postings

    def fitting(self, rows: Rows, passages: NDArray[np.int64], start: int) -> int:
        """How many documents from ``start`` on fit. An empty buffer takes at least one, however long it is.

        Args:
            rows: weights of passages.
            passages: (n_documents + 1,) the first row of each document.
            start: the first document.
        """
        postings = rows.indptr[passages]
        limit = postings[start] + self.capacity - self.n_postings
        count = int(np.searchsorted(postings, limit, side="right")) - 1 - start
        return max(min(count, MAX_DOCUMENTS - self.n_documents, len(passages) - 1 - start), 0 if self.ids else 1)

    def grow(self, n_terms: int) -> None:
        """Makes room for more terms."""
        self._frequencies = np.concatenate([self._frequencies, np.zeros(n_terms - self.n_terms, dtype=np.int64)])
        self.n_terms = n_terms

    def append(
        self,
        documents: list[DocumentLike],
        ids: list[bytes],
        rows: Rows,
        cut: CutBounds,
        start: int,
        *,
        with_fields: bool,
        side: SideRows | None = None,
    ) -> None:
        """Takes documents.

        Args:
            documents: the documents.
            ids: their encoded ids, none of them living in the buffer.
            rows: weights of passages.
            cut: which passages belong to which document; document ``start + i`` is ``documents[i]``.
            start: the first document.
            with_fields: whether to keep their fields, whose types fit those of the documents before.
            side: side data of the passages; needed where the buffer keeps some.

        Raises:
            StorageError: their texts cannot be written.
        """
        if not self._files:
            self._make_folder()
            self._files[ROWS_NAME] = FileWriter(self.folder / ROWS_NAME)
            self._texts = TextWriter(self.folder) if self._store_text else None
        if self._texts is not None:
            for document in documents:
                self._texts.write(encode_text(document.title), encode_text(document.text))
        for document in documents:
            self._fields.append(document.id, document.fields if with_fields else {})
        passages = cut.bounds[start : start + len(documents) + 1]
        first, last = int(passages[0]), int(passages[-1])
        self._passage_bounds.extend((passages[1:] - first + self._passage_bounds[-1]).tolist())
        if self._side is not None and side is not None:
            self._side.append(side, first, last)
        sizes = np.diff(passages)
        self._spans.append(cut.spans[first:last] * np.repeat(sizes > 1, sizes)[:, None])  # a whole text needs no span
        bounds = rows.indptr[first : last + 1]
        begin, end = int(bounds[0]), int(bounds[-1])
        part = Rows(bounds - begin, rows.terms[begin:end], rounded_weights(rows.values[begin:end], self.mantissa))
        packed_rows, row_bounds = packed(Entries(part.indptr, part.terms, part.values), self.mantissa)
        self._files[ROWS_NAME].write(packed_rows)
        self._frequencies += np.bincount(part.terms, minlength=self.n_terms)
        self._lengths.append(build_lengths(part))
        self._bounds.extend((row_bounds[1:] + self._bounds[-1]).tolist())
        self._n_postings += end - begin
        for identifier in ids:
            self.rows_of_ids[identifier] = len(self.ids)
            self.ids.append(identifier)

    def delete(self, identifier: bytes) -> None:
        """Deletes a document that lives in the buffer."""
        self.deleted.add(self.rows_of_ids.pop(identifier))

    def write(self) -> SegmentRecord:
        """Completes the files of the segment, except for posting lists and deletions, and makes them durable.

        Raises:
            StorageError: it cannot be written; call :meth:`discard` then.
        """
        files: dict[str, FileRecord] = {}
        for name, file in self._files.items():
            file.close()
            files[name] = file.record
        if self._texts is not None:
            files |= self._texts.finish()
        files["row_bounds.npy"] = write_array(self.folder / "row_bounds.npy", np.array(self._bounds, dtype=np.int64))
        files["lengths.npy"] = write_array(self.folder / "lengths.npy", np.concatenate(self._lengths, axis=1))
        files["frequencies.npy"] = write_array(self.folder / "frequencies.npy", self._frequencies)
        files |= write_ids(self.folder, IdTable.build(self.ids))
        fields = self._fields.write()
        if fields is not None:
            files[FIELDS_NAME] = fields
        if self._side is not None:
            files |= self._side.write()
        n_passages = self._passage_bounds[-1]
        if n_passages > self.n_documents:
            bounds = np.array(self._passage_bounds, dtype=np.int64)
            files |= write_passages(self.folder, bounds, np.concatenate(self._spans))
        close_folder(self.folder)
        return SegmentRecord(self.folder.name, self.n_documents, n_passages, self.n_postings, self.n_terms, files)

    def discard(self) -> None:
        """Removes what was written."""
        for file in self._files.values():
            with contextlib.suppress(StorageError):
                file.close(durable=False)
        if self._texts is not None:
            with contextlib.suppress(StorageError):
                self._texts.close(durable=False)
        if self._side is not None:
            self._side.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)


def write_ids(folder: Path, ids: IdTable) -> dict[str, FileRecord]:
    """Writes the id table of a segment and returns the files' records."""
    with FileWriter(folder / "ids.bin") as file:
        file.write(ids.data)
    return {
        "ids.bin": file.record,
        "id_bounds.npy": write_array(folder / "id_bounds.npy", ids.bounds),
        "id_hashes.npy": write_array(folder / "id_hashes.npy", ids.hashes),
        "id_order.npy": write_array(folder / "id_order.npy", ids.order),
    }


def write_passages(folder: Path, bounds: NDArray[np.int64], spans: NDArray[np.int64]) -> dict[str, FileRecord]:
    """Writes which passages belong to which document of a segment, and where they lie in its text; gives the files' records."""
    return {BOUNDS_NAME: write_array(folder / BOUNDS_NAME, bounds), SPANS_NAME: write_array(folder / SPANS_NAME, spans)}


def close_folder(folder: Path) -> None:
    """Makes the names in a segment's folder, and its own, durable."""
    with storage_errors(folder):
        fsync_folder(folder)
        fsync_folder(folder.parent)
