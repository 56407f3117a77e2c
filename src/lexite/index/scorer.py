"""Searching opened segments: everything between checked queries and arrays of hits."""

from __future__ import annotations

import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index import numpy_search
from lexite.index.postings import LARGEST_DRIFT, ImpactScoring, Postings, build_postings, n_chunks_of
from lexite.index.segment import Segment
from lexite.scoring.config import BM25Config, Transform
from lexite.scoring.formula import (
    average_length,
    impacts,
    inverse_document_frequency,
    length_norms,
    query_factors,
    saturation_form,
    worth_of_terms,
)
from lexite.scoring.rows import Rows
from lexite.scoring.transform import TRANSFORMS, transform_weights

Arrays = tuple[NDArray[np.int32], NDArray[np.float32]]
FEW_QUERIES = 2  # answered without the compiled kernels when those are not loaded
QUERIES_WORTH_BUILDING = 4  # building lists takes about as long as scoring so many queries from the rows
LISTS_KEPT = 2  # scorings whose lists are kept; those that are not the index's own take 2 bytes of memory a posting
CHUNKS_TO_SPLIT = 8  # fewer are searched by one thread


@dataclass(frozen=True, slots=True)
class Prepared:
    """What scoring needs beside the rows and posting lists, for one BM25Config.

    Attributes:
        worth: (n_terms,) float64, what a query's weight of each term is multiplied by.
        norms: per segment, (n_documents,) float32.
        impacts: what impacts of this scoring depend on.
    """

    worth: NDArray[np.float64]
    norms: tuple[NDArray[np.float32], ...]
    impacts: ImpactScoring


class TermFacts(NamedTuple):
    """A document's numbers, and those of the terms that it shares with a query, as arrays in ascending order of terms.

    Attributes:
        id: the document's id.
        length: its length.
        average_length: of the living documents.
        norm: ``k1 · (1 - b + b · length / average_length)``.
        terms: the shared terms.
        document_frequency: of each.
        idf: of each, before ``idf_power`` and ``literal_weight``.
        worth: what a query's weight of each is multiplied by.
        query_weights: transformed weights in the query.
        weights: raw weights in the document.
        tf: transformed weights in the document.
        saturation: impact of each, float32.
    """

    id: str
    length: float
    average_length: float
    norm: float
    terms: NDArray[np.int32]
    document_frequency: NDArray[np.int64]
    idf: NDArray[np.float64]
    worth: NDArray[np.float64]
    query_weights: NDArray[np.float32]
    weights: NDArray[np.float32]
    tf: NDArray[np.float32]
    saturation: NDArray[np.float32]


