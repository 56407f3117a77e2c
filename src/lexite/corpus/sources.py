"""Telling what kind of source a name stands for."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lexite.corpus.streams import COMPRESSIONS
from lexite.errors import CorpusError

Format = Literal["jsonl", "csv", "tsv", "parquet", "text", "lines", "folder", "pipe", "builtin"]

BUILTIN = "builtin:python"
STANDARD_INPUT = "-"
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """One source of records.

    Args:
        name: how messages name it.
        format: how it is read. ``text`` is one document a file, ``lines`` one record a line; ``pipe`` is JSON lines or plain
            lines, told apart by the first byte.
        path: None for standard input and the built-in corpus.
    """

    name: str
    format: Format
    path: Path | None = None

    def at(self, number: int) -> str:
        """The place of a record, for messages: its first line in the file, or its row in a Parquet file."""
        return f"{self.name}, {'row' if self.format == 'parquet' else 'line'} {number}"


def find_source(source: str | Path, member: str = "corpus") -> Source:
    """Tells what a source is, and that it exists.

    Args:
        source: a path, ``-`` for standard input, or ``builtin:python``.
        member: which file of a BEIR folder is meant (``corpus`` or ``queries``).

    Raises:
        CorpusError: it does not exist, may not be read, or its format is not known.
    """
    name = str(source)
    if not name:
        raise CorpusError("A source has an empty name. Name a file or a folder; the current folder is '.'.")
    if name == STANDARD_INPUT:
        return Source("standard input", "pipe")
    if name.startswith("builtin:"):
        if name != BUILTIN:
            raise CorpusError(f"There is no built-in corpus '{name}'. There is one: '{BUILTIN}'.")
        return Source(name, "builtin")
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise CorpusError(f"{name} does not exist.") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not os.access(path, os.R_OK):
        raise CorpusError(f"{name} cannot be read: permission denied.")
    if stat.S_ISDIR(mode):
        inside = find_member(path, member)
        return Source(str(inside), "jsonl", inside) if inside else Source(name, "folder", path)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return Source(name, "pipe", path)
    return Source(name, _format(path), path)


def find_member(folder: Path, stem: str, suffix: str = ".jsonl") -> Path | None:
    """The file ``stem`` + ``suffix`` of a BEIR folder, plain or compressed; the plain one when there are several."""
    candidates = (folder / f"{stem}{suffix}{compression}" for compression in ("", *COMPRESSIONS))
    return next((path for path in candidates if path.is_file()), None)


def is_text_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name is that of a text or Markdown file, compressed or not."""
    return content_suffix(Path(path)) in TEXT_SUFFIXES


def content_suffix(path: Path) -> str:
    """The ending that tells the format, lower case, without that of the compression.

    >>> content_suffix(Path("pages.JSONL.gz"))
    '.jsonl'
    """
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower()


def _format(path: Path) -> Format:
    format = _FORMATS.get(content_suffix(path))
    if format is None:
        known = ", ".join(_FORMATS)
        raise CorpusError(f"{path}: the file name does not end in a known format ({known}; also with .gz, .xz, .zst).")
    if format == "parquet" and path.suffix.lower() in COMPRESSIONS:
        raise CorpusError(f"{path}: Parquet compresses by itself. Decompress the file first.")
    return format
