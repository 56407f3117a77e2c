"""Opening a file or standard input as a stream of plain UTF-8 bytes: decompressed, checked, without a byte order mark."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lexite.corpus.mirror import make_readable
from lexite.corpus.options import DamagedSource
from lexite.errors import CorpusError, MissingExtraError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""File name ending -> name of the compression."""


def _xz_errors() -> tuple[type[Exception], ...]:
    try:
        from lzma import LZMAError
    except ImportError:  # a Python that was built without it
        return ()
    return (LZMAError,)


DAMAGE: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error, *_xz_errors())
"""What reading a damaged, truncated or unreadable file can raise."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BZIP2 = re.compile(rb"BZh[1-9](1A|\x17r)")  # the first block follows the name, which alone could begin a text
_LONGEST_MAGIC = 6
_MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
_HEAD = 8192
LONGEST_LINE = 1 << 27
"""Bytes of a line of records; what does not end before is no record."""
_BUFFER = 1 << 18


class Stream(NamedTuple):
    """An open source: ``file`` stands at its first byte of text, and ``head`` is a copy of what comes first (up to 8 KB)."""

    file: IO[bytes]
    head: bytes


class Lines(NamedTuple):
    """Lines out of the middle of a file.

    Attributes:
        file: stands at the first of them, and ends behind the last.
        begins: whether they begin with the first line of the file.
    """

    file: IO[bytes]
    begins: bool


def line_from(file: IO[bytes], place: int) -> int:
    """The beginning of the first line that begins at a place or behind it; the end of the file where there is none."""
    if not place:
        return 0
    file.seek(place - 1)
    while (block := file.readline(_BUFFER)) and not block.endswith(b"\n"):
        pass
    return file.tell()


@contextlib.contextmanager
def open_lines(path: Path, name: str, span: tuple[int, int]) -> Iterator[Lines]:
    """Opens the lines of a plain file that begin within a range of its bytes.

    Args:
        path: the file.
        name: how messages name it.
        span: the first byte of the range, and its end.

    Raises:
        DamagedSource: it cannot be read.
    """
    with _open_file(path, name) as file:
        try:
            start, stop = (line_from(file, place) for place in span)
            file.seek(start)
            if not start and file.read(len(_MARK)) != _MARK:
                file.seek(0)
            yield Lines(cast(IO[bytes], _Range(file, stop - file.tell())), start == 0)
        except DAMAGE as error:
            raise damaged(name, None, error) from error


class _Range:
    """The next bytes of a file, as a file that ends behind them; it has what readers of lines need."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readline(self, size: int = -1) -> bytes:
        """The next line, or as many bytes of it as are asked for."""
        limit = self._left if size < 0 else min(size, self._left)
        line = self._file.readline(limit) if limit > 0 else b""
        self._left -= len(line)
        return line


@contextlib.contextmanager
def open_stream(path: Path | None, name: str) -> Iterator[Stream]:
    """Opens a source for reading and looks at its beginning.

    gzip, bzip2, xz and zstd are recognised by their first bytes, so standard input can be compressed too.

    Args:
        path: the file; None is standard input.
        name: how messages name the source.

    Raises:
        CorpusError: standard input is a terminal.
        DamagedSource: it cannot be opened, the compression is not the one its name says, or the content is binary or UTF-16.
    """
    with open_bytes(path, name) as stream:
        yield _checked(stream, name)


@contextlib.contextmanager
def open_bytes(path: Path | None, name: str) -> Iterator[Stream]:
    """Opens a source that need not hold text, decompressed; see :func:`open_stream`."""
    with contextlib.ExitStack() as stack:
        raw = _standard_input() if path is None else stack.enter_context(_open_file(path, name))
        stream = _look_ahead(raw)
        compression = next((kind for magic, kind in _MAGIC.items() if stream.head.startswith(magic)), None)
        if _BZIP2.match(stream.head):
            compression = "bzip2"
        expected = COMPRESSIONS.get(path.suffix.lower()) if path else None
        if expected == "zstd" and stream.head[1:4] == b"\x2a\x4d\x18":  # pzstd begins with a frame to be skipped
            compression = "zstd"
        if expected and expected != compression:
            found = "the file is empty" if not stream.head else f"its content is not {expected}"
            raise DamagedSource(f"{name}: the name says {expected}, but {found}.")
        if compression:
            try:
                stream = _look_ahead(_decompressed(stream.file, compression))
            except DAMAGE as error:
                raise damaged(name, None, error) from error
        yield stream


