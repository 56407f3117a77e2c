"""Cutting sources into shards: a share of all bytes each, at the borders of files, records and row groups.

The cut depends on the files alone, on their names, order and sizes, so that every process finds the same one. Shards in their
order hold the documents that one reading of the sources gives, in the same order.

Records of JSON lines and TSV are cut between lines; Parquet between row groups; any other file is one piece. A record belongs
to the shard in whose bytes it begins.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from lexite.corpus.files import FileEntry, list_files
from lexite.corpus.json_values import is_spread_out
from lexite.corpus.mirror import mirrored_file, shown
from lexite.corpus.options import BadFile, DamagedSource, ReadReport
from lexite.corpus.streams import line_from, open_bytes
from lexite.errors import ConfigError, CorpusError, MissingExtraError

BLOCK = 1 << 20
_SHARD = re.compile(r"([0-9]+)/([0-9]+)")
_CUT_BY_LINES = ("jsonl", "tsv")


@dataclass(frozen=True, slots=True)
class Shard:
    """Which share of the sources is meant.

    Attributes:
        number: counted from 0.
        count: how many shards there are.

    >>> Shard.parse("3/64"), str(Shard(3, 64))
    (Shard(number=3, count=64), '3/64')
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard as people write it: its number, counted from 0, and how many there are.

        Raises:
            ConfigError: it is none.
        """
        found = _SHARD.fullmatch(text.strip())
        if found is None or not int(found[1]) < int(found[2]):
            raise ConfigError(
                f"The shard '{text}' cannot be. Write its number, counted from 0, and how many there are: 0/4, 1/4, 2/4, 3/4."
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or a range of it.

    Attributes:
        entry: the file.
        start: the first byte of the range, or the first row group of a Parquet file.
        stop: the end of the range; None: the file is read whole.
    """

    entry: FileEntry
    start: int = 0
    stop: int | None = None

    @property
    def by_row_groups(self) -> bool:
        """Whether the range counts row groups."""
        return self.entry.format == "parquet" and self.stop is not None

    def __str__(self) -> str:
        if self.stop is None:
            return shown(self.entry.path)
        unit = "row groups" if self.by_row_groups else "bytes"
        return f"{shown(self.entry.path)}, {unit} {self.start:,} to {self.stop:,}"


class _Piece(NamedTuple):
    """What cannot be cut further, or a file that can be cut at any line (``by_lines``)."""

    part: FilePart
    size: int
    by_lines: bool = False


