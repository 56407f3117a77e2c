"""The rows of a segment, passage by passage: packed in files, or as plain arrays in memory and in files of before version 6."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.index.packed_rows import Entries, bits_of, damaged_rows, sizes_of, unpacked
from lexite.index.storage import on_disk, read_ahead, read_part
from lexite.kernels.posting_lists import SegmentRows
from lexite.scoring.rounding import FULL_MANTISSA

ROWS_NAME = "rows.bin"
TERMS_NAME, WEIGHTS_NAME = "row_terms.bin", "row_weights.bin"  # before version 6
ROW_GAP_BYTES = 1 << 13  # between the rows of two passages, which lie far from each other as a rule
NO_BYTES, NO_TERMS, NO_WEIGHTS = np.empty(0, np.uint8), np.empty(0, np.uint16), np.empty(0, np.float32)
for _empty in (NO_BYTES, NO_TERMS, NO_WEIGHTS):
    _empty.flags.writeable = False  # like mapped ones, so that the kernels are compiled once


def read_numbers_ahead(numbers: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Lets the system read runs of numbers from the disk that lie far from each other, all at once and without waiting."""
    read_ahead(numbers, starts * numbers.itemsize, ends * numbers.itemsize, gap=ROW_GAP_BYTES)


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Rows as two arrays.

    Attributes:
        bounds: (n_passages + 1,) int64, where the row of each passage begins.
        terms: (n_entries,) ascending within a row; uint16 where they fit, else int32.
        weights: (n_entries,) float32, raw.
        place: the folder with their files; None in memory.
    """

    bounds: NDArray[np.int64]
    terms: NDArray[Any]
    weights: NDArray[np.float32]
    place: Path | None = None

    @property
    def n_entries(self) -> int:
        """Entries of all rows."""
        return len(self.terms)

    @property
    def nbytes(self) -> int:
        """Bytes of terms and weights."""
        return self.terms.nbytes + self.weights.nbytes

    def bits_of(self, passages: NDArray[np.int64]) -> tuple[int, int]:
        """The bits of all weights of passages together, and how many these are; errors are those of :meth:`pick`."""
        n = int(self.sizes(passages).sum())
        return 8 * self.weights.itemsize * n, n

    def for_kernels(self, norms: NDArray[np.float32], live: NDArray[np.uint8], first: int) -> SegmentRows:
        """The rows as compiled code takes them, with the norms, the living ones and the number of the segment's documents."""
        return SegmentRows(self.bounds, NO_BYTES, 0, self.terms, self.weights, norms, live, first)

    def protect(self) -> None:
        """Makes the arrays read-only, like mapped ones."""
        for array in (self.bounds, self.terms, self.weights):
            array.flags.writeable = False

    def on_disk(self) -> bool | None:
        """Whether most rows would have to be read from a disk; None where the system cannot say it."""
        return False if self.place is None else on_disk(self.place / WEIGHTS_NAME, self.weights.nbytes)

    def read_bounds_ahead(self, passages: NDArray[np.int64]) -> None:
        """Lets the system read where the rows of passages begin."""
        read_numbers_ahead(self.bounds, passages, passages + 2)

    def read_ahead(self, passages: NDArray[np.int64]) -> None:
        """Lets the system read the rows of passages from the disk, all at once and without waiting for them."""
        begins, ends = self.bounds[passages], self.bounds[passages + 1]
        for values in (self.terms, self.weights):
            read_ahead(values, begins * values.itemsize, ends * values.itemsize, gap=ROW_GAP_BYTES)

    def sizes(self, passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) how many entries the rows of passages have; errors are those of :meth:`pick`."""
        begins, ends = self.bounds[passages], self.bounds[passages + 1]
        if np.any(begins < 0) or np.any(ends < begins) or np.any(ends > len(self.terms)):
            raise damaged_rows(self.place)
        return ends - begins

    def pick(self, passages: NDArray[np.int64]) -> Entries:
        """The rows of passages, in the order that is asked for.

        Raises:
            IndexFormatError: they are damaged.
        """
        bounds = np.concatenate([[0], np.cumsum(self.sizes(passages))]).astype(np.int64)
        places = np.repeat(self.bounds[passages] - bounds[:-1], np.diff(bounds)) + np.arange(bounds[-1])
        return Entries(bounds, self.terms[places], self.weights[places])

    def span(self, first: int, last: int) -> Entries:
        """The rows from ``first`` to below ``last``. The system is asked to read them from the disk in one piece."""
        bounds = self._span(first, last)
        low, high = int(bounds[0]), int(bounds[-1])
        for values in (self.terms, self.weights):
            read_ahead(values, np.array([low * values.itemsize]), np.array([high * values.itemsize]))
        return Entries(bounds - low, self.terms[low:high], self.weights[low:high])

    def read(self, folder: Path, first: int, last: int) -> Entries:
        """What :meth:`span` gives, read from the files into memory of its own."""
        bounds = self._span(first, last)
        low, count = int(bounds[0]), int(bounds[-1] - bounds[0])
        terms = read_part(folder / TERMS_NAME, self.terms.dtype.str, low, count)
        return Entries(bounds - low, terms, read_part(folder / WEIGHTS_NAME, "<f4", low, count))

    def _span(self, first: int, last: int) -> NDArray[np.int64]:
        bounds = self.bounds[first : last + 1]
        if bounds[0] < 0 or np.any(np.diff(bounds) < 0) or bounds[-1] > len(self.terms):
            raise damaged_rows(self.place)
        return bounds


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows as ``lexite.kernels.packed_rows`` describes them. Methods are those of :class:`PlainRows`.

    Attributes:
        bounds: (n_passages + 1,) int64, where the row of each passage begins in ``data``.
        data: uint8.
        n_entries: entries of all rows.
        mantissa: bits of the mantissa of weights.
        place: the folder with their files; None in memory.
    """

    bounds: NDArray[np.int64]
    data: NDArray[np.uint8]
    n_entries: int
    mantissa: int
    place: Path | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return self.data.nbytes

    def bits_of(self, passages: NDArray[np.int64]) -> tuple[int, int]:
        """The bits of all weights of passages together, and how many these are; errors are those of :meth:`pick`."""
        begins, ends = self.bounds[passages], self.bounds[passages + 1]
        return bits_of(self.data, begins, ends, self.place)

    def for_kernels(self, norms: NDArray[np.float32], live: NDArray[np.uint8], first: int) -> SegmentRows:
        """The rows as compiled code takes them, with the norms, the living ones and the number of the segment's documents."""
        drop = FULL_MANTISSA - self.mantissa
        return SegmentRows(self.bounds, self.data, drop, NO_TERMS, NO_WEIGHTS, norms, live, first)

    def protect(self) -> None:
        """Makes the arrays read-only, like mapped ones."""
        for array in (self.bounds, self.data):
            array.flags.writeable = False

    def on_disk(self) -> bool | None:
        """Whether most rows would have to be read from a disk; None where the system cannot say it."""
        return False if self.place is None else on_disk(self.place / ROWS_NAME, self.data.nbytes)

    def read_bounds_ahead(self, passages: NDArray[np.int64]) -> None:
        """Lets the system read where the rows of passages begin."""
        read_numbers_ahead(self.bounds, passages, passages + 2)

    def read_ahead(self, passages: NDArray[np.int64]) -> None:
        """Lets the system read the rows of passages from the disk, all at once and without waiting for them."""
        read_ahead(self.data, self.bounds[passages], self.bounds[passages + 1], gap=ROW_GAP_BYTES)

    def sizes(self, passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) how many entries the rows of passages have; errors are those of :meth:`pick`."""
        return sizes_of(self.data, self.bounds[passages], self.bounds[passages + 1], self.place)

    def pick(self, passages: NDArray[np.int64]) -> Entries:
        """The rows of passages, in the order that is asked for.

        Raises:
            IndexFormatError: they are damaged.
        """
        return unpacked(self.data, self.bounds[passages], self.bounds[passages + 1], self.mantissa, self.place)

    def span(self, first: int, last: int) -> Entries:
        """The rows from ``first`` to below ``last``. The system is asked to read them from the disk in one piece."""
        bounds = self.bounds[first : last + 1]
        read_ahead(self.data, bounds[:1], bounds[-1:])
        return unpacked(self.data, bounds[:-1], bounds[1:], self.mantissa, self.place)

    def read(self, folder: Path, first: int, last: int) -> Entries:
        """What :meth:`span` gives, read from the file into memory of its own."""
        data, bounds = self.read_packed(folder, first, last)
        return unpacked(data, bounds[:-1], bounds[1:], self.mantissa, self.place)

    def read_packed(self, folder: Path, first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The bytes of rows, read from the file into memory of its own, and where each begins in them."""
        bounds = self.bounds[first : last + 1]
        low, high = int(bounds[0]), int(bounds[-1])
        if not 0 <= low <= high <= len(self.data):
            raise damaged_rows(self.place)
        return read_part(folder / ROWS_NAME, "|u1", low, high - low), bounds - low


StoredRows = PlainRows | PackedRows
