"""What a synchronisation has to do: files compared with what an index knows of them."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.corpus.files import FileEntry, list_files
from lexite.corpus.mirror import refuse_urls
from lexite.corpus.options import ReadReport
from lexite.errors import CorpusError
from lexite.files import sha256_file
from lexite.index import BM25Index
from lexite.index.file_table import KnownFile
from lexite.progress import progress
from lexite.remote import is_url
from lexite.search.unread import UnreadDocuments

if TYPE_CHECKING:
    from lexite.index import IndexWriter

CLOCK = 2_000_000_000  # nanoseconds: file systems keep times to two seconds at worst


@dataclass
class SyncReport:
    """What a synchronisation found and did.

    Attributes:
        new: files that the index did not know.
        changed: files with other bytes than before.
        unchanged: files with the same bytes.
        vanished: files that are gone.
        added: documents that were added.
        replaced: documents that took the place of one of the same id.
        same: documents of new and changed files that the index has already, word for word.
        deleted: documents that were deleted.
        read: what was read and left out, with reasons.
        unread: documents that the vocabulary cannot read.
        names: of new, changed and vanished files.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    vanished: int = 0
    added: int = 0
    replaced: int = 0
    same: int = 0
    deleted: int = 0
    read: ReadReport = field(default_factory=ReadReport)
    unread: UnreadDocuments = field(default_factory=UnreadDocuments)
    names: dict[str, list[str]] = field(default_factory=lambda: {"new": [], "changed": [], "vanished": []})

    def to_json(self) -> dict[str, Any]:
        """The counts, as JSON values."""
        names = ("new", "changed", "unchanged", "vanished")
        files = {"files": {name: getattr(self, name) for name in names}}
        return {**files, **{name: getattr(self, name) for name in ("added", "replaced", "same", "deleted")}}


@dataclass(frozen=True)
class SyncPlan:
    """What is to be done.

    Attributes:
        read: files to read, new ones and changed ones, in the order of the sources.
        keep: files of which only the time is other than before.
        gone: names of files that vanished.
        digests: SHA-256 of the files to read.
    """

    read: tuple[FileEntry, ...]
    keep: dict[str, KnownFile]
    gone: tuple[str, ...]
    digests: dict[str, str]


def plan_sync(
    sources: Sequence[str | Path] | str | Path,
    known: dict[str, KnownFile],
    report: SyncReport,
    held: BM25Index,
    show_progress: bool = False,
) -> SyncPlan:
    """Compares files with what an index knows: their size and time first, their bytes where these tell nothing.

    Args:
        sources: files, folders and patterns.
        known: what the index knows.
        report: gets the counts and names of files.
        held: the index. A file one of whose documents was deleted is read again.
        show_progress: whether progress is shown on stderr.

    Raises:
        CorpusError: a source does not exist, or is neither file nor folder.
    """
    refuse_urls(sources, "an index is kept in step with files alone")
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    entries = list_files(listed, report.read)
    read: list[FileEntry] = []
    keep: dict[str, KnownFile] = {}
    digests: dict[str, str] = {}
    refused: set[str] = set()  # which stay as they are under the name that they had
    with progress("Comparing", len(entries), "files", show_progress) as bar:
        for entry in entries:
            before = known.get(entry.id)
            whole = before is not None and all(id in held for id in before.documents)
            same = before is not None and before.path == absolute_path(entry.path)
            status = status_of(entry.path)
            bar.advance(1)
            if status is None:  # reading says why
                read.append(entry)
                continue
            if before is not None and not same and os.path.exists(before.path) and not _is_meant(before.path, listed):
                advice = "Sync both at once, so that their names tell them apart."
                message = f"{entry.path}: the index has '{entry.id}' from {before.path}. {advice}"
                report.read.skip(message, "id occurred before")
                refused.add(absolute_path(entry.path))
                continue
            if before is not None and same and whole and _surely_unchanged(before, status):
                report.unchanged += 1
                continue
            looked = time.time_ns()
            digest = digest_of(entry.path)
            if before is not None and same and whole and digest and digest == before.sha256:
                report.unchanged += 1
                documents = before.documents
                times = (status.st_mtime_ns, status.st_ctime_ns, looked)
                keep[entry.id] = KnownFile(before.path, status.st_size, *times, digest, documents)
                continue
            if before is None:
                report.new += 1
            else:
                report.changed += 1
            report.names["new" if before is None else "changed"].append(entry.id)
            digests[entry.id] = digest
            read.append(entry)
    names = {entry.id for entry in entries}
    gone = tuple(
        name for name, file in known.items() if name not in names and file.path not in refused and _is_meant(file.path, listed)
    )
    report.vanished = len(gone)
    report.names["vanished"].extend(gone)
    return SyncPlan(tuple(read), keep, gone, digests)


def files_of_build(sources: Sequence[str | Path], held: IndexWriter, started: int) -> dict[str, KnownFile]:
    """The table of files of an index that was just built, so that the first :func:`sync_index` knows what vanished.

    Tables are left out: which records came from which is not known. Where a source is no file or folder, there is no table.

    Args:
        sources: what it was built of.
        held: its writer.
        started: when the build began, in nanoseconds: a file that changed since is read again.
    """
    if not sources or any(is_url(source) for source in sources):
        return {}
    try:
        entries = list_files(list(sources))
    except CorpusError:
        return {}
    table = {}
    for entry in entries:
        status = status_of(entry.path)
        if entry.kind is None or status is None or entry.id not in held:
            continue
        digest = digest_of(entry.path) if max(status.st_mtime_ns, status.st_ctime_ns) < started else ""
        times = (status.st_mtime_ns, status.st_ctime_ns, started)
        table[entry.id] = KnownFile(absolute_path(entry.path), status.st_size, *times, digest, (entry.id,))
    return table


def absolute_path(path: Path) -> str:
    """The path under which a file is known."""
    return os.path.abspath(path)


def status_of(path: Path) -> os.stat_result | None:
    """Size and times of a file; None where it cannot be looked at."""
    try:
        return path.stat()
    except OSError:
        return None


def digest_of(path: Path) -> str:
    """SHA-256 of a file; nothing for one that cannot be read, or is no file, such as a pipe."""
    try:
        return sha256_file(path) if path.is_file() else ""
    except OSError:
        return ""


def _surely_unchanged(before: KnownFile, status: os.stat_result) -> bool:
    """Whether size and times are as before, and the times are so old that a later change would show."""
    same = (before.size, before.modified, before.changed) == (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return same and before.modified < before.looked - CLOCK


def _is_meant(path: str, sources: Sequence[str | Path]) -> bool:
    """Whether a file that is not among those of the sources was one of them: it lies in a folder that was named, or is gone."""
    for source in sources:
        place = absolute_path(Path(source))
        if os.path.isdir(place):
            if path.startswith(os.path.join(place, "")):
                return True
        elif path == place:
            return True
        elif glob.has_magic(str(source)) and not os.path.exists(path):
            fixed = str(source)[: min(str(source).find(sign) for sign in "*?[" if sign in str(source))]
            if path.startswith(absolute_path(Path(fixed or "."))):
                return True
    return False
