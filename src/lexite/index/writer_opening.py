"""Writers of new indexes, and of those that are there: the lock, the last commit, and what an interrupted writer left."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from lexite.errors import IndexFormatError, StorageError
from lexite.index.checks import check_vocabulary
from lexite.index.index_folder import check_index_folder, current_commit, last_generation, lock_folder, remove_stale
from lexite.index.manifest import Commit, read_commit
from lexite.index.writer import IndexWriter


def create_index(path: str | Path, state: Commit, segment_postings: int, *, overwrite: bool) -> IndexWriter:
    """A writer of a new index; see ``BM25Index.create``. An index that is replaced stays readable until the first commit."""
    folder = check_index_folder(path, overwrite=overwrite)
    lock = lock_folder(folder)
    try:
        old = None
        with contextlib.suppress(IndexFormatError):  # a damaged index may be replaced; nothing of it is touched before
            old = current_commit(folder)
            if old and not overwrite:  # committed since the check above
                raise StorageError(f"{folder} exists already. Choose another output folder, or replace it with overwrite=True.")
            remove_stale(folder, old)
        generation = old.generation if old else last_generation(folder)  # files of a damaged index keep their names
        return IndexWriter(folder, dataclasses.replace(state, generation=generation), (), segment_postings, lock)
    except BaseException:
        lock.release()
        raise


def open_writer(path: str | Path, vocabulary: str | None, segment_postings: int, wait: float = 0.0) -> IndexWriter:
    """A writer that goes on from the last commit; see ``BM25Index.writer``."""
    folder = Path(path)
    read_commit(folder)  # before the lock file is made, lest it appears in a folder that is no index
    lock = lock_folder(folder, wait)
    try:
        state = read_commit(folder)
        check_vocabulary(folder, state.vocabulary, vocabulary)
        remove_stale(folder, state)
        return IndexWriter(folder, state, state.segments, segment_postings, lock)
    except BaseException:
        lock.release()
        raise
