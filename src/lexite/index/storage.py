"""Files of a segment: written once with a checksum, mapped into memory afterwards.

Arrays are ``.npy`` files with a header of exactly 128 bytes, so that their length is known before they are written and their
shape need not be parsed when they are opened. Bytes (ids, titles, texts) are plain UTF-8 files.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.files import fsync_folder, sha256_file, storage_errors

HEADER_BYTES = 128
GAP_BYTES = 1 << 16  # between two ranges that take no longer to read than another request
PLACES = 8  # of a file, that are asked about
AHEAD_BYTES = 1 << 18  # asked for in one request, since systems cut off what is beyond their own limit
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the commit point says about a file.

    Attributes:
        bytes: its length.
        sha256: SHA-256 of its bytes, in hexadecimal.
    """

    bytes: int
    sha256: str


def array_header(dtype: str, shape: Shape) -> bytes:
    r"""The first 128 bytes of a ``.npy`` file (format version 1.0).

    >>> len(array_header("<i8", (16385,))), array_header("<i8", (16385,))[:6]
    (128, b'\x93NUMPY')
    """
    description = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + description.ljust(length - 1).encode("ascii") + b"\n"


class FileWriter:
    """Writes a new file piece by piece, counting and hashing what goes through.

    Used as a context manager; leaving the block flushes the file to the disk. ``record`` is there afterwards.

    Args:
        path: the file; it must not exist.

    Raises:
        StorageError: it cannot be written (by the constructor, ``write`` and leaving the block).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._digest = hashlib.sha256()
        with storage_errors(path):
            self._file = open(path, "xb")  # noqa: SIM115 - closed by close()

    def write(self, data: bytes | NDArray[Any]) -> None:
        """Appends bytes, or the bytes of a contiguous array."""
        content: Any = data  # numpy's arrays are buffers, but their types say so only in newer versions
        view = memoryview(content).cast("B") if len(data) else memoryview(b"")
        with storage_errors(self.path):
            self._file.write(view)
        self._digest.update(view)
        self.bytes += len(view)

    def close(self, *, durable: bool = True) -> None:
        """Closes the file, after bringing it to the disk when ``durable``. Calling it again does nothing."""
        if self._file.closed:
            return
        with storage_errors(self.path), self._file:
            if durable:
                self._file.flush()
                os.fsync(self._file.fileno())

    @property
    def record(self) -> FileRecord:
        """Length and checksum of the bytes written so far."""
        return FileRecord(self.bytes, self._digest.hexdigest())

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(durable=kind is None)


def array_writer(path: Path, dtype: str, shape: Shape) -> FileWriter:
    """A writer of a ``.npy`` file whose shape is known; the caller appends exactly its numbers."""
    writer = FileWriter(path)
    writer.write(array_header(dtype, shape))
    return writer


def write_array(path: Path, array: NDArray[Any]) -> FileRecord:
    """Writes one whole array."""
    array = np.ascontiguousarray(array)
    with array_writer(path, array.dtype.str, array.shape) as writer:
        writer.write(array.reshape(-1).view(np.uint8))
    return writer.record


@contextlib.contextmanager
def new_files(place: Path, names: Sequence[str]) -> Iterator[None]:
    """Makes a folder inside an index ready for new files, and flushes both folders once the block has written them.

    Args:
        place: the folder; made when missing.
        names: the files; leftovers of a failed commit under these names are removed.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(place):
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).unlink(missing_ok=True)
    yield
    with storage_errors(place):
        fsync_folder(place)
        fsync_folder(place.parent)


def map_array(path: Path, record: FileRecord, dtype: str, shape: Shape, *, scattered: bool = False) -> NDArray[Any]:
    """Maps a ``.npy`` file into memory, read-only.

    Args:
        path: the file.
        record: the length that it must have.
        dtype: of its numbers.
        shape: of its array.
        scattered: as for :func:`map_bytes`.

    Raises:
        IndexFormatError: it is missing, has another length than recorded, or holds another kind of array.
    """
    count = int(np.prod(shape, dtype=np.int64))
    content, head = _mapped(path, record, HEADER_BYTES, scattered=scattered)
    if len(content) != HEADER_BYTES + count * np.dtype(dtype).itemsize or head != array_header(dtype, shape):
        raise IndexFormatError(f"{path} is damaged: it does not hold the array {dtype}{list(shape)} that the index expects.")
    return np.frombuffer(content, dtype=dtype, offset=HEADER_BYTES, count=count).reshape(shape)


