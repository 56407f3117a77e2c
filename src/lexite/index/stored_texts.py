"""Titles and texts of a segment's documents: in blocks that are compressed by zstd, or plain in files of before version 6.

A block holds whole documents, titles and texts one after the other, some 16 kB of them before they are compressed. Reading a
document decompresses its block, which takes some 40 microseconds.
"""

from __future__ import annotations

import functools
import importlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.ids import VERIFY
from lexite.index.live_runs import live_runs
from lexite.index.storage import HEADER_BYTES, FileRecord, FileWriter, map_array, map_bytes, read_part, write_array

TEXTS_NAME, BOUNDS_NAME, BLOCKS_NAME = "texts.bin", "text_bounds.npy", "text_blocks.npy"
BLOCK_BYTES = 1 << 14
LEVEL = 3
PIECE_BYTES = 1 << 22
LEAST_WINDOW = 1 << 10  # of zstd


class StoredTexts(Protocol):
    """Titles and texts of documents, however they are kept."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """(2 n_documents + 1,) where each title and each text begins before compression: title, text, title, text and so on."""
        ...

    def document(self, number: int) -> tuple[bytes, bytes]:
        """Title and text of a document.

        Raises:
            IndexFormatError: they are damaged.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainTexts:
    """Texts without compression.

    Attributes:
        bounds: as in :class:`StoredTexts`.
        data: uint8, the texts one after the other in UTF-8.
    """

    bounds: NDArray[np.int64]
    data: NDArray[np.uint8]

    def document(self, number: int) -> tuple[bytes, bytes]:
        """Title and text of a document."""
        begin, middle, end = self.bounds[2 * number : 2 * number + 3]
        return self.data[begin:middle].tobytes(), self.data[middle:end].tobytes()


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """Texts in compressed blocks.

    Attributes:
        bounds: as in :class:`StoredTexts`.
        data: uint8, the blocks.
        blocks: (n_blocks + 1, 2) int64, where each block begins before compression and in ``data``.
        place: the folder, for errors.
        last: the number and the content of the block that was read last.
    """

    bounds: NDArray[np.int64]
    data: NDArray[np.uint8]
    blocks: NDArray[np.int64]
    place: Path
    last: list[tuple[int, bytes]] = field(default_factory=lambda: [(-1, b"")], compare=False)

    def document(self, number: int) -> tuple[bytes, bytes]:
        """Title and text of a document; raises IndexFormatError when they are damaged."""
        begin, middle, end = self.bounds[2 * number : 2 * number + 3].tolist()
        if begin == end:
            return b"", b""
        block = int(np.searchsorted(self.blocks[:, 0], begin, side="right")) - 1
        if not 0 <= block < len(self.blocks) - 1:
            raise _damaged(self.place)
        first = int(self.blocks[block, 0])
        content = self._content(block)
        if not first <= begin <= middle <= end <= first + len(content):
            raise _damaged(self.place)
        return content[begin - first : middle - first], content[middle - first : end - first]

    def _content(self, block: int) -> bytes:
        number, content = self.last[0]  # taken in one step, since other threads may put another one there
        if number != block:
            (first, low), (last, high) = self.blocks[block : block + 2].tolist()
            if not 0 <= low < high <= len(self.data) or last < first:
                raise _damaged(self.place)
            content = _decompressed(self.data[low:high].tobytes(), last - first, self.place)
            self.last[0] = block, content
        return content


