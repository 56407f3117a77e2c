"""Reading documents from any number of sources, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from lexite.corpus.builtin import builtin_documents
from lexite.corpus.duplicates import IdSet
from lexite.corpus.fields import FieldReader
from lexite.corpus.options import BadRecord, Guard, ReadOptions, ReadReport
from lexite.corpus.records import Document
from lexite.corpus.rows import read_rows
from lexite.corpus.sources import Source, find_source
from lexite.corpus.text_files import read_folder, read_text_file
from lexite.errors import CorpusError

HINT = "--skip-bad leaves bad records out and goes on."


def read_documents(
    sources: Sequence[str | Path] | str | Path,
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
) -> Iterator[Document]:
    r"""Reads documents from sources, in order, once, in bounded memory.

    Args:
        sources: each a BEIR folder, a ``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``, ``.txt`` or ``.md`` file (also ``.gz``,
            ``.xz``, ``.zst``), a folder of text files, ``-`` for standard input, or ``builtin:python``.
        options: field names, and whether bad records are skipped. Default: :class:`ReadOptions`.
        report: filled with counts while the iterator runs.

    Returns:
        An iterator. That all sources exist is checked before it is returned; records are checked as they are read.

    Raises:
        CorpusError: a source does not exist or cannot be read, a record is bad, an id occurs twice, or there is no document.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pets.jsonl"
    >>> _ = path.write_text('{"_id": "d1", "title": "Dog", "text": "It barks."}\n')
    >>> [document.full_text for document in read_documents([path])]
    ['Dog It barks.']
    """
    names = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not names:
        raise CorpusError("No source of documents was named.")
    found = [find_source(name) for name in names]
    if sum(source.format == "pipe" and source.path is None for source in found) > 1:
        raise CorpusError("Standard input ('-') was named twice, but can be read only once.")
    return iterate_documents(found, options or ReadOptions(), report or ReadReport(), HINT)


def iterate_documents(
    sources: Sequence[Source], options: ReadOptions, report: ReadReport, hint: str = "", *, keep_empty: bool = False
) -> Iterator[Document]:
    """What :func:`read_documents` returns; ``keep_empty`` lets documents without any text pass."""
    guard, ids, numbers = Guard(options.skip_bad, report, hint), IdSet(), itertools.count(1)
    for source in sources:
        for place, document in _documents_of(source, options, guard, numbers):
            problem = None
            if not keep_empty and _is_empty(document):
                problem = "the text is empty."
            elif not ids.add(document.id):
                problem = f"the id {document.id!r} occurred before; every document needs its own."
            if problem:
                guard.bad(f"{place if isinstance(place, str) else source.at(place)}: {problem}")
                continue
            report.read += 1
            yield document
    if not report.read:
        raise _nothing_read(sources, report)


def _documents_of(
    source: Source, options: ReadOptions, guard: Guard, numbers: Iterator[int]
) -> Iterator[tuple[str | int, Document]]:
    """The documents of one source, each with its place: the number of its line, or the words for a message."""
    if source.format == "builtin":
        yield from ((f"{source.name}, {document.id}", document) for document in builtin_documents())
    elif source.format == "folder" and source.path:
        yield from read_folder(source.path, guard)
    elif source.format == "text" and source.path:
        document = read_text_file(source.path, source.path.name, guard)
        if document:
            yield source.name, document
    else:
        yield from _records_of(source, options, guard, numbers)


def _records_of(source: Source, options: ReadOptions, guard: Guard, numbers: Iterator[int]) -> Iterator[tuple[int, Document]]:
    fields = FieldReader(options)
    read = fields.read
    for number, record in read_rows(source, fields, guard):
        try:
            id, text, title = read(record, next(numbers))
        except BadRecord as problem:
            guard.bad(f"{source.at(number)}: {problem}")
            continue
        yield number, Document(id, text, title)
    fields.finish(source.name)


def _is_empty(document: Document) -> bool:
    return (not document.text or document.text.isspace()) and (not document.title or document.title.isspace())


def _nothing_read(sources: Sequence[Source], report: ReadReport) -> CorpusError:
    names = ", ".join(source.name for source in sources[:3]) + (" …" if len(sources) > 3 else "")
    if report.skipped:
        return CorpusError(f"All {report.skipped:,} records of {names} are bad. The first: {report.messages[0]}")
    return CorpusError(f"The corpus is empty: there is no document in {names}.")
