"""Reading side data of an opened index: for some documents, or for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, IndexFormatError
from lexite.index.numbering import Numbering
from lexite.index.segment import Segment
from lexite.index.side_config import SideDataRecord
from lexite.index.side_data import TOKEN_CODES, VECTORS, PassageCodes, PassageVectors, how_to_keep
from lexite.index.side_files import (
    CODE_BOUNDS_NAME,
    CODE_COUNTS_NAME,
    CODE_LATENTS_NAME,
    CODE_NORMS_NAME,
    CODE_SCALES_NAME,
    CODE_VALUES_NAME,
    VECTOR_SCALES_NAME,
    VECTORS_NAME,
    SegmentSide,
)
from lexite.index.side_packing import LEVELS, unpack_vectors
from lexite.index.storage import read_ahead

PASSAGES_PER_TILE = 4096
TOKEN_NAMES, ENTRY_NAMES = (CODE_COUNTS_NAME, CODE_SCALES_NAME, CODE_NORMS_NAME), (CODE_LATENTS_NAME, CODE_VALUES_NAME)
Numbers = NDArray[np.int64]


class Passages(NamedTuple):
    """The passages of some documents that lie in one segment.

    Attributes:
        side: the segment's side files.
        rows: (n,) numbers of the passages there.
        places: (n,) their places among the passages of all documents that were asked for.
    """

    side: SegmentSide
    rows: Numbers
    places: Numbers


class SideReader:
    """Access to the side files of an opened index.

    Args:
        numbering: its documents and passages.
        record: which side files it has; None: none.
        n_latents: number of latent terms.
        name: what the index is called in messages.
    """

    def __init__(self, numbering: Numbering, record: SideDataRecord | None, n_latents: int, name: object) -> None:
        self._numbering, self._record = numbering, record
        self._n_latents, self._name = n_latents, name
        self._asked_for: dict[str, list[NDArray[np.bool_]]] = {}

    @property
    def kinds(self) -> frozenset[str]:
        """What is kept, by the names of :mod:`lexite.index.side_data`."""
        return frozenset() if self._record is None else self._record.kinds

    def vectors(self, documents: Sequence[int]) -> PassageVectors:
        """Vectors of documents; see ``BM25Index.vectors``."""
        bounds, parts = self._passages(documents, VECTORS)
        for number, part in parts:
            fresh = part.rows[self._fresh(VECTORS, number, part.rows)]
            for name in (VECTORS_NAME, VECTOR_SCALES_NAME):
                if name in part.side.arrays:
                    _read_ahead(part.side.arrays[name], fresh, fresh + 1)
        if len(parts) == 1:
            return PassageVectors(bounds, _vectors(parts[0][1].side, parts[0][1].rows))
        d = self._record.vectors.d if self._record is not None and self._record.vectors is not None else 0
        vectors = np.empty((int(bounds[-1]), d), dtype=np.float32)
        for _, part in parts:
            vectors[part.places] = _vectors(part.side, part.rows)
        return PassageVectors(bounds, vectors)

    def all_vectors(
        self, passages_per_tile: int = PASSAGES_PER_TILE
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Vectors of all documents; see ``BM25Index.all_vectors``."""
        self._check(VECTORS)
        for segment, first in zip(self._numbering.segments, self._numbering.first_documents.tolist(), strict=False):
            side, deleted = _side_of(segment), segment.deleted_passages
            for begin in range(0, segment.n_passages, passages_per_tile):
                end = min(begin + passages_per_tile, segment.n_passages)
                live = np.arange(begin, end) if deleted is None else begin + np.flatnonzero(~deleted[begin:end])
                if len(live):
                    vectors = _vectors(side, slice(begin, end))[live - begin]
                    yield segment.documents_of(live).astype(np.int64) + first, vectors

    def token_codes(self, documents: Sequence[int]) -> PassageCodes:
        """Codes of the tokens of documents; see ``BM25Index.token_codes``."""
        from lexite.kernels.side_codes import CodeFiles, Gathered, gather_entries  # numba, which few searches need

        bounds, parts = self._passages(documents, TOKEN_CODES)
        files = [_code_places(part) for _, part in parts]
        sizes = np.zeros((int(bounds[-1]), 2), dtype=np.int64)
        for (_, part), file in zip(parts, files, strict=True):
            sizes[part.places] = file[:, 1::2] - file[:, 0::2]
        outs = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(sizes, axis=0)])
        n_tokens, n_entries = outs[-1].tolist()
        entries = np.zeros(n_tokens + 1, dtype=np.int64)
        latents, values = np.empty(n_entries, dtype=np.int32), np.empty(n_entries, dtype=np.float32)
        norms = np.full(n_tokens, np.nan, dtype=np.float32)
        found = Gathered(entries[1:], latents, values)
        for (number, part), file in zip(parts, files, strict=True):
            self._read_codes_ahead(number, part, file)
            arrays, own = part.side.arrays, outs[part.places]
            names = (CODE_COUNTS_NAME, CODE_SCALES_NAME, CODE_LATENTS_NAME, CODE_VALUES_NAME)
            if not gather_entries(CodeFiles(*map(arrays.__getitem__, names)), file, own, LEVELS, found):
                raise self._damaged([part.side], CODE_COUNTS_NAME)
            if CODE_NORMS_NAME in arrays:
                tokens = file[:, 1] - file[:, 0]
                lengths = arrays[CODE_NORMS_NAME][_ranges(file[:, 0], tokens)]
                if not np.isfinite(lengths).all():
                    raise self._damaged([part.side], CODE_NORMS_NAME)
                norms[_ranges(own[:, 0], tokens)] = lengths
        if n_entries and not 0 <= int(latents.min()) <= int(latents.max()) < self._n_latents:
            raise self._damaged([part.side for _, part in parts], CODE_LATENTS_NAME)
        if not np.isfinite(values.sum()):
            raise self._damaged([part.side for _, part in parts], CODE_SCALES_NAME)
        return PassageCodes(bounds, outs[:, 0].copy(), entries, latents, values, norms)

    def _passages(self, documents: Sequence[int], kind: str) -> tuple[Numbers, list[tuple[int, Passages]]]:
        """The bounds of documents among their passages, and those passages by the number of their segment.

        Raises:
            IndexError: there is no such document.
        """
        self._check(kind)
        numbers = np.asarray(documents, dtype=np.int64)
        first = self._numbering.first_documents
        outside = numbers[(numbers < 0) | (numbers >= first[-1])]
        if len(outside):
            raise IndexError(f"There is no document number {outside[0]}; the index has {first[-1]}.")
        homes = np.searchsorted(first, numbers, side="right") - 1
        begins, sizes = numbers - first[homes], np.ones(len(numbers), dtype=np.int64)
        used = np.unique(homes).tolist()
        for number in used:
            cut = self._numbering.segments[number].passage_bounds
            if cut is not None:
                here = homes == number
                local = begins[here]
                begins[here], sizes[here] = cut[local], cut[local + 1] - cut[local]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        rows, places, of = _ranges(begins, sizes), np.arange(int(bounds[-1]), dtype=np.int64), np.repeat(homes, sizes)
        parts = []
        for number in used:
            side = _side_of(self._numbering.segments[number])
            here = of == number
            parts.append((number, Passages(side, rows, places) if len(used) == 1 else Passages(side, rows[here], places[here])))
        return bounds, parts

    def _fresh(self, kind: str, number: int, rows: Numbers) -> NDArray[np.bool_]:
        """For passages of a segment, whether nobody asked for them before: others need not be fetched from the disk."""
        known = self._asked_for.setdefault(
            kind, [np.zeros(segment.n_passages, dtype=np.bool_) for segment in self._numbering.segments]
        )[number]
        fresh = ~known[rows]
        known[rows] = True
        return fresh

    def _read_codes_ahead(self, number: int, part: Passages, file: Numbers) -> None:
        """Lets the system read the codes of passages that nobody asked for before, all at once."""
        wanted = file[self._fresh(TOKEN_CODES, number, part.rows)]
        for names, column in ((TOKEN_NAMES, 0), (ENTRY_NAMES, 2)):
            for name in names:
                if name in part.side.arrays:
                    _read_ahead(part.side.arrays[name], wanted[:, column], wanted[:, column + 1])

    def _check(self, kind: str) -> None:
        if kind not in self.kinds:
            raise ArgumentError(f"{self._name} keeps no {kind.replace('_', ' ')} of its documents. {how_to_keep(kind)}")

    def _damaged(self, sides: Sequence[SegmentSide], name: str) -> IndexFormatError:
        places = [str(side.place / name) for side in sides[:3]]
        return IndexFormatError(
            f"{' or '.join(places)} is damaged: its numbers do not fit. Run 'lexite info --verify' on the index."
        )


