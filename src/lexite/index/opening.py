"""Opening the files of an index, and comparing them with their checksums."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from lexite.errors import IndexFormatError
from lexite.index.dictionary import open_words, verify_words
from lexite.index.file_table import verify_file_table
from lexite.index.ids import IdTable
from lexite.index.manifest import SEGMENTS_NAME, Commit, read_commit
from lexite.index.segment import Segment, open_segment
from lexite.index.static import StoredStatic, verify_static
from lexite.index.storage import read_files_ahead, verify_file

OPEN_ATTEMPTS = 10
READ_FIRST = ("frequencies", "list_")  # names of files begin so of which a search needs parts before all else
DIRECTORY_BYTES = 8 << 20  # of these files: more are read in parts, when it is known which
Opened = TypeVar("Opened")


class OpenedFiles(NamedTuple):
    """What one commit of an index holds, its files mapped into memory.

    Attributes:
        commit: the state.
        segments: in document order.
        words: the literal words; None without any.
        static: the static table; None without one.
    """

    commit: Commit
    segments: list[Segment]
    words: IdTable | None
    static: StoredStatic | None


def open_newest(folder: Path, make: Callable[[OpenedFiles], Opened]) -> Opened:
    """Opens the newest commit. A writer may commit meanwhile, and remove what that commit needed; then the newer one is opened.

    Args:
        folder: of the index.
        make: what is made of the files; it may raise ``IndexFormatError`` too.

    Raises:
        IndexFormatError: there is no index, or it is damaged; the message names the file.
    """
    commit = read_commit(folder)
    for attempt in range(OPEN_ATTEMPTS):
        try:
            return make(_open(folder, commit))
        except IndexFormatError:
            newer = read_commit(folder)
            if newer == commit or attempt == OPEN_ATTEMPTS - 1:
                raise
            commit = newer
    raise AssertionError("the last attempt returns or raises")


def _open(folder: Path, commit: Commit) -> OpenedFiles:
    _read_ahead(folder, commit)
    words = open_words(folder, commit.words) if commit.words else None
    static = StoredStatic(folder, commit.static, commit.vocabulary.n_terms) if commit.static else None
    segments = [
        open_segment(
            folder / SEGMENTS_NAME / record.name,
            record,
            with_texts=commit.store_text,
            mantissa=commit.mantissa,
            side=commit.side_layout,
        )
        for record in commit.segments
    ]
    return OpenedFiles(commit, segments, words, static)


def _read_ahead(folder: Path, commit: Commit) -> None:
    """Asks for the headers of all files, and for what a search reads first where that is not much."""
    arrays = [
        (os.path.join(folder, SEGMENTS_NAME, record.name, name), file.bytes)  # many Paths would take a millisecond to make
        for record in commit.segments
        for name, file in record.files.items()
        if name.endswith(".npy")
    ]
    directories = {path: size for path, size in arrays if os.path.basename(path).startswith(READ_FIRST)}
    whole = directories if sum(directories.values()) <= DIRECTORY_BYTES else {}
    read_files_ahead((path, whole.get(path, mmap.PAGESIZE)) for path, _ in arrays)


def verify_files(folder: Path, commit: Commit) -> None:
    """Compares every file that a commit names with its recorded length and checksum.

    Raises:
        IndexFormatError: a file is missing or damaged, and the message names it; or there is a newer commit.
    """
    try:
        for segment in commit.segments:
            for name, record in segment.files.items():
                verify_file(folder / SEGMENTS_NAME / segment.name / name, record)
        if commit.words:
            verify_words(folder, commit.words)
        if commit.static:
            verify_static(folder, commit.static)
        if commit.files:
            verify_file_table(folder, commit.files)
    except IndexFormatError as error:
        if read_commit(folder) != commit:
            raise IndexFormatError(f"{folder} was changed since it was opened. Open it again to verify it.") from error
        raise
