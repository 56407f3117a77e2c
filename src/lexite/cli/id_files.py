"""Files of ids, one on each line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from lexite.errors import CorpusError


def read_ids(path: Path) -> list[str]:
    """The ids of a file, or of standard input where the path is ``-``. Empty lines are passed over.

    Raises:
        CorpusError: the file cannot be read, or a line is not valid UTF-8.
    """
    if str(path) == "-":
        return _ids(getattr(sys.stdin, "buffer", sys.stdin), "Standard input")
    try:
        with open(path, "rb") as file:
            return _ids(file, str(path))
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}.") from error


def _ids(lines: Iterable[bytes | str], name: str) -> list[str]:
    ids = []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8") if isinstance(line, bytes) else line
        except UnicodeDecodeError:
            raise CorpusError(f"{name}, line {number}: it is not valid UTF-8.") from None
        if text.strip("\r\n"):
            ids.append(text.strip("\r\n"))
    return ids
