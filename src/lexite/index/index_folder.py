"""The folder of an index: locking it, and removing what no commit names."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Container
from pathlib import Path

from lexite.files import check_output_folder, fsync_folder, storage_errors
from lexite.index.dictionary import WORDS_NAME
from lexite.index.file_table import FILES_NAME
from lexite.index.manifest import COMMIT_NAME, SEGMENTS_NAME, Commit, read_commit
from lexite.index.static import STATIC_NAME
from lexite.locking import LOCK_NAME, WriterLock

PLACES = (WORDS_NAME, STATIC_NAME, FILES_NAME)
"""Folders of an index beside its segments."""

UNFINISHED_COMMIT = f".{COMMIT_NAME}.*.tmp"  # left when a process is killed inside files.write_json
_FILE_OF_COMMIT = re.compile(r"[a-z_]+-([0-9]{8})\.[a-z]+")


def current_commit(folder: Path) -> Commit | None:
    """The commit on the disk, None when there was none yet; raises IndexFormatError when it cannot be read."""
    return read_commit(folder) if (folder / COMMIT_NAME).exists() else None


def remove_stale(folder: Path, state: Commit | None) -> None:
    """Removes the files that ``state`` does not name: leftovers of older commits and of killed writers."""
    named = {record.name: record.files for record in state.segments} if state else {}
    for path in (folder / SEGMENTS_NAME).iterdir():
        if path.name not in named:
            shutil.rmtree(path, ignore_errors=True)
            continue
        _remove_others(path, named[path.name])
    for name in PLACES:
        record = state and {WORDS_NAME: state.words, STATIC_NAME: state.static, FILES_NAME: state.files}[name]
        if record:
            _remove_others(folder / name, record.files)
        else:
            shutil.rmtree(folder / name, ignore_errors=True)
    for leftover in folder.glob(UNFINISHED_COMMIT):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _remove_others(folder: Path, named: Container[str]) -> None:
    for file in folder.iterdir():
        if file.name not in named:
            with contextlib.suppress(OSError):  # another system may hold it open; the next writer tries again
                file.unlink()


def last_generation(folder: Path) -> int:
    """The largest commit number in the names of an index's files outside its segments; 0 when it has none."""
    places = [folder / name for name in PLACES if (folder / name).is_dir()]
    found = [_FILE_OF_COMMIT.fullmatch(path.name) for place in places for path in place.iterdir()]
    return max((int(match[1]) for match in found if match), default=0)


def check_index_folder(path: str | Path, *, overwrite: bool = False) -> Path:
    """Refuses a folder in which no index can be made, before any work is done.

    A folder is usable when it does not exist, when it is empty, when it holds only a build that was stopped before its first
    commit, and, with ``overwrite``, when it holds an index.

    Raises:
        StorageError: it holds something else, or cannot be written to.
    """
    folder = Path(path)
    if (folder / LOCK_NAME).is_file():
        names = {entry.name for entry in folder.iterdir()} - {leftover.name for leftover in folder.glob(UNFINISHED_COMMIT)}
        if names <= {LOCK_NAME, SEGMENTS_NAME, *PLACES}:
            return folder
    return check_output_folder(folder, COMMIT_NAME, overwrite=overwrite)


def lock_folder(folder: Path, wait: float = 0.0) -> WriterLock:
    """Makes the folder of an index where there is none, and locks it for one writer.

    Args:
        folder: of the index.
        wait: seconds to wait for another writer.

    Raises:
        StorageError: another writer holds it all the while, or it cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder, wait)
        try:
            (folder / SEGMENTS_NAME).mkdir(exist_ok=True)
            fsync_folder(folder)
        except BaseException:
            lock.release()
            raise
    return lock