def parts_of_shard(sources: Sequence[str | Path], shard: Shard, report: ReadReport | None = None) -> list[FilePart]:
    """The files and ranges of files that a shard reads, in order; none where there are more shards than pieces.

    Args:
        sources: files, folders and patterns.
        shard: which share.
        report: files that are not read are counted there.

    Raises:
        CorpusError: a source does not exist or cannot be read, or is no file (standard input, a dataset).
        MissingExtraError: there are Parquet files, and pyarrow is not installed.
    """
    pieces = [piece for entry in list_files(sources, report) for piece in _pieces_of(entry, shard.count)]
    total = sum(piece.size for piece in pieces)
    low, high = (total * number // shard.count for number in (shard.number, shard.number + 1))
    if shard.number == shard.count - 1:
        high = total + 1  # the last one takes what has no bytes
    found: list[FilePart] = []
    first = 0
    for piece in pieces:
        begin, end = max(low - first, 0), min(high - first, piece.size)
        if piece.by_lines and begin < end:
            whole = begin == 0 and end == piece.size
            found.append(piece.part if whole else replace(piece.part, start=begin, stop=end))
        elif not piece.by_lines and low <= first < high:
            found.append(piece.part)
        first += piece.size
    return _joined(found)


def _joined(parts: Sequence[FilePart]) -> list[FilePart]:
    """Neighbouring row groups of one file as one range."""
    joined: list[FilePart] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is not None and part.by_row_groups and last.entry == part.entry and last.stop == part.start:
            joined[-1] = replace(last, stop=part.stop)
        else:
            joined.append(part)
    return joined


def _pieces_of(entry: FileEntry, n_shards: int) -> list[_Piece]:
    """The pieces of a file. One of a folder that cannot be read is a piece without bytes: the shard that has it reports it."""
    try:
        whole = _Piece(FilePart(entry), entry.size())
        if n_shards == 1:
            return [whole]
        if entry.format == "parquet":
            return [_Piece(FilePart(entry, number, number + 1), bytes) for number, bytes in enumerate(_row_groups(entry.path))]
        return [whole._replace(by_lines=entry.format in _CUT_BY_LINES and _is_cut_by_lines(entry))]
    except (BadFile, DamagedSource, OSError) as problem:
        if entry.one_of_many:
            return [_Piece(FilePart(entry), 0)]
        raise _unreadable(entry, problem) from problem


def _unreadable(entry: FileEntry, problem: Exception) -> CorpusError:
    if isinstance(problem, OSError):
        return DamagedSource(f"{entry.path} cannot be read: {problem.strerror or problem}.")
    return problem if isinstance(problem, CorpusError) else DamagedSource(str(problem))


def _row_groups(path: Path) -> list[int]:
    """Bytes of the row groups of a Parquet file."""
    remote = mirrored_file(path)
    if remote is not None:
        remote.fetch_footer()
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "Reading Parquet files") from None
    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata
            return [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    except (arrow.ArrowException, OSError) as error:
        raise DamagedSource(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).") from error


def _is_cut_by_lines(entry: FileEntry) -> bool:
    """Whether each line of a file is a record: it is not compressed, and its objects do not go over several lines."""
    remote = mirrored_file(entry.path)
    if remote is not None:
        remote.fetch_beginning()
    with open_bytes(entry.path, str(entry.path)) as stream, open(entry.path, "rb") as plain:
        head = plain.read(len(stream.head))
        return head == stream.head and not (entry.format == "jsonl" and is_spread_out(head))


def fetch_part(part: FilePart) -> None:
    """Makes what a part has of a file elsewhere readable; does nothing for files of this machine.

    Raises:
        StorageError: it cannot be fetched.
    """
    remote = mirrored_file(part.entry.path)
    if remote is None:
        return
    if part.stop is None:
        remote.fetch(0, remote.size)
    elif not part.by_row_groups:
        remote.fetch_beginning()
        remote.fetch(part.start - 1, part.stop)
        for place in (part.start, part.stop):
            remote.fetch_line_end(place)
    else:
        remote.fetch_footer()
        for start, stop in _ranges_of_row_groups(part):
            remote.fetch(start, stop)


def _ranges_of_row_groups(part: FilePart) -> Iterator[tuple[int, int]]:
    """Where the columns of row groups lie in a Parquet file."""
    assert part.stop is not None
    with importlib.import_module("pyarrow.parquet").ParquetFile(part.entry.path) as file:
        for number in range(part.start, part.stop):
            group = file.metadata.row_group(number)
            columns = [group.column(place) for place in range(group.num_columns)]
            starts = [min(c.data_page_offset, c.dictionary_page_offset or c.data_page_offset) for c in columns]
            yield min(starts), max(start + c.total_compressed_size for start, c in zip(starts, columns, strict=True))


def digest_of_parts(parts: Sequence[FilePart]) -> str:
    """SHA-256 over the names of files and over the bytes that a shard reads of them, in hexadecimal.

    Of a Parquet file these are the numbers of its row groups and the bytes of its footer, which has their places, sizes and
    statistics. Of a file of a folder that cannot be read it is the reason.

    Raises:
        DamagedSource: a file that was named cannot be read.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr((part.entry.id, part.start, part.stop)).encode())
        try:
            part.entry.size()
            fetch_part(part)
            with open(part.entry.path, "rb") as file:
                for block in _blocks(file, part):
                    digest.update(block)
        except (BadFile, OSError) as problem:
            if not part.entry.one_of_many:
                raise _unreadable(part.entry, problem) from problem
            digest.update(repr(problem.reason if isinstance(problem, BadFile) else problem.strerror).encode())
    return digest.hexdigest()


def _blocks(file: IO[bytes], part: FilePart) -> Iterator[bytes]:
    start, stop = 0, file.seek(0, 2)
    if part.by_row_groups:
        file.seek(max(stop - 8, 0))
        start = max(stop - 8 - int.from_bytes(file.read(4), "little"), 0)
    elif part.stop is not None:
        start, stop = line_from(file, part.start), line_from(file, part.stop)
    file.seek(start)
    while start < stop and (block := file.read(min(BLOCK, stop - start))):
        start += len(block)
        yield block
