"""Files elsewhere: whatever fsspec opens by a URL (``s3://``, ``gs://``, ``hf://``, ``http://``).

What is read is fetched with retries. What is written is written on this machine first and then sent whole, so that a process
that is killed, or an error, leaves nothing half: a file opened for writing over there would be sent as it is when Python
collects it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from lexite.errors import MissingExtraError, StorageError

logger = logging.getLogger("lexite")
T = TypeVar("T")
EXTRA = "remote"
ATTEMPTS, FIRST_PAUSE = 5, 0.5  # seconds; each pause is twice the one before
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")
_WHOLE_BY_THEMSELVES = {"s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "adl", "oci", "memory"}
"""Stores in which a file appears when all of it was sent. Elsewhere it is sent beside its place and renamed."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError)


def is_url(path: str | os.PathLike[str]) -> bool:
    r"""Whether a path is one of fsspec.

    >>> is_url("s3://bucket/corpus.jsonl"), is_url("notes/s3.txt"), is_url("C:\\notes"), is_url("builtin:python")
    (True, False, False, False)
    """
    return isinstance(path, str) and bool(_URL.fullmatch(path))


@dataclass(frozen=True)
class Remote:
    """A place elsewhere.

    Attributes:
        url: as a person wrote it.
        files: the file system of fsspec.
        path: what it calls the place.
    """

    url: str
    files: Any
    path: str

    @classmethod
    def of(cls, url: str) -> Remote:
        """Opens the file system of a URL.

        Raises:
            MissingExtraError: fsspec, or its package for this kind of URL, is not installed.
            StorageError: there is no such kind of URL.
        """
        try:
            fsspec = importlib.import_module("fsspec.core")
        except ImportError:
            raise MissingExtraError("fsspec", EXTRA, f"Reading and writing {url.split('://')[0]}://") from None
        try:
            files, path = fsspec.url_to_fs(url)
        except ImportError as error:
            package = str(error).split("'")[1] if "'" in str(error) else str(error).split()[-1]
            raise MissingExtraError(error.name or package, EXTRA, f"Reading and writing {url.split('://')[0]}://") from error
        except ValueError as error:
            raise StorageError(f"{url} cannot be opened: {error}.") from error
        return cls(url, files, str(path))

    @property
    def protocol(self) -> str:
        """The kind of URL."""
        return self.url.split("://")[0].lower()

    def child(self, name: str) -> Remote:
        """A file in this folder."""
        return Remote(f"{self.url.rstrip('/')}/{name}", self.files, f"{self.path.rstrip('/')}/{name}")

    def names(self) -> set[str]:
        """The files in this folder; none where it is not there."""

        def listed() -> list[str]:
            self.files.invalidate_cache()  # another process may have written meanwhile
            try:
                return [str(name) for name in self.files.ls(self.path, detail=False)]
            except FileNotFoundError:
                return []

        return {name.rstrip("/").rpartition("/")[2] for name in retried(listed, self.url)} - {""}

    def size(self) -> int:
        """Bytes of the file.

        Raises:
            StorageError: it is not there, or does not say its size.
        """
        found = retried(lambda: self.files.info(self.path), self.url).get("size")
        if found is None:
            raise StorageError(f"{self.url} does not say its size, so it cannot be read in parts. Fetch it first.")
        return int(found)

    def read(self, start: int, stop: int) -> bytes:
        """Some bytes of the file.

        Raises:
            StorageError: they cannot be read.
        """
        content: bytes = retried(lambda: self.files.cat_file(self.path, start=start, end=stop), self.url)
        return content[start:stop] if len(content) > stop - start else content  # of a server that knows no ranges

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, for reading at any place.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        file = retried(lambda: self.files.open(self.path, "rb"), self.url)
        with file:
            yield file

    @contextlib.contextmanager
    def write(self) -> Iterator[IO[bytes]]:
        """The file, for writing. It appears when the block ends, and not at all where an error ends it.

        Raises:
            StorageError: it cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="lexite-") as folder:
            local = Path(folder) / "file"
            with open(local, "wb") as file:
                yield file
            retried(lambda: self._send(local), self.url)

    def _send(self, local: Path) -> None:
        if self.protocol in _WHOLE_BY_THEMSELVES:
            self.files.put_file(str(local), self.path)
            return
        beside = f"{self.path}.{os.getpid()}.tmp"
        self.files.makedirs(self.path.rpartition("/")[0], exist_ok=True)
        try:
            self.files.put_file(str(local), beside)
            self.files.mv(beside, self.path)
        except BaseException:
            with contextlib.suppress(Exception):
                self.files.rm_file(beside)
            raise


def retried(function: Callable[[], T], where: str) -> T:
    """What a function gives, which is called again where the network failed.

    Args:
        function: what to do.
        where: the URL, for messages.

    Raises:
        StorageError: it failed for good, or five times.
    """
    pause = FIRST_PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return function()
        except _FINAL as error:
            reason = "it does not exist" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
            raise StorageError(f"{where} cannot be reached: {reason}.") from error
        except Exception as error:  # each file system has errors of its own
            if attempt == ATTEMPTS:
                raise StorageError(f"{where} cannot be reached, after {ATTEMPTS} attempts: {error}.") from error
            logger.info("%s: %s. Trying again in %.1f s.", where, error, pause)
            time.sleep(pause)
            pause *= 2
    raise AssertionError("the last attempt returns or raises")
