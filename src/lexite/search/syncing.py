"""Bringing an index in step with the files that its documents come from."""

from __future__ import annotations

import functools
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.corpus.documents import read_each
from lexite.corpus.files import FileEntry
from lexite.corpus.options import ReadOptions
from lexite.index import BM25Index
from lexite.index.file_table import KnownFile
from lexite.progress import progress
from lexite.search.indexing import Indexer
from lexite.search.sync_plan import SyncPlan, SyncReport, absolute_path, digest_of, plan_sync, status_of

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.corpus.records import FieldValue
    from lexite.index import IndexWriter
    from lexite.index.config import StoredDocument
    from lexite.terms import LatentTermEncoder

SECONDS_PER_COMMIT = 30.0
EMPTY = "empty"


def sync_index(
    path: str | Path,
    sources: Sequence[str | Path] | str | Path,
    encoder: Callable[[], LatentTermEncoder],
    *,
    read: ReadOptions | None = None,
    dry_run: bool = False,
    wait: float = 0.0,
    show_progress: bool = False,
) -> SyncReport:
    """Brings an index in step with files: new ones are added, changed ones replaced, vanished ones deleted.

    Documents of other sources stay. Every 30 seconds what was done so far is committed, so that a process that is killed is
    gone on with by the next one. A file that cannot be read stops nothing: its documents stay as they were.

    Args:
        path: folder of the index.
        sources: files, folders and patterns; ids are as :func:`lexite.read_documents` gives them.
        encoder: loads the index's vocabulary; called when there is something to encode.
        read: how files are read.
        dry_run: only count files; nothing is changed, and no model is loaded.
        wait: seconds to wait for another writer.
        show_progress: whether progress is shown on stderr.

    Raises:
        CorpusError: a source does not exist, or a record of a table is bad and bad ones are not skipped.
        StorageError: the index cannot be written, or is being written by another process.
    """
    report = SyncReport()
    if dry_run:
        index = BM25Index.open(path)
        plan = plan_sync(sources, index.files(), report, index, show_progress)
        report.deleted = sum(len(index.files()[name].documents) for name in plan.gone)
        return report
    with BM25Index.writer(path, wait=wait) as writer:
        index, known = BM25Index.open(path), writer.files()
        plan = plan_sync(sources, known, report, index, show_progress)
        if not (plan.read or plan.keep or plan.gone):
            return report
        taking = _Taking(writer, index, known, plan, report, encoder)
        options = read or ReadOptions()
        with progress("Syncing", len(plan.read), "files", show_progress) as bar:
            for entry, documents in read_each(plan.read, options, report.read, taking.others, index.fields):
                taking.take(entry, documents)
                bar.advance(1)
        taking.finish()
    report.unread.tell()
    return report


class _Others:
    """The ids of an index but for some, which records without an id may get again."""

    def __init__(self, writer: IndexWriter, own: Sequence[str]) -> None:
        self._writer, self._own = writer, frozenset(own)

    def __contains__(self, identifier: object) -> bool:
        return identifier not in self._own and identifier in self._writer


