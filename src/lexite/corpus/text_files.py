"""Text and Markdown files as documents, one each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lexite.corpus.options import DamagedSource, Guard
from lexite.corpus.records import Document
from lexite.corpus.rows import not_utf8
from lexite.corpus.sources import content_suffix, is_text_file
from lexite.corpus.streams import DAMAGE, damaged, open_stream
from lexite.errors import CorpusError

_HEADING = re.compile(r"\s*#[ \t]+(.+?)[ \t]*#*[ \t]*(?:\n|\Z)")


def read_text_file(path: Path, id: str, guard: Guard) -> Document | None:
    """One document per file. The title is the heading (``# …``) that a Markdown file begins with.

    Returns:
        None when the file is bad and the guard lets it pass.
    """
    try:
        with open_stream(path, str(path)) as stream:
            data = stream.file.read()
        text = data.decode().replace("\r\n", "\n").strip()
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        guard.bad(f"{path}, line {line}: {not_utf8(problem)}", problem)
    except DAMAGE as error:
        guard.bad(str(damaged(str(path), None, error)), error)
    except DamagedSource as problem:
        guard.bad(str(problem), problem)
    else:
        heading = _HEADING.match(text) if content_suffix(path) in (".md", ".markdown") else None
        if heading:
            return Document(id, text[heading.end() :].strip(), heading[1])
        return Document(id, text)
    return None


def read_folder(folder: Path, guard: Guard) -> Iterator[tuple[str, Document]]:
    """The text files below a folder with their paths; the id is the path within the folder, with ``/`` on every system.

    Raises:
        CorpusError: there is no text file, or a folder cannot be listed.
    """
    empty = True
    for path in text_files(folder):
        empty = False
        id = path.relative_to(folder).as_posix()
        if not _is_unicode(id):
            guard.bad(f"{str(path)!a}: the file name is not valid UTF-8. Rename the file.")
            continue
        document = read_text_file(path, id, guard)
        if document:
            yield str(path), document
    if empty:
        raise CorpusError(
            f"{folder} holds no corpus.jsonl and no text or Markdown file (.txt, .md). Name files of other formats one by one."
        )


def _is_unicode(name: str) -> bool:
    """Whether a file name could be decoded; undecodable bytes are kept as lone surrogates by Python."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def text_files(folder: Path) -> Iterator[Path]:
    """Text files below a folder: those of a folder before those of its subfolders, each sorted by name.

    Hidden files and folders (whose name begins with a dot) are skipped. Symbolic links are followed; a folder that is reached
    twice is read once, so that loops end.
    """

    def failed(error: OSError) -> None:
        raise CorpusError(f"{error.filename} cannot be listed: {error.strerror}.") from error

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith(".") and is_text_file(name))
