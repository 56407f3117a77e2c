"""What DOCX and PPTX have in common: the properties of the file, and tables."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from lexite.corpus.kinds.decoding import one_line
from lexite.corpus.kinds.table_lines import Cell, TableLines
from lexite.corpus.options import BadFile

_PROPERTIES = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"


def opened(open_file: Callable[[IO[bytes]], Any], file: IO[bytes], kind: str) -> Any:
    """A file opened by a library.

    Raises:
        BadFile: it is not of this kind, or is encrypted.
    """
    import io

    data = file.read()
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":  # the container of old Office files, and of encrypted new ones
        raise BadFile(f"it is encrypted, or of the old format before {kind}.", "encrypted")
    try:
        return open_file(io.BytesIO(data))
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError, SyntaxError, OSError) as error:
        reason = one_line(str(error)) or type(error).__name__
        raise BadFile(f"not a readable {kind} file ({reason[:200].rstrip('.')}).", "malformed") from None


def described(file: Any) -> tuple[str, dict[str, object]]:
    """Title and fields out of the properties of an opened file. What is wrong with one of them counts as absent."""
    fields: dict[str, object] = {}
    try:
        file.part.package.part_related_by(_PROPERTIES)
    except (KeyError, ValueError):  # of a file without properties, the libraries invent some
        return "", fields
    properties = file.core_properties
    for name, key in (("author", "author"), ("created", "created"), ("modified", "modified"), ("keywords", "keywords")):
        value = _property(properties, key)
        if isinstance(value, datetime.datetime):
            fields[name] = value
        elif isinstance(value, str) and one_line(value):
            fields[name] = [word.strip() for word in value.split(",") if word.strip()] if key == "keywords" else one_line(value)
    title = _property(properties, "title")
    return one_line(title) if isinstance(title, str) else "", fields


def _property(properties: Any, name: str) -> object:
    try:
        return getattr(properties, name)
    except (ValueError, KeyError, AttributeError):
        return None


def rows(table: Any) -> str:
    """A table, one row a line. A cell that spans several columns is written in the first."""
    lines = TableLines()
    for row in table.rows:
        lines.add(_cells(row))
    return lines.text()


def _cells(row: Any) -> Iterator[Cell]:
    seen: set[int] = set()
    for _ in range(getattr(row, "grid_cols_before", 0)):  # where a row of DOCX begins to the right of the others
        yield Cell("")
    for cell in row.cells:
        key = id(getattr(cell, "_tc", cell))
        yield Cell("" if key in seen else cell.text)
        seen.add(key)
