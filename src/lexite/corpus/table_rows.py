"""Rows of tables as passages: each value beside the heads of its row and its column, a caption above."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lexite.corpus.table_text import Row, Table, is_value, tables_in

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_LONGEST_CAPTION = 300  # characters of the sentence above a table that each of its passages begins with
_LONGEST_ROW = 5  # as many times the words of a passage: a longer row is written without the heads of its columns


class RowGroup(NamedTuple):
    """Some rows of a table that follow one another.

    Attributes:
        start: where they begin in the text, in characters.
        end: where they end.
        text: the caption, then a line for each row.
    """

    start: int
    end: int
    text: str


def row_groups(text: str, words: int) -> list[RowGroup]:
    r"""The rows of the tables of a text, in groups.

    Args:
        text: any text.
        words: of a group, captions apart, at most; a single row may have more.

    >>> text = "Rents (in thousands):\n\n| | 2019 | 2018 |\n|---|---|---|\n| Office | 5 | 4 |\n| Store | 7 | 6 |"
    >>> [group.text for group in row_groups(text, 6)]
    ['Rents (in thousands):\nOffice, 2019 5, 2018 4', 'Rents (in thousands):\nStore, 2019 7, 2018 6']
    """
    return [group for table in tables_in(text) for group in _groups(table, _caption(text, table.start), words)]


def _groups(table: Table, caption: str, words: int) -> Iterator[RowGroup]:
    heads, group = heads_of_columns(table), ""
    rows: list[Row] = []
    lines: list[str] = []
    n_words = 0
    for row in table.body:
        if is_group(row):
            group = row.cells[0]
            continue
        line = row_text(row, heads, group)
        length = len(line.split())
        if length > _LONGEST_ROW * words:
            line = row_text(row, [""] * len(heads), group)
        if rows and n_words + length > words:
            yield RowGroup(rows[0].start, rows[-1].end, "\n".join(filter(None, (caption, *lines))))
            rows, lines, n_words = [], [], 0
        rows.append(row)
        lines.append(line)
        n_words += length
    if rows:
        yield RowGroup(rows[0].start, rows[-1].end, "\n".join(filter(None, (caption, *lines))))


def _caption(text: str, start: int) -> str:
    """The sentence that stands before a table, without tags and the marks of a heading."""
    before = _TAG.sub(" ", text[max(start - 4 * _LONGEST_CAPTION, 0) : start]).rstrip()
    last = _SENTENCE_END.split(before)[-1].strip().lstrip("#").strip()
    return " ".join(last.split())[-_LONGEST_CAPTION:]


def heads_of_columns(table: Table) -> list[str]:
    r"""The heads of a table's columns, those of several rows one after the other; empty for a column without.

    A row of heads that is shorter than the table stands over its last columns. Where these are a multiple, it is spread evenly:
    two heads over four columns count for two each, and a single one for all. In a row that is as long as the table, an empty
    cell behind a head belongs to it, as where one head spans two columns; the first column is none of them.

    >>> flat = tables_in("Both plans: Domestic | Other . 2019 | 2018 | 2019 | 2018 . Rate | 4% | 3% | 2% | 1%")[0]
    >>> heads_of_columns(flat)
    ['', 'Domestic 2019', 'Domestic 2018', 'Other 2019', 'Other 2018']
    >>> heads_of_columns(tables_in("| Home | | Abroad\nPlan | 2019 | 2018 | 2019\nRate | 4% | 3% | 2%")[0])
    ['Plan', 'Home 2019', 'Home 2018', 'Abroad 2019']
    """
    width = max(len(row.cells) for row in table.rows)
    heads: list[list[str]] = [[] for _ in range(width)]
    for row in table.rows[: table.n_heads]:
        cells = row.cells
        if len(cells) == width:
            spread = list(cells)
            for column in range(2, width):
                spread[column] = spread[column] or spread[column - 1]
        elif (width - 1) % len(cells) == 0:
            spread = ["", *(cell for cell in cells for _ in range((width - 1) // len(cells)))]
        else:
            spread = [*[""] * (width - len(cells)), *cells]
        for head, cell in zip(heads, spread, strict=True):
            if cell:
                head.append(cell)
    return [" ".join(dict.fromkeys(head)) for head in heads]


def row_text(row: Row, heads: Sequence[str], group: str = "") -> str:
    """A row as a sentence: its head, then each value behind the head of its column.

    Args:
        row: the row.
        heads: of the columns.
        group: the head of the rows that it belongs to.

    >>> row_text(Row(0, 1, ("Rent", "5", "")), ["", "2019", "2018"], "Costs:")
    'Costs: Rent, 2019 5'
    """
    label, *values = row.cells
    first = " ".join(filter(None, (heads[0] if heads and heads[0] != label else "", label)))
    shift = len(heads) - len(row.cells)  # values that are missing are missing on the left no more often than on the right
    heads = heads[1:] if shift <= 0 else heads[1 : 1 + len(values)]
    beside = [" ".join(filter(None, (head, value))) for head, value in zip(heads, values, strict=False) if value]
    written = ", ".join(filter(None, (first, *beside)))
    return f"{group} {written}" if group and written else written or group


def is_group(row: Row) -> bool:
    """Whether a row is the head of the rows below it: one cell, and no number."""
    filled = [cell for cell in row.cells if cell]
    return len(filled) == 1 and filled[0] == row.cells[0] and not is_value(filled[0])
