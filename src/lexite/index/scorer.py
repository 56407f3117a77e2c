"""Searching opened segments: everything between checked queries and rankings of passages."""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.index import numpy_search
from lexite.index.checks import check_among
from lexite.index.covered_factors import covered_factors, covered_factors_plainly
from lexite.index.disk import Disk, Wanted
from lexite.index.foresight import (
    Scored,
    SingleQuery,
    ask_for_rows,
    find_candidates,
    is_worth_foreseeing,
    seconds_of_rows,
)
from lexite.index.ids import VERIFY
from lexite.index.postings import LARGEST_DRIFT, ImpactScoring, Postings, build_postings, n_chunks_of
from lexite.index.segment import Segment
from lexite.index.storage import read_all_ahead
from lexite.kernels.posting_lists import Among, Heaps, ImpactForm, Queries, SegmentRows, Turns
from lexite.kernels.threads import ForkSafeLock, counted, parallel_ranges, together
from lexite.scoring.config import BM25Config, Transform
from lexite.scoring.formula import (
    average_length,
    coverage,
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
Made = TypeVar("Made")
FEW_QUERIES = 2  # answered without the compiled kernels when those are not loaded
LOADING_SECONDS = 0.5  # that loading the compiled kernels takes
QUERIES_WORTH_BUILDING = 4  # building lists takes about as long as scoring so many queries from the rows
SCORINGS_KEPT = 8
LISTS_KEPT = 2  # scorings whose lists are kept; lists for another scoring than the index's take 2 bytes a posting
LIKELY = 4  # times as many passages as hits, the rows of which are read first from a disk
DISK_THREADS = 8  # that wait for rows; a disk gives four times as many so
CHUNKS_TO_SPLIT = 8  # fewer are searched by one thread
ENTRIES_WORTH_COMPILING = 50_000_000  # entries of rows that are gone through as fast as the compiled loops are loaded
TRIFLE = 1e-6
FEW_DOCUMENTS = 1 / 64  # a share of all: with fewer that may be hits, lists are hardly read
EVERYTHING = Among(*(np.empty(0, dtype=np.int64) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What scoring needs beside the rows and posting lists, for one BM25Config.

    Attributes:
        worth: (n_terms,) float64, what a query's weight of each term is multiplied by.
        rows: per segment, its rows and the norms of its documents.
        impacts: what impacts of this scoring depend on.
        form: the same as the kernels take it.
    """

    worth: NDArray[np.float64]
    rows: tuple[SegmentRows, ...]
    impacts: ImpactScoring
    form: ImpactForm


class TermFacts(NamedTuple):
    """The numbers of a document and of the terms that it shares with a query, as arrays in ascending order of terms.

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
    """Scores queries against the passages of a fixed list of segments, which are numbered through, deleted ones included.

    A document that was not cut is one passage. :mod:`lexite.index.numbering` makes rankings of documents.

    Args:
        segments: in document order.
        n_latents: number of latent terms; the terms behind them are literal words.
        n_words: number of literal words. A segment that was written before a word was known has no postings of it.
        averages: mean lengths of the passages of living documents, by transform, of those that are known.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        n_latents: int,
        n_words: int = 0,
        averages: Mapping[Transform, float] | None = None,
    ) -> None:
        self.segments, self.n_latents, self.n_terms = tuple(segments), n_latents, n_latents + n_words
        sizes = [segment.n_passages for segment in segments]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.n_passages = sum(len(segment.live_lengths(0)) for segment in segments)
        self._live = [_live_mask(segment) for segment in segments]
        self._worth_for: OrderedDict[BM25Config, NDArray[np.float64]] = OrderedDict()
        self._prepared_for: OrderedDict[BM25Config, Prepared] = OrderedDict()
        self._lists_of: OrderedDict[ImpactScoring, tuple[Postings, ...]] = OrderedDict()
        self._building = ForkSafeLock()
        self._asked: dict[ImpactScoring, float] = {}
        self._disk = Disk(self.segments, self.n_terms)
        self._plain_seconds = 0.0
        self._averages: dict[Transform, float] = dict(averages or {})

    @functools.cached_property
    def document_frequency(self) -> NDArray[np.int64]:
        """(n_terms,) in how many passages of living documents each term occurs."""
        total = np.zeros(self.n_terms, dtype=np.int64)
        for segment in self.segments:
            if segment.numbers is None:
                total[: segment.n_terms] += segment.document_frequency
            else:
                own = segment.numbers.own[: segment.n_terms]
                total[own[own >= 0]] += segment.document_frequency[own >= 0]
        if np.any(total < 0) or np.any(total > self.n_passages):
            raise self._damaged("term frequencies")
        return total

    def average_length(self, transform: Transform) -> float:
        """Mean length of the passages of living documents; the same number however they are spread over segments."""
        if transform not in self._averages:
            row = TRANSFORMS.index(transform)
            self._read_lengths_ahead(row)
            lengths = np.concatenate([np.empty(0, np.float32), *[segment.live_lengths(row) for segment in self.segments]])
            self._averages[transform] = average_length(lengths)
        return self._averages[transform]

    def _read_lengths_ahead(self, row: int) -> None:
        for segment in self.segments:
            read_all_ahead(segment.lengths[row])

    def worth(self, scoring: BM25Config) -> NDArray[np.float64]:
        """(n_terms,) what a query's weight of each term is multiplied by; shared, so it is not to be changed."""
        return _kept(self._worth_for, scoring, self._worth)

    def factors(self, queries: Rows, scoring: BM25Config) -> NDArray[np.float32]:
        """What each query term multiplies: transformed query weight times what the term is worth."""
        return query_factors(queries.values, self.worth(scoring)[queries.terms], scoring)

    def top(
        self,
        queries: Rows,
        top_k: int,
        scoring: BM25Config,
        excluded: NDArray[np.int64],
        share: float = 1.0,
        among: Sequence[NDArray[np.int64]] | None = None,
        live: Sequence[NDArray[np.uint8]] | None = None,
    ) -> Arrays:
        """The best hits of each query, on all cores.

        Posting lists hold impacts of one scoring. For another one they are built anew in memory, once there are queries
        enough to pay for that; a few queries are scored from the raw rows. One query in a process that has not loaded the
        compiled kernels yet is answered without them, since loading them takes longer; they are loaded when such queries have
        taken as long as that together. The results are the same.

        Where only some passages may be hits, each chunk of a segment is searched in the quicker of two ways: these passages
        are scored from their rows, or the lists are searched and other passages left out.

        Args:
            queries: raw query weights.
            top_k: how many hits to keep.
            scoring: how to score.
            excluded: (n_queries,) a passage that is no hit, or -1.
            share: of what unread lists could add, the part that is counted on; 1 for an exact search. Without the compiled
                kernels, and from the rows, every search is exact.
            among: for each query the numbers of the only passages that may be hits, in any order; None for all.
                Those of deleted documents are no hits. An array that several queries share is looked at once.
            live: for each segment, (n_passages,) 1 for the only passages that may be hits, all of them of living documents;
                None for all.

        Returns:
            Passages (n_queries, top_k) int32, -1 where there are no more hits, and their scores, float32.

        Raises:
            ArgumentError: there are not as many arrays in ``among`` as queries, or one holds no whole numbers.
            IndexError: ``among`` names a passage that does not exist.
            IndexFormatError: postings are damaged.
        """
        n_passages = int(self.first[-1])
        chosen = None if among is None else check_among(among, queries.n_rows, n_passages)
        rows_worth = float(queries.n_rows)  # of queries that may find any passage: as many rows as they score
        if chosen is not None:
            rows_worth = int((chosen.stops - chosen.starts).sum()) / max(n_passages, 1)
        if rows_worth > FEW_DOCUMENTS * queries.n_rows and (wanted := self._disk.wanted(queries.terms, scoring)):
            plain = chosen is None and live is None and share == 1.0
            first = self._first_top(wanted, queries, top_k if plain else 0, scoring, excluded)
            if first is not None:
                return first
            self._disk.ask(wanted)
        prepared = self._prepared(scoring)
        if live is not None:
            rows = tuple(part._replace(live=own) for part, own in zip(prepared.rows, live, strict=True))
            prepared = dataclasses.replace(prepared, rows=rows)
        factors = self.factors(queries, scoring)
        scores = np.zeros((queries.n_rows, top_k), dtype=np.float32)
        passages = np.full((queries.n_rows, top_k), -1, dtype=np.int32)
        if not top_k or not queries.n_rows:
            return passages, scores
        ready = all(self._usable(segment, prepared.impacts) for segment in self.segments)
        with_lists = ready or self._built(prepared.impacts, rows_worth)
        compiled = "numba" in sys.modules or queries.n_rows > FEW_QUERIES or self._plain_seconds > LOADING_SECONDS
        if (with_lists and (compiled or not ready)) or (chosen is not None and compiled):
            asked = Queries(queries.indptr, queries.terms, factors, self.n_terms, excluded)
            heaps = Heaps(scores, passages, np.zeros(queries.n_rows, dtype=np.int64))
            self._search(asked, chosen, prepared, self._lists(prepared) if with_lists else None, share, heaps)
            return passages, scores
        parts, begin = self._searched_segments(prepared, ready), time.perf_counter()
        for row in range(queries.n_rows):
            own = slice(queries.indptr[row], queries.indptr[row + 1])
            some = None if chosen is None else chosen.documents[chosen.starts[row] : chosen.stops[row]]
            query = numpy_search.SingleQuery(queries.terms[own], factors[own], int(excluded[row]), some)
            found, found_scores = numpy_search.search(parts, query, top_k)
            passages[row, : len(found)], scores[row, : len(found)] = found, found_scores
        self._plain_seconds += time.perf_counter() - begin
        return passages, scores

    def coverage(self, query: Rows, passages: NDArray[np.int64], scoring: BM25Config) -> NDArray[np.float64]:
        """The share of a query that passages cover; :func:`lexite.scoring.formula.coverage` has the formula.

        Args:
            query: one query.
            passages: numbers of passages.
            scoring: how to score.

        Returns:
            (n,) from 0 to 1.
        """
        factors = self._factors_of_terms(query, scoring)
        homes = np.searchsorted(self.first, passages, side="right") - 1
        found = np.empty(len(passages))
        for place, (passage, number) in enumerate(zip(passages.tolist(), homes.tolist(), strict=True)):
            segment = self.segments[number]
            terms, _ = segment.row(passage - int(self.first[number]))
            found[place] = coverage(factors[segment.in_index(terms)], factors[query.terms])
        return found

    def covering(self, query: Rows, least: float, scoring: BM25Config) -> list[NDArray[np.bool_]]:
        """For each segment, which passages cover a share of a query, or a trifle less; :meth:`coverage` has the exact share.

        Args:
            query: one query.
            least: the share.
            scoring: how to score.

        Raises:
            IndexFormatError: rows are damaged.
        """
        factors = self._factors_of_terms(query, scoring)
        total, found = float(factors.sum()), []
        for segment in self.segments:
            known = segment.of_terms(factors)
            large = "numba" in sys.modules or segment.rows.n_entries > ENTRIES_WORTH_COMPILING
            sums = covered_factors(segment, known) if large else covered_factors_plainly(segment, known)
            found.append(sums >= least * total - TRIFLE * max(total, 1.0))
        return found

    def _factors_of_terms(self, query: Rows, scoring: BM25Config) -> NDArray[np.float64]:
        factors = np.zeros(self.n_terms)
        factors[query.terms] = self.factors(query, scoring)
        return factors

    def _first_top(
        self, wanted: Wanted, queries: Rows, top_k: int, scoring: BM25Config, excluded: NDArray[np.int64]
    ) -> Arrays | None:
        """What :meth:`top` gives for a single query whose lists are on the disk, with few of them read.

        Passages that may be hits are found by these lists. The rows of the most likely ones are read first: by their scores,
        most others are no hits. None for any other search, and where it would take longer than one that reads all lists.

        Args:
            wanted: what may be on the disk.
            queries: all of them.
            top_k: how many hits are kept; 0 for any search but an exact one of all passages.
            scoring: how to score.
            excluded: as in :meth:`top`.
        """
        single = queries.n_rows == 1 and top_k > 0 and "numba" in sys.modules and len(wanted.segments) == len(self.segments)
        if not (single and is_worth_foreseeing(wanted)):
            return None

        prepared = self._unmeasured(scoring)

        def prepare() -> Scored | None:
            drifts = list[float]()
            for segment in self.segments:
                if segment.postings is None or not self._usable(segment, prepared.impacts):
                    return None
                drifts.append(float(segment.postings.scoring.drift(prepared.impacts) or 1.0))
            return Scored(prepared.rows, drifts)

        factors = self.factors(queries, scoring)
        single_query = SingleQuery(queries.terms, factors, int(excluded[0]), top_k)
        found = find_candidates(self._disk, wanted, single_query, prepare)
        if found is None:
            return None
        asked = Queries(queries.indptr, queries.terms, factors, self.n_terms, excluded)
        likely = np.zeros(len(found.passages), dtype=bool)
        likely[np.argsort(-found.most, kind="stable")[: LIKELY * top_k]] = True
        heaps = [self._scored(asked, found.passages[likely], top_k, prepared, scoring)]
        worst = heaps[0].scores[0, -1] if heaps[0].documents[0, -1] >= 0 else 0.0
        others = found.passages[~likely & (found.most >= worst)]
        if 0.0 < found.left_seconds < seconds_of_rows(len(others)):
            return None
        heaps.append(self._scored(asked, others, top_k, prepared, scoring))
        merged = _like(heaps[0])
        _merge_rankings(heaps, merged)
        return merged.documents, merged.scores

    def _scored(
        self, queries: Queries, passages: NDArray[np.int64], top_k: int, prepared: Prepared, scoring: BM25Config
    ) -> Heaps:
        """The ranking of some passages for a single query, scored from their rows, which are asked for at once.

        Args:
            queries: the query.
            passages: numbers in the index, ascending.
            top_k: how many hits are kept.
            prepared: what scoring needs; norms of these passages are filled in.
            scoring: how to score.
        """
        row, average = TRANSFORMS.index(scoring.document_transform), self.average_length(scoring.document_transform)
        ask_for_rows(self.segments, self.first, passages, row)
        bounds = np.searchsorted(passages, self.first)
        for part, segment, low, high in zip(prepared.rows, self.segments, bounds, bounds[1:], strict=False):
            own = passages[low:high] - part.first
            part.norms[own] = length_norms(segment.lengths[row][own], average, scoring)
        heaps = Heaps(np.zeros((1, top_k), np.float32), np.full((1, top_k), -1, np.int32), np.zeros(1, np.int64))
        among = check_among([passages], 1, int(self.first[-1]))
        self._search(queries, among, prepared, None, 1.0, heaps)
        return heaps

    def postings(self, scoring: BM25Config) -> tuple[Postings, ...]:
        """The posting lists of the segments for a scoring: the lists of the index where they fit it, else new ones."""
        return self._lists(self._prepared(scoring))

    def _search(
        self,
        queries: Queries,
        among: Among | None,
        prepared: Prepared,
        lists: tuple[Postings, ...] | None,
        share: float,
        heaps: Heaps,
    ) -> None:
        """Ranges of queries on all cores; the chunks of a single query, where they are many. Leaves rankings in the heaps.

        Args:
            queries: all of them.
            among: the documents that may be hits; None for all.
            prepared: what scoring needs.
            lists: of each segment; None to score the documents that may be hits from their rows.
            share: as in :meth:`top`.
            heaps: empty ones.

        Raises:
            IndexFormatError: postings or rows are damaged.
        """
        from lexite.kernels.hardware import n_threads
        from lexite.kernels.heaps import sort_heaps

        searches = [self._search_of(number, queries, among, prepared, lists, share) for number in range(len(self.segments))]
        damaged: list[bool] = []  # reported when all threads are done: they read files that a caller may then replace

        def search(found: Heaps, turns: Sequence[Turns], start: int, stop: int) -> None:
            for search_chunks, own in zip(searches, turns, strict=True):
                if not search_chunks(found, own, start, stop):
                    damaged.append(True)
            sort_heaps(*found, start, stop)

        def search_part(part: int) -> None:
            own = shared if share == 1.0 else _turns(len(searches), n_queries, part, n_parts)
            search(parts[part], own, 0, n_queries)

        def search_parts(start: int, stop: int) -> None:
            for part in range(start, stop):
                search_part(part)

        n_queries, shared = len(heaps.sizes), _turns(len(searches), len(heaps.sizes))
        n_chunks = sum(n_chunks_of(segment.n_passages) for segment in self.segments)
        n_parts, large = min(n_threads(), n_chunks), n_chunks >= CHUNKS_TO_SPLIT
        with self._disk.waiting() as waits, counted() as alone:
            waits = waits and n_queries == 1 and large and share == 1.0 and lists is not None
            n_parts = max(n_parts, DISK_THREADS) if waits else n_parts
            if not waits and (n_queries >= n_parts or not large or (not alone and share == 1.0)):
                parallel_ranges(lambda start, stop: search(heaps, shared, start, stop), n_queries, smallest=1)
            else:
                parts = [_like(heaps) for _ in range(n_parts)]
                if waits:
                    together(search_part, n_parts)
                elif alone:
                    parallel_ranges(search_parts, n_parts, smallest=1)
                else:  # what an approximate search finds depends on its parts, so that it has the same ones on one thread
                    search_parts(0, n_parts)
                _merge_rankings(parts, heaps)
        if damaged:
            raise self._damaged("postings")

    def _damaged(self, what: str) -> IndexFormatError:
        """The error for numbers that cannot be in one of the segments, with the folder that these are in."""
        places = [segment.place.parent for segment in self.segments if segment.place]
        return IndexFormatError(f"The {what} of {places[0] if places else 'the index'} are damaged. {VERIFY}")

    def _search_of(
        self,
        number: int,
        queries: Queries,
        among: Among | None,
        prepared: Prepared,
        lists: tuple[Postings, ...] | None,
        share: float,
    ) -> Callable[..., bool]:
        """The compiled search of one segment. It is called with heaps, turns at its chunks and a range of queries."""
        from lexite.kernels.chunk_sums import Pruning
        from lexite.kernels.retrieval import score_among, search_segment

        rows, form = prepared.rows[number], prepared.form
        known = _known_terms(queries, self.segments[number])
        chosen = among or EVERYTHING
        if lists is None:
            return functools.partial(score_among, rows, known, chosen, form)
        pruning = Pruning(float(lists[number].scoring.drift(prepared.impacts) or 1.0), float(share))
        return functools.partial(search_segment, lists[number].arrays, rows, known, chosen, form, pruning)

    def located(self, passages: Sequence[int], scoring: BM25Config) -> list[tuple[Segment, int, np.float32]]:
        """The segment of each passage, its number there, and its norm."""
        prepared, found = self._prepared(scoring), []
        numbers = np.searchsorted(self.first, passages, side="right") - 1
        for passage, number in zip(passages, numbers.tolist(), strict=True):
            local = passage - int(self.first[number])
            found.append((self.segments[number], local, prepared.rows[number].norms[local]))
        return found

    def facts(self, query: Rows, passage: int, scoring: BM25Config) -> TermFacts:
        """The numbers of the formula for the terms that a query and a passage share, in ascending order of terms."""
        number = int(np.searchsorted(self.first, passage, side="right")) - 1
        local = passage - int(self.first[number])
        prepared, segment = self._prepared(scoring), self.segments[number]
        norm = prepared.rows[number].norms[local]
        terms, weights = segment.row(local)
        own = segment.in_index(terms)
        order = np.argsort(own, kind="stable")  # fast where they ascend, as in an index that is not one of several
        in_row = order[np.minimum(np.searchsorted(own, query.terms, sorter=order), len(own) - 1)] if len(own) else order
        in_query = np.flatnonzero(own[in_row] == query.terms) if len(own) else order
        shared, weights = query.terms[in_query], weights[in_row[in_query]]
        tf = transform_weights(weights, scoring.document_transform)
        frequency = self.document_frequency[shared]
        return TermFacts(
            segment.ids.id(int(segment.documents_of(np.array([local]))[0])),
            float(segment.lengths[TRANSFORMS.index(scoring.document_transform)][local]),
            self.average_length(scoring.document_transform),
            float(norm),
            shared,
            frequency,
            inverse_document_frequency(self.n_passages, frequency, scoring.idf),
            prepared.worth[shared],
            transform_weights(query.values, scoring.query_transform)[in_query],
            weights,
            tf,
            impacts(tf, norm, saturation_form(scoring)),
        )

    def _usable(self, segment: Segment, wanted: ImpactScoring) -> bool:
        drift = segment.postings.scoring.drift(wanted) if segment.postings is not None else None
        return drift is not None and drift <= LARGEST_DRIFT

    def _built(self, scoring: ImpactScoring, n_queries: float) -> bool:
        """Whether lists for another scoring than the index's exist or are worth building now."""
        self._asked[scoring] = self._asked.get(scoring, 0.0) + n_queries
        return self._asked[scoring] > QUERIES_WORTH_BUILDING

    def _searched_segments(self, prepared: Prepared, ready: bool) -> list[numpy_search.SearchedSegment]:
        return [
            numpy_search.SearchedSegment(
                segment,
                segment.postings if ready else None,
                rows.live,
                rows.first,
                rows.norms,
                prepared.impacts,
            )
            for segment, rows in zip(self.segments, prepared.rows, strict=True)
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
            else build_postings(segment.rows.span, rows.norms, segment.n_terms, prepared.impacts, segment.place)
            for segment, rows in zip(self.segments, prepared.rows, strict=True)
        )

    def _prepared(self, scoring: BM25Config) -> Prepared:
        """What a scoring needs. A cache of functools would refer to this object, and so keep its files open."""
        return _kept(self._prepared_for, scoring, self._prepare)

    def _worth(self, scoring: BM25Config) -> NDArray[np.float64]:
        return worth_of_terms(self.n_passages, self.document_frequency, self.n_latents, scoring)

    def _prepare(self, scoring: BM25Config) -> Prepared:
        row, average = TRANSFORMS.index(scoring.document_transform), self.average_length(scoring.document_transform)
        self._read_lengths_ahead(row)
        return self._with_norms(scoring, [length_norms(segment.lengths[row], average, scoring) for segment in self.segments])

    def _unmeasured(self, scoring: BM25Config) -> Prepared:
        """What a scoring needs, with norms that are yet to be filled in: those of all passages take all lengths."""
        return self._with_norms(scoring, [np.empty(segment.n_passages, np.float32) for segment in self.segments])

    def _with_norms(self, scoring: BM25Config, norms: Sequence[NDArray[np.float32]]) -> Prepared:
        rows = tuple(
            segment.rows.for_kernels(own, live, int(first))
            for segment, own, live, first in zip(self.segments, norms, self._live, self.first, strict=False)
        )
        depends_on = ImpactScoring.of(scoring, self.average_length(scoring.document_transform))
        return Prepared(self.worth(scoring), rows, depends_on, depends_on.form)


def _kept(cache: OrderedDict[BM25Config, Made], scoring: BM25Config, make: Callable[[BM25Config], Made]) -> Made:
    """What was made for a scoring, of the last few ones."""
    found = cache.get(scoring)
    if found is None:
        found = cache[scoring] = make(scoring)
        while len(cache) > SCORINGS_KEPT:
            cache.popitem(last=False)
    return found


def _turns(n_segments: int, n_queries: int, first: int = 0, step: int = 1) -> list[Turns]:
    """Turns at the chunks of segments, of which nothing is searched yet; every ``step``-th chunk from ``first`` on."""
    needed = np.zeros(n_queries, dtype=np.float32)
    return [Turns(np.full(n_queries, first, dtype=np.int64), step, needed) for _ in range(n_segments)]


def _like(heaps: Heaps) -> Heaps:
    """Empty heaps of the same size."""
    return Heaps(np.zeros_like(heaps.scores), np.full_like(heaps.documents, -1), np.zeros_like(heaps.sizes))


def _merge_rankings(parts: Sequence[Heaps], merged: Heaps) -> None:
    """Merges the rankings that threads found in different documents."""
    all_scores = np.concatenate([part.scores for part in parts], axis=1)
    all_documents = np.concatenate([part.documents for part in parts], axis=1)
    for row in range(len(all_scores)):
        hits = np.flatnonzero(all_documents[row] >= 0)
        best = hits[np.lexsort((all_documents[row, hits], -all_scores[row, hits]))][: merged.scores.shape[1]]
        merged.documents[row, : len(best)], merged.scores[row, : len(best)] = all_documents[row, best], all_scores[row, best]


def _known_terms(queries: Queries, segment: Segment) -> Queries:
    """Queries without the terms that a segment does not know, with the numbers that they have there."""
    if segment.numbers is None and segment.n_terms == queries.n_terms:
        return queries
    known = segment.known(queries.terms)
    kept = known >= 0
    bounds = np.r_[0, np.cumsum(kept, dtype=np.int64)][queries.bounds]
    return queries._replace(bounds=bounds, terms=known[kept], factors=queries.factors[kept], n_terms=segment.n_terms)


def _live_mask(segment: Segment) -> NDArray[np.uint8]:
    deleted = segment.deleted_passages
    return np.empty(0, dtype=np.uint8) if deleted is None else (~deleted).view(np.uint8)
