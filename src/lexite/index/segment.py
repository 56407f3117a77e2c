"""A segment: posting lists, lengths, ids and texts of a run of documents, never changed once written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.config import TRANSFORMS, Rows, StoredDocument
from lexite.index.ids import IdTable, decode_text
from lexite.index.manifest import SegmentRecord
from lexite.index.storage import FileRecord, map_array, map_bytes

POSTING_FILES = ("offsets.npy", "documents.npy", "weights.npy", "lengths.npy")


def deletion_files(generation: int) -> tuple[str, str]:
    """Names of the bitmap of deleted documents and of the counts of their postings, as written by a commit.

    >>> deletion_files(7)
    ('deleted-00000007.npy', 'removed-00000007.npy')
    """
    return f"deleted-{generation:08d}.npy", f"removed-{generation:08d}.npy"


@dataclass(frozen=True, slots=True)
class Segment:
    """An opened segment. Arrays are read-only, and mapped from files unless it was built in memory.

    Attributes:
        offsets: (n_terms + 1,) int64, where the posting list of each term begins.
        documents: (n_postings,) int32, ascending within a term.
        weights: (n_postings,) float32, raw.
        lengths: (3, n_documents) float32, document lengths under each of ``TRANSFORMS``.
        ids: the documents' ids.
        texts: titles and texts one after the other in UTF-8; None when they are not kept.
        text_bounds: (2 n_documents + 1,) int64, bounds in ``texts``: title, text, title, text …
        deleted: (n_documents,) bool; None when no document is deleted.
        removed: (n_terms,) postings of deleted documents; None likewise.
    """

    offsets: NDArray[np.int64]
    documents: NDArray[np.int32]
    weights: NDArray[np.float32]
    lengths: NDArray[np.float32]
    ids: IdTable
    texts: NDArray[np.uint8] | None = None
    text_bounds: NDArray[np.int64] | None = None
    deleted: NDArray[np.bool_] | None = None
    removed: NDArray[np.int64] | None = None

    @property
    def n_documents(self) -> int:
        """Documents, with deleted ones."""
        return int(self.lengths.shape[1])

    @property
    def n_live(self) -> int:
        """Documents that are not deleted."""
        return self.n_documents - (0 if self.deleted is None else int(self.deleted.sum()))

    @property
    def document_frequency(self) -> NDArray[np.int64]:
        """(n_terms,) in how many living documents each term occurs."""
        counts = np.diff(self.offsets)
        return counts if self.removed is None else counts - self.removed

    def live_lengths(self, transform: int) -> NDArray[np.float32]:
        """Lengths of the living documents under one transform, in document order."""
        lengths: NDArray[np.float32] = self.lengths[transform]
        return lengths if self.deleted is None else lengths[~self.deleted]

    def live_documents(self) -> Iterator[int]:
        """Numbers of the living documents."""
        return (d for d in range(self.n_documents) if self.deleted is None or not self.deleted[d])

    def stored(self, document: int) -> StoredDocument:
        """Id, title and text of a document."""
        if self.texts is None or self.text_bounds is None:
            return StoredDocument(self.ids.id(document), "", "")
        begin, middle, end = self.text_bounds[2 * document : 2 * document + 3]
        title, text = self.texts[begin:middle].tobytes(), self.texts[middle:end].tobytes()
        return StoredDocument(self.ids.id(document), decode_text(title), decode_text(text))


def open_segment(folder: Path, record: SegmentRecord, n_terms: int, *, with_texts: bool) -> Segment:
    """Maps the files of a segment.

    Args:
        folder: the segment's folder.
        record: what the commit point says about it.
        n_terms: number of terms of the index.
        with_texts: whether the index keeps titles and texts.

    Raises:
        IndexFormatError: a file is missing or damaged so that its length or header is wrong.
    """

    def entry(name: str) -> FileRecord:
        if name not in record.files:
            raise IndexFormatError(f"{folder / name} is not listed by the commit point; the index is damaged.")
        return record.files[name]

    def array(name: str, dtype: str, *shape: int) -> NDArray[Any]:
        return map_array(folder / name, entry(name), dtype, shape)

    n, postings = record.n_documents, record.n_postings
    ids = IdTable(
        map_bytes(folder / "ids.bin", entry("ids.bin")),
        array("id_bounds.npy", "<i8", n + 1),
        array("id_hashes.npy", "<u8", n),
        array("id_order.npy", "<i4", n),
    )
    deleted = removed = None
    if record.deletions is not None:
        bitmap, counts = deletion_files(record.deletions)
        deleted = np.unpackbits(array(bitmap, "|u1", (n + 7) // 8), count=n).view(np.bool_)
        removed = array(counts, "<i8", n_terms)
    return Segment(
        array("offsets.npy", "<i8", n_terms + 1),
        array("documents.npy", "<i4", postings),
        array("weights.npy", "<f4", postings),
        array("lengths.npy", "<f4", len(TRANSFORMS), n),
        ids,
        map_bytes(folder / "texts.bin", entry("texts.bin")) if with_texts else None,
        array("text_bounds.npy", "<i8", 2 * n + 1) if with_texts else None,
        deleted,
        removed,
    )


def build_postings(rows: Rows, n_terms: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Turns rows into posting lists: offsets (n_terms + 1,), documents (n,), weights (n,)."""
    from lexite.kernels.postings import count_terms, fill_postings

    offsets = np.zeros(n_terms + 1, dtype=np.int64)
    count_terms(rows.terms, offsets[1:])
    np.cumsum(offsets, out=offsets)
    documents, weights = np.empty(len(rows.terms), dtype=np.int32), np.empty(len(rows.terms), dtype=np.float32)
    fill_postings(rows.indptr, rows.terms, rows.values, offsets[:-1].copy(), documents, weights)
    return offsets, documents, weights


def build_lengths(rows: Rows) -> NDArray[np.float32]:
    """Document lengths under every transform, (3, n_rows)."""
    from lexite.kernels.postings import row_lengths

    lengths = np.empty((len(TRANSFORMS), rows.n_rows), dtype=np.float32)
    row_lengths(rows.indptr, rows.values, lengths)
    return lengths


def segment_in_memory(rows: Rows, n_terms: int, ids: list[bytes]) -> Segment:
    """A segment that has no files; its arrays are read-only like mapped ones, so that the kernels are compiled once."""
    offsets, documents, weights = build_postings(rows, n_terms)
    lengths = build_lengths(rows)
    for array in (offsets, documents, weights, lengths):
        array.flags.writeable = False
    return Segment(offsets, documents, weights, lengths, IdTable.build(ids))
