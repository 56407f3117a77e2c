"""The folder of an index: locking it, and removing what no commit names."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Container
from pathlib import Path

from lexite.files import check_output_folder, fsync_folder, storage_errors
from lexite.index.dictionary import WORDS_NAME
from lexite.index.lock import LOCK_NAME, WriterLock
from lexite.index.manifest import COMMIT_NAME, SEGMENTS_NAME, Commit, read_commit

UNFINISHED_COMMIT = f".{COMMIT_NAME}.*.tmp"  # what a kill in the middle of files.write_json leaves


def current_commit(folder: Path) -> Commit | None:
    """The commit on the disk, None when there was none yet; raises IndexFormatError when it cannot be read."""
    return read_commit(folder) if (folder / COMMIT_NAME).exists() else None


def remove_stale(folder: Path, state: Commit | None) -> None:
    """Removes what ``state`` does not name: segments, deletions and words of older commits and of writers that were killed."""
    named = {record.name: record.files for record in state.segments} if state else {}
    for path in (folder / SEGMENTS_NAME).iterdir():
        if path.name not in named:
            shutil.rmtree(path, ignore_errors=True)
            continue
        _remove_others(path, named[path.name])
    if state and state.words:
        _remove_others(folder / WORDS_NAME, state.words.files)
    else:
        shutil.rmtree(folder / WORDS_NAME, ignore_errors=True)
    for leftover in folder.glob(UNFINISHED_COMMIT):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _remove_others(folder: Path, named: Container[str]) -> None:
    for file in folder.iterdir():
        if file.name not in named:
            with contextlib.suppress(OSError):  # another system may hold it open; the next writer tries again
                file.unlink()


def check_index_folder(path: str | Path, *, overwrite: bool = False) -> Path:
    """Refuses a folder in which no index can be made, before any work is done.

    A folder is usable when it does not exist, is empty, holds nothing but a build that was stopped before its first commit, or
    (with ``overwrite``) holds an index.

    Raises:
        StorageError: it holds something else, or cannot be written to.
    """
    folder = Path(path)
    if (folder / LOCK_NAME).is_file():
        names = {entry.name for entry in folder.iterdir()} - {leftover.name for leftover in folder.glob(UNFINISHED_COMMIT)}
        if names <= {LOCK_NAME, SEGMENTS_NAME, WORDS_NAME}:
            return folder
    return check_output_folder(folder, COMMIT_NAME, overwrite=overwrite)


def lock_folder(folder: Path) -> WriterLock:
    """Makes the folder of an index where there is none, and locks it for one writer; raises StorageError."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder)
        try:
            (folder / SEGMENTS_NAME).mkdir(exist_ok=True)
            fsync_folder(folder)
        except BaseException:
            lock.release()
            raise
    return lock
