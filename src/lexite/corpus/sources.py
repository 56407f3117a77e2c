"""Telling what kind of source a name stands for."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lexite.corpus.kinds import BY_SUFFIX
from lexite.corpus.mirror import mirrored
from lexite.corpus.streams import COMPRESSIONS
from lexite.errors import CorpusError
from lexite.remote import is_url

Format = Literal[
    "jsonl", "csv", "tsv", "parquet", "text", "document", "lines", "folder", "glob", "pipe", "builtin", "ir_datasets"
]

BUILTIN = "builtin:python"
DATASETS = "ir_datasets:"
STANDARD_INPUT = "-"

RECORDS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
"""Ending of a file of records -> its format."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source of documents.

    Args:
        name: how messages name it.
        format: how it is read. ``text`` and ``document`` are one file with a document, or a few; ``lines`` is one record a
            line; ``pipe`` is JSON lines or plain lines, told apart by the first byte; ``glob`` is a pattern of file names.
        path: None for standard input, the built-in corpus and a dataset. Of a pattern it is the folder before the first
            wildcard.
        prefix: what stands before the ids of a folder's files where several sources are read, and in place of a file's name.
        one_of_many: whether it is a file of a folder or pattern, and so ends nothing when it cannot be read.
        span: of a range of a file the first byte and the end, of a Parquet file row groups; None: all of it is read.
    """

    name: str
    format: Format
    path: Path | None = None
    prefix: str = ""
    one_of_many: bool = False
    span: tuple[int, int] | None = None

    def at(self, number: int) -> str:
        """The place of a record, for messages: its first line in the file, or its row in a Parquet file."""
        kind = {"parquet": "row", "ir_datasets": "document"}.get(self.format, "line")
        return f"{self.name}, {kind} {number}"


def find_sources(names: Sequence[str | Path]) -> list[Source]:
    """Tells what each source is, and gives them the beginnings of ids that tell their files apart.

    Raises:
        CorpusError: as :func:`find_source`.
    """
    found = [find_source(name) for name in names]
    if len(found) < 2:
        return found
    apart = _told_apart([source.path for source in found])
    return [replace(source, prefix=name) for source, name in zip(found, apart, strict=True)]


def find_source(source: str | Path, member: str = "corpus") -> Source:
    """Tells what a source is, and that it exists.

    Args:
        source: a path, a pattern of paths, a URL of either that fsspec opens, ``-`` for standard input, ``builtin:python``, or
            ``ir_datasets:NAME``.
        member: which file of a BEIR folder is meant (``corpus`` or ``queries``).

    Raises:
        CorpusError: it does not exist, may not be read, or its format is not known.
    """
    name = str(source)
    if is_url(name):
        return find_source(mirrored(name), member)
    if not name:
        raise CorpusError("A source has an empty name. Name a file or a folder; the current folder is '.'.")
    if name == STANDARD_INPUT:
        return Source("standard input", "pipe")
    if name.startswith("builtin:"):
        if name != BUILTIN:
            raise CorpusError(f"There is no built-in corpus '{name}'. There is one: '{BUILTIN}'.")
        return Source(name, "builtin")
    if name.startswith(DATASETS):
        return Source(name, "ir_datasets")
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if glob.has_magic(name):
            return _pattern(name)
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


def content_suffix(path: Path) -> str:
    """The ending that tells the format, lower case, without that of the compression.

    >>> content_suffix(Path("pages.JSONL.gz"))
    '.jsonl'
    """
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower()


def record_format(path: Path) -> Format | None:
    """The format of a file of records, by its name; None for any other."""
    format = RECORDS.get(content_suffix(path))
    return None if format == "parquet" and path.suffix.lower() in COMPRESSIONS else format


def _pattern(name: str) -> Source:
    """A pattern that no shell has expanded, with the folder before its first wildcard."""
    parts = Path(name).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    if not any(True for _ in glob.iglob(name, recursive=True)):
        raise CorpusError(f"{name} matches no file.")
    return Source(name, "glob", Path(*parts[:fixed]) if fixed else Path("."))


def _told_apart(paths: Sequence[Path | None]) -> list[str]:
    """For each path the shortest end of it that no other one has.

    >>> _told_apart([Path("/a/docs"), Path("/b/docs"), Path("/b/notes.txt")])
    ['a/docs', 'b/docs', 'notes.txt']
    """
    parts = [Path(os.path.normpath(path.absolute())).parts[1:] if path else () for path in paths]
    chosen = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        chosen.append("/".join(own[-length:]))
    return chosen


def _format(path: Path) -> Format:
    suffix = content_suffix(path)
    format = record_format(path)
    if format is not None:
        return format
    if suffix in RECORDS:
        raise CorpusError(f"{path}: Parquet compresses by itself. Decompress the file first.")
    if suffix in BY_SUFFIX:
        return "document" if BY_SUFFIX[suffix].apart else "text"
    known = ", ".join([*RECORDS, *(kind_suffix for kind_suffix in BY_SUFFIX if BY_SUFFIX[kind_suffix].name != "code")])
    raise CorpusError(
        f"{path}: the file name does not end in a known format ({known}; source code; also with .gz, .bz2, .xz, .zst)."
    )