def _side_of(segment: Segment) -> SegmentSide:
    if segment.side is None:
        raise IndexFormatError(f"{segment.place} has no side files, but the index says that there are. It is damaged.")
    return segment.side


def _vectors(side: SegmentSide, rows: Numbers | slice) -> NDArray[np.float32]:
    """The vectors of passages of a segment."""
    scales = side.arrays.get(VECTOR_SCALES_NAME)
    vectors = unpack_vectors(side.arrays[VECTORS_NAME][rows], None if scales is None else scales[rows])
    if not np.isfinite(vectors.sum()) and not np.isfinite(vectors).all():  # a sum may overflow
        raise IndexFormatError(f"{side.place / VECTORS_NAME} is damaged: it holds NaN or infinity. Build the index again.")
    return vectors


def _code_places(part: Passages) -> Numbers:
    """For each passage its first token, the end of its tokens, its first entry and the end of its entries, checked; (n, 4)."""
    bounds = part.side.bounds
    assert bounds is not None
    begins, ends = bounds[part.rows], bounds[part.rows + 1]
    if np.any(begins < 0) or np.any(begins > ends) or np.any(ends > bounds[-1]):
        raise IndexFormatError(
            f"{part.side.place / CODE_BOUNDS_NAME} is damaged: its numbers do not rise. Build the index again."
        )
    return np.ascontiguousarray(np.stack([begins, ends], axis=2).reshape(-1, 4))


def _ranges(begins: Numbers, sizes: Numbers) -> Numbers:
    """The whole numbers of ranges, one range after the other.

    >>> _ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist()
    [5, 6, 9, 10, 11]
    """
    ends = np.cumsum(sizes)
    first: Numbers = np.repeat(begins - (ends - sizes), sizes)
    return np.arange(len(first), dtype=np.int64) + first


def _read_ahead(numbers: NDArray[Any], begins: Numbers, ends: Numbers) -> None:
    """Lets the system read ranges of rows of a mapped file."""
    row = numbers.itemsize * (numbers.shape[1] if numbers.ndim > 1 else 1)
    read_ahead(numbers, begins * row, ends * row)
