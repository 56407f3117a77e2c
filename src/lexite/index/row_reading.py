"""Rows out of an index: raw weights of documents, as they were put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.errors import ArgumentError, IndexFormatError
from lexite.index.postings import DAMAGED_ROWS
from lexite.index.segment import Segment

ROWS_PER_CHUNK = 4096


def read_rows(segments: Sequence[Segment], n_terms: int, documents: NDArray[np.int64]) -> csr_array[np.float32]:
    """The rows of documents, in the order that is asked for.

    Args:
        segments: of the index, in document order.
        n_terms: columns.
        documents: numbers of documents that exist, deleted ones included.

    Raises:
        IndexFormatError: a file is damaged.
    """
    first = np.concatenate([[0], np.cumsum([segment.n_documents for segment in segments])]).astype(np.int64)
    homes = np.searchsorted(first, documents, side="right") - 1
    bounds = np.zeros(len(documents) + 1, dtype=np.int64)
    for number, segment in enumerate(segments):
        here = np.flatnonzero(homes == number)
        local = documents[here] - first[number]
        bounds[here + 1] = _lengths(segment, local)
    np.cumsum(bounds, out=bounds)
    terms, weights = np.empty(bounds[-1], dtype=np.int32), np.empty(bounds[-1], dtype=np.float32)
    for place, (number, document) in enumerate(zip(homes.tolist(), documents.tolist(), strict=True)):
        part = slice(bounds[place], bounds[place + 1])
        terms[part], weights[part] = segments[number].row(document - int(first[number]))
    if len(terms) and int(terms.max()) >= n_terms:
        raise IndexFormatError(DAMAGED_ROWS)
    return csr_array((weights, terms, bounds), shape=(len(documents), n_terms))


def iterate_rows(
    segments: Sequence[Segment], n_terms: int, documents_per_chunk: int = ROWS_PER_CHUNK
) -> Iterator[tuple[NDArray[np.int64], csr_array[np.float32]]]:
    """The numbers and rows of all living documents, in order, some at a time."""
    if documents_per_chunk < 1:
        raise ArgumentError(f"documents_per_chunk is {documents_per_chunk}, but must be at least 1.")
    first = 0
    for segment in segments:
        living = np.arange(segment.n_documents) if segment.deleted is None else np.flatnonzero(~segment.deleted)
        for start in range(0, len(living), documents_per_chunk):
            numbers = living[start : start + documents_per_chunk].astype(np.int64) + first
            yield numbers, read_rows(segments, n_terms, numbers)
        first += segment.n_documents


def _lengths(segment: Segment, documents: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = segment.row_bounds[documents + 1] - segment.row_bounds[documents]
    if np.any(lengths < 0):
        raise IndexFormatError(DAMAGED_ROWS)
    return lengths
