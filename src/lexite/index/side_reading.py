"""Reading side data of an opened index: for some documents, or for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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
from lexite.index.side_packing import unpack_values, unpack_vectors
from lexite.index.storage import read_ahead

PASSAGES_PER_TILE = 4096
Runs = list[tuple[SegmentSide, int, int]]
"""For each document the side files of its segment, its first passage there, and the end of its passages."""


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

    @property
    def kinds(self) -> frozenset[str]:
        """What is kept, by the names of :mod:`lexite.index.side_data`."""
        return frozenset() if self._record is None else self._record.kinds

    def vectors(self, documents: Sequence[int]) -> PassageVectors:
        """Vectors of documents; see ``BM25Index.vectors``."""
        runs = self._runs(documents, VECTORS)
        d = self._record.vectors.d if self._record is not None and self._record.vectors is not None else 0
        _ask_for(runs, (VECTORS_NAME, VECTOR_SCALES_NAME))
        parts = [_vectors(side, begin, end) for side, begin, end in runs]
        return PassageVectors(_bounds_of(runs), np.concatenate([np.empty((0, d), np.float32), *parts]))

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
                    yield segment.documents_of(live).astype(np.int64) + first, _vectors(side, begin, end)[live - begin]

    def token_codes(self, documents: Sequence[int]) -> PassageCodes:
        """Codes of the tokens of documents; see ``BM25Index.token_codes``."""
        runs = self._runs(documents, TOKEN_CODES)
        places = [_code_places(side, begin, end) for side, begin, end in runs]
        tokens = [place[:, 0] for place in places]
        entries = [place[:, 1] for place in places]

        def joined(name: str, bounds: list[NDArray[np.int64]], dtype: Any) -> NDArray[Any]:
            ranges = [(side.arrays[name], int(b[0]), int(b[-1])) for (side, _, _), b in zip(runs, bounds, strict=True)]
            _read_ahead(ranges)
            return np.concatenate([np.empty(0, dtype), *(numbers[low:high] for numbers, low, high in ranges)])

        counts = joined(CODE_COUNTS_NAME, tokens, np.uint8).astype(np.int64)
        scales = joined(CODE_SCALES_NAME, tokens, np.float16)
        latents = joined(CODE_LATENTS_NAME, entries, np.int32).astype(np.int32)
        if int(counts.sum()) != len(latents):
            raise self._damaged(runs, CODE_COUNTS_NAME)
        if len(latents) and not 0 <= int(latents.min()) <= int(latents.max()) < self._n_latents:
            raise self._damaged(runs, CODE_LATENTS_NAME)
        if self._record is not None and self._record.token_codes is not None and self._record.token_codes.norms:
            norms = joined(CODE_NORMS_NAME, tokens, np.float16).astype(np.float32)
        else:
            norms = np.full(len(counts), np.nan, dtype=np.float32)
        values = unpack_values(joined(CODE_VALUES_NAME, entries, np.uint8), scales, counts)
        return PassageCodes(
            _bounds_of(runs), _sums([np.diff(bounds) for bounds in tokens]), _sums([counts]), latents, values, norms
        )

    def _runs(self, documents: Sequence[int], kind: str) -> Runs:
        self._check(kind)
        runs: Runs = []
        for document in documents:
            segment, local = self._numbering.place(document)
            runs.append((_side_of(segment), *segment.passages(local)))
        return runs

    def _check(self, kind: str) -> None:
        if kind not in self.kinds:
            raise ArgumentError(f"{self._name} keeps no {kind.replace('_', ' ')} of its documents. {how_to_keep(kind)}")

    def _damaged(self, runs: Runs, name: str) -> IndexFormatError:
        places = sorted({str(side.place / name) for side, _, _ in runs})
        return IndexFormatError(
            f"{' or '.join(places[:3])} is damaged: its numbers do not fit. Run 'lexite info --verify' on the index."
        )


def _side_of(segment: Segment) -> SegmentSide:
    if segment.side is None:
        raise IndexFormatError(f"{segment.place} has no side files, but the index says that there are. It is damaged.")
    return segment.side


def _vectors(side: SegmentSide, begin: int, end: int) -> NDArray[np.float32]:
    """The vectors of passages of a segment."""
    scales = side.arrays.get(VECTOR_SCALES_NAME)
    vectors = unpack_vectors(side.arrays[VECTORS_NAME][begin:end], None if scales is None else scales[begin:end])
    if not np.isfinite(vectors.sum()) and not np.isfinite(vectors).all():  # a sum may overflow
        raise IndexFormatError(f"{side.place / VECTORS_NAME} is damaged: it holds NaN or infinity. Build the index again.")
    return vectors


def _code_places(side: SegmentSide, begin: int, end: int) -> NDArray[np.int64]:
    """The bounds of the tokens and entries of passages, checked."""
    assert side.bounds is not None
    places: NDArray[np.int64] = np.asarray(side.bounds[begin : end + 1])
    if places[0].min() < 0 or np.any(np.diff(places, axis=0) < 0) or np.any(places[-1] > side.bounds[-1]):
        raise IndexFormatError(f"{side.place / CODE_BOUNDS_NAME} is damaged: its numbers do not rise. Build the index again.")
    return places


def _ask_for(runs: Runs, names: Sequence[str]) -> None:
    """Lets the system read what runs of passages have in files with a row for each, all at once."""
    for name in names:
        _read_ahead([(side.arrays[name], begin, end) for side, begin, end in runs if name in side.arrays])


def _read_ahead(ranges: Sequence[tuple[NDArray[Any], int, int]]) -> None:
    """Lets the system read ranges of rows of mapped files."""
    arrays = {id(numbers): numbers for numbers, _, _ in ranges}
    for key, numbers in arrays.items():
        row = numbers.itemsize * (numbers.shape[1] if numbers.ndim > 1 else 1)
        own = np.array([(low, high) for each, low, high in ranges if id(each) == key], dtype=np.int64) * row
        read_ahead(numbers, own[:, 0], own[:, 1])


def _bounds_of(runs: Runs) -> NDArray[np.int64]:
    return _sums([np.array([end - begin for _, begin, end in runs], dtype=np.int64)])


def _sums(sizes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Running sums of all sizes, beginning with 0."""
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *sizes]))
