"""Reading CSV and TSV files: lines into rows, the header, the types of columns."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from lexite.corpus.fields import FieldReader, is_known
from lexite.corpus.options import DamagedSource, Guard
from lexite.corpus.sources import Source
from lexite.corpus.streams import DAMAGE, Lines, Stream, damaged, not_utf8, numbered_lines
from lexite.corpus.values import ROWS_LOOKED_AT, Cells, SourceFields
from lexite.errors import CorpusError

# Longer than any document: reaching it means a quote that was never closed, and ends the search for its end.
LONGEST_FIELD = 1 << 27
_ENDS: tuple[type[Exception], ...] = (*DAMAGE, DamagedSource)
_DIGITS = re.compile(r"[0-9]+")


class _Line(NamedTuple):
    """One row of the file, or what is wrong with it."""

    number: int
    cells: list[str]
    problem: str = ""
    cause: UnicodeDecodeError | None = None


class _TableLines:
    """Counted lines for the csv module, which joins those of a quoted field; one that does not decode is remembered."""

    def __init__(self, source: Source, file: IO[bytes]) -> None:
        self._source, self._file = source, file
        self.number = 0
        self.problem: UnicodeDecodeError | None = None

    def __iter__(self) -> Iterator[str]:
        for number, line in numbered_lines(self._file, self._source.at):
            self.number = number
            try:
                yield line.decode()
            except UnicodeDecodeError as problem:
                self.problem = problem
                yield line.decode(errors="replace")  # the row it belongs to is bad


def read_table(
    source: Source, stream: Stream, fields: FieldReader, guard: Guard, further: SourceFields | None, rest: Lines | None = None
) -> Iterator[tuple[int, Cells]]:
    """The records of a table with the numbers of the lines at which they begin.

    Args:
        source: the table.
        stream: the table from its first line.
        fields: told the header.
        guard: told about bad records.
        further: told the columns; None where only id, text and title are wanted.
        rest: lines out of its middle, whose records are the only ones wanted; None: all are.

    Raises:
        CorpusError: the header lacks a chosen column, has none for the text or one name twice, or it cannot be told
            whether there is a header.
        DamagedSource: the header or the file cannot be read.
    """
    lines = _TableLines(source, stream.file)
    try:
        rows = _numbered(source, lines, stream.head)
        first = next(rows, None)
        if first is None:
            return
        if first.problem:
            raise DamagedSource(f"{source.at(lines.number)}: the header cannot be read ({first.problem})")
        ahead, damage = _looked_ahead(rows) if further is not None or source.format == "tsv" else ([], None)
        header = _header(source, first, ahead, fields)
        has_names = header is not None
        if header is None:
            header, ahead = _names_of_columns(len(first.cells)), [first, *ahead]
        _check_names(header, source.at(first.number))
        names = fields.choose_columns(header, source.at(first.number))
        if further is not None:
            further.ignore(names)
            further.infer(header, [line.cells for line in ahead])
        if rest is not None:
            lines, ahead, damage = _TableLines(source, rest.file), [], None
            rows = itertools.islice(_numbered(source, lines, b""), 1 if rest.begins and has_names else 0, None)
        if damage and not ahead:
            raise damage
        for line in itertools.chain(ahead, rows):
            if line.problem:
                guard.bad(f"{source.at(line.number)}: {line.problem}", line.cause, reason="malformed record")
            elif len(line.cells) == len(header):
                yield line.number, Cells(zip(header, line.cells, strict=True))
            else:
                problem = f"the record has {len(line.cells)} fields, but the header has {len(header)}."
                guard.bad(f"{source.at(line.number)}: {problem}", reason="malformed record")
            if damage is not None and line is ahead[-1]:
                raise damage
    except DAMAGE as error:
        raise damaged(source.name, lines.number, error) from error


def _looked_ahead(rows: Iterator[_Line]) -> tuple[list[_Line], Exception | None]:
    """The first rows behind the header, and what ended them early."""
    ahead: list[_Line] = []
    try:
        ahead.extend(itertools.islice(rows, ROWS_LOOKED_AT))
    except _ENDS as error:
        return ahead, error
    return ahead, None


def _numbered(source: Source, lines: _TableLines, head: bytes) -> Iterator[_Line]:
    """The rows of a table that are not blank, with the numbers of the lines at which they begin."""
    start = 1
    for row in _split(source, lines, head):
        number, start = start, lines.number + 1
        if lines.problem:
            yield _Line(number, [], not_utf8(lines.problem), lines.problem)
            lines.problem = None
        elif isinstance(row, csv.Error):
            yield _Line(number, [], _table_problem(row))
        elif row:
            yield _Line(number, row)


def _table_problem(problem: csv.Error) -> str:
    reason = str(problem)
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


def _header(source: Source, first: _Line, ahead: Sequence[_Line], fields: FieldReader) -> list[str] | None:
    """The names in the first row of a table, or None where that row is a record already.

    A CSV file has a header, unless ``--header no`` says otherwise. A TSV file of two columns may have none: MS MARCO's
    begin with a number, and other ids look like those below them. The word ``text`` alone makes no header.
    """
    header = [name.strip() for name in first.cells]
    if fields.header == "no":
        return None
    if fields.header == "yes" or source.format != "tsv":
        return header
    if len(header) == 2 and header[0].isdecimal():
        return None
    others = [name for name in header if not is_known(name) and not fields.is_chosen(name)]
    if not fields.has_text(header) or fields.chooses_text or len(others) < len(header) - 1 or not ahead:
        return header
    evidence = {_looks(header, position, ahead) for position, name in enumerate(header) if name in others}
    if "record" in evidence:
        if len(header) == 2:
            return None
        raise CorpusError(
            f"{source.at(first.number)}: this looks like a record, not like the names of {len(header)} columns. Add a line "
            "with names, or say --header yes, or --header no with the number of the column of the text (--text-field 2)."
        )
    if "header" in evidence or len(header) == 1:
        return header
    raise CorpusError(
        f"{source.at(first.number)}: are {first.cells[0][:40]!r} and {first.cells[1][:40]!r} names of columns, or a record? "
        "Say --header yes, or --header no."
    )


def _looks(header: Sequence[str], position: int, ahead: Sequence[_Line]) -> str:
    """Whether a cell of the first row looks like those below it (``record``), like their name (``header``), or like either."""
    cell = header[position]
    below = [line.cells[position].strip() for line in ahead if len(line.cells) == len(header)]
    if not below:
        return "header"
    shapes = Counter(_DIGITS.sub("0", other) for other in below)
    if _DIGITS.search(cell):
        return "record" if 2 * shapes[_DIGITS.sub("0", cell)] >= len(below) else "either"
    numbers = sum(bool(_DIGITS.search(other)) for other in below)
    if 2 * numbers > len(below):
        return "header"  # a word over numbers or codes
    if len(set(below)) < len(below) and cell not in below:
        return "header"  # a word over a few labels, of which it is none
    return "record" if cell in below else "either"


def _names_of_columns(n_columns: int) -> list[str]:
    """The names of columns without a header: ids and texts, texts alone, or numbers."""
    return {1: ["text"], 2: ["id", "text"]}.get(n_columns) or [str(number) for number in range(1, n_columns + 1)]


def _check_names(header: Sequence[str], where: str) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        listed = ", ".join(f"{name!r}" for name in twice[:8])
        raise CorpusError(f"{where}: there is more than one column called {listed}. Give each column a name of its own.")