class TextWriter:
    """Writes titles and texts block by block.

    Args:
        folder: of the segment.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._compress = folder, _compressor()
        self._file = FileWriter(folder / TEXTS_NAME)
        self._bounds, self._blocks = array("q", [0]), array("q", [0, 0])
        self._waiting: list[bytes] = []

    def write(self, title: bytes, text: bytes) -> None:
        """Appends a document.

        Raises:
            StorageError: it cannot be written.
        """
        for part in (title, text):
            self._bounds.append(self._bounds[-1] + len(part))
            self._waiting.append(part)
        if self._bounds[-1] - self._blocks[-2] >= BLOCK_BYTES:
            self._end_block()

    def take(self, texts: StoredTexts, deleted: NDArray[np.bool_] | None, folder: Path) -> None:
        """Appends the living documents of a segment; its blocks are copied where they are large and nothing is deleted.

        Args:
            texts: of the segment.
            deleted: (n_documents,) which documents are deleted; None: none.
            folder: of the segment, whose files are read in pieces (a map would count as used memory).

        Raises:
            IndexFormatError: texts are damaged.
            StorageError: they cannot be written.
        """
        if (
            isinstance(texts, PackedTexts)
            and deleted is None
            and texts.bounds[-1] >= BLOCK_BYTES // 2 * (len(texts.blocks) - 1)
        ):
            self._copy(texts, folder)
            return
        n_documents = len(texts.bounds) // 2
        for first, end in live_runs(deleted, np.arange(n_documents + 1)):
            for number in range(first, end):
                self.write(*texts.document(number))

    def close(self, *, durable: bool = True) -> None:
        """Writes the last block and closes the file; without ``durable`` the file is of no use afterwards."""
        if durable:
            self._end_block()
        self._file.close(durable=durable)

    def finish(self) -> dict[str, FileRecord]:
        """Closes the file, writes where documents and blocks begin, and gives the files' records."""
        self.close()
        blocks = np.array(self._blocks, dtype=np.int64).reshape(-1, 2)
        return {
            TEXTS_NAME: self._file.record,
            BOUNDS_NAME: write_array(self._folder / BOUNDS_NAME, np.array(self._bounds, dtype=np.int64)),
            BLOCKS_NAME: write_array(self._folder / BLOCKS_NAME, blocks),
        }

    def _copy(self, texts: PackedTexts, folder: Path) -> None:
        self._end_block()
        plain, compressed = self._bounds[-1], self._file.bytes
        for start in range(0, len(texts.data), PIECE_BYTES):
            self._file.write(read_part(folder / TEXTS_NAME, "|u1", start, min(PIECE_BYTES, len(texts.data) - start)))
        self._bounds.extend((texts.bounds[1:] + plain).tolist())
        self._blocks.extend((texts.blocks[1:] + np.array([plain, compressed])).ravel().tolist())

    def _end_block(self) -> None:
        content = b"".join(self._waiting)
        self._waiting.clear()
        if content:
            self._file.write(self._compress(content))
            self._blocks.extend([self._bounds[-1], self._file.bytes])


def open_texts(folder: Path, files: Mapping[str, FileRecord], n_documents: int) -> StoredTexts:
    """Maps the titles and texts of a segment.

    Raises:
        IndexFormatError: a file is missing or has the wrong length.
    """
    missing = next((name for name in (TEXTS_NAME, BOUNDS_NAME) if name not in files), None)
    if missing:
        raise IndexFormatError(f"{folder / missing} is not listed by the commit point; the index is damaged.")
    bounds = map_array(folder / BOUNDS_NAME, files[BOUNDS_NAME], "<i8", (2 * n_documents + 1,))
    data = map_bytes(folder / TEXTS_NAME, files[TEXTS_NAME])
    if BLOCKS_NAME not in files:
        return PlainTexts(bounds, data)
    record = files[BLOCKS_NAME]
    count = (record.bytes - HEADER_BYTES) // 16
    return PackedTexts(bounds, data, map_array(folder / BLOCKS_NAME, record, "<i8", (max(count, 0), 2)), folder)


def _damaged(place: Path) -> IndexFormatError:
    return IndexFormatError(f"{place}: an id or a text in the index is damaged. {VERIFY}")


@functools.cache
def _zstd() -> tuple[Any, bool]:
    """What compresses, and whether it is Python's own, which it has from 3.14 on.

    It is kept, since an import that fails is looked for anew each time, which took twice as long as to read a block.
    """
    try:
        return importlib.import_module("compression.zstd"), True
    except ImportError:
        return importlib.import_module("zstandard"), False


def _compressor() -> Callable[[bytes], bytes]:
    """Compresses a block; for one thread."""
    module, standard = _zstd()
    if standard:
        return lambda content: bytes(module.compress(content, LEVEL))
    compress: Callable[[bytes], bytes] = module.ZstdCompressor(level=LEVEL).compress
    return compress


def _decompressed(frame: bytes, size: int, place: Path) -> bytes:
    """The content of a frame, read piece by piece: neither its head nor the directory can ask for memory that stays empty.

    Args:
        frame: a compressed block.
        size: the bytes that the directory says it has; no more than one beyond them is read.
        place: the folder, for errors.

    Raises:
        IndexFormatError: the frame is damaged, or holds more or less than that.
    """
    module, standard = _zstd()
    read = module.ZstdDecompressor().decompress if standard else functools.partial(_read_by_package, module, size)
    try:
        content = bytes(read(frame, size + 1))
    except module.ZstdError:
        raise _damaged(place) from None
    if len(content) != size:
        what = "more" if len(content) > size else "less"
        raise IndexFormatError(
            f"{place / TEXTS_NAME} is damaged: a block of texts holds {what} than the {size:,} bytes that {BLOCKS_NAME} "
            f"gives it. {VERIFY}"
        )
    return content


def _read_by_package(package: Any, window: int, frame: bytes, most: int) -> bytes:
    """At most so many bytes of a frame; frames that need more memory than the window are refused."""
    reader, parts = package.ZstdDecompressor(max_window_size=max(window, LEAST_WINDOW)).stream_reader(frame), []
    while most and (part := reader.read(min(most, PIECE_BYTES))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
