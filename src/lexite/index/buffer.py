"""The documents that a writer has taken but not yet made into a segment."""

from __future__ import annotations

import contextlib
import shutil
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import StorageError
from lexite.files import fsync_folder, storage_errors
from lexite.index.config import DocumentLike, Rows
from lexite.index.ids import IdTable, encode_text
from lexite.index.manifest import SegmentRecord
from lexite.index.segment import build_lengths, build_postings
from lexite.index.storage import FileRecord, FileWriter, write_array

MAX_DOCUMENTS = 250_000  # bounds the ids in memory when documents have few postings


class SegmentBuffer:
    """Collects documents for one segment. Weights and ids wait in memory, texts go to the disk at once.

    Args:
        folder: the segment's folder; it must not exist and is made when the first document comes.
        n_terms: number of terms of the index.
        capacity: postings it may hold; memory is 8 bytes for each, and as much again while the segment is written.
        store_text: whether to keep titles and texts.
    """

    def __init__(self, folder: Path, n_terms: int, capacity: int, *, store_text: bool) -> None:
        self.folder, self.n_terms, self.capacity = folder, n_terms, capacity
        self.ids: list[bytes] = []
        self.rows_of_ids: dict[bytes, int] = {}  # living documents only
        self.deleted: set[int] = set()
        self._bounds = array("q", [0])
        self._terms: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._values: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._text_bounds = array("q", [0])
        self._store_text = store_text
        self._texts: FileWriter | None = None

    @property
    def n_documents(self) -> int:
        """Documents taken, with those deleted since."""
        return len(self.ids)

    @property
    def n_postings(self) -> int:
        """Postings taken."""
        return self._bounds[-1]

    def fitting(self, rows: Rows, start: int) -> int:
        """How many rows from ``start`` fit; a segment takes at least one, so an empty buffer always has room."""
        limit = rows.indptr[start] + self.capacity - self.n_postings
        count = int(np.searchsorted(rows.indptr, limit, side="right")) - 1 - start
        return max(min(count, MAX_DOCUMENTS - self.n_documents, rows.n_rows - start), 0 if self.ids else 1)

    def append(self, documents: list[DocumentLike], ids: list[bytes], rows: Rows, start: int) -> None:
        """Takes documents.

        Args:
            documents: the documents.
            ids: their encoded ids, none of them living in the buffer.
            rows: weights; row ``start + i`` belongs to document ``i``.
            start: the first row.

        Raises:
            StorageError: their texts cannot be written.
        """
        if self._texts is None and self._store_text:
            self._make_folder()
            self._texts = FileWriter(self.folder / "texts.bin")
        if self._texts is not None:
            self._append_texts(self._texts, documents)
        begin, end = int(rows.indptr[start]), int(rows.indptr[start + len(documents)])
        base = self.n_postings
        self._reserve(base + end - begin)
        self._terms[base : base + end - begin] = rows.terms[begin:end]
        self._values[base : base + end - begin] = rows.values[begin:end]
        self._bounds.extend((rows.indptr[start + 1 : start + len(documents) + 1] - begin + base).tolist())
        for identifier in ids:
            self.rows_of_ids[identifier] = len(self.ids)
            self.ids.append(identifier)

    def delete(self, identifier: bytes) -> None:
        """Deletes a document that lives in the buffer."""
        self.deleted.add(self.rows_of_ids.pop(identifier))

    def write(self) -> SegmentRecord:
        """Writes the segment, deleted documents included (the caller marks them), durably.

        Raises:
            StorageError: it cannot be written; call :meth:`discard` then.
        """
        self._make_folder()
        rows = Rows(np.array(self._bounds, dtype=np.int64), self._terms[: self.n_postings], self._values[: self.n_postings])
        files: dict[str, FileRecord] = {}
        if self._texts is not None:
            self._texts.close()
            files["texts.bin"] = self._texts.record
            files["text_bounds.npy"] = write_array(self.folder / "text_bounds.npy", np.array(self._text_bounds, dtype=np.int64))
        files["lengths.npy"] = write_array(self.folder / "lengths.npy", build_lengths(rows))
        offsets, documents, weights = build_postings(rows, self.n_terms)
        files["offsets.npy"] = write_array(self.folder / "offsets.npy", offsets)
        files["documents.npy"] = write_array(self.folder / "documents.npy", documents)
        files["weights.npy"] = write_array(self.folder / "weights.npy", weights)
        files |= write_ids(self.folder, IdTable.build(self.ids))
        close_folder(self.folder)
        return SegmentRecord(self.folder.name, self.n_documents, self.n_postings, files)

    def discard(self) -> None:
        """Removes what was written."""
        if self._texts is not None:
            with contextlib.suppress(StorageError):
                self._texts.close(durable=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def _append_texts(self, texts: FileWriter, documents: list[DocumentLike]) -> None:
        for document in documents:
            for part in (document.title, document.text):
                texts.write(encode_text(part))
                self._text_bounds.append(texts.bytes)

    def _reserve(self, size: int) -> None:
        if size > len(self._terms):
            self._terms = _grown(self._terms, size, self.capacity)
            self._values = _grown(self._values, size, self.capacity)


def _grown(values: NDArray[Any], size: int, capacity: int) -> NDArray[Any]:
    larger = np.empty(max(size, min(2 * len(values), capacity), 1024), dtype=values.dtype)
    larger[: len(values)] = values
    return larger


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


def close_folder(folder: Path) -> None:
    """Makes the names in a segment's folder, and its own, durable."""
    with storage_errors(folder):
        fsync_folder(folder)
        fsync_folder(folder.parent)
