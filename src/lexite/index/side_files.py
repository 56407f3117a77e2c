"""The side files of a segment: their names and types, how they are written, opened and merged.

Vectors have a row for each passage. Codes lie token after token: the tokens of a passage follow one another, and so do the
entries of a token. ``code_bounds.npy`` says where the tokens and the entries of each passage begin.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, IndexFormatError, StorageError
from lexite.index.live_runs import live_runs, living
from lexite.index.side_config import VECTOR_TYPES, SideDataRecord
from lexite.index.side_packing import PackedTokens, PackedVectors
from lexite.index.storage import FileRecord, FileWriter, map_array, map_numbers, read_part, write_array

VECTORS_NAME, VECTOR_SCALES_NAME = "vectors.bin", "vector_scales.bin"
CODE_BOUNDS_NAME, CODE_COUNTS_NAME = "code_bounds.npy", "code_counts.bin"
CODE_SCALES_NAME, CODE_NORMS_NAME = "code_scales.bin", "code_norms.bin"
CODE_LATENTS_NAME, CODE_VALUES_NAME = "code_latents.bin", "code_values.bin"
VECTOR_FILES = (VECTORS_NAME, VECTOR_SCALES_NAME)
CODE_FILES = (
    *(CODE_BOUNDS_NAME, CODE_COUNTS_NAME, CODE_SCALES_NAME, CODE_NORMS_NAME),
    *(CODE_LATENTS_NAME, CODE_VALUES_NAME),
)
PIECE_NUMBERS = 1 << 20  # that a merge reads at once
Unit = Literal["passage", "token", "entry"]


class NumbersFile(NamedTuple):
    """A file of bare numbers.

    Attributes:
        name: its name.
        dtype: type of its numbers.
        unit: what has a row in it.
        width: numbers of a row.
    """

    name: str
    dtype: str
    unit: Unit
    width: int = 1


@dataclass(frozen=True, slots=True)
class SideLayout:
    """Which side files the segments of an index have.

    Attributes:
        record: what the commit point says.
        n_latents: number of latent terms.
    """

    record: SideDataRecord
    n_latents: int

    @property
    def files(self) -> tuple[NumbersFile, ...]:
        """The files of bare numbers."""
        files: list[NumbersFile] = []
        vectors, codes = self.record.vectors, self.record.token_codes
        if vectors is not None:
            files.append(NumbersFile(VECTORS_NAME, VECTOR_TYPES[vectors.format], "passage", vectors.d))
            if vectors.format == "int8":
                files.append(NumbersFile(VECTOR_SCALES_NAME, "<f4", "passage"))
        if codes is not None:
            counts = "|u1" if codes.k < 1 << 8 else "<u2" if codes.k < 1 << 16 else "<u4"
            latents = "<u2" if self.n_latents <= 1 << 16 else "<i4"
            files += [NumbersFile(CODE_COUNTS_NAME, counts, "token"), NumbersFile(CODE_SCALES_NAME, "<f2", "token")]
            if codes.norms:
                files.append(NumbersFile(CODE_NORMS_NAME, "<f2", "token"))
            files += [NumbersFile(CODE_LATENTS_NAME, latents, "entry"), NumbersFile(CODE_VALUES_NAME, "|u1", "entry")]
        return tuple(files)


@dataclass(frozen=True)
class SideRows:
    """Side data of some passages, rounded as an index keeps them.

    Attributes:
        n_passages: how many.
        vectors: their vectors; None without any.
        tokens: the codes of their tokens; None without any.
        norms: (n_tokens,) float16, lengths of the states that the codes stand for; None where they are not kept.
        token_bounds: (n_passages + 1,) int64, the first token of each passage; None without codes.
    """

    n_passages: int
    vectors: PackedVectors | None = None
    tokens: PackedTokens | None = None
    norms: NDArray[np.float16] | None = None
    token_bounds: NDArray[np.int64] | None = None

    def arrays(self, first: int, last: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]:
        """What the files get for the passages from ``first`` to below ``last``, and their bounds (n + 1, 2) from 0."""
        found: dict[str, NDArray[Any]] = {}
        if self.vectors is not None:
            found[VECTORS_NAME] = self.vectors.numbers[first:last]
            if self.vectors.scales is not None:
                found[VECTOR_SCALES_NAME] = self.vectors.scales[first:last]
        if self.tokens is None or self.token_bounds is None:
            return found, None
        entries = np.concatenate([[0], np.cumsum(self.tokens.counts)])[self.token_bounds].astype(np.int64)
        bounds = np.stack([self.token_bounds, entries], axis=1)[first : last + 1]
        (begin, low), (end, high) = bounds[0].tolist(), bounds[-1].tolist()
        found[CODE_COUNTS_NAME], found[CODE_SCALES_NAME] = self.tokens.counts[begin:end], self.tokens.scales[begin:end]
        if self.norms is not None:
            found[CODE_NORMS_NAME] = self.norms[begin:end]
        found[CODE_LATENTS_NAME], found[CODE_VALUES_NAME] = self.tokens.latents[low:high], self.tokens.values[low:high]
        return found, bounds - bounds[0]


def check_side_rows(rows: SideRows | None, record: SideDataRecord | None, n_passages: int) -> None:
    """Refuses side data that are not what an index keeps, of as many passages as are added.

    Raises:
        ArgumentError: they are missing, superfluous, of other passages or of another form.
    """
    if record is None:
        if rows is not None:
            raise ArgumentError("The index keeps no side files, so side data of documents can have no effect. Leave them out.")
        return
    kept = " and ".join(sorted(kind.replace("_", " ") for kind in record.kinds))
    if rows is None:
        raise ArgumentError(
            f"The index keeps {kept} of its documents, so these must come with them (side=...). Searcher.add makes them itself."
        )
    vectors = None if rows.vectors is None else rows.vectors.numbers
    wanted = record.vectors
    codes = record.token_codes
    fits = (vectors is None) == (wanted is None) and (rows.tokens is None) == (codes is None)
    fits = fits and (rows.norms is not None) == (codes is not None and codes.norms)
    if fits and vectors is not None and wanted is not None:
        fits = vectors.shape == (n_passages, wanted.d) and vectors.dtype == np.dtype(VECTOR_TYPES[wanted.format])
    if not fits or rows.n_passages != n_passages:
        raise ArgumentError(f"The side data do not fit: the index keeps {kept}, and {n_passages} passages are added.")


@dataclass(frozen=True)
class SegmentSide:
    """The side files of an opened segment, mapped.

    Attributes:
        arrays: by the name of the file; vectors are ``(n_passages, d)``.
        bounds: (n_passages + 1, 2) int64, the first token and the first entry of each passage; None without codes.
        place: the segment's folder.
    """

    arrays: Mapping[str, NDArray[Any]]
    bounds: NDArray[np.int64] | None
    place: Path


class SideBuffer:
    """Writes the side files of a segment while its passages come.

    Args:
        folder: the segment's folder; it exists when the first passages come.
        layout: which files there are.
    """

    def __init__(self, folder: Path, layout: SideLayout) -> None:
        self._folder, self._layout = folder, layout
        self._files: dict[str, FileWriter] = {}
        self._bounds = array("q", [0, 0])

    def append(self, rows: SideRows, first: int, last: int) -> None:
        """Takes the passages from ``first`` to below ``last``.

        Raises:
            StorageError: they cannot be written.
        """
        arrays, bounds = rows.arrays(first, last)
        for file in self._layout.files:
            if file.name not in self._files:
                self._files[file.name] = FileWriter(self._folder / file.name)
            numbers = np.ascontiguousarray(arrays[file.name], dtype=file.dtype)
            self._files[file.name].write(numbers.reshape(-1).view(np.uint8))
        if bounds is not None:
            token, entry = self._bounds[-2:]
            self._bounds.extend((bounds[1:] + np.array([token, entry])).reshape(-1).tolist())

    def write(self) -> dict[str, FileRecord]:
        """Completes the files, makes them durable and gives their records."""
        files = {}
        for name, file in self._files.items():
            file.close()
            files[name] = file.record
        if self._layout.record.token_codes is not None:
            bounds = np.array(self._bounds, dtype=np.int64).reshape(-1, 2)
            files[CODE_BOUNDS_NAME] = write_array(self._folder / CODE_BOUNDS_NAME, bounds)
        return files

    def close(self) -> None:
        """Closes the files without making them durable; the caller removes them."""
        for file in self._files.values():
            with contextlib.suppress(StorageError):
                file.close(durable=False)


def open_side(folder: Path, files: Mapping[str, FileRecord], layout: SideLayout, n_passages: int) -> SegmentSide:
    """Maps the side files of a segment.

    Args:
        folder: the segment's folder.
        files: what the commit point says about its files.
        layout: which side files it has.
        n_passages: its passages.

    Raises:
        IndexFormatError: a file is missing, is not listed, or does not have the right length.
    """

    def entry(name: str) -> FileRecord:
        if name not in files:
            raise IndexFormatError(f"{folder / name} is not listed by the commit point; the index is damaged.")
        return files[name]

    bounds, rows = None, {"passage": n_passages, "token": 0, "entry": 0}
    if layout.record.token_codes is not None:
        bounds = map_array(folder / CODE_BOUNDS_NAME, entry(CODE_BOUNDS_NAME), "<i8", (n_passages + 1, 2))
        counts = next(file for file in layout.files if file.name == CODE_COUNTS_NAME)
        rows["token"] = entry(counts.name).bytes // np.dtype(counts.dtype).itemsize
        rows["entry"] = entry(CODE_VALUES_NAME).bytes
        if bounds[0].any() or bounds[-1].tolist() != [rows["token"], rows["entry"]]:
            raise IndexFormatError(f"{folder / CODE_BOUNDS_NAME} is damaged: its numbers do not rise to those of its tokens.")
    arrays = {}
    for file in layout.files:
        numbers = map_numbers(folder / file.name, entry(file.name), file.dtype, rows[file.unit] * file.width)
        arrays[file.name] = numbers.reshape(-1, file.width) if file.name == VECTORS_NAME else numbers
    return SegmentSide(arrays, bounds, folder)


class SideSource(NamedTuple):
    """A segment to merge.

    Attributes:
        folder: its folder.
        side: its side files.
        n_passages: its passages.
        deleted: (n_passages,) which are deleted; None: none is.
    """

    folder: Path
    side: SegmentSide
    n_passages: int
    deleted: NDArray[np.bool_] | None

    def rows(self, unit: Unit) -> NDArray[np.int64]:
        """(n_passages + 1,) the first row of each passage in files of a unit."""
        if unit == "passage":
            return np.arange(self.n_passages + 1, dtype=np.int64)
        assert self.side.bounds is not None
        return self.side.bounds[:, 0 if unit == "token" else 1]


def merge_side(sources: Sequence[SideSource], folder: Path, layout: SideLayout) -> dict[str, FileRecord]:
    """Writes the side files of the living passages of several segments, in their order; a megabyte or so is read at once.

    Args:
        sources: neighbouring segments, whose checksums were compared.
        folder: of the new segment.
        layout: which files there are.

    Raises:
        IndexFormatError: a source is damaged.
        StorageError: the files cannot be written.
    """
    records = {}
    for file in layout.files:
        with FileWriter(folder / file.name) as writer:
            for part in _live_numbers(sources, file):
                writer.write(part)
        records[file.name] = writer.record
    if layout.record.token_codes is not None:
        sizes = [living(s.deleted, np.stack([np.diff(s.rows("token")), np.diff(s.rows("entry"))], axis=1)) for s in sources]
        bounds = np.concatenate([np.zeros((1, 2), dtype=np.int64), np.cumsum(np.concatenate(sizes), axis=0)])
        records[CODE_BOUNDS_NAME] = write_array(folder / CODE_BOUNDS_NAME, bounds.astype(np.int64))
    return records


def _live_numbers(sources: Sequence[SideSource], file: NumbersFile) -> Iterator[NDArray[Any]]:
    for source in sources:
        for begin, end in live_runs(source.deleted, source.rows(file.unit) * file.width):
            for start in range(begin, end, PIECE_NUMBERS):
                yield read_part(source.folder / file.name, file.dtype, start, min(PIECE_NUMBERS, end - start))
