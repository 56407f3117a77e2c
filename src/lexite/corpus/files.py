"""The files of folders and patterns: which there are, and what each is called, before any of them is read."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexite.corpus.kinds import Kind, kind_of
from lexite.corpus.mirror import fetch_whole
from lexite.corpus.options import BadFile, Guard, ReadReport
from lexite.corpus.sources import Format, Source, content_suffix, find_sources, record_format
from lexite.errors import CorpusError

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file that holds documents.

    Args:
        path: where it is.
        id: what its document is called; where it holds several (a mailbox), each is called that, ``#`` and its number. The
            records of a table have ids of their own.
        kind: how it is read as a document; None for a file of records.
        format: how its records are read; None for a document.
        one_of_many: whether it is a file of a folder or pattern, and so ends nothing when it cannot be read.
    """

    path: Path
    id: str
    kind: Kind | None
    format: Format | None = None
    one_of_many: bool = False

    def check(self) -> None:
        """Whether it can be opened at all; a file elsewhere is fetched.

        Raises:
            BadFile: it cannot; the message names it.
        """
        self.size()
        fetch_whole(self.path)

    def size(self) -> int:
        """Its bytes.

        Raises:
            BadFile: there is no such file, or it is a pipe or a device; the message names it.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            if self.path.is_symlink() and not self.path.exists():
                raise BadFile(f"{self.path} cannot be read: a symbolic link that leads nowhere.", "broken link") from None
            raise BadFile(f"{self.path} cannot be read: {error.strerror or error}.") from None
        if not stat.S_ISREG(status.st_mode):
            raise BadFile(f"{self.path} is no regular file.", "no regular file")
        return status.st_size


def list_files(sources: Sequence[str | Path] | str | Path, report: ReadReport | None = None) -> list[FileEntry]:
    """The files of sources that are files, folders or patterns, with their ids, without reading them.

    Args:
        sources: as :func:`lexite.read_documents` takes them.
        report: files of kinds that are not read are counted in ``unread``; those whose names are no text are skipped.

    Raises:
        CorpusError: a source does not exist, is no file or folder, or a folder cannot be listed.
    """
    names = [sources] if isinstance(sources, (str, Path)) else list(sources)
    guard = Guard(True, report or ReadReport())
    found: list[FileEntry] = []
    for source in find_sources(names):
        if source.format in ("folder", "glob"):
            found.extend(files_of(source, guard))
        elif source.path is None or source.format == "pipe":
            raise CorpusError(f"{source.name} is no file or folder, so it has no files to list.")
        else:
            found.append(file_of(source))
    return found


def file_of(source: Source) -> FileEntry:
    """The one file that a source is."""
    path = source.path or Path(source.name)
    kind = kind_of(content_suffix(path)) if source.format in ("text", "document") else None
    return FileEntry(path, source.prefix or path.name, kind, None if kind else source.format)


def files_of(source: Source, guard: Guard) -> list[FileEntry]:
    """The files of a folder or pattern, in order: those of a folder before those of its subfolders, each sorted by name.

    A folder that holds nothing but records is read as those files; in any other, they are counted as not read. A pattern
    means whatever it matches.

    Raises:
        CorpusError: there is none, or the folder cannot be listed.
    """
    root = source.path or Path(".")
    documents: list[FileEntry] = []
    records: list[FileEntry] = []
    entries: list[FileEntry] = []
    unread: Counter[str] = Counter()
    missing: dict[str, Kind] = {}
    for path in _matched(source.name) if source.format == "glob" else walk(root, guard):
        id = _id(path, root, source.prefix)
        if not _is_unicode(id):
            message = f"{str(path)!a}: the file name is not valid UTF-8. Rename the file."
            guard.bad(message, reason="unusable name", one_of_many=True)
            continue
        kind, format = kind_of(content_suffix(path)), record_format(path)
        if kind is not None and kind.is_available():
            documents.append(FileEntry(path, id, kind, one_of_many=True))
            entries.append(documents[-1])
        elif format is not None:
            records.append(FileEntry(path, id, None, format, one_of_many=True))
            entries.append(records[-1])
        else:
            unread[content_suffix(path) or "without ending"] += 1
            if kind is not None:
                missing[kind.name] = kind
    if source.format == "folder":
        entries = documents or records
        if documents:
            unread.update(content_suffix(entry.path) for entry in records)
            if records:
                guard.report.note(f"{source.name}: its files of records are not read beside documents. Name them to read them.")
    guard.report.unread.update(unread)
    for kind in missing.values():
        guard.report.note(f"{source.name}: reading {kind.name} needs '{kind.needs}'. Run: pip install 'lexite[documents]'")
    if not entries and not guard.report.skipped:
        raise CorpusError(f"{source.name} holds no corpus.jsonl and no file that can be read{_there(unread)}.")
    return entries


def _there(unread: Counter[str]) -> str:
    listed = ", ".join(f"{suffix} {count:,}" for suffix, count in unread.most_common(_SHOWN))
    return f"; there is: {listed}" if listed else ""


def _id(path: Path, root: Path, prefix: str) -> str:
    """The path within what was named, with ``/`` on every system."""
    inside = Path(os.path.relpath(path, root)).as_posix()
    return f"{prefix}/{inside}" if prefix else inside


def _is_unicode(name: str) -> bool:
    """Whether a file name could be decoded; undecodable bytes are kept as lone surrogates by Python."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _matched(pattern: str) -> Iterator[Path]:
    """The files that a pattern matches, and those of the folders that it matches. No file is named twice."""
    seen: set[str] = set()
    for name in sorted(glob.glob(pattern, recursive=True)):
        paths: Iterator[Path] = iter([Path(name)])
        if os.path.isdir(name):
            if "**" in pattern:
                continue  # whose files the pattern names itself
            paths = walk(Path(name), None)
        for path in paths:
            if str(path) not in seen:
                seen.add(str(path))
                yield path


def walk(folder: Path, guard: Guard | None) -> Iterator[Path]:
    """Files below a folder: those of a folder before those of its subfolders, each sorted by name.

    Hidden files and folders (whose name begins with a dot) are skipped. Symbolic links are followed; a folder that is reached
    twice is read once, so that loops end. A subfolder that cannot be listed is told to the guard.

    Raises:
        CorpusError: the folder itself cannot be listed.
    """

    def failed(error: OSError) -> None:
        message = f"{error.filename} cannot be listed: {error.strerror}."
        if guard is None or Path(str(error.filename)) == folder:
            raise CorpusError(message) from error
        guard.bad(message, error, reason="unreadable", one_of_many=True)

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))
