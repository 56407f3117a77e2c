"""Rankings beyond the best k: hits that reach a score or cover enough of the query, and hits in the order of a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.index.filtering import Passing
from lexite.index.numbering import Numbering, TopDocuments, top_documents
from lexite.index.scorer import Scorer
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import Rows

if TYPE_CHECKING:
    from lexite.index.field_values import FieldOrder

FIRST_BATCH = 64  # documents that are scored first of all that are in the order of a field; twice as many follow each time
DEEPER = 4  # times as many hits are looked for where too few cover enough of the query
ROUNDING = 1e-9  # of sums in double precision


class Limits(NamedTuple):
    """What makes a document of a ranking a hit.

    Attributes:
        min_score: the least score; None: any.
        min_coverage: the least share of the query that it covers; None: any.
        coverage: that share for passages of the ranking, (n,).
    """

    min_score: float | None
    min_coverage: float | None
    coverage: Callable[[NDArray[np.int64]], NDArray[np.float64]]

    def hits(self, best: TopDocuments) -> NDArray[np.int64]:
        """The places of a ranking of one query that hold hits."""
        kept = best.documents[0] >= 0
        if self.min_score is not None:
            with np.errstate(over="ignore"):  # a number beyond float32 is above all scores, or below
                kept &= best.scores[0] >= self.min_score
        if self.min_coverage is not None:
            places = np.flatnonzero(kept)
            kept[places] = self.coverage(best.passages[0, places].astype(np.int64)) >= self.min_coverage - ROUNDING
        return np.flatnonzero(kept)


@dataclass(frozen=True)
class Asked:
    """Checked queries, and what says which documents may be their hits.

    Attributes:
        scorer: of the passages.
        numbering: which belong to which document.
        rows: raw query weights.
        scoring: how to score.
        excluded: (n_queries,) a document that is no hit, or -1.
        share: as for ``Scorer.top``.
        among: for each query the only documents that may be hits; None for all.
        passing: what a filter lets pass; None for all.
    """

    scorer: Scorer
    numbering: Numbering
    rows: Rows
    scoring: BM25Config
    excluded: NDArray[np.int64]
    share: float = 1.0
    among: Sequence[NDArray[np.int64]] | None = None
    passing: Passing | None = None

    def best(self, top_k: int) -> TopDocuments:
        """The best k documents of each query."""
        return top_documents(
            self.scorer, self.numbering, self.rows, top_k, self.scoring, self.excluded, self.share, self.among, self.passing
        )

    def within_limits(self, top_k: int, min_score: float | None, min_coverage: float | None) -> TopDocuments:
        """The best k documents of each query that reach a score and cover a share of the query."""
        n_documents = int(self.numbering.first_documents[-1])
        found = []
        for number in range(self.rows.n_rows):
            one = self._one(number)
            limits = one._limits(min_score, min_coverage)
            best = one.best(min(DEEPER * top_k, n_documents) if min_coverage is not None else top_k)
            hits = limits.hits(best)
            if len(hits) < top_k and min_coverage is not None and best.documents[0, -1] >= 0:
                covering = one._covering(min_coverage)
                found.append(limited(covering.best, top_k, n_documents, limits))
            else:
                found.append(_padded(best, hits[:top_k], top_k))
        return _stacked(found)

    def in_order(
        self, top_k: int, order: FieldOrder, wanted: NDArray[np.bool_], min_score: float | None, min_coverage: float | None
    ) -> TopDocuments:
        """The first k documents of each query in the order of a field.

        Args:
            top_k: how many.
            order: of all documents.
            wanted: which documents live and pass the filter.
            min_score: the least score of a hit.
            min_coverage: the least share of the query that a hit covers.
        """
        found = []
        for number in range(self.rows.n_rows):
            one, own = self._one(number), wanted.copy()
            if one.among is not None:
                own[:] = False
                own[one.among[0]] = wanted[one.among[0]]
            if one.excluded[0] >= 0:
                own[one.excluded[0]] = False
            if min_coverage is not None:
                own &= np.concatenate(one._documents_covering(min_coverage))
            found.append(in_field_order(one._among, top_k, order, own, one._limits(min_score, min_coverage)))
        return _stacked(found)

    def _one(self, number: int) -> Asked:
        """One of the queries alone."""
        part = slice(self.rows.indptr[number], self.rows.indptr[number + 1])
        terms, values = self.rows.terms[part], self.rows.values[part]
        among = None if self.among is None else [self.among[number]]
        rows, excluded = Rows(np.array([0, len(terms)]), terms, values), self.excluded[number : number + 1]
        return replace(self, rows=rows, excluded=excluded, among=among)

    def _covering(self, min_coverage: float) -> Asked:
        """The same query among the documents that have a passage which covers so much of it."""
        assert self.passing is not None
        return replace(self, passing=self.passing.restricted(self.numbering.segments, self._documents_covering(min_coverage)))

    def _documents_covering(self, min_coverage: float) -> list[NDArray[np.bool_]]:
        """For each segment, which documents have a passage that covers so much of the query."""
        masks = self.scorer.covering(self.rows, min_coverage, self.scoring)
        return [segment.of_documents(mask) for segment, mask in zip(self.numbering.segments, masks, strict=True)]

    def _among(self, top_k: int, documents: NDArray[np.int64]) -> TopDocuments:
        return replace(self, among=[documents], passing=None).best(top_k)

    def _limits(self, min_score: float | None, min_coverage: float | None) -> Limits:
        return Limits(min_score, min_coverage, lambda passages: self.scorer.coverage(self.rows, passages, self.scoring))


def limited(ask: Callable[[int], TopDocuments], top_k: int, n_documents: int, limits: Limits) -> TopDocuments:
    """The best k documents of one query among those within limits; exact.

    Args:
        ask: gives the best documents, so many.
        top_k: how many are wanted.
        n_documents: how many there are.
        limits: which of them are hits.
    """
    depth = top_k
    while True:
        best = ask(depth)
        hits = limits.hits(best)
        deeper = limits.min_coverage is not None and len(hits) < top_k and best.documents[0, -1] >= 0
        if limits.min_score is not None and deeper:
            deeper = bool(best.scores[0, -1] >= limits.min_score)
        if not deeper or depth == n_documents:
            return _padded(best, hits[:top_k], top_k)
        depth = min(DEEPER * depth, n_documents)


def in_field_order(
    ask: Callable[[int, NDArray[np.int64]], TopDocuments],
    top_k: int,
    order: FieldOrder,
    wanted: NDArray[np.bool_],
    limits: Limits,
) -> TopDocuments:
    """The first k documents of one query in the order of a field: of all that share a term with it, not of the best alone.

    Documents with the same value come in the order of their scores, and documents without the field last.

    Args:
        ask: gives the best, so many, of some documents.
        top_k: how many are wanted.
        order: of all documents.
        wanted: which documents may be hits.
        limits: which of them are hits.
    """
    kept = wanted[order.documents]
    documents, groups = order.documents[kept], order.groups[kept]
    found, missing, place, size = list[TopDocuments](), top_k, 0, FIRST_BATCH
    while missing > 0 and place < len(documents):
        last = groups[min(place + size, len(documents)) - 1]
        end = int(np.searchsorted(groups, last, side="left"))  # a group of equal values stays whole
        if end <= place:  # it is one group: its best are wanted
            end = int(np.searchsorted(groups, last, side="right"))
        part = documents[place:end]
        one_group, all_count = groups[place] == groups[end - 1], limits.min_coverage is None
        best = ask(min(missing, len(part)) if one_group and all_count else len(part), part)
        hits = limits.hits(best)
        in_order = np.argsort(part, kind="stable")
        own_groups = groups[place:end][in_order[np.searchsorted(part[in_order], best.documents[0, hits])]]
        hits = hits[np.lexsort((best.documents[0, hits], -best.scores[0, hits], own_groups))][:missing]
        found.append(_padded(best, hits, len(hits)))
        missing -= len(hits)
        place, size = end, 2 * size
    if not found:
        return _nothing(top_k)
    joined = TopDocuments(*(np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)))
    return _padded(joined, np.arange(joined.documents.shape[1]), top_k)


def _nothing(size: int) -> TopDocuments:
    shape = (1, size)
    return TopDocuments(np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.full(shape, -1, np.int32))


def _stacked(found: Sequence[TopDocuments]) -> TopDocuments:
    """The rankings of several queries, from those of each."""
    return TopDocuments(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _padded(best: TopDocuments, places: NDArray[np.int64], size: int) -> TopDocuments:
    """Some places of a ranking of one query, and nothing behind them up to a size."""
    padded = _nothing(size)
    for row, values in zip(padded, best, strict=True):
        row[0, : len(places)] = values[0, places]
    return padded