def map_bytes(path: Path, record: FileRecord, *, scattered: bool = False) -> NDArray[np.uint8]:
    """Maps a file into memory as bytes, read-only; raises as :func:`map_array` does.

    Args:
        path: the file.
        record: the length that it must have.
        scattered: whether few places of it will be read, so that the system does not read megabytes around each from a
            disk; :func:`read_ahead` says which.
    """
    content, _ = _mapped(path, record, 0, scattered=scattered)
    return content


def _mapped(path: Path, record: FileRecord, n_head: int, *, scattered: bool) -> tuple[NDArray[np.uint8], bytes]:
    """A file, and its first bytes: these are read, since a system may read megabytes of a map where one byte is looked at."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != record.bytes:
                raise IndexFormatError(f"{path} is damaged: it has {size:,} bytes instead of {record.bytes:,}.")
            if not size:
                return np.empty(0, dtype=np.uint8), b""
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if scattered and hasattr(mmap, "MADV_RANDOM"):
                with contextlib.suppress(OSError):  # advice, which some systems do not take
                    mapped.madvise(mmap.MADV_RANDOM)
            return np.frombuffer(mapped, dtype=np.uint8), file.read(n_head) if n_head else b""
    except FileNotFoundError:
        raise IndexFormatError(f"{path} is missing; the index is damaged. Build it again.") from None
    except OSError as error:
        raise IndexFormatError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_ahead(array: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64], gap: int = GAP_BYTES) -> None:
    """Lets the system read ranges of bytes of a mapped array, all at once and without waiting for them.

    Args:
        array: from this module, or a contiguous part of such a one; nothing happens for one that is in memory.
        starts: where the ranges begin.
        ends: where they end.
        gap: bytes between two ranges up to which they are read as one.
    """
    mapped: Any = array.base
    while isinstance(mapped, (np.ndarray, memoryview)):
        mapped = mapped.base if isinstance(mapped, np.ndarray) else mapped.obj
    if not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    whole = np.frombuffer(mapped, np.uint8, 1)
    offset = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    real = np.flatnonzero((starts >= 0) & (starts < ends) & (ends <= array.nbytes))  # a damaged directory may say anything
    if not len(real):
        return
    real = real[np.argsort(starts[real], kind="stable")]
    begins, reached = starts[real] + offset, np.maximum.accumulate(ends[real]) + offset
    breaks = np.flatnonzero(begins[1:] > reached[:-1] + gap)  # behind which another request begins
    with contextlib.suppress(OSError):  # advice, which some systems do not take
        for start, end in zip(
            [int(begins[0]), *begins[breaks + 1].tolist()], [*reached[breaks].tolist(), int(reached[-1])], strict=True
        ):
            for place in range(start - start % mmap.PAGESIZE, end, AHEAD_BYTES):
                mapped.madvise(mmap.MADV_WILLNEED, place, min(AHEAD_BYTES, end - place))


def read_all_ahead(array: NDArray[Any]) -> None:
    """Lets the system read a mapped array, or a contiguous part of it, without waiting for it."""
    read_ahead(array, np.zeros(1, np.int64), np.full(1, array.nbytes))


def read_files_ahead(files: Iterable[tuple[str, int]]) -> None:
    """Lets the system read the beginnings of files without waiting for them, all at once.

    Args:
        files: each with the bytes of it that are wanted.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path, n_bytes in files:
        with contextlib.suppress(OSError):  # advice; what is missing is told where the file is opened
            file = os.open(path, os.O_RDONLY)
            try:
                for place in range(0, n_bytes, AHEAD_BYTES):
                    os.posix_fadvise(file, place, min(AHEAD_BYTES, n_bytes - place), os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)


