"""Changing an index: documents in, documents out, and the commit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from lexite.corpus.passages import CutDocuments, PassageConfig, cut_documents
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ArgumentError, CorpusError, IndexFormatError, MissingExtraError, StorageError
from lexite.index.buffer import SegmentBuffer
from lexite.index.checks import check_weights
from lexite.index.config import DocumentLike
from lexite.index.dictionary import GrowingDictionary, WordRows, open_words, verify_words, write_words
from lexite.index.document_ids import encode_id, encode_ids, listed_ids
from lexite.index.field_types import FieldType, joined_schema
from lexite.index.fields import EXTRA, has_arrow
from lexite.index.file_table import FileTable, KnownFile, read_file_table, write_file_table
from lexite.index.ids import decode_text
from lexite.index.index_folder import current_commit, remove_stale
from lexite.index.lock import WriterLock
from lexite.index.manifest import FORMAT_VERSION, SEGMENTS_NAME, Commit, SegmentRecord, write_commit
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
from lexite.index.side_config import SideDataRecord
from lexite.index.side_files import SideRows, check_side_rows
from lexite.index.static import StoredStatic, check_static, write_static
from lexite.scoring.rows import Rows, SparseRows, as_rows
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

logger = logging.getLogger("lexite")
SEGMENT_POSTINGS = 200_000_000


class IndexWriter:
    """Adds, replaces and deletes documents of an index. Made by ``BM25Index.create`` and ``BM25Index.writer``.

    Nothing a reader can see changes before :meth:`commit`, which is atomic and durable. Used as a context manager: leaving the
    block drops what was not committed and lets the next writer in; where neither an error nor :meth:`rollback` ended the block,
    a warning says so.

    Args:
        folder: the index folder; it exists.
        state: the index to go on from. Its segments are left alone when it is only to be replaced.
        keep: the segments of ``state`` that stay part of the index.
        segment_postings: postings after which a segment is closed and the next one begun.
        lock: the folder's lock, held.
    """

    def __init__(
        self, folder: Path, state: Commit, keep: Sequence[SegmentRecord], segment_postings: int, lock: WriterLock
    ) -> None:
        self.folder = folder
        self.segment_postings = max(segment_postings, 1)
        self._state, self._lock = state, lock
        weakref.finalize(self, lock.release)  # a writer that is dropped without rollback lets the next one in
        self._parts = [self._open(record) for record in keep]
        self._words: GrowingDictionary | None = None
        self._static: StaticTable | None = None
        self._static_is_new = False
        self._fields = state.fields
        self._keeps_fields = state.fields is not None
        self._new_files: FileTable | None = None
        self._next = self._first_free_number()
        self._buffer = self._new_buffer()
        self._usable = True
        self._has_changes = False

    @property
    def keeps_fields(self) -> bool:
        """Whether the fields of documents are kept: not where the index says so, nor where pyarrow is not installed."""
        return self._keeps_fields and has_arrow()

    @property
    def literal(self) -> LiteralConfig | None:
        """How literal words are indexed; None: they are not."""
        return self._state.literal

    @property
    def n_latents(self) -> int:
        """Number of latent terms, the columns of weights."""
        return self._state.vocabulary.n_terms

    @property
    def n_terms(self) -> int:
        """Number of terms of the index, literal words included."""
        return self._state.n_terms if self._words is None else self.n_latents + len(self._words)

    @property
    def passages(self) -> PassageConfig | None:
        """How long texts are cut into passages; None: they are not."""
        return self._state.passages

    @property
    def fields(self) -> Mapping[str, FieldType] | None:
        """Types of the fields that documents have, by name; None: fields are not kept."""
        return self._fields

    @property
    def field_weights(self) -> FieldWeights | None:
        """How much title, headings and body count, encoded apart; None: they are encoded together."""
        return self._state.field_weights

    @property
    def side_data(self) -> SideDataRecord | None:
        """Which side files are kept; None: none."""
        return self._state.side_data

    @property
    def n_documents(self) -> int:
        """Documents the index would have if it were committed now."""
        return sum(part.n_live for part in self._parts) + len(self._buffer.rows_of_ids)

    def __reduce__(self) -> NoReturn:
        raise ArgumentError(
            f"The writer of {self.folder} cannot be sent to another process, since one process at a time may change an index. "
            "Send the documents, or their weights, to the process that writes."
        )

    def __contains__(self, identifier: object) -> bool:
        return bool(self._find([encode_id(identifier)])[0])

    def add(
        self,
        documents: Sequence[DocumentLike],
        weights: SparseRows,
        cut: CutDocuments | None = None,
        side: SideRows | None = None,
        words: WordRows | None = None,
    ) -> None:
        """Adds new documents at the end of the index.

        Args:
            documents: the documents, with ids that the index does not have. An index with literal words takes those of title
                and text, whether or not it keeps texts.
            weights: raw weights of latent terms, CSR, ``(len(documents), n_latents)``; or a row for each passage.
            cut: the passages of the documents (:func:`lexite.corpus.passages.cut_documents`), where they have several.
            side: dense vectors and token codes of the passages, in an index that keeps them.
            words: literal words of the passages, counted and weighed as the index says; None counts them in their texts.

        Raises:
            ArgumentError: ``side`` is not what the index keeps. Nothing was added.
            CorpusError: an id is there already, or twice in ``documents``; or a field has a value of another type than in the
                documents before. Nothing was added.
            MissingExtraError: documents have fields as the index's have, and pyarrow is not installed. Nothing was added.
            IndexFormatError: the weights have another number of terms.
            ModelError: a weight is NaN, infinite or negative. Nothing was added.
            StorageError: the disk is full or the folder cannot be written. The writer is of no more use.
        """
        self._take(documents, weights, cut, side, words, replace=False)

    def replace(
        self,
        documents: Sequence[DocumentLike],
        weights: SparseRows,
        cut: CutDocuments | None = None,
        side: SideRows | None = None,
    ) -> int:
        """Adds documents at the end of the index; those that have an id of theirs already are deleted.

        Args:
            documents: the documents.
            weights: as for :meth:`add`.
            cut: likewise.
            side: likewise.

        Returns:
            How many documents were replaced.

        Raises:
            CorpusError: an id is twice in ``documents``, or a field has a value of another type. Nothing was changed.
            ArgumentError, IndexFormatError, MissingExtraError, ModelError, StorageError: as :meth:`add`.
        """
        return self._take(documents, weights, cut, side, None, replace=True)

    def delete(self, ids: Iterable[str] | str, *, missing_ok: bool = False) -> int:
        """Deletes documents.

        Args:
            ids: their ids, or one id.
            missing_ok: whether ids that the index does not have are passed over.

        Returns:
            How many documents were deleted.

        Raises:
            CorpusError: the index has no such document. Nothing was deleted.
            ArgumentError: an id is no text.
        """
        self._check_usable()
        encoded = list(dict.fromkeys(encode_id(identifier) for identifier in listed_ids(ids)))
        found = self._find(encoded)
        if not missing_ok and not all(found):
            raise CorpusError(f"The index has no document '{decode_text(encoded[found.index(None)])}'. Nothing was deleted.")
        return self._delete(encoded, found)

    def static(self) -> StaticTable | None:
        """The static table that the index would have if it were committed now; see :meth:`BM25Index.static`.

        Raises:
            IndexFormatError: that of the last commit is damaged.
        """
        record = self._state.static
        if self._static_is_new or record is None:
            return self._static
        return StoredStatic(self.folder, record, self.n_latents).table

    def set_static(self, table: StaticTable | None) -> None:
        """Gives the index a static table with the next commit, in place of the one that it has; None removes that.

        The writer does not count: documents that are added, replaced or deleted leave the table as it is.
        :class:`lexite.terms.static_counts.StaticCounter` counts them while they are encoded.

        Args:
            table: the table.

        Raises:
            IndexFormatError: it gives another number of terms than the index has latent terms.
        """
        self._check_usable()
        if table is not None:
            check_static(table, self.n_latents)
        self._static, self._static_is_new = table, True
        self._has_changes = True

    def files(self) -> dict[str, KnownFile]:
        """The files that documents came from, as :func:`lexite.search.syncing.sync_index` left them in the last commit.

        Raises:
            IndexFormatError: the table is damaged.
        """
        return read_file_table(self.folder, self._state.files)

    def set_files(self, table: FileTable) -> None:
        """Gives the index another table of files with the next commit."""
        self._check_usable()
        self._new_files = table
        self._has_changes = True

    def commit(self) -> None:
        """Makes all changes so far the state of the index: durably, and at once for whoever opens it from now on.

        Segments are merged afterwards where that pays. When the disk is too full for that, the index stays as committed and
        a warning is logged.

        Raises:
            StorageError: the state cannot be written; the last commit is still there. The writer is of no more use.
            IndexFormatError: a segment that was to be merged or counted is damaged.
        """
        self._check_usable()
        with self._fatal():
            self._flush()
            self._merge_new()
            self._publish()
        try:
            while plan := plan_merge([part.sizes for part in self._parts]):
                self._merge(*plan)
        except (StorageError, MissingExtraError) as error:
            logger.warning("The index is committed, but its segments could not be merged. %s", error)

    def merge(self) -> None:
        """Commits, then brings all documents into one segment without deleted ones. Searches get somewhat faster.

        A segment of before format 6 is written anew too, as segments are now.
        Words that only deleted documents had stay in the dictionary, at a few dozen bytes each.

        Raises:
            StorageError: the disk is too full; the index is as committed.
            IndexFormatError: a segment is damaged.
        """
        self.commit()
        if len(self._parts) > 1 or any(part.deleted is not None or part.is_plain for part in self._parts):
            self._merge(0, len(self._parts))

    def adopt(self, groups: Iterable[Sequence[Source]], words: GrowingDictionary, fields: Mapping[str, FieldType]) -> None:
        """Takes the living documents of segments of other indexes, each group of them as one segment; the index is empty.

        Args:
            groups: segments whose terms have the numbers that ``words`` gave them.
            words: the literal words of all of them.
            fields: the types of their fields.

        Raises:
            IndexFormatError: a segment is damaged.
            StorageError: the disk is full or the folder cannot be written. The writer is of no more use.
        """
        self._check_usable()
        with self._fatal():
            self._words, self._has_changes = words, True
            if self._fields is not None:
                self._fields = fields
            for group in groups:
                self._parts.append(self._open(self._merged(group, self._new_folder(), fields)))
            self._buffer = self._new_buffer()

    def rollback(self) -> None:
        """Drops what was not committed and lets the next writer in. Calling it again does nothing."""
        if self._lock.held:
            self._usable = False
            self._buffer.discard()
            with contextlib.suppress(IndexFormatError):  # an index too damaged to say what it needs is left as it is
                remove_stale(self.folder, current_commit(self.folder))
            self._lock.release()

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._usable and self._has_changes:
            logger.warning(
                "Changes of %s were not committed and are dropped. Call commit() before the block ends.", self.folder
            )
        self.rollback()

    def _take(
        self,
        documents: Sequence[DocumentLike],
        weights: SparseRows,
        cut: CutDocuments | None,
        side: SideRows | None,
        words: WordRows | None,
        *,
        replace: bool,
    ) -> int:
        self._check_usable()
        ids = encode_ids(documents)
        cut = cut_documents(documents, None, self.field_weights) if cut is None else cut

        def place(row: int) -> str:
            return f"document '{documents[int(np.searchsorted(cut.bounds, row, side='right')) - 1].id}'"

        n_rows = as_rows(weights, "Weights").shape[0]
        if len(cut.bounds) != len(documents) + 1 or n_rows != len(cut.texts):
            passages = "" if len(cut.texts) == len(documents) else f" with {len(cut.texts)} passages"
            raise CorpusError(f"There are {len(documents)} documents{passages}, but weights for {n_rows}.")
        rows = check_weights(weights, self.n_latents, place)
        check_side_rows(side, self.side_data, n_rows)
        found = self._find(ids)
        if not replace and any(found):
            first = next(document.id for document, place in zip(documents, found, strict=True) if place)
            raise CorpusError(f"The index has a document '{first}' already. Replace it, or choose another id.")
        fields = self._joined_fields(documents) if self._keeps_fields else self._fields
        with self._fatal():
            self._fields = fields
            replaced = self._delete(ids, found)
            if self._state.literal:
                rows = self._add_words(rows, cut, self._state.literal, words)
                self._buffer.grow(self.n_terms)
            start = 0
            while start < len(documents):
                count = self._buffer.fitting(rows, cut.bounds, start)
                if count:
                    stop = start + count
                    part = list(documents[start:stop])
                    self._buffer.append(part, ids[start:stop], rows, cut, start, with_fields=self._keeps_fields, side=side)
                    start = stop
                else:
                    self._flush()
        return replaced

    def _joined_fields(self, documents: Sequence[DocumentLike]) -> Mapping[str, FieldType] | None:
        """The types of fields with those of more documents. Without pyarrow a new index goes on without fields, and says so."""
        fields = joined = self._fields or {}
        for document in documents:
            if document.fields:
                joined = joined_schema(joined, document.fields, document.id)
        if has_arrow() or not any(document.fields for document in documents):
            return joined
        if fields:
            raise MissingExtraError("pyarrow", EXTRA, "Storing the fields of documents")
        self._keeps_fields = False
        logger.warning(
            "The documents have fields (%s), which are left out, since the package 'pyarrow' is not installed. To keep them, "
            "run: pip install 'lexite[%s]'",
            ", ".join([*list(joined)[:5], *(["…"] if len(joined) > 5 else [])]),
            EXTRA,
        )
        return fields

    def _add_words(self, rows: Rows, cut: CutDocuments, literal: LiteralConfig, counted: WordRows | None) -> Rows:
        """The rows with the literal words of their passages."""
        if self._words is None:
            record = self._state.words
            if record is not None:
                verify_words(self.folder, record)  # damage must not be copied under a new checksum
            self._words = GrowingDictionary(None if record is None else open_words(self.folder, record))
        if counted is not None:
            return self._words.add_counted(rows, self.n_latents, counted)
        return self._words.add_to(rows, self.n_latents, cut.encoded_texts, literal, cut.fields)

    def _find(self, ids: list[bytes]) -> list[Place | None]:
        return find_documents(self._parts, self._buffer.rows_of_ids, ids)

    def _delete(self, ids: list[bytes], places: Sequence[Place | None]) -> int:
        self._has_changes = self._has_changes or bool(ids)
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

    def _flush(self) -> None:
        """Makes the buffer a segment, which no commit names yet."""
        buffer = self._buffer
        if buffer.n_documents == len(buffer.deleted):
            buffer.discard()
        else:
            part = self._open(buffer.write())
            self._parts.append(part)
            for document in buffer.deleted:
                part.delete(document)
        self._buffer = self._new_buffer()

    def _publish(self) -> None:
        """Writes deletions and the commit point, then removes what nobody needs any more."""
        generation = self._state.generation + 1
        self._parts = [part for part in self._parts if part.n_live]
        for part in self._parts:
            if part.changed:
                write_deletions(part, generation)
        update_posting_lists(self._parts, generation, self._state.scoring)
        records = tuple(part.record for part in self._parts)
        words, static = self._state.words, self._state.static
        if self._words is not None and self._words.has_new:
            words = write_words(self.folder, generation, self._words.committed())
        if self._static_is_new:
            static = None if self._static is None else write_static(self.folder, generation, self._static)
        files = self._state.files
        if self._new_files is not None:
            files = write_file_table(self.folder, generation, self._new_files) if self._new_files else None
        state = dataclasses.replace(
            self._state,
            generation=generation,
            segments=records,
            words=words,
            static=static,
            fields=self._fields,
            files=files,
            format_version=FORMAT_VERSION,
        )
        write_commit(self.folder, state)
        self._state, self._static, self._static_is_new, self._new_files = state, None, False, None
        self._has_changes = False
        remove_stale(self.folder, state)

    def _merge_new(self) -> None:
        """Merges new segments of a large build before their posting lists are made, which takes most of the time.

        Where that is not possible they stay as they are.
        """
        self._parts = [part for part in self._parts if part.n_live]
        first = next((place for place, part in enumerate(self._parts) if part.segment.postings is None), len(self._parts))
        for part in self._parts[first:]:
            if part.changed:
                write_deletions(part, self._state.generation + 1)
        while plan := plan_merge([part.sizes for part in self._parts[first:]]):
            start, stop = first + plan[0], first + plan[1]
            parts, target = self._parts[start:stop], self._new_folder()
            try:
                merged = self._open(self._merged([_source(part) for part in parts], target, self._fields or {}))
            except (StorageError, MissingExtraError) as error:
                shutil.rmtree(target, ignore_errors=True)
                logger.warning("New segments could not be merged. %s", error)
                return
            self._parts[start:stop] = [merged]
            for part in parts:  # no commit has named them, and their room may be needed
                shutil.rmtree(part.folder, ignore_errors=True)

    def _merge(self, start: int, stop: int) -> None:
        """Merges committed segments and commits the result."""
        sources = [_source(part) for part in self._parts[start:stop]]
        target = self._new_folder()
        try:
            merged = self._open(self._merged(sources, target, self._fields or {}))
            scoring, generation = self._state.scoring, self._state.generation + 1
            write_posting_lists(merged, generation, scoring, impact_scoring(self._parts, scoring))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        with self._fatal():
            self._parts[start:stop] = [merged]
            self._publish()

    def _merged(self, sources: Sequence[Source], target: Path, fields: Mapping[str, FieldType]) -> SegmentRecord:
        state = self._state
        return merge_segments(
            sources,
            target,
            self.n_terms,
            fields,
            store_text=state.store_text,
            mantissa=state.mantissa,
            side=state.side_layout,
        )

    def _open(self, record: SegmentRecord) -> ChangedSegment:
        folder = self.folder / SEGMENTS_NAME / record.name
        state = self._state
        segment = open_segment(folder, record, with_texts=state.store_text, mantissa=state.mantissa, side=state.side_layout)
        return ChangedSegment(folder, record, segment, segment.deleted)

    def _new_buffer(self) -> SegmentBuffer:
        state = self._state
        return SegmentBuffer(
            self._new_folder(),
            self.n_terms,
            self.segment_postings,
            store_text=state.store_text,
            mantissa=state.mantissa,
            side=state.side_layout,
        )

    def _new_folder(self) -> Path:
        self._next += 1
        return self.folder / SEGMENTS_NAME / f"{self._next - 1:08d}"

    def _first_free_number(self) -> int:
        folders = self.folder / SEGMENTS_NAME
        return 1 + max((int(path.name) for path in folders.iterdir() if path.name.isdigit()), default=0)

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """After an error in the block what is in memory and what is on the disk may differ: the writer must not go on."""
        try:
            yield
        except BaseException:
            self._usable = False
            raise

    def _check_usable(self) -> None:
        if not self._usable:
            raise StorageError(
                f"This writer of {self.folder} has failed or was closed. Open a new one; the last commit is intact."
            )


def _source(part: ChangedSegment) -> Source:
    return Source(part.folder, part.record, part.segment)
