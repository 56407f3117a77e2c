"""Reading the records of one file as a stream: JSON lines, CSV and TSV, Parquet, plain lines.

Each reader yields ``(number, fields)``, where ``number`` is the line (in Parquet: the row) at which the record begins, from 1.
A bad record goes to the guard; what ends the whole source is raised as :class:`DamagedSource` and handled in one place.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from lexite.corpus.fields import FieldReader
from lexite.corpus.options import DamagedSource, Guard
from lexite.corpus.sources import Source
from lexite.corpus.streams import DAMAGE, Stream, damaged, open_stream

Row = tuple[int, Mapping[str, object]]

# Longer than any document: reaching it means a quote that was never closed, and ends the search for its end.
LONGEST_FIELD = 1 << 27
_JSON_ARRAY = re.compile(rb"\s*\[\s*(\{|\Z)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOUNS = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


def read_rows(source: Source, fields: FieldReader, guard: Guard) -> Iterator[Row]:
    """The records of a file or pipe, in order, in bounded memory.

    Args:
        source: of any format but ``folder``, ``text`` and ``builtin``.
        fields: told the header of tables, so that a missing column is found before the first record.
        guard: told about bad records.
    """
    try:
        if source.format == "parquet":
            from lexite.corpus.parquet import read_parquet

            yield from read_parquet(source, fields)
        else:
            with open_stream(source.path, source.name) as stream:
                yield from _reader(source, stream)(source, stream, fields, guard)
    except DamagedSource as problem:
        guard.bad(str(problem), problem)


def decoded_lines(source: Source, file: IO[bytes], guard: Guard) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, without line ends; undecodable lines go to the guard."""
    number = 0
    try:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode().rstrip("\r\n")
            except UnicodeDecodeError as problem:
                guard.bad(f"{source.at(number)}: {not_utf8(problem)}", problem)
    except DAMAGE as error:
        raise damaged(source.name, number, error) from error


def not_utf8(problem: UnicodeDecodeError) -> str:
    """The sentence about bytes that are not UTF-8."""
    return f"not valid UTF-8 (byte 0x{problem.object[problem.start]:02x}). Save the file as UTF-8."


def _reader(source: Source, stream: Stream) -> Callable[[Source, Stream, FieldReader, Guard], Iterator[Row]]:
    if source.format in ("csv", "tsv"):
        return _read_table
    if source.format == "lines":
        return _read_lines
    looks_like_json = stream.head.lstrip()[:1] == b"{" or _JSON_ARRAY.match(stream.head)
    return _read_jsonl if source.format == "jsonl" or looks_like_json else _read_lines


def _read_jsonl(source: Source, stream: Stream, fields: FieldReader, guard: Guard) -> Iterator[Row]:
    if _JSON_ARRAY.match(stream.head):
        raise DamagedSource(f"{source.name}: this is a JSON array, not one object per line. Convert it: jq -c '.[]'.")
    loads, surrogate = json.loads, _SURROGATE.search
    number = 0
    try:
        for number, line in enumerate(stream.file, 1):
            try:
                record = loads(line.decode())
            except (ValueError, RecursionError) as problem:
                if not line.isspace():
                    guard.bad(f"{source.at(number)}: {_json_problem(problem)}", problem)
                continue
            if type(record) is not dict:
                guard.bad(f"{source.at(number)}: the line holds {_NOUNS[type(record)]}, but must hold a JSON object.")
            elif surrogate(line) and not _is_text(record):
                guard.bad(f"{source.at(number)}: the text holds half of a surrogate pair (\\ud800 to \\udfff).")
            else:
                yield number, record
    except DAMAGE as error:
        raise damaged(source.name, number, error) from error


def _json_problem(problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return not_utf8(problem)
    if isinstance(problem, json.JSONDecodeError):
        return f"not valid JSON ({problem.msg}, column {problem.colno})."
    return f"not usable JSON ({'nested too deeply' if isinstance(problem, RecursionError) else problem})."


def _is_text(record: Mapping[str, object]) -> bool:
    try:
        for value in record.values():
            if isinstance(value, str):
                value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_lines(source: Source, stream: Stream, fields: FieldReader, guard: Guard) -> Iterator[Row]:
    fields.choose_plain_text()
    for number, line in decoded_lines(source, stream.file, guard):
        text = line.strip()
        if text:
            yield number, {"text": text}


class _TableLines:
    """Counted lines for the csv module, which joins those of a quoted field; one that does not decode is remembered."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0
        self.problem: UnicodeDecodeError | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            try:
                yield line.decode()
            except UnicodeDecodeError as problem:
                self.problem = problem
                yield line.decode(errors="replace")


def _read_table(source: Source, stream: Stream, fields: FieldReader, guard: Guard) -> Iterator[Row]:
    lines = _TableLines(stream.file)
    try:
        rows = _split(source, lines, stream.head)
        first = next((row for row in rows if row), None)
        if first is None:
            return
        if isinstance(first, csv.Error) or lines.problem:
            raise DamagedSource(f"{source.at(lines.number)}: the header cannot be read ({_table_problem(first, lines)}).")
        header = [name.strip() for name in first]
        start = lines.number + 1
        if source.format == "tsv" and len(first) == 2 and header[0].isdecimal():  # MS MARCO's form: id and text, no header
            header, start, rows = ["id", "text"], lines.number, itertools.chain([first], rows)
        fields.choose_columns(header, source.at(lines.number))
        for row in rows:
            number, start = start, lines.number + 1
            if isinstance(row, csv.Error) or lines.problem:
                guard.bad(f"{source.at(number)}: {_table_problem(row, lines)}", lines.problem)
                lines.problem = None
            elif len(row) == len(header):
                yield number, dict(zip(header, row, strict=True))
            elif row:
                guard.bad(f"{source.at(number)}: the record has {len(row)} fields, but the header has {len(header)}.")
    except DAMAGE as error:
        raise damaged(source.name, lines.number, error) from error


def _table_problem(row: list[str] | csv.Error, lines: _TableLines) -> str:
    if lines.problem:
        return not_utf8(lines.problem)
    reason = str(row)
    if "unexpected end of data" in reason or "field limit" in reason:
        return "a quoted field is never closed."
    return f"not valid CSV ({reason})."


def _split(source: Source, lines: _TableLines, head: bytes) -> Iterator[list[str] | csv.Error]:
    """Rows of a table. Where a row cannot be parsed, its error stands in its place, and reading goes on behind it."""
    if source.format == "tsv":  # as IANA registered it: a quote is an ordinary character, and a record is a line
        return (text.split("\t") if (text := line.rstrip("\r\n")) else [] for line in lines)
    return _split_csv(lines, head)


def _split_csv(lines: _TableLines, head: bytes) -> Iterator[list[str] | csv.Error]:
    header = head.split(b"\n", 1)[0]
    delimiter = ";" if b";" in header and b"," not in header else ","
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))  # never lowered: the limit belongs to the whole process
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield problem
