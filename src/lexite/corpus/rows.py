"""Reading the records of one file as a stream: JSON lines, CSV and TSV, Parquet, plain lines.

Each reader yields ``(number, record)``, where ``number`` is the line (in Parquet: the row) at which the record begins, from 1.
A bad record goes to the guard; what ends the whole source is raised as :class:`DamagedSource` and handled in one place.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import IO

from lexite.corpus.fields import FieldReader
from lexite.corpus.json_values import is_spread_out, read_values
from lexite.corpus.numbering import Numbering
from lexite.corpus.options import BadRecord, DamagedSource, Guard, ReadReport
from lexite.corpus.sources import Source
from lexite.corpus.streams import DAMAGE, Stream, damaged, not_utf8, numbered_lines, open_lines, open_stream
from lexite.corpus.values import SourceFields

RECORDS_LOOKED_AT = 1000
"""Records at the beginning of a file that settle names and types of fields for a range of it."""
Row = tuple[int, Mapping[str, object]]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOUNS = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
_HALF = "the text holds half of a surrogate pair (\\ud800 to \\udfff)."


def read_rows(source: Source, fields: FieldReader, guard: Guard, further: SourceFields | None = None) -> Iterator[Row]:
    """The records of a file or pipe, in order, in bounded memory.

    Args:
        source: of a format of records.
        fields: told the header of tables, so that a missing column is found before the first record.
        guard: told about bad records.
        further: told the columns of tables; None where only id, text and title are wanted.
    """
    begun = False
    try:
        for row in _rows(source, fields, guard, further):
            begun = True
            yield row
    except DamagedSource as problem:
        guard.bad(str(problem), problem, reason="unreadable", one_of_many=source.one_of_many and not begun)


def _rows(source: Source, fields: FieldReader, guard: Guard, further: SourceFields | None) -> Iterator[Row]:
    if source.format == "parquet":
        from lexite.corpus.parquet import read_parquet

        yield from read_parquet(source, fields, further)
        return
    if source.format == "ir_datasets":
        from lexite.corpus.ir_datasets import read_dataset

        yield from read_dataset(source, fields)
        return
    if source.span is not None:
        yield from _rows_of_span(source, source.span, fields, guard, further)
        return
    with open_stream(source.path, source.name) as stream:
        if source.format in ("csv", "tsv"):
            from lexite.corpus.tables import read_table

            yield from read_table(source, stream, fields, guard, further)
        elif source.format != "lines" and is_spread_out(stream.head):
            yield from _read_spread_out(source, stream, guard)
        elif source.format == "jsonl" or (source.format == "pipe" and stream.head.lstrip()[:1] == b"{"):
            yield from _read_jsonl(source, stream, guard)
        else:
            yield from _read_lines(source, stream, fields, guard)


def _rows_of_span(
    source: Source, span: tuple[int, int], fields: FieldReader, guard: Guard, further: SourceFields | None
) -> Iterator[Row]:
    """The records that begin in a range of a file; those at the beginning of the file settle names and types."""
    assert source.path is not None
    with open_lines(source.path, source.name, span) as lines:
        if source.format == "tsv":
            from lexite.corpus.tables import read_table

            with open_stream(source.path, source.name) as stream:
                yield from read_table(source, stream, fields, guard, further, lines)
            return
        _settle(source, fields, further)
        yield from _read_jsonl(source, Stream(lines.file, b""), guard)


def _settle(source: Source, fields: FieldReader, further: SourceFields | None) -> None:
    """Lets the first records of a file settle the names and types of its fields; those that are bad are passed over."""
    silent = Guard(True, ReadReport())
    with contextlib.suppress(DamagedSource), open_stream(source.path, source.name) as stream:
        for _, record in islice(_read_jsonl(source, stream, silent), RECORDS_LOOKED_AT):
            with contextlib.suppress(BadRecord):
                fields.read(record, Numbering())
                if further is not None:
                    further.ignore(fields.names or ())
                    further.read(record)


def decoded_lines(source: Source, file: IO[bytes], guard: Guard) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, without line ends; undecodable lines go to the guard."""
    number = 0
    try:
        for number, line in numbered_lines(file, source.at):
            try:
                yield number, line.decode().rstrip("\r\n")
            except UnicodeDecodeError as problem:
                guard.bad(f"{source.at(number)}: {not_utf8(problem)}", problem, reason="not UTF-8")
    except DAMAGE as error:
        raise damaged(source.name, number, error) from error


def _read_jsonl(source: Source, stream: Stream, guard: Guard) -> Iterator[Row]:
    loads, surrogate = json.loads, _SURROGATE.search
    number = 0
    try:
        for number, line in numbered_lines(stream.file, source.at):
            try:
                record = loads(line.decode())
            except (ValueError, RecursionError) as problem:
                if not line.isspace():
                    guard.bad(f"{source.at(number)}: {_json_problem(problem)}", problem, reason="malformed record")
                continue
            if type(record) is not dict:
                fault = f"the line holds {_NOUNS[type(record)]}, but must hold a JSON object."
                guard.bad(f"{source.at(number)}: {fault}", reason="malformed record")
            elif surrogate(line) and not _is_text(record):
                guard.bad(f"{source.at(number)}: {_HALF}", reason="malformed record")
            else:
                yield number, record
    except DAMAGE as error:
        raise damaged(source.name, number, error) from error


def _read_spread_out(source: Source, stream: Stream, guard: Guard) -> Iterator[Row]:
    for number, value in read_values(source, stream):
        if type(value) is not dict:
            problem = f"there is {_NOUNS[type(value)]}, where a JSON object must be."
            guard.bad(f"{source.at(number)}: {problem}", reason="malformed record")
        elif not _is_text(value):
            guard.bad(f"{source.at(number)}: {_HALF}", reason="malformed record")
        else:
            yield number, value


def _json_problem(problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return not_utf8(problem)
    if isinstance(problem, json.JSONDecodeError):
        return f"not valid JSON ({problem.msg}, column {problem.colno})."
    return f"not usable JSON ({'nested too deeply' if isinstance(problem, RecursionError) else problem})."


def _is_text(record: object) -> bool:
    """Whether all texts in a value of JSON can be written as UTF-8."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_lines(source: Source, stream: Stream, fields: FieldReader, guard: Guard) -> Iterator[Row]:
    fields.choose_plain_text()
    for number, line in decoded_lines(source, stream.file, guard):
        text = line.strip()
        if text:
            yield number, {"text": text}
