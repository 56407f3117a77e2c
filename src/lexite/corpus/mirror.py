"""Sources behind URLs: files of the right names and sizes on this machine, into which bytes are fetched when they are read.

The files are sparse: they take no space before. Whoever reads a range of a large file fetches that range and the beginning of
the file, at the places where they belong, so that all that reads files can read these.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from lexite.errors import CorpusError, StorageError
from lexite.files import storage_errors
from lexite.remote import Remote, is_url, retried

BLOCK = 8 << 20
LINES_OF_BEGINNING = 1100  # more than names and types of fields are settled by
FOOTER = 64 << 10  # of a Parquet file, as a rule with room to spare
_lock = threading.Lock()
_files: dict[str, MirroredFile] = {}
_roots: dict[int, Path] = {}


@dataclass
class MirroredFile:
    """A file that stands for one elsewhere.

    Attributes:
        path: on this machine.
        remote: the file that it stands for.
        size: bytes of it.
        fetched: ranges that are there.
        partial: whether ranges were asked for, so that all of it is fetched only where somebody says so.
    """

    path: Path
    remote: Remote
    size: int
    fetched: list[tuple[int, int]] = field(default_factory=list)
    partial: bool = False

    def fetch(self, start: int, stop: int) -> None:
        """Makes the bytes of a range readable.

        Raises:
            StorageError: they cannot be fetched or written.
        """
        start, stop = max(start, 0), min(stop, self.size)
        if start >= stop or any(low <= start and stop <= high for low, high in self.fetched):
            return
        with storage_errors(self.path), open(self.path, "r+b") as file:
            for begin in range(start, stop, BLOCK):
                content = self.remote.read(begin, min(begin + BLOCK, stop))
                if len(content) != min(begin + BLOCK, stop) - begin:
                    raise StorageError(f"{self.remote.url} has changed while it was read. Start again.")
                file.seek(begin)
                file.write(content)
        self.fetched.append((start, stop))

    def fetch_line_end(self, place: int) -> None:
        """Makes the bytes from before a place to the end of the line there readable."""
        begin = max(place - 1, 0)
        while begin < self.size:
            end = min(begin + (1 << 16), self.size)
            self.fetch(begin, end)
            with open(self.path, "rb") as file:
                file.seek(begin)
                if b"\n" in file.read(end - begin):
                    return
            begin = end

    def fetch_beginning(self) -> None:
        """Makes the lines at the beginning readable that names and types of fields are settled by."""
        self.partial = True
        lines, begin = 0, 0
        while begin < self.size and lines < LINES_OF_BEGINNING:
            end = min(begin + (1 << 19), self.size)
            self.fetch(begin, end)
            with open(self.path, "rb") as file:
                file.seek(begin)
                lines += file.read(end - begin).count(b"\n")
            begin = end

    def fetch_footer(self) -> None:
        """Makes the end of a Parquet file readable, which says where everything else is."""
        self.partial = True
        self.fetch(0, 4)
        self.fetch(self.size - FOOTER, self.size)
        with open(self.path, "rb") as file:
            file.seek(max(self.size - 8, 0))
            length = int.from_bytes(file.read(4), "little")
        self.fetch(self.size - 8 - length, self.size)

    def forget(self) -> None:
        """Gives the space back; what is read again is fetched again."""
        self.fetched.clear()
        with contextlib.suppress(OSError):
            os.truncate(self.path, 0)
            os.truncate(self.path, self.size)


def mirrored(url: str) -> Path:
    """The place on this machine that stands for a URL: a file, a folder, or a pattern of file names.

    Args:
        url: of a file, a folder, or a pattern (``s3://bucket/docs/*.txt``).

    Raises:
        CorpusError: there is no such file.
        StorageError: it cannot be looked at.
        MissingExtraError: a package for this kind of URL is not installed.
    """
    remote = Remote.of(url)
    place = _root() / remote.protocol / remote.path.replace("://", "/").strip("/")
    is_pattern = glob.has_magic(remote.path) and remote.protocol not in ("http", "https")

    def listed() -> dict[str, int | None]:
        if is_pattern:
            found = remote.files.glob(remote.path, detail=True)
        elif remote.protocol in ("http", "https") or remote.files.isfile(remote.path):
            return {remote.path: remote.size()}
        else:
            found = remote.files.find(remote.path, detail=True)
        return {str(name): info.get("size") for name, info in found.items() if info.get("type") != "directory"}

    files = retried(listed, url)
    if not files:
        raise CorpusError(f"{url} does not exist, or holds no file.")
    for name, size in files.items():
        one = Remote(name if "://" in name else f"{remote.protocol}://{name}", remote.files, name)
        _stand_for(one, place if name == remote.path else _root() / remote.protocol / name.strip("/"), size)
    return place


def mirrored_file(path: Path | None) -> MirroredFile | None:
    """The file elsewhere that a path of this machine stands for; None where it is a file of its own."""
    return None if path is None or not _files else _files.get(str(path))


def make_readable(path: Path | None) -> None:
    """Fetches all of a file that stands for one elsewhere, where nobody fetched ranges of it."""
    file = mirrored_file(path)
    if file is not None and not file.partial:
        file.fetch(0, file.size)


def fetch_whole(path: Path) -> None:
    """Fetches all of a file that stands for one elsewhere."""
    file = mirrored_file(path)
    if file is not None:
        file.fetch(0, file.size)


def forget(path: Path) -> None:
    """Gives the space of a file back that stands for one elsewhere."""
    file = mirrored_file(path)
    if file is not None:
        file.forget()


def shown(path: Path | str) -> str:
    """How messages name a file: by its URL, where it stands for one elsewhere."""
    file = mirrored_file(Path(path))
    return str(path) if file is None else file.remote.url


def refuse_urls(sources: object, purpose: str) -> None:
    """Refuses sources behind URLs where files of this machine are meant.

    Raises:
        CorpusError: there is one.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else sources if isinstance(sources, (list, tuple)) else []
    url = next((each for each in listed if is_url(each)), None)
    if url is not None:
        raise CorpusError(f"{url} is no file of this machine, and {purpose}. Fetch it first.")


def _stand_for(remote: Remote, path: Path, size: int | None) -> None:
    known = remote.size() if size is None else int(size)
    with _lock, storage_errors(path):
        if str(path) in _files and _files[str(path)].size == known:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(known)
        _files[str(path)] = MirroredFile(path, remote, known)


def _root() -> Path:
    """The folder of this process; it is removed at the end."""
    process = os.getpid()
    with _lock:
        if process not in _roots:
            _roots[process] = Path(tempfile.mkdtemp(prefix="lexite-remote-"))
            atexit.register(shutil.rmtree, _roots[process], ignore_errors=True)
        return _roots[process]
