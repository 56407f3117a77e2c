"""The folder that shards are written to: files in it appear whole, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from lexite.errors import StorageError
from lexite.files import atomic_write, parse_json
from lexite.remote import Remote, is_url

BLOCK = 1 << 20


class Place(Protocol):
    """A folder, on this machine or elsewhere."""

    def __str__(self) -> str: ...

    def names(self) -> set[str]:
        """The files that are there."""
        ...

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file, for reading at any place.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        ...

    def write(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file, for writing. It appears when the block ends, and not at all where an error ends it.

        Raises:
            StorageError: it cannot be written.
        """
        ...


class LocalPlace:
    """A folder of this machine, or one that is mounted.

    Args:
        folder: it is made when the first file is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __str__(self) -> str:
        return str(self.folder)

    def names(self) -> set[str]:
        """The files that are there."""
        try:
            return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be listed: {error.strerror or error}.") from error

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file, for reading at any place."""
        try:
            file = open(self.folder / name, "rb")  # noqa: SIM115 - closed below; an error of the caller is not one of opening
        except OSError as error:
            raise StorageError(f"{self.folder / name} cannot be read: {error.strerror or error}.") from error
        with file:
            yield file

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        """A file, for writing."""
        with atomic_write(self.folder / name) as file:
            yield file


class RemotePlace:
    """A folder elsewhere, named by a URL of fsspec.

    Args:
        url: the URL.
    """

    def __init__(self, url: str) -> None:
        self._folder = Remote.of(url)

    def __str__(self) -> str:
        return self._folder.url.rstrip("/")

    def names(self) -> set[str]:
        """The files that are there."""
        return self._folder.names()

    def open(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file, for reading at any place."""
        return self._folder.child(name).open()

    def write(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file, for writing."""
        return self._folder.child(name).write()


def place_of(path: str | Path) -> Place:
    """The folder that a person names, by a path or by a URL.

    Raises:
        MissingExtraError: a package for this kind of URL is not installed.
    """
    return RemotePlace(path) if isinstance(path, str) and is_url(path) else LocalPlace(path)


def read_bytes(place: Place, name: str) -> bytes:
    """All of a file."""
    with place.open(name) as file:
        return file.read()


def read_record(place: Place, name: str) -> dict[str, Any]:
    """A JSON object of a file.

    Raises:
        StorageError: it is not there, or is none.
    """
    where = f"{place}/{name}"
    try:
        value = parse_json(read_bytes(place, name).decode("utf-8"), where, StorageError)
    except UnicodeDecodeError as error:
        raise StorageError(f"{where} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise StorageError(f"{where} is damaged: it holds no JSON object.")
    return value


def write_record(place: Place, name: str, value: Mapping[str, Any]) -> None:
    """Writes a JSON object."""
    with place.write(name) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8"))


class Hashing:
    """A file that is written and hashed at once.

    Args:
        file: that the bytes go to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Appends bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self.bytes += len(view)
        return len(view)

    def tell(self) -> int:
        """How many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """The file is flushed when it is closed."""

    def close(self) -> None:
        """Whoever opened the file closes it."""
        self.closed = True

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()


def sha256_of(place: Place, name: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with place.open(name) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
