"""Reading preferences: queries with documents that should rank higher, and others that should rank lower."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lexite.corpus.fields import QUERY_FIELDS, FieldReader, noun_of
from lexite.corpus.options import BadRecord, Guard, ReadOptions, ReadReport
from lexite.corpus.rows import read_rows
from lexite.corpus.sources import Source, find_source
from lexite.errors import CorpusError

FORM = '{"query": "the sea at night", "preferred": "d1", "rejected": ["d2", "d3"]}'


class Preference(NamedTuple):
    """What is preferred for a query.

    Attributes:
        query: its text.
        preferred: ids of documents.
        rejected: ids of documents that each of the preferred ones should rank above.
    """

    query: str
    preferred: tuple[str, ...]
    rejected: tuple[str, ...]


def read_preferences(
    source: str | Path,
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
    known: Container[str] | None = None,
) -> Iterator[Preference]:
    """Reads preferences, in order.

    Args:
        source: a file of JSON objects with a ``query`` and the ids ``preferred`` and ``rejected``, one id or a list: one object
            a line, or an array of them, or spread over lines; also ``.gz``, ``.bz2``, ``.xz``, ``.zst``, and ``-`` for standard
            input. Other fields are passed over.
        options: whether bad records are skipped; nothing else of it matters.
        report: filled with counts while the iterator runs.
        known: ids that there are; None takes all.

    Returns:
        An iterator. That the source exists is checked before it is returned.

    Raises:
        CorpusError: the source does not exist or cannot be read, or holds something else; a record is bad, or there is none.
    """
    found = find_source(source, member="preferences")
    if found.format not in ("jsonl", "pipe"):
        raise CorpusError(f"{found.name} holds no preferences. Name a file of JSON lines (.jsonl), each like {FORM}.")
    return _preferences(replace(found, format="jsonl"), options or ReadOptions(), report or ReadReport(), known)


def _preferences(
    source: Source, options: ReadOptions, report: ReadReport, known: Container[str] | None
) -> Iterator[Preference]:
    guard = Guard(options.skip_bad, report, "" if options.skip_bad else "--skip-bad leaves bad records out and goes on.")
    for number, record in read_rows(source, FieldReader(options, QUERY_FIELDS), guard):
        try:
            preference = _preference(record, known)
        except BadRecord as problem:
            guard.bad(f"{source.at(number)}: {problem}", reason="bad field")
            continue
        report.read += 1
        yield preference
    if not report.read:
        reason = f": all {report.skipped:,} records are bad. The first: {report.messages[0]}" if report.skipped else "."
        raise CorpusError(f"{source.name} holds no preferences{reason}")


def _preference(record: Mapping[str, object], known: Container[str] | None) -> Preference:
    query = _value(record, "query")
    if type(query) is not str:
        raise BadRecord(f"the field 'query' is {noun_of(query)}, but must be text.")
    if not query or query.isspace():
        raise BadRecord("the field 'query' is empty.")
    preferred, rejected = (_ids(record, name, known) for name in ("preferred", "rejected"))
    both = next((identifier for identifier in preferred if identifier in rejected), None)
    if both is not None:
        raise BadRecord(f"the document {both!r} is both in 'preferred' and in 'rejected'.")
    return Preference(query, preferred, rejected)


def _ids(record: Mapping[str, object], name: str, known: Container[str] | None) -> tuple[str, ...]:
    """The ids in a field, each once: one, or a list."""
    given = _value(record, name)
    listed = given if type(given) is list else [given]
    if not listed:
        raise BadRecord(f"the field {name!r} is an empty list.")
    ids = [str(each) if type(each) is int else each for each in listed]
    for each in ids:
        if type(each) is not str:
            raise BadRecord(f"the field {name!r} holds {noun_of(each)}, but must be the id of a document, or a list of ids.")
        if not each:
            raise BadRecord(f"the field {name!r} holds an empty id.")
        if known is not None and each not in known:
            raise BadRecord(f"the field {name!r} names the document {each!r}, which the index does not have.")
    return tuple(dict.fromkeys(map(str, ids)))


def _value(record: Mapping[str, object], name: str) -> object:
    if name not in record:
        there = ", ".join(repr(key)[:60] for key in list(record)[:8]) or "no field at all"
        raise BadRecord(f"the field {name!r} is missing; there is {there}.")
    return record[name]
