"""Tables of files as lines of text: a row each, bars between its cells, and empty cells in their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lexite.corpus.kinds.decoding import one_line

_WIDEST = 1024  # columns of a row; further cells are taken to span one each
_LONGEST_SPAN = 64  # columns or rows


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: what it says.
        columns: that it spans.
        rows: likewise.
    """

    text: str
    columns: int = 1
    rows: int = 1


class TableLines:
    r"""Takes the rows of a table, and writes them.

    A cell that spans several columns or rows is written in the first, and the others are empty. A column that is empty in all
    rows is left out, and so is an empty row. A bar within a cell is written ``\|``, as in Markdown.

    >>> table = TableLines()
    >>> table.add([Cell(""), Cell("Rent", columns=2)])
    >>> table.add([Cell("Office"), Cell(""), Cell("5")])
    >>> table.text()
    '| Rent |\nOffice | | 5'
    """

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._covered: dict[int, int] = {}  # column -> rows below that a cell above spans

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, cells: Iterable[Cell]) -> None:
        """Takes a row."""
        row: list[str] = []
        spanned: dict[int, int] = {}
        for cell in cells:
            while self._covered.get(len(row), 0):
                row.append("")
            columns = min(max(cell.columns, 1), _LONGEST_SPAN) if len(row) < _WIDEST else 1
            if cell.rows > 1:
                spanned.update(dict.fromkeys(range(len(row), len(row) + columns), min(cell.rows, _LONGEST_SPAN) - 1))
            row += [one_line(cell.text).replace("|", "\\|"), *[""] * (columns - 1)]
        self._covered = {column: n - 1 for column, n in self._covered.items() if n > 1} | spanned
        if any(row):
            self._rows.append(row)

    def text(self) -> str:
        """The rows that were taken, a line each."""
        used = sorted({column for row in self._rows for column, cell in enumerate(row) if cell})
        kept = ([row[column] for column in used if column < len(row)] for row in self._rows)  # a short row stays short
        return "\n".join(one_line(" | ".join(cells)) for cells in kept)
