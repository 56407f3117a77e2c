"""A segment: rows of weights, posting lists, lengths, ids and texts of a run of documents, never changed once written.

A document has a row of weights, or one for each of its passages. Whatever is counted, scored and searched is a passage; ids,
texts and deletions belong to documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType
from lexite.index.fields import FIELDS_NAME, StoredFields
from lexite.index.ids import IdTable, decode_text
from lexite.index.manifest import SegmentRecord
from lexite.index.postings import ImpactScoring, Postings, open_postings
from lexite.index.side_files import SegmentSide, SideLayout, open_side
from lexite.index.storage import FileRecord, map_array, map_bytes, map_numbers
from lexite.index.stored_rows import ROWS_NAME, TERMS_NAME, WEIGHTS_NAME, PackedRows, PlainRows, StoredRows
from lexite.index.stored_texts import StoredTexts, open_texts
from lexite.index.term_numbers import TermNumbers
from lexite.scoring.rows import Rows
from lexite.scoring.transform import TRANSFORMS

BOUNDS_NAME, SPANS_NAME = "passage_bounds.npy", "passage_spans.npy"


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
        rows: terms and raw weights of the passages. Terms are below this segment's ``n_terms``: it knows nothing of words
            that came into the dictionary later.
        lengths: (3, n_passages) float32, lengths of the passages under each of ``TRANSFORMS``.
        frequencies: (n_terms,) int64, in how many passages each term occurs, those of deleted documents included.
        ids: the documents' ids.
        postings: the compressed lists; None while the index is being written.
        texts: titles and texts; None when they are not kept.
        deleted: (n_documents,) bool; None when no document is deleted.
        removed: (n_terms,) postings of deleted documents; None when no document is deleted.
        passage_bounds: (n_documents + 1,) int64, the first passage of each document; None where each has one.
        passage_spans: (n_passages, 2) int64, where passages begin and end in the text of their document, in characters, 0
            and 0 for the only passage of a document; None where each document has one.
        fields: the fields of the documents; None when none has any.
        place: the folder with the files; None in memory.
        side: dense vectors and token codes of the passages; None when they are not kept.
        numbers: the numbers of its terms in an index of several; None where they are those of the index.
    """

    rows: StoredRows
    lengths: NDArray[np.float32]
    frequencies: NDArray[np.int64]
    ids: IdTable
    postings: Postings | None = None
    texts: StoredTexts | None = None
    deleted: NDArray[np.bool_] | None = None
    removed: NDArray[np.int64] | None = None
    passage_bounds: NDArray[np.int64] | None = None
    passage_spans: NDArray[np.int64] | None = None
    fields: StoredFields | None = None
    place: Path | None = None
    side: SegmentSide | None = None
    numbers: TermNumbers | None = None

    @property
    def n_documents(self) -> int:
        """Number of documents, deleted ones included."""
        return len(self.ids.bounds) - 1

    @property
    def n_passages(self) -> int:
        """Number of passages, those of deleted documents included."""
        return int(self.lengths.shape[1])

    @property
    def n_terms(self) -> int:
        """Number of terms when the segment was written; later terms have no posting in it."""
        return len(self.frequencies)

    @property
    def n_live(self) -> int:
        """Documents that are not deleted."""
        return self.n_documents - (0 if self.deleted is None else int(self.deleted.sum()))

    @property
    def n_filled(self) -> int:
        """Passages of living documents that have a term."""
        filled = np.diff(self.rows.bounds) > 0
        deleted = self.deleted_passages
        return int(filled.sum() if deleted is None else (filled & ~deleted).sum())

    @property
    def deleted_passages(self) -> NDArray[np.bool_] | None:
        """(n_passages,) which belong to deleted documents; None when no document is deleted."""
        return None if self.deleted is None else self.of_passages(self.deleted)

    def of_passages(self, documents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is true of documents, (n_documents,), as what is true of their passages, (n_passages,)."""
        return documents if self.passage_bounds is None else np.repeat(documents, np.diff(self.passage_bounds))

    def of_documents(self, passages: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is true of passages, (n_passages,), as what is true of any passage of documents, (n_documents,)."""
        if self.passage_bounds is None:
            return passages
        return np.logical_or.reduceat(passages, self.passage_bounds[:-1]) if len(passages) else passages

    @property
    def document_frequency(self) -> NDArray[np.int64]:
        """(n_terms,) in how many passages of living documents each term occurs."""
        return self.frequencies if self.removed is None else self.frequencies - self.removed

    def known(self, terms: NDArray[Any]) -> NDArray[np.int32]:
        """The numbers that terms of the index have here; -1 for those that no passage of the segment has."""
        if self.numbers is not None:
            return self.numbers.in_segment(terms, self.n_terms)
        return np.where(terms < self.n_terms, terms, -1).astype(np.int32)

    def in_index(self, terms: NDArray[Any]) -> NDArray[Any]:
        """The numbers that terms of the segment have in the index."""
        return terms if self.numbers is None else self.numbers.in_all(terms)

    def of_terms(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the terms of the index, (n,), as values of those of the segment, (n_terms,)."""
        if self.numbers is None:
            return values[: self.n_terms]
        own = self.numbers.own[: self.n_terms]
        return np.where(own >= 0, values[own], np.zeros(1, values.dtype))

    def passages(self, document: int) -> tuple[int, int]:
        """The first passage of a document, and the end of its passages."""
        if self.passage_bounds is None:
            return document, document + 1
        return int(self.passage_bounds[document]), int(self.passage_bounds[document + 1])

    def documents_of(self, passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The documents that passages belong to, (n,)."""
        if self.passage_bounds is None:
            return passages
        return np.searchsorted(self.passage_bounds, passages, side="right") - 1

    def span(self, passage: int) -> tuple[int, int] | None:
        """Where a passage begins and ends in the text of its document; None where that has one passage."""
        if self.passage_spans is None:
            return None
        begin, end = self.passages(int(self.documents_of(np.array([passage]))[0]))
        return None if end - begin == 1 else (int(self.passage_spans[passage, 0]), int(self.passage_spans[passage, 1]))

    def protect(self) -> None:
        """Makes the arrays of an index in memory read-only, like mapped ones, so that the kernels are compiled once."""
        self.rows.protect()
        self.lengths.flags.writeable = False

    def row(self, passage: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Terms and raw weights of a passage.

        Raises:
            IndexFormatError: the row is damaged.
        """
        _, terms, weights = self.rows.pick(np.array([passage], dtype=np.int64))
        return terms, weights

    def live_lengths(self, transform: int) -> NDArray[np.float32]:
        """Lengths of the passages of living documents under one transform, in order."""
        lengths: NDArray[np.float32] = self.lengths[transform]
        deleted = self.deleted_passages
        return lengths if deleted is None else lengths[~deleted]

    def live_documents(self) -> Iterator[int]:
        """Numbers of the living documents."""
        return (d for d in range(self.n_documents) if self.deleted is None or not self.deleted[d])

    def stored(self, document: int, types: Mapping[str, FieldType]) -> StoredDocument:
        """Id, title, text and fields of a document.

        Args:
            document: its number in the segment.
            types: of the fields of the index; empty leaves fields out.
        """
        fields = self.fields.row(document, types) if types and self.fields is not None else {}
        if self.texts is None:
            return StoredDocument(self.ids.id(document), "", "", fields)
        title, text = self.texts.document(document)
        return StoredDocument(self.ids.id(document), decode_text(title, self.place), decode_text(text, self.place), fields)


def open_segment(
    folder: Path, record: SegmentRecord, *, with_texts: bool, mantissa: int, side: SideLayout | None = None
) -> Segment:
    """Maps the files of a segment.

    Args:
        folder: the segment's folder.
        record: what the commit point says about it.
        with_texts: whether the index keeps titles and texts.
        mantissa: bits of the mantissa of its weights.
        side: which side files it keeps; None: none.

    Raises:
        IndexFormatError: a file is missing or damaged so that its length or header is wrong.
    """

    def entry(name: str) -> FileRecord:
        if name not in record.files:
            raise IndexFormatError(f"{folder / name} is not listed by the commit point; the index is damaged.")
        return record.files[name]

    def array(name: str, dtype: str, *shape: int, scattered: bool = False) -> NDArray[Any]:
        return map_array(folder / name, entry(name), dtype, shape, scattered=scattered)

    n, n_passages, n_postings, n_terms = record.n_documents, record.n_passages, record.n_postings, record.n_terms
    ids = IdTable(
        map_bytes(folder / "ids.bin", entry("ids.bin")),
        array("id_bounds.npy", "<i8", n + 1),
        array("id_hashes.npy", "<u8", n),
        array("id_order.npy", "<i4", n),
        folder,
    )
    deleted = removed = postings = None
    if record.deletions is not None:
        bitmap, counts = deletion_files(record.deletions)
        deleted = np.unpackbits(array(bitmap, "|u1", (n + 7) // 8), count=n).view(np.bool_)
        removed = array(counts, "<i8", n_terms)
    if record.impacts is not None:
        scoring = ImpactScoring(**record.impacts.scoring)
        postings = open_postings(folder, record.impacts.generation, record.files, n_terms, n_passages, scoring)
    bounds = array("row_bounds.npy", "<i8", n_passages + 1)
    rows: StoredRows
    if TERMS_NAME in record.files:
        terms = map_numbers(folder / TERMS_NAME, entry(TERMS_NAME), row_term_type(n_terms), n_postings)
        weights = map_numbers(folder / WEIGHTS_NAME, entry(WEIGHTS_NAME), "<f4", n_postings)
        rows = PlainRows(bounds, terms, weights, folder)
    else:
        data = map_bytes(folder / ROWS_NAME, entry(ROWS_NAME), scattered=True)
        rows = PackedRows(bounds, data, n_postings, mantissa, folder)
    return Segment(
        rows,
        array("lengths.npy", "<f4", len(TRANSFORMS), n_passages, scattered=True),
        array("frequencies.npy", "<i8", n_terms),
        ids,
        postings,
        open_texts(folder, record.files, n) if with_texts else None,
        deleted,
        removed,
        _checked_bounds(folder, array(BOUNDS_NAME, "<i8", n + 1), n_passages) if n_passages > n else None,
        array(SPANS_NAME, "<i8", n_passages, 2) if n_passages > n else None,
        StoredFields(folder / FIELDS_NAME, map_bytes(folder / FIELDS_NAME, entry(FIELDS_NAME)), n)
        if FIELDS_NAME in record.files
        else None,
        folder,
        None if side is None else open_side(folder, record.files, side, n_passages),
    )


def _checked_bounds(folder: Path, bounds: NDArray[np.int64], n_passages: int) -> NDArray[np.int64]:
    """Bounds of passages that rise from 0 to their number, each document with one at least."""
    if bounds[0] != 0 or bounds[-1] != n_passages or np.any(np.diff(bounds) < 1):
        raise IndexFormatError(f"{folder / BOUNDS_NAME} is damaged: its numbers do not rise to {n_passages:,}.")
    return bounds


def row_term_type(n_terms: int) -> str:
    """The type in which plain rows name terms.

    >>> row_term_type(65536), row_term_type(65537)
    ('<u2', '<i4')
    """
    return "<u2" if n_terms <= 1 << 16 else "<i4"


def build_lengths(rows: Rows) -> NDArray[np.float32]:
    """Lengths of rows under every transform, (3, n_rows)."""
    from lexite.kernels.impacts import row_lengths

    lengths = np.empty((len(TRANSFORMS), rows.n_rows), dtype=np.float32)
    row_lengths(rows.indptr, rows.values, lengths)
    return lengths


def segment_in_memory(rows: Rows, n_terms: int, ids: list[bytes]) -> Segment:
    """A segment that has no files.

    Its posting lists are built when a search needs them.
    """
    terms = rows.terms.astype(row_term_type(n_terms))
    plain = PlainRows(rows.indptr.copy(), terms, rows.values.copy())
    frequencies = np.bincount(rows.terms, minlength=n_terms).astype(np.int64)
    segment = Segment(plain, build_lengths(rows), frequencies, IdTable.build(ids))
    segment.protect()
    return segment
