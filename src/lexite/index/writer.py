"""Changing an index: documents in, documents out, and the commit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from lexite.corpus.passages import CutDocuments, PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ArgumentError, CorpusError, IndexFormatError, MissingExtraError, StorageError
from lexite.index.config import DocumentLike
from lexite.index.dictionary import GrowingDictionary, WordRows
from lexite.index.document_ids import encode_id, listed_ids
from lexite.index.field_types import FieldType
from lexite.index.fields import has_arrow
from lexite.index.file_table import FileTable, KnownFile, read_file_table
from lexite.index.growing_fields import GrowingFields
from lexite.index.growing_segments import GrowingSegments
from lexite.index.ids import decode_text
from lexite.index.incoming import checked
from lexite.index.index_folder import current_commit, remove_stale
from lexite.index.manifest import FORMAT_VERSION, Commit, SegmentRecord, write_commit
from lexite.index.merging import Source
from lexite.index.segment_changes import Place
from lexite.index.side_config import SideDataRecord
from lexite.index.side_files import SideRows
from lexite.index.uncommitted_tables import UncommittedTables
from lexite.locking import WriterLock
from lexite.scoring.rows import SparseRows
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

logger = logging.getLogger("lexite")


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
        self._segments = GrowingSegments(folder, state, keep, self.segment_postings)
        self._tables = UncommittedTables(folder)
        self._fields = GrowingFields(state.fields)
        self._usable = True
        self._has_changes = False

    @property
    def keeps_fields(self) -> bool:
        """Whether the fields of documents are kept: not where the index says so, nor where pyarrow is not installed."""
        return self._fields.kept and has_arrow()

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
        return self._tables.n_terms(self._state)

    @property
    def passages(self) -> PassageConfig | None:
        """How long texts are cut into passages; None: they are not."""
        return self._state.passages

    @property
    def fields(self) -> Mapping[str, FieldType] | None:
        """Types of the fields that documents have, by name; None: fields are not kept."""
        return self._fields.types

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
        return self._segments.n_documents

    def __reduce__(self) -> NoReturn:
        raise ArgumentError(
            f"The writer of {self.folder} cannot be sent to another process, since one process at a time may change an index. "
            "Send the documents, or their weights, to the process that writes."
        )

    def __contains__(self, identifier: object) -> bool:
        return bool(self._segments.find([encode_id(identifier)])[0])

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
        found = self._segments.find(encoded)
        if not missing_ok and not all(found):
            raise CorpusError(f"The index has no document '{decode_text(encoded[found.index(None)])}'. Nothing was deleted.")
        return self._delete(encoded, found)

    def static(self) -> StaticTable | None:
        """The static table that the index would have if it were committed now; see :meth:`BM25Index.static`.

        Raises:
            IndexFormatError: that of the last commit is damaged.
        """
        return self._tables.static(self._state)

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
        self._tables.set_static(table, self._state)
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
        self._tables.set_files(table)
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
            self._segments.flush()
            self._segments.merge_new(self._state.generation + 1, self._fields.types or {})
            self._publish()
        try:
            while plan := self._segments.plan():
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
        parts = self._segments.parts
        if len(parts) > 1 or any(part.deleted is not None or part.is_plain for part in parts):
            self._merge(0, len(parts))

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
            self._tables.words, self._has_changes = words, True
            if self._fields.types is not None:
                self._fields.types = fields
            self._segments.adopt(groups, self.n_terms, fields)

    def rollback(self) -> None:
        """Drops what was not committed and lets the next writer in. Calling it again does nothing."""
        if self._lock.held:
            self._usable = False
            self._segments.discard()
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
        new = checked(documents, weights, cut, side, self._state)
        found = self._segments.find(new.ids)
        if not replace and any(found):
            first = next(document.id for document, place in zip(documents, found, strict=True) if place)
            raise CorpusError(f"The index has a document '{first}' already. Replace it, or choose another id.")
        fields = self._fields.joined(documents)
        with self._fatal():
            self._fields.types = fields
            replaced = self._delete(new.ids, found)
            if self._state.literal:
                rows = self._tables.with_words(new.rows, new.cut, self._state.literal, words, self._state)
                new = new._replace(rows=rows)
                self._segments.grow(self.n_terms)
            self._segments.add(new, with_fields=self._fields.kept)
        return replaced

    def _delete(self, ids: list[bytes], places: Sequence[Place | None]) -> int:
        self._has_changes = self._has_changes or bool(ids)
        return self._segments.delete(ids, places)

    def _publish(self) -> None:
        """Writes deletions and the commit point, then removes what nobody needs any more."""
        generation = self._state.generation + 1
        segments, average = self._segments.write_changes(generation)
        state = dataclasses.replace(
            self._state,
            generation=generation,
            segments=segments,
            fields=self._fields.types,
            average_lengths={self._state.scoring.document_transform: average},
            format_version=FORMAT_VERSION,
        )
        state = self._tables.write(state)
        write_commit(self.folder, state)
        self._state = state
        self._tables.committed()
        self._has_changes = False
        remove_stale(self.folder, state)

    def _merge(self, start: int, stop: int) -> None:
        """Merges committed segments and commits the result."""
        merged = self._segments.merged(start, stop, self._state.generation + 1, self._fields.types or {})
        with self._fatal():
            self._segments.parts[start:stop] = [merged]
            self._publish()

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