def on_disk(path: Path, n_bytes: int) -> bool | None:
    """Whether most of a file would have to be read from a disk, as far as some places of it tell.

    Args:
        path: the file.
        n_bytes: its length.

    Returns:
        None where the system cannot say it.
    """
    if not n_bytes:
        return False
    places = range(n_bytes // (2 * PLACES), n_bytes, max(n_bytes // PLACES, 1))
    try:
        with open(path, "rb") as file:
            if 2 * _not_in_memory(file.fileno(), places) > PLACES:
                return True
            return _would_wait(file.fileno(), places)
    except (OSError, ValueError):  # a file system that cannot say it, or a file that a newer commit has removed or replaced
        return None


@functools.cache
def _mincore() -> Any:
    return getattr(ctypes.CDLL(None), "mincore", None) if os.name == "posix" else None


def _not_in_memory(file: int, places: Iterable[int]) -> int:
    """How many places of a file are not in memory, as ``mincore`` says.

    It gives 0 also where it says nothing, as to those who may not write the file.
    """
    mincore = _mincore()
    if mincore is None:
        return 0
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as mapped:
        whole = np.frombuffer(mapped, np.uint8)
        address, found, absent = whole.ctypes.data, (ctypes.c_ubyte * 1)(), 0
        del whole
        for place in places:
            page = ctypes.c_void_p(address + place - place % mmap.PAGESIZE)
            absent += mincore(page, ctypes.c_size_t(1), found) == 0 and not found[0] & 1
    return absent


def _would_wait(file: int, places: Iterable[int]) -> bool | None:
    """Whether reading most of some places would wait for a disk; None where the system cannot say it.

    Asking makes Linux read them, and a quick disk may be done before the answer.
    """
    without_waiting = getattr(os, "RWF_NOWAIT", 0)
    if not without_waiting:
        return None
    absent, one = 0, bytearray(1)
    for place in places:
        try:
            os.preadv(file, [one], place, without_waiting)
        except BlockingIOError:
            absent += 1
    return 2 * absent > PLACES


def map_numbers(path: Path, record: FileRecord, dtype: str, count: int) -> NDArray[Any]:
    """Maps a file of bare numbers (``.bin``) of which few places will be read; raises as :func:`map_array` does."""
    content = map_bytes(path, record, scattered=True)
    if len(content) != count * np.dtype(dtype).itemsize:
        raise IndexFormatError(f"{path} is damaged: it does not hold the {count:,} numbers that the index expects.")
    return content.view(dtype)


def read_part(path: Path, dtype: str, start: int, count: int) -> NDArray[Any]:
    """Reads a range of numbers into memory of its own (a map would count as used memory).

    Args:
        path: a one-dimensional ``.npy`` file, or a file of bare numbers (any other name).
        dtype: of its numbers.
        start: the first one.
        count: how many.

    Raises:
        IndexFormatError: the file cannot be read or ends too early.
    """
    header = HEADER_BYTES if path.suffix == ".npy" else 0
    try:
        with open(path, "rb") as file:
            file.seek(header + start * np.dtype(dtype).itemsize)
            part = np.fromfile(file, dtype=dtype, count=count)
    except OSError as error:
        raise IndexFormatError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(part) != count:
        raise IndexFormatError(f"{path} is damaged: it ends too early.")
    return part


def verify_file(path: Path, record: FileRecord) -> None:
    """Compares a file with its recorded length and checksum.

    Raises:
        IndexFormatError: it is missing, unreadable or damaged.
    """
    try:
        size = path.stat().st_size
        same = size == record.bytes and sha256_file(path) == record.sha256
    except FileNotFoundError:
        raise IndexFormatError(f"{path} is missing; the index is damaged. Build it again.") from None
    except OSError as error:
        raise IndexFormatError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not same:
        raise IndexFormatError(f"{path} is damaged: its checksum is wrong. Build the index again, or restore the file.")