class _Taking:
    """Takes the documents of files one after the other, and commits now and then.

    Nothing is deleted before all files are read, for a document may have moved from one file to another. Until then the table
    keeps the files as they were whose documents may yet be deleted; a sync that goes on after a kill reads them again.
    """

    def __init__(
        self,
        writer: IndexWriter,
        index: BM25Index,
        known: dict[str, KnownFile],
        plan: SyncPlan,
        report: SyncReport,
        encoder: Callable[[], LatentTermEncoder],
    ) -> None:
        self._writer, self._index, self._report, self._encoder = writer, index, report, encoder
        self._known, self._plan = known, plan
        self._table = known | plan.keep
        moving = {entry.id for entry in plan.read}.union(plan.gone)
        self._owners = {id: name for name, file in self._table.items() if name not in moving for id in file.documents}
        self._left: dict[str, None] = dict.fromkeys(id for name in plan.gone for id in known[name].documents)
        self._indexer: Indexer | None = None
        self._waiting: list[Document] = []
        self._finished: dict[str, KnownFile] = {}  # whose documents are taken, or wait
        self._last_commit = time.monotonic()

    def others(self, entry: FileEntry) -> _Others:
        """The ids that records of a file do not get by counting."""
        before = self._known.get(entry.id)
        return _Others(self._writer, () if before is None else before.documents)

    def take(self, entry: FileEntry, documents: Iterator[Document]) -> None:
        """Takes the documents of one file."""
        looked, status, reasons = time.time_ns(), status_of(entry.path), Counter(self._report.read.reasons)
        before = self._known.get(entry.id)
        old = () if before is None else before.documents
        ids: dict[str, None] = {}
        for read in documents:
            document = self._adopted(read) if before is None and entry.kind is None else read
            owner = self._owners.get(document.id)
            if owner is not None:
                message = f"{entry.path}: '{owner}' has a document of the id '{document.id}' too."
                self._report.read.skip(message, "id occurred before")
                continue
            ids[document.id] = None
            self._take_document(document)
        failed = self._report.read.reasons - reasons
        unread = status is None or (not ids and set(failed) - {EMPTY})
        self._owners |= dict.fromkeys(ids, entry.id)
        if unread:  # what could not be read is as it was
            if before is None and entry.id in self._plan.digests:
                self._report.new -= 1
            self._owners = dict.fromkeys(old, entry.id) | self._owners
            return
        self._left |= dict.fromkeys(id for id in old if id not in ids)
        assert status is not None
        digest = self._plan.digests.get(entry.id, "")
        digest = digest if digest_of(entry.path) == digest else ""  # it changed meanwhile: the next sync reads it again
        times = (status.st_mtime_ns, status.st_ctime_ns, looked)
        self._finished[entry.id] = KnownFile(absolute_path(entry.path), status.st_size, *times, digest, tuple(ids))
        if time.monotonic() - self._last_commit > SECONDS_PER_COMMIT:
            self.commit()

    def finish(self) -> None:
        """Deletes the documents that no file has any more, and commits."""
        self._take_waiting()
        gone = [id for id in self._left if id not in self._owners]
        self._report.deleted = self._writer.delete(gone, missing_ok=True)
        self._table = {name: file for name, file in self._table.items() if name not in self._plan.gone} | self._finished
        self._commit()

    def commit(self) -> None:
        """Commits what was taken so far."""
        self._take_waiting()
        sure = {
            name: file
            for name, file in self._finished.items()
            if name not in self._known or set(self._known[name].documents) <= set(file.documents)
        }
        self._table = self._table | sure
        self._commit()

    def _commit(self) -> None:
        self._writer.set_files(self._table)
        if self._indexer is not None:
            self._indexer.commit()
        else:
            self._writer.commit()
        self._last_commit = time.monotonic()

    def _adopted(self, document: Document) -> Document:
        """A record that was numbered: under the number that it has in the index already, where that belongs to no file."""
        if not document.id.isdigit() or document.id in self._index:
            return document
        numbers = self._numbered.get(_content(document))
        return replace(document, id=numbers.pop(0)) if numbers else document

    @functools.cached_property
    def _numbered(self) -> dict[bytes, list[str]]:
        """Numbers of documents in the index that belong to no file, by what they say."""
        held = {id for file in self._known.values() for id in file.documents}
        found: dict[bytes, list[str]] = {}
        for stored in self._index:
            if stored.id.isdigit() and stored.id not in held and (stored.text or stored.title):
                found.setdefault(_content(stored), []).append(stored.id)
        return found

    def _take_document(self, document: Document) -> None:
        stored = self._index.get(document.id)
        if stored is not None and _is_stored(stored, document, self._writer.keeps_fields):
            self._report.same += 1
            return
        if stored is None:
            self._report.added += 1
        else:
            self._report.replaced += 1
        self._waiting.append(document)
        if len(self._waiting) >= TEXTS_PER_CHUNK:
            self._take_waiting()

    def _take_waiting(self) -> None:
        if self._waiting:
            if self._indexer is None:
                self._indexer = Indexer.change(self._writer, self._encoder())
                self._report.unread = self._indexer.unread
            self._indexer.take(self._waiting, replace=True)
            self._waiting = []


def _content(document: Document | StoredDocument) -> bytes:
    """A digest of title and text."""
    return hashlib.sha256(f"{document.title}\0{document.text}".encode("utf-8", "surrogatepass")).digest()


def _is_stored(stored: StoredDocument, document: Document, with_fields: bool) -> bool:
    """Whether an index has a document word for word and field for field; one that keeps no texts cannot tell."""
    same = bool(stored.text or stored.title) and (stored.title, stored.text) == (document.title, document.text)
    if not with_fields:
        return same
    given = {name: _comparable(value) for name, value in document.fields.items() if value is not None}
    return same and given == {name: _comparable(value) for name, value in stored.fields.items()}


def _comparable(value: FieldValue) -> object:
    """A value of a field as it compares with what an index gives back: lists and times come in two forms."""
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(timezone.utc).replace(tzinfo=None)
    return list(value) if isinstance(value, (list, tuple)) else value
