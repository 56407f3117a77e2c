r"""Tables in texts, found and read into rows and cells; ``table_rows`` writes them as passages.

A table is found in these forms, wherever it stands in a text:

- lines with bars (``a | b``), with Markdown's divider under the head or without, as the readers of HTML, DOCX, PPTX and
  reStructuredText write tables too;
- lines with tabs, and lines of CSV whose numbers of cells agree;
- ``<table>`` of HTML;
- all of it in one line, with bars between cells and a lone full stop between rows (``2019 | 2018 . Rent | 5 | 4``), as programs
  write that flatten pages.
"""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_BAR = re.compile(r"(?<!\\)\|")
_LINE = re.compile(r"[^\n]+")
_OF_DIVIDERS = frozenset("|-: \t")
_HTML_TABLE = re.compile(r"<table\b[^<>]*>(.*?)</table\s*>", re.IGNORECASE | re.DOTALL)
_HTML_ROW = re.compile(r"<tr\b[^<>]*>(.*?)(?=</tr\s*>|<tr\b|\Z)", re.IGNORECASE | re.DOTALL)
_HTML_CELL = re.compile(r"<(t[dh])\b([^<>]*)>(.*?)(?=</t[dh]\s*>|<t[dh]\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_FLAT_END = re.compile(r"\s\.\s|\n")
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=\S)")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NUMBER = re.compile(r"[-+−–(\s]*[^\w\s]?\s*(?:[A-Za-z]{1,3}\$)?\s*[\d.,]*\d[\d.,]*\s*[%)\w]{0,3}[\s)%]*")
_NOTHING = frozenset(("-", "—", "–", "n/a", "nm", "$—", "$ —", "$-", "$ -", "— %", "—%"))
_LONGEST_NUMBER = 40  # characters of a cell that is one
_LEAST_CSV_ROWS = 3  # fewer lines with commas are prose
_LONGEST_HEAD = 200  # characters of a head that stands alone in its row


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        start: where it begins in the text, in characters.
        end: where it ends.
        cells: what its cells say.
    """

    start: int
    end: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table in a text.

    Attributes:
        rows: all of them, heads included; one at least.
        n_heads: how many of the first rows hold heads of columns.
    """

    rows: tuple[Row, ...]
    n_heads: int

    @property
    def start(self) -> int:
        """Where it begins in the text, in characters."""
        return self.rows[0].start

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.rows[-1].end

    @property
    def body(self) -> tuple[Row, ...]:
        """The rows that are no heads."""
        return self.rows[self.n_heads :]


def tables_in(text: str) -> list[Table]:
    r"""The tables of a text, in order.

    >>> [table.rows[1].cells for table in tables_in("Costs:\n\n| | 2019 |\n|---|---|\n| Rent | 5 |\n")]
    [('Rent', '5')]
    >>> flat = tables_in("The costs were: 2019 | 2018 . Rent | 5 | 4 . Heat | 3 | 3")[0]
    >>> flat.n_heads, [row.cells for row in flat.rows]
    (1, [('2019', '2018'), ('Rent', '5', '4'), ('Heat', '3', '3')])
    """
    if not any(sign in text for sign in "|\t,<"):
        return []
    found = list(_html_tables(text))
    for start, end in _outside(text, found):
        found.extend(_tables_of_lines(text, start, end))
    return sorted(found, key=lambda table: table.start)


def _outside(text: str, tables: Sequence[Table]) -> list[tuple[int, int]]:
    bounds = [0, *(place for table in tables for place in (table.start, table.end)), len(text)]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _html_tables(text: str) -> Iterator[Table]:
    """What stands between ``<table>`` and ``</table>``; of tables within tables, the rows of the inner ones are no rows."""
    if "</t" not in text and "</T" not in text:
        return
    for found in _HTML_TABLE.finditer(text):
        rows: list[Row] = []
        n_heads = 0
        for row in _HTML_ROW.finditer(text, found.start(1), found.end(1)):
            cells = list(_HTML_CELL.finditer(text, row.start(1), row.end(1)))
            values = tuple(_clean(html.unescape(_TAG.sub(" ", cell[3]))) for cell in cells)
            if not any(values):
                continue
            if len(rows) == n_heads and all(cell[1].lower() == "th" for cell in cells):
                n_heads += 1
            rows.append(Row(row.start(), row.end(), values))
        if len(rows) > 1:
            yield Table(tuple(rows), min(n_heads, len(rows) - 1) or _count_heads(rows))


def _tables_of_lines(text: str, start: int, end: int) -> Iterator[Table]:
    """Tables whose rows are lines, and those that are flattened into one."""
    block: list[tuple[int, int]] = []
    form = ""
    for line in [*(match.span() for match in _LINE.finditer(text, start, end)), (end, end)]:
        own = _form_of_line(text[line[0] : line[1]])
        joins = bool(block) and own == form and not text[block[-1][1] : line[0]].strip("\n") and line[0] - block[-1][1] <= 1
        if not joins:
            yield from _block(text, block, form)
            block = []
        if own:
            block.append(line)
        form = own