def damaged(name: str, line: int | None, error: BaseException) -> DamagedSource:
    """The error for a source that stops being readable after ``line``."""
    place = name if line is None else f"{name}, after line {line}"
    if isinstance(error, EOFError):
        return DamagedSource(f"{place}: the compressed data ends too early; the file is truncated.")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return DamagedSource(f"{place}: cannot be read ({reason.rstrip('.')}); the file may be damaged.")


def numbered_lines(file: IO[bytes], at: Callable[[int], str]) -> Iterator[tuple[int, bytes]]:
    """The lines of a stream with their numbers, from 1.

    Args:
        file: the stream.
        at: how messages name a line.

    Raises:
        DamagedSource: a line is longer than any record, so that memory would not hold it.
    """
    for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), 1):
        if len(line) > LONGEST_LINE:
            raise DamagedSource(f"{at(number)}: the line is longer than {LONGEST_LINE:,} bytes. Write one record a line.")
        yield number, line


def not_utf8(problem: UnicodeDecodeError) -> str:
    """The sentence about bytes that are not UTF-8."""
    return f"not valid UTF-8 (byte 0x{problem.object[problem.start]:02x}). Save the file as UTF-8."


def _open_file(path: Path, name: str) -> IO[bytes]:
    make_readable(path)
    try:
        return open(path, "rb")
    except OSError as error:
        raise DamagedSource(f"{name} cannot be read: {error.strerror or error}.") from error


def _standard_input() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise CorpusError("Standard input is a terminal. Pipe text or JSON lines into the command, or name a file.")
    return cast(IO[bytes], sys.stdin.buffer)


class _Prefixed(io.RawIOBase):
    """Bytes that were read ahead, followed by the rest of a file."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            size = min(len(self._head), len(buffer))
            buffer[:size], self._head = self._head[:size], self._head[size:]
            return size
        data = self._rest.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        return len(data)


def _look_ahead(file: IO[bytes]) -> Stream:
    """Opens a file as a stream. It reads ahead no more than needed, since a pipe may be slow."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (data := file.read1(_HEAD)):  # type: ignore[attr-defined]
        head += data
    return Stream(io.BufferedReader(_Prefixed(head, file), _BUFFER), head)


def _decompressed(file: IO[bytes], compression: str) -> IO[bytes]:
    if compression == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if compression == "bzip2":
        return _opened_by("bz2", "BZ2File", file)
    if compression == "zstd":
        return io.BufferedReader(_ZstdReader(file), _BUFFER)
    return _opened_by("lzma", "LZMAFile", file)


def _opened_by(module: str, name: str, file: IO[bytes]) -> IO[bytes]:
    """A file read through a class of a module that not every build of Python has."""
    try:
        opened: IO[bytes] = getattr(importlib.import_module(module), name)(file)
    except ImportError:
        raise CorpusError(
            f"Reading {'xz' if module == 'lzma' else 'bzip2'} files needs a Python that was built with {module}. "
            "Recompress the file with gzip."
        ) from None
    return opened


def _checked(stream: Stream, name: str) -> Stream:
    file, head = stream
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DamagedSource(f"{name}: the text is UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
    if b"\0" in head:
        raise DamagedSource(f"{name}: this is a binary file, not text.")
    if head.startswith(_MARK):
        file.read(len(_MARK))
        head = head[len(_MARK) :]
    return Stream(file, head)


class _ZstdReader(io.RawIOBase):
    """Decompresses zstd frame by frame. It notices a file that was cut off, which the library's own reader does not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._new_frame, self._error = _zstd()
        self._frame: Any = None
        self._compressed = self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if not self._compressed:
                self._compressed = self._file.read(1 << 15)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._decompress()
        size = min(len(self._plain), len(buffer))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._new_frame()
        try:
            self._plain = self._frame.decompress(self._compressed)
        except self._error as error:
            raise OSError(str(error)) from error
        self._compressed = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None


def _zstd() -> tuple[Callable[[], Any], type[Exception]]:
    """A function that makes a decompressor of one frame, and its exception; from Python 3.14, else from zstandard."""
    with contextlib.suppress(ImportError):
        standard: Any = importlib.import_module("compression.zstd")
        return standard.ZstdDecompressor, standard.ZstdError
    try:
        package: Any = importlib.import_module("zstandard")
    except ImportError:
        raise MissingExtraError("zstandard", "zstd", "Reading zstd files") from None
    return package.ZstdDecompressor().decompressobj, package.ZstdError
