"""Rows out of an index: raw weights of documents, as the index keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.errors import ArgumentError
from lexite.index.numbering import Numbering
from lexite.index.packed_rows import damaged_rows
from lexite.scoring.config import Transform
from lexite.scoring.transform import TRANSFORMS

ROWS_PER_CHUNK = 4096
DOCUMENTS_PER_CHUNK = 512


class PassageRows(NamedTuple):
    """Passages of some documents, in order; all passages of a document are there.

    Attributes:
        documents: (n,) int64, the number of the document of each passage.
        ordinals: (n,) int64, which passage of its document it is, from 0.
        spans: (n, 2) int64, where it begins and ends in the text of its document, in characters; -1 where it is all of it.
        lengths: (n,) float32, the sum of its transformed weights.
        rows: (n, n_terms), its raw weights.
    """

    documents: NDArray[np.int64]
    ordinals: NDArray[np.int64]
    spans: NDArray[np.int64]
    lengths: NDArray[np.float32]
    rows: csr_array[np.float32]


def read_documents(numbering: Numbering, n_terms: int, documents: NDArray[np.int64]) -> csr_array[np.float32]:
    """The rows of documents, in the order that is asked for; the row of a document is the sum of those of its passages.

    Args:
        numbering: of the index.
        n_terms: columns.
        documents: numbers of documents that exist, deleted ones included.

    Raises:
        IndexFormatError: a file is damaged.
    """
    if not numbering.has_passages:
        return read_passages(numbering, n_terms, documents)
    passages = [np.arange(*numbering.passages(document), dtype=np.int64) for document in documents.tolist()]
    bounds = np.concatenate([[0], np.cumsum([len(own) for own in passages])]).astype(np.int64)
    rows = read_passages(numbering, n_terms, np.concatenate([np.empty(0, np.int64), *passages]))
    owners = csr_array((np.ones(bounds[-1], np.float32), np.arange(bounds[-1]), bounds), shape=(len(documents), bounds[-1]))
    summed = csr_array(owners @ rows)
    summed.sort_indices()
    return summed


def read_passages(numbering: Numbering, n_terms: int, passages: NDArray[np.int64]) -> csr_array[np.float32]:
    """The rows of passages that exist, in the order that is asked for.

    Raises:
        IndexFormatError: a file is damaged.
    """
    first, segments = numbering.first_passages, numbering.segments
    homes = np.searchsorted(first, passages, side="right") - 1
    bounds = np.zeros(len(passages) + 1, dtype=np.int64)
    parts = []
    for number in np.unique(homes).tolist():
        here = np.flatnonzero(homes == number)
        found = segments[number].rows.pick(passages[here] - first[number])
        bounds[here + 1] = np.diff(found.bounds)
        parts.append((here, found._replace(terms=segments[number].in_index(found.terms))))
    np.cumsum(bounds, out=bounds)
    terms, weights = np.empty(bounds[-1], dtype=np.int32), np.empty(bounds[-1], dtype=np.float32)
    for here, found in parts:
        places = np.repeat(bounds[here] - found.bounds[:-1], np.diff(found.bounds)) + np.arange(found.bounds[-1])
        terms[places], weights[places] = found.terms, found.weights
    if len(terms) and int(terms.max()) >= n_terms:
        raise damaged_rows(next((each.place for each in segments), None))
    rows = csr_array((weights, terms, bounds), shape=(len(passages), n_terms))
    if any(segment.numbers is not None for segment in segments):
        rows.sort_indices()
    return rows


def iterate_rows(
    numbering: Numbering, n_terms: int, documents_per_chunk: int = ROWS_PER_CHUNK
) -> Iterator[tuple[NDArray[np.int64], csr_array[np.float32]]]:
    """The numbers and rows of all living documents, in order, some at a time."""
    if documents_per_chunk < 1:
        raise ArgumentError(f"documents_per_chunk is {documents_per_chunk}, but must be at least 1.")
    for first, segment in zip(numbering.first_documents.tolist(), numbering.segments, strict=False):
        living = np.arange(segment.n_documents) if segment.deleted is None else np.flatnonzero(~segment.deleted)
        for start in range(0, len(living), documents_per_chunk):
            numbers = living[start : start + documents_per_chunk].astype(np.int64) + first
            yield numbers, read_documents(numbering, n_terms, numbers)


def iterate_passages(
    numbering: Numbering,
    n_terms: int,
    transform: Transform,
    first_document: int = 0,
    documents_per_chunk: int = DOCUMENTS_PER_CHUNK,
) -> Iterator[PassageRows]:
    """The passages of all living documents from ``first_document`` on, in order, those of some documents at a time.

    Args:
        numbering: of the index.
        n_terms: columns.
        transform: of the weights that make lengths.
        first_document: number of the first document.
        documents_per_chunk: how many documents.

    Raises:
        ArgumentError: ``documents_per_chunk`` is below 1.
        IndexFormatError: a file is damaged.
    """
    if documents_per_chunk < 1:
        raise ArgumentError(f"documents_per_chunk is {documents_per_chunk}, but must be at least 1.")
    places = zip(numbering.first_documents.tolist(), numbering.first_passages.tolist(), numbering.segments, strict=False)
    for first, first_passage, segment in places:
        living = np.fromiter(segment.live_documents(), np.int64)
        living = living[living + first >= first_document]
        for start in range(0, len(living), documents_per_chunk):
            chunk = living[start : start + documents_per_chunk]
            bounds = [segment.passages(document) for document in chunk.tolist()]
            sizes = np.array([end - begin for begin, end in bounds], dtype=np.int64)
            passages = np.concatenate([np.arange(begin, end, dtype=np.int64) for begin, end in bounds])
            spans = np.full((len(passages), 2), -1, dtype=np.int64)
            if segment.passage_spans is not None:
                cut = np.repeat(sizes > 1, sizes)
                spans[cut] = segment.passage_spans[passages[cut]]
            yield PassageRows(
                np.repeat(chunk + first, sizes),
                np.arange(len(passages)) - np.repeat(np.cumsum(sizes) - sizes, sizes),
                spans,
                segment.lengths[TRANSFORMS.index(transform)][passages],
                read_passages(numbering, n_terms, passages + first_passage),
            )
