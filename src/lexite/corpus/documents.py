"""Reading documents from any number of sources, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lexite.corpus.builtin import builtin_documents
from lexite.corpus.duplicates import IdSet
from lexite.corpus.extraction import Extractor
from lexite.corpus.fields import FieldReader
from lexite.corpus.files import FileEntry, file_of, files_of
from lexite.corpus.kinds import Extracted
from lexite.corpus.mirror import forget, shown
from lexite.corpus.numbering import NoNumbers, Numbering
from lexite.corpus.options import BadFile, BadRecord, Guard, ReadOptions, ReadReport
from lexite.corpus.records import Document, FieldValue
from lexite.corpus.rows import read_rows
from lexite.corpus.sharding import FilePart, fetch_part
from lexite.corpus.sources import Source, find_sources
from lexite.corpus.values import FieldTypes, SourceFields
from lexite.errors import CorpusError, MissingExtraError

HINT = "--skip-bad leaves bad records out and goes on."


def read_documents(
    sources: Sequence[str | Path] | str | Path,
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
    *,
    taken: Container[str] = (),
    held: int = 0,
    field_types: Mapping[str, str] | None = None,
) -> Iterator[Document]:
    r"""Reads documents from sources, in order, once, in bounded memory.

    Args:
        sources: each a BEIR folder, a file of records (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, ``.parquet``), a file that is
            a document (text, Markdown, HTML, reStructuredText, PDF, DOCX, PPTX, e-mail, source code), each also ``.gz``,
            ``.bz2``, ``.xz``, ``.zst``; a folder of such files, a pattern (``docs/**/*.md``), ``-`` for standard input,
            ``builtin:python``, or ``ir_datasets:NAME``.
        options: field names, and whether bad records are skipped. Default: :class:`ReadOptions`.
        report: filled with counts while the iterator runs.
        taken: ids that records without an id do not get, such as those of an index.
        held: how many documents ``taken`` has, so that numbers need not be tried one by one.
        field_types: types of the fields that an index has already (``BM25Index.fields``); values are read as these.

    Returns:
        An iterator. That all sources exist is checked before it is returned; records are checked as they are read.

    Raises:
        CorpusError: a source does not exist or cannot be read, a record is bad, an id occurs twice, or there is no document.
        ConfigError: ``field_type`` names no type.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pets.jsonl"
    >>> _ = path.write_text('{"_id": "d1", "title": "Dog", "text": "It barks.", "legs": 4}\n')
    >>> [(document.full_text, document.fields) for document in read_documents([path])]
    [('Dog It barks.', {'legs': 4})]
    """
    names = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not names:
        raise CorpusError("No source of documents was named.")
    found = find_sources(names)
    if sum(source.format == "pipe" and source.path is None for source in found) > 1:
        raise CorpusError("Standard input ('-') was named twice, but can be read only once.")
    options, report = options or ReadOptions(), report or ReadReport()
    types = FieldTypes(options, report, field_types)
    return iterate_documents(found, options, report, HINT, types=types, taken=taken, held=held)


def read_file(entry: FileEntry, options: ReadOptions | None = None, report: ReadReport | None = None) -> Iterator[Document]:
    """Reads the documents of one file that :func:`lexite.corpus.files.list_files` found.

    Whoever reads many files one by one pays for a worker with each; :func:`read_files` pays once.
    """
    return read_files([entry], options, report)


def read_files(
    entries: Sequence[FileEntry],
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
    *,
    taken: Container[str] = (),
    held: int = 0,
) -> Iterator[Document]:
    """Reads the documents of some files, in order. A file that cannot be read, or is empty, is counted in the report.

    Args:
        entries: files that :func:`lexite.corpus.files.list_files` found.
        options: as for :func:`read_documents`.
        report: likewise.
        taken: likewise.
        held: likewise.

    Raises:
        CorpusError: a record of a table is bad and bad records are not skipped, or an id occurs twice.
    """
    options, report = options or ReadOptions(), report or ReadReport()
    ids = IdSet()
    with _Reading(options, report, HINT, FieldTypes(options, report), Numbering(taken, ids, held)) as reading:
        for entry in entries:
            yield from _checked(reading, ids, reading.of_entry(entry, entry.id, one_of_many=True), keep_empty=False)


def read_parts(
    parts: Sequence[FilePart],
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
    *,
    numbers: bool = False,
) -> Iterator[Document]:
    """Reads the documents of a shard, in order, once, in bounded memory.

    Args:
        parts: of :func:`lexite.corpus.sharding.parts_of_shard`.
        options: as for :func:`read_documents`.
        report: likewise.
        numbers: whether records without an id get numbers. Where there are several shards no process knows the numbers that
            are free, so such a record is bad.

    Raises:
        CorpusError: a record is bad and bad records are not skipped, or an id occurs twice in the shard.
    """
    options, report = options or ReadOptions(), report or ReadReport()
    ids = IdSet()
    numbering = Numbering(used=ids) if numbers else NoNumbers()
    types = FieldTypes(options, report)
    with _Reading(options, report, HINT, types, numbering) as reading:
        for part in parts:
            yield from _checked(reading, ids, reading.of_part(part), keep_empty=False)
    types.finish()


def read_each(
    entries: Sequence[FileEntry],
    options: ReadOptions,
    report: ReadReport,
    taken: Callable[[FileEntry], Container[str]],
    field_types: Mapping[str, str] | None = None,
) -> Iterator[tuple[FileEntry, Iterator[Document]]]:
    """The documents of some files, file by file. Each file's must be gone through before the next file is asked for.

    Args:
        entries: files that :func:`lexite.corpus.files.list_files` found.
        options: as for :func:`read_documents`.
        report: filled with counts. A file that cannot be read, or is empty, is counted.
        taken: gives the ids that records without an id in a file do not get.
        field_types: types of the fields that an index has already.

    Raises:
        CorpusError: a record of a table is bad and bad records are not skipped, or an id occurs twice.
    """
    ids = IdSet()
    with _Reading(options, report, HINT, FieldTypes(options, report, field_types), Numbering()) as reading:
        for entry in entries:
            reading.numbering = Numbering(taken(entry), ids)
            yield entry, _checked(reading, ids, reading.of_entry(entry, entry.id, one_of_many=True), keep_empty=False)


def iterate_documents(
    sources: Sequence[Source],
    options: ReadOptions,
    report: ReadReport,
    hint: str = "",
    *,
    keep_empty: bool = False,
    types: FieldTypes | None = None,
    taken: Container[str] = (),
    held: int = 0,
) -> Iterator[Document]:
    """What :func:`read_documents` returns; ``keep_empty`` lets documents without any text pass."""
    ids = IdSet()
    types = types or FieldTypes(options, report)
    with _Reading(options, report, hint, types, Numbering(taken, ids, held)) as reading:
        for source in sources:
            yield from _checked(reading, ids, reading.of_source(source), keep_empty)
    types.finish()
    if not report.read:
        raise _nothing_read(sources, report)


class _Found(NamedTuple):
    """A document with its place: a file, or a source and the number of its record; and whether it is one of many files."""

    place: str | Source
    document: Document
    number: int = 0
    one_of_many: bool = False

    def where(self) -> str:
        """The place in words."""
        return self.place if isinstance(self.place, str) else self.place.at(self.number)


def _checked(reading: _Reading, ids: IdSet, found: Iterator[_Found], keep_empty: bool) -> Iterator[Document]:
    guard = reading.guard
    for each in found:
        document = each.document
        if not keep_empty and _is_empty(document):
            guard.bad(f"{each.where()}: the text is empty.", reason="empty", one_of_many=each.one_of_many)
        elif not ids.add(document.id):
            problem = f"the id {document.id!r} occurred before; every document needs its own."
            guard.bad(f"{each.where()}: {problem}", reason="id occurred before")
        else:
            guard.report.read += 1
            yield document


class _Reading:
    """What the sources of one reading share: settings, counts, types of fields, numbers for ids, the worker."""

    def __init__(self, options: ReadOptions, report: ReadReport, hint: str, types: FieldTypes, numbering: Numbering) -> None:
        self._options, self._types, self.numbering = options, types, numbering
        self.guard = Guard(options.skip_bad, report, hint)
        self._extractor = Extractor(options)

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *error: object) -> None:
        self._extractor.__exit__(*error)

    def of_source(self, source: Source) -> Iterator[_Found]:
        """The documents of one source."""
        if source.format == "builtin":
            yield from (_Found(f"{source.name}, {document.id}", document) for document in builtin_documents())
        elif source.format in ("folder", "glob"):
            for entry in files_of(source, self.guard):
                yield from self.of_entry(entry, source.name, one_of_many=True)
        elif source.format in ("text", "document"):
            yield from self.of_entry(file_of(source), source.name, one_of_many=False)
        else:
            yield from self._records(source)

    def of_entry(self, entry: FileEntry, where: str, one_of_many: bool) -> Iterator[_Found]:
        """The documents of one file; ``where`` is how notes about fields call what it belongs to."""
        try:
            entry.check()
            if entry.format is not None:
                yield from self._records(Source(shown(entry.path), entry.format, entry.path, one_of_many=one_of_many))
                return
            yield from self._document(entry, where, one_of_many)
        except BadFile as problem:
            self.guard.bad(str(problem), problem, reason=problem.reason, one_of_many=one_of_many)
        finally:
            forget(entry.path)

    def of_part(self, part: FilePart) -> Iterator[_Found]:
        """The documents of a file, or of a range of it."""
        if part.stop is None:
            yield from self.of_entry(part.entry, str(part.entry.path), part.entry.one_of_many)
        elif part.entry.format is not None:
            many, span = part.entry.one_of_many, (part.start, part.stop)
            source = Source(str(part), part.entry.format, part.entry.path, span=span, one_of_many=many)
            fetch_part(part)
            yield from self._records(source)
            forget(part.entry.path)

    def _document(self, entry: FileEntry, where: str, one_of_many: bool) -> Iterator[_Found]:
        kind, name = entry.kind, shown(entry.path)
        if kind is None or not kind.is_available():
            package = "" if kind is None else kind.needs
            raise MissingExtraError(package, "documents", f"Reading {name}")
        further = self._types.of_source(where)
        for found in self._extractor.read(entry.path, kind, name):
            place = f"{name}, message {found.part}" if found.part else name
            for note in found.notes:
                self.guard.report.note(f"{place}: {note}.")
            id = f"{entry.id}#{found.part}" if found.part else entry.id
            fields = self._fields_of_file(further, found, place)
            yield _Found(place, Document(id, found.text, found.title, fields=fields), 0, one_of_many)

    def _fields_of_file(self, further: SourceFields, found: Extracted, place: str) -> dict[str, FieldValue]:
        """The fields of a file; one that does not fit is left out and noted, for no file stops the others."""
        report = self.guard.report
        return further.read(found.fields, tell=lambda problem: report.note(f"{place}: {problem} It is left out here."))

    def _records(self, source: Source) -> Iterator[_Found]:
        fields = FieldReader(self._options)
        further = None if self._types.none else self._types.of_source(source.name)
        begun = False
        for number, record in read_rows(source, fields, self.guard, further):
            try:
                id, text, title = fields.read(record, self.numbering)
                if further is not None and not begun:
                    further.ignore(fields.names or ())
                    begun = True
                kept = further.read_row(record) if further is not None else {}
            except BadRecord as problem:
                self.guard.bad(f"{source.at(number)}: {problem}", reason="bad field")
                continue
            yield _Found(source, Document(id, text, title, fields=kept), number)
        fields.finish(source.name)


def _is_empty(document: Document) -> bool:
    return (not document.text or document.text.isspace()) and (not document.title or document.title.isspace())


def _nothing_read(sources: Sequence[Source], report: ReadReport) -> CorpusError:
    names = ", ".join(source.name for source in sources[:3]) + (" …" if len(sources) > 3 else "")
    if report.skipped == 1:
        return CorpusError(f"There is one record in {names}, and it is bad: {report.messages[0]}")
    if report.skipped:
        return CorpusError(f"All {report.skipped:,} records of {names} are bad. The first: {report.messages[0]}")
    return CorpusError(f"The corpus is empty: there is no document in {names}.")