class Scorer:
    """Scores queries against a fixed list of segments. Documents are numbered through, deleted ones included.

    Args:
        segments: in document order.
        n_latents: number of latent terms; those from there on are literal words.
        n_words: number of literal words. A segment that was written before a word was known has no postings of it.
    """

    def __init__(self, segments: Sequence[Segment], n_latents: int, n_words: int = 0) -> None:
        self.segments, self.n_latents, self.n_terms = tuple(segments), n_latents, n_latents + n_words
        sizes = [segment.n_documents for segment in segments]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.n_documents = sum(segment.n_live for segment in segments)
        self._live = [_live_mask(segment) for segment in segments]
        self._prepared = functools.lru_cache(maxsize=8)(self._prepare)
        self._lists_of: OrderedDict[ImpactScoring, tuple[Postings, ...]] = OrderedDict()
        self._building = threading.Lock()
        self._asked: dict[ImpactScoring, int] = {}
        self._read = np.zeros(self.n_terms, dtype=bool)  # terms whose lists were searched before
        self._average = functools.lru_cache(maxsize=len(TRANSFORMS))(self._mean_length)

    @functools.cached_property
    def document_frequency(self) -> NDArray[np.int64]:
        """(n_terms,) in how many living documents each term occurs."""
        total = np.zeros(self.n_terms, dtype=np.int64)
        for segment in self.segments:
            total[: segment.n_terms] += segment.document_frequency
        if np.any(total < 0) or np.any(total > self.n_documents):
            raise IndexFormatError("The term frequencies of the index are damaged. Run 'lexite info --verify' on it.")
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
        """What each query term multiplies: transformed query weight times what the term is worth."""
        return query_factors(queries.values, self._prepared(scoring).worth[queries.terms], scoring)

    def top(self, queries: Rows, top_k: int, scoring: BM25Config, excluded: NDArray[np.int64], share: float = 1.0) -> Arrays:
        """The best hits of each query, on all cores.

        Posting lists hold impacts of one scoring. For another one they are built anew in memory, once there are queries
        enough to pay for that; a few queries are scored from the raw rows. One query in a process that has not loaded the
        compiled kernels yet is answered without them, since loading them takes longer. The results are the same.

        Args:
            queries: raw query weights.
            top_k: how many hits to keep.
            scoring: how to score.
            excluded: (n_queries,) a document that is no hit, or -1.
            share: of what unread lists could add, the part that is counted on; 1 for an exact search. Without the compiled
                kernels, and from the rows, every search is exact.

        Returns:
            Documents (n_queries, top_k) int32, -1 where there are no more hits, and their scores, float32.

        Raises:
            IndexFormatError: postings are damaged.
        """
        prepared = self._prepared(scoring)
        factors = self.factors(queries, scoring)
        scores = np.zeros((queries.n_rows, top_k), dtype=np.float32)
        documents = np.full((queries.n_rows, top_k), -1, dtype=np.int32)
        if not top_k or not queries.n_rows:
            return documents, scores
        self._read_ahead(queries.terms)
        ready = all(self._usable(segment, prepared.impacts) for segment in self.segments)
        if (not ready and not self._built(prepared.impacts, queries.n_rows)) or (
            ready and queries.n_rows <= FEW_QUERIES and "numba" not in sys.modules
        ):
            for row in range(queries.n_rows):
                part = slice(queries.indptr[row], queries.indptr[row + 1])
                query = numpy_search.PlainQuery(queries.terms[part], factors[part], int(excluded[row]))
                found, found_scores = numpy_search.search(self._plain_parts(prepared, ready), query, self.n_terms, top_k)
                documents[row, : len(found)], scores[row, : len(found)] = found, found_scores
            return documents, scores
        self._search(queries, factors, prepared, self._lists(prepared), excluded, share, documents, scores)
        return documents, scores

    def postings(self, scoring: BM25Config) -> tuple[Postings, ...]:
        """The posting lists of the segments for a scoring: those of the index where they fit, else built anew."""
        return self._lists(self._prepared(scoring))

    def _search(
        self,
        queries: Rows,
        factors: NDArray[np.float32],
        prepared: Prepared,
        lists: tuple[Postings, ...],
        excluded: NDArray[np.int64],
        share: float,
        documents: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> None:
        """Ranges of queries on all cores; a single query's chunks, where they are many."""
        from lexite.kernels.hardware import n_threads
        from lexite.kernels.heaps import sort_heaps
        from lexite.kernels.retrieval import search_segment
        from lexite.kernels.threads import parallel_ranges

        asked = [_known_terms(queries, factors, segment.n_terms, self.n_terms) for segment in self.segments]

        def search(
            first: float, last: float, start: int, stop: int, heaps: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
        ) -> None:
            for number, (segment, postings) in enumerate(zip(self.segments, lists, strict=True)):
                drift = postings.scoring.drift(prepared.impacts) or 1.0
                arrays = (postings.lists, postings.offsets, postings.kinds, postings.tops, postings.levels)
                rows = (segment.row_bounds, segment.row_terms, segment.row_weights, prepared.norms[number])
                own = (self._live[number], int(self.first[number]))
                n_chunks = n_chunks_of(segment.n_documents)
                chunks = int(n_chunks * first), int(n_chunks * last)
                form, pruning = prepared.impacts.form, (float(drift), float(share))
                known = asked[number]
                if not search_segment(arrays, rows, *own, known, excluded, form, pruning, *heaps, *chunks, start, stop):
                    raise IndexFormatError("The postings of the index are damaged. Run 'lexite info --verify' on it.")

        n_queries, n_parts = queries.n_rows, n_threads()
        if n_queries >= n_parts or sum(n_chunks_of(segment.n_documents) for segment in self.segments) < CHUNKS_TO_SPLIT:
            heaps = (scores, documents, np.zeros(n_queries, dtype=np.int64))
            parallel_ranges(lambda start, stop: search(0.0, 1.0, start, stop, heaps), n_queries, smallest=1)
            sort_heaps(*heaps, 0, n_queries)
            return
        parts = [(np.zeros_like(scores), np.full_like(documents, -1), np.zeros(n_queries, np.int64)) for _ in range(n_parts)]

        def search_part(start: int, stop: int) -> None:
            for part in range(start, stop):
                search(part / n_parts, (part + 1) / n_parts, 0, n_queries, parts[part])
                sort_heaps(*parts[part], 0, n_queries)

        parallel_ranges(search_part, n_parts, smallest=1)
        _merge_rankings(parts, documents, scores)

    def facts(self, query: Rows, document: int, scoring: BM25Config) -> TermFacts:
        """The numbers of the formula for the terms that a query and a document share, in ascending order of terms."""
        number, local = self.place(document)
        prepared, segment = self._prepared(scoring), self.segments[number]
        norm = prepared.norms[number][local]
        terms, weights = segment.row(local)
        _, in_query, in_row = np.intersect1d(query.terms, terms, assume_unique=True, return_indices=True)
        shared, weights = query.terms[in_query], weights[in_row]
        tf = transform_weights(weights, scoring.document_transform)
        frequency = self.document_frequency[shared]
        return TermFacts(
            segment.ids.id(local),
            float(segment.lengths[TRANSFORMS.index(scoring.document_transform)][local]),
            self.average_length(scoring.document_transform),
            float(norm),
            shared,
            frequency,
            inverse_document_frequency(self.n_documents, frequency, scoring.idf),
            prepared.worth[shared],
            transform_weights(query.values, scoring.query_transform)[in_query],
            weights,
            tf,
            impacts(tf, norm, saturation_form(scoring)),
        )

    def _usable(self, segment: Segment, wanted: ImpactScoring) -> bool:
        drift = segment.postings.scoring.drift(wanted) if segment.postings is not None else None
        return drift is not None and drift <= LARGEST_DRIFT

    def _read_ahead(self, terms: NDArray[np.int32]) -> None:
        """Asks for the lists of terms that are searched for the first time; later they are in memory, as a rule."""
        new = np.unique(terms[~self._read[terms]])
        if len(new):
            self._read[new] = True
            for segment in self.segments:
                if segment.postings is not None and segment.n_documents:
                    segment.postings.read_ahead(new[new < segment.n_terms], segment.n_terms)

    def _built(self, scoring: ImpactScoring, n_queries: int) -> bool:
        """Whether lists for a scoring that the segments don't have are there, or are worth building now."""
        self._asked[scoring] = self._asked.get(scoring, 0) + n_queries
        return self._asked[scoring] > QUERIES_WORTH_BUILDING

    def _plain_parts(self, prepared: Prepared, ready: bool) -> list[numpy_search.PlainPart]:
        return [
            numpy_search.PlainPart(
                segment,
                segment.postings if ready else None,
                self._live[number],
                int(self.first[number]),
                prepared.norms[number],
                prepared.impacts,
            )
            for number, segment in enumerate(self.segments)
        ]

    def _lists(self, prepared: Prepared) -> tuple[Postings, ...]:
        scoring = prepared.impacts
        with self._building:
            if scoring not in self._lists_of:
                self._lists_of[scoring] = self._build(prepared)
                if len(self._lists_of) > LISTS_KEPT:
                    dropped, _ = self._lists_of.popitem(last=False)
                    self._asked[dropped] = 0
            self._lists_of.move_to_end(scoring)
            return self._lists_of[scoring]

    def _build(self, prepared: Prepared) -> tuple[Postings, ...]:
        return tuple(
            segment.postings
            if segment.postings is not None and self._usable(segment, prepared.impacts)
            else build_postings(segment.reader(), norms, segment.n_terms, prepared.impacts)
            for segment, norms in zip(self.segments, prepared.norms, strict=True)
        )

    def _prepare(self, scoring: BM25Config) -> Prepared:
        row, average = TRANSFORMS.index(scoring.document_transform), self.average_length(scoring.document_transform)
        norms = tuple(length_norms(segment.lengths[row], average, scoring) for segment in self.segments)
        worth = worth_of_terms(self.n_documents, self.document_frequency, self.n_latents, scoring)
        return Prepared(worth, norms, ImpactScoring.of(scoring, average))

    def _mean_length(self, transform: Transform) -> float:
        row = TRANSFORMS.index(transform)
        lengths = np.concatenate([np.empty(0, np.float32), *[segment.live_lengths(row) for segment in self.segments]])
        return average_length(lengths)


def _merge_rankings(
    parts: Sequence[tuple[NDArray[np.float32], NDArray[np.int32], NDArray[Any]]],
    documents: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> None:
    """Merges the rankings that threads found in different documents."""
    all_scores = np.concatenate([part[0] for part in parts], axis=1)
    all_documents = np.concatenate([part[1] for part in parts], axis=1)
    for row in range(len(scores)):
        hits = np.flatnonzero(all_documents[row] >= 0)
        best = hits[np.lexsort((all_documents[row, hits], -all_scores[row, hits]))][: scores.shape[1]]
        documents[row, : len(best)], scores[row, : len(best)] = all_documents[row, best], all_scores[row, best]


def _known_terms(
    queries: Rows, factors: NDArray[np.float32], known: int, n_terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], int]:
    """Queries as the kernel takes them, without the terms that a segment of ``known`` terms cannot have."""
    if known == n_terms:
        return queries.indptr, queries.terms, factors, known
    kept = queries.terms < known
    return np.r_[0, np.cumsum(kept, dtype=np.int64)][queries.indptr], queries.terms[kept], factors[kept], known


def _live_mask(segment: Segment) -> NDArray[np.uint8]:
    if segment.deleted is None:
        return np.empty(0, dtype=np.uint8)
    return (~segment.deleted).view(np.uint8)
