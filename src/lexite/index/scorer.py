"""Searching opened segments: everything between checked queries and arrays of hits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index.config import TRANSFORMS, BM25Config, Rows, Transform
from lexite.index.segment import Segment
from lexite.index.statistics import inverse_document_frequency, length_norms, saturation_form
from lexite.terms.transform import transform_weights

Arrays = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What scoring needs beside the postings, for one BM25Config.

    Attributes:
        idf: (n_terms,) float64.
        norms: per segment, (n_documents,) float32.
    """

    idf: NDArray[np.float64]
    norms: tuple[NDArray[np.float32], ...]


class Scorer:
    """Scores queries against a fixed list of segments. Documents are numbered through, deleted ones included.

    Args:
        segments: in document order.
        n_terms: number of terms.
    """

    def __init__(self, segments: Sequence[Segment], n_terms: int) -> None:
        self.segments, self.n_terms = tuple(segments), n_terms
        sizes = [segment.n_documents for segment in segments]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.n_documents = sum(segment.n_live for segment in segments)
        self._live = [_live_mask(segment) for segment in segments]
        self._prepared = functools.lru_cache(maxsize=8)(self._prepare)
        self._average = functools.lru_cache(maxsize=len(TRANSFORMS))(self._mean_length)

    @functools.cached_property
    def document_frequency(self) -> NDArray[np.int64]:
        """(n_terms,) in how many living documents each term occurs."""
        total = np.zeros(self.n_terms, dtype=np.int64)
        for segment in self.segments:
            total += segment.document_frequency
        return total

    def average_length(self, transform: Transform) -> float:
        """Mean length of the living documents; the same number however they are spread over segments."""
        return self._average(transform)

    def place(self, document: int) -> tuple[int, int]:
        """The number of the segment that holds a document, and the document's number in it.

        Raises:
            IndexError: there is no such document.
        """
        if not 0 <= document < self.first[-1]:
            raise IndexError(f"There is no document number {document}; the index has {self.first[-1]}.")
        number = int(np.searchsorted(self.first, document, side="right")) - 1
        return number, document - int(self.first[number])

    def factors(self, queries: Rows, scoring: BM25Config) -> NDArray[np.float32]:
        """What each query term multiplies: transformed query weight times idf."""
        weights = transform_weights(queries.values, scoring.query_transform)
        return (weights * self._prepared(scoring).idf[queries.terms]).astype(np.float32)

    def top(self, queries: Rows, top_k: int, scoring: BM25Config, excluded: NDArray[np.int64]) -> Arrays:
        """The best hits of each query, on all cores.

        Args:
            queries: raw query weights.
            top_k: how many hits to keep.
            scoring: how to score.
            excluded: (n_queries,) a document that is no hit, or -1.

        Returns:
            Documents (n_queries, top_k) int32, -1 where there are no more hits, and their scores, float32.

        Raises:
            IndexFormatError: postings are damaged.
        """
        from lexite.kernels.postings import search_segment, sort_heaps
        from lexite.kernels.threads import parallel_ranges

        prepared = self._prepared(scoring)
        query_arrays = (queries.indptr, queries.terms, self.factors(queries, scoring))
        form = (TRANSFORMS.index(scoring.document_transform), *saturation_form(scoring))
        scores = np.zeros((queries.n_rows, top_k), dtype=np.float32)
        documents = np.full((queries.n_rows, top_k), -1, dtype=np.int32)
        sizes = np.zeros(queries.n_rows, dtype=np.int64)

        def search(start: int, stop: int) -> None:
            for number, segment in enumerate(self.segments):
                postings = (segment.offsets, segment.documents.view(np.uint32), segment.weights)
                own = (prepared.norms[number], self._live[number], self.first[number])
                if not search_segment(postings, *own, query_arrays, excluded, form, scores, documents, sizes, start, stop):
                    raise IndexFormatError("The postings of the index are damaged. Run 'lexite info --verify' on it.")
            sort_heaps(scores, documents, sizes, start, stop)

        if top_k:
            parallel_ranges(search, queries.n_rows, smallest=1)
        return documents, scores

    def contributions(self, query: Rows, document: int, scoring: BM25Config) -> list[tuple[int, float]]:
        """What each shared term adds to the score of a document, in ascending order of terms."""
        number, local = self.place(document)
        segment = self.segments[number]
        norm = self._prepared(scoring).norms[number][local]
        scale, delta = saturation_form(scoring)
        found = []
        for term, factor in zip(query.terms.tolist(), self.factors(query, scoring), strict=True):
            begin, end = segment.offsets[term], segment.offsets[term + 1]
            place = begin + np.searchsorted(segment.documents[begin:end], local)
            if place < end and segment.documents[place] == local:
                tf = document_weights(segment.weights[place : place + 1], scoring.document_transform)[0]
                found.append((term, float(factor * (tf * scale / (tf + norm) + delta))))
        return found

    def _prepare(self, scoring: BM25Config) -> Prepared:
        row, average = TRANSFORMS.index(scoring.document_transform), self.average_length(scoring.document_transform)
        norms = tuple(length_norms(segment.lengths[row], average, scoring) for segment in self.segments)
        return Prepared(inverse_document_frequency(self.n_documents, self.document_frequency, scoring.idf), norms)

    def _mean_length(self, transform: Transform) -> float:
        row = TRANSFORMS.index(transform)
        lengths = np.concatenate([np.empty(0, np.float32), *[segment.live_lengths(row) for segment in self.segments]])
        return float(lengths.mean(dtype=np.float64)) if len(lengths) else 0.0


def document_weights(weights: NDArray[np.float32], transform: Transform) -> NDArray[np.float32]:
    """Transformed weights of documents, rounded as in the kernels: log1p is taken in float64."""
    if transform == "log1p":
        return np.log1p(weights, dtype=np.float64).astype(np.float32)
    return transform_weights(weights, transform)


def _live_mask(segment: Segment) -> NDArray[np.uint8]:
    if segment.deleted is None:
        return np.empty(0, dtype=np.uint8)
    return (~segment.deleted).view(np.uint8)