def _form_of_line(line: str) -> str:
    if "|" in line:
        return "bars"
    if "\t" in line.strip():
        return "tabs"
    return "commas" if "," in line else ""


def _block(text: str, lines: Sequence[tuple[int, int]], form: str) -> Iterator[Table]:
    """The tables of consecutive lines of one form."""
    if not lines:
        return
    if form == "bars":
        flat = [line for line in lines if _FLAT_END.search(text, *line)]
        for line in flat:
            yield from _flat_tables(text, *line)
        if not flat:
            yield from _bar_table(text, lines)
    elif form == "tabs" and len(lines) > 1:
        rows = [Row(start, end, tuple(map(_clean, text[start:end].split("\t")))) for start, end in lines]
        yield Table(tuple(rows), _count_heads(rows))
    elif form == "commas" and len(lines) >= _LEAST_CSV_ROWS:
        cells = list(csv.reader(text[start:end] for start, end in lines))
        if len(cells) == len(lines) and len(set(map(len, cells))) == 1 and _holds_values(cells[1:]):
            rows = [Row(start, end, tuple(map(_clean, row))) for (start, end), row in zip(lines, cells, strict=True)]
            yield Table(tuple(rows), _count_heads(rows))


def _holds_values(rows: Sequence[Sequence[str]]) -> bool:
    """Whether most rows have a number beside something else: lines of prose have commas too."""
    return 2 * sum(any(map(is_value, row)) and len(row) > 1 for row in rows) > len(rows)


def _bar_table(text: str, lines: Sequence[tuple[int, int]]) -> Iterator[Table]:
    rows: list[Row] = []
    n_heads = 0
    edged = all(text[start:end].lstrip().startswith("|") for start, end in lines)  # else a bar in front follows an empty cell
    for start, end in lines:
        line = text[start:end].strip()
        if "-" in line and _OF_DIVIDERS.issuperset(line):
            n_heads = n_heads or len(rows)
            continue
        inner = line[1:] if edged else line
        inner = inner[:-1] if edged and inner.endswith("|") and not inner.endswith("\\|") else inner
        cells = tuple(_clean(cell.replace("\\|", "|")) for cell in _BAR.split(inner))
        if any(cells):
            rows.append(Row(start, end, cells))
    if len(rows) > 1:
        yield Table(tuple(rows), n_heads if 0 < n_heads < len(rows) else _count_heads(rows))


def _flat_tables(text: str, start: int, end: int) -> Iterator[Table]:
    """The tables of one line: cells between bars, rows between lone full stops."""
    ends = [match.span() for match in _FLAT_END.finditer(text, start, end)]
    parts = list(zip([start, *(after for _, after in ends)], [*(before for before, _ in ends), end], strict=True))
    barred = [number for number, part in enumerate(parts) if _BAR.search(text, *part)]
    if not barred:
        return
    first, last = barred[0], barred[-1]
    if first > 0 and len(text[slice(*parts[first - 1])]) < _LONGEST_HEAD and first - 1 > 0:
        first -= 1
    rows: list[Row] = []
    for number in range(first, last + 1):
        begin, stop = parts[number]
        if number == first:  # prose runs into the first cell
            begin = _after_prose(text, begin, stop)
        cells = tuple(map(_clean, _BAR.split(text[begin:stop])))
        if any(cells):
            rows.append(Row(begin, stop, cells))
    if len(rows) > 1:
        yield Table(tuple(rows), _count_heads(rows))


def _after_prose(text: str, start: int, end: int) -> int:
    """Where the first cell begins in a part that has a text before it: behind the last end of a sentence."""
    bar = _BAR.search(text, start, end)
    sentences = [match.end() for match in _SENTENCE.finditer(text, start, end if bar is None else bar.start())]
    return sentences[-1] if sentences else start


def _clean(cell: str) -> str:
    return " ".join(cell.split())


def is_value(cell: str) -> bool:
    """Whether a cell holds a number, and no year or date."""
    if cell in _NOTHING:
        return True
    return len(cell) <= _LONGEST_NUMBER and bool(_NUMBER.fullmatch(cell)) and not _YEAR.fullmatch(cell)


def _count_heads(rows: Sequence[Row]) -> int:
    """How many of the first rows are heads: those before the first with a value; one of a table without numbers."""
    first = next((number for number, row in enumerate(rows) if any(map(is_value, row.cells[1:] or row.cells))), None)
    if first is None:
        return 1
    while first and len(rows[first - 1].cells) == 1 and rows[first - 1].cells[0].endswith(":"):
        first -= 1  # it is the head of a group of rows
    return first
