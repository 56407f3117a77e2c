"""Reading queries from one source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lexite.corpus.duplicates import IdSet
from lexite.corpus.fields import QUERY_FIELDS, FieldReader
from lexite.corpus.numbering import Numbering
from lexite.corpus.options import BadRecord, Guard, ReadOptions, ReadReport
from lexite.corpus.records import Query
from lexite.corpus.rows import read_rows
from lexite.corpus.sources import Source, find_source
from lexite.errors import CorpusError


def read_queries(source: str | Path, options: ReadOptions | None = None, report: ReadReport | None = None) -> Iterator[Query]:
    """Reads queries, in order.

    Args:
        source: a BEIR folder (its ``queries.jsonl``), a ``.jsonl``, ``.csv``, ``.tsv``, ``.parquet`` or ``.txt`` file (also
            ``.gz``, ``.xz``, ``.zst``), or ``-`` for standard input. Plain text holds one query per line, numbered from 1.
        options: field names, and whether bad records are skipped. ``title_field`` does not matter.
        report: filled with counts while the iterator runs.

    Returns:
        An iterator. That the source exists is checked before it is returned.

    Raises:
        CorpusError: the source does not exist or cannot be read, a record is bad, an id occurs twice, or there is no query.
    """
    found = find_source(source, member="queries")
    if found.format == "text":
        found = replace(found, format="lines")
    elif found.format in ("folder", "glob", "builtin", "document"):
        raise CorpusError(f"{found.name} holds no queries. Name a file of queries, or a BEIR folder with queries.jsonl.")
    return _queries(found, options or ReadOptions(), report or ReadReport())


def _queries(source: Source, options: ReadOptions, report: ReadReport) -> Iterator[Query]:
    guard, ids, numbering = Guard(options.skip_bad, report), IdSet(), Numbering()
    fields = FieldReader(options, QUERY_FIELDS)
    for number, record in read_rows(source, fields, guard):
        try:
            id, text, _ = fields.read(record, numbering)
            if not text or text.isspace():
                raise BadRecord("the query is empty.")
            if not ids.add(id):
                raise BadRecord(f"the query id {id!r} occurred before; every query needs its own.")
        except BadRecord as problem:
            guard.bad(f"{source.at(number)}: {problem}")
            continue
        report.read += 1
        yield Query(id, text)
    if not report.read:
        reason = f": all {report.skipped:,} records are bad. The first: {report.messages[0]}" if report.skipped else "."
        raise CorpusError(f"{source.name} holds no queries{reason}")
