"""Documents and their passages: numbers of an opened index, and rankings of documents from rankings of passages."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.index.filtering import Passing
from lexite.index.scorer import Scorer
from lexite.index.segment import Segment
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import Rows

FEW_PASSING = 1 / 15  # a share of all passages: where fewer pass a filter, they are given as numbers, else as masks
FIRST_DEPTH, MORE_DEPTH = 2, 4  # passages that are looked for, for each document: at first, and times as many again


class Numbering:
    """Numbers documents and passages through all segments, deleted ones included.

    Args:
        segments: in document order.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)
        self.first_documents = _sums([segment.n_documents for segment in segments])
        self.first_passages = _sums([segment.n_passages for segment in segments])
        self._document_bounds = self.first_documents.tolist()  # bisect takes a tenth of the time of numpy's search here
        self._passage_bounds = self.first_passages.tolist()
        self.has_passages = any(segment.passage_bounds is not None for segment in segments)

    def place(self, document: int) -> tuple[Segment, int]:
        """The segment that holds a document, and the document's number in it.

        Raises:
            IndexError: there is no such document.
        """
        bounds = self._document_bounds
        if not 0 <= document < bounds[-1]:
            raise IndexError(f"There is no document number {document}; the index has {bounds[-1]}.")
        number = bisect_right(bounds, document) - 1
        return self.segments[number], document - bounds[number]

    def id(self, document: int) -> str:
        """The id of a document; errors as for :meth:`place`."""
        segment, local = self.place(document)
        return segment.ids.id(local)

    def passages(self, document: int) -> tuple[int, int]:
        """The first passage of a document, and the end of its passages.

        Raises:
            IndexError: there is no such document.
        """
        segment, local = self.place(document)
        first = self._passage_bounds[bisect_right(self._document_bounds, document) - 1]
        begin, end = segment.passages(local)
        return first + begin, first + end

    def all_passages(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """The passages of documents that exist, in their order."""
        if not self.has_passages:
            return documents
        begins, sizes = self._bounds[documents], np.diff(self._bounds)[documents]
        before = np.cumsum(sizes) - sizes
        passages: NDArray[np.int64] = np.arange(int(sizes.sum()), dtype=np.int64) + np.repeat(begins - before, sizes)
        return passages

    @functools.cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """(n_documents + 1,) the first passage of each document."""
        parts = [
            first + (np.arange(segment.n_documents) if segment.passage_bounds is None else segment.passage_bounds[:-1])
            for first, segment in zip(self.first_passages, self.segments, strict=False)
        ]
        bounds: NDArray[np.int64] = np.concatenate([*parts, self.first_passages[-1:]]).astype(np.int64)
        return bounds

    def documents_of(self, passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The documents that passages belong to."""
        if not self.has_passages:
            return passages
        documents = np.empty(len(passages), dtype=np.int64)
        homes = np.searchsorted(self.first_passages, passages, side="right") - 1
        for number in np.unique(homes).tolist():
            here = homes == number
            local = self.segments[number].documents_of(passages[here] - self.first_passages[number])
            documents[here] = local + self.first_documents[number]
        return documents

    def living(self) -> NDArray[np.int64]:
        """The numbers of all documents that are not deleted."""
        parts = [np.fromiter(segment.live_documents(), np.int64) for segment in self.segments]
        return np.concatenate([np.empty(0, np.int64), *(p + f for p, f in zip(parts, self.first_documents, strict=False))])

    def span(self, passage: int) -> tuple[int, int] | None:
        """Where a passage lies in the text of its document, in characters; None where it is all of it."""
        if not self.has_passages:
            return None
        number = bisect_right(self._passage_bounds, passage) - 1
        return self.segments[number].span(passage - self._passage_bounds[number])


class TopDocuments(NamedTuple):
    """Rankings of documents.

    Attributes:
        documents: (n_queries, top_k) int32, best first; -1 where there are no more hits.
        scores: float32, of the same shape: of the best passage of each.
        passages: int32, that passage; -1 where there is no hit.
    """

    documents: NDArray[np.int32]
    scores: NDArray[np.float32]
    passages: NDArray[np.int32]


def top_documents(
    scorer: Scorer,
    numbering: Numbering,
    queries: Rows,
    top_k: int,
    scoring: BM25Config,
    excluded: NDArray[np.int64],
    share: float = 1.0,
    among: Sequence[NDArray[np.int64]] | None = None,
    passing: Passing | None = None,
) -> TopDocuments:
    """The best documents of each query; a document scores what its best passage scores.

    Passages are ranked until each query has enough documents. A ranking of passages is exact, and its first k documents are the
    best k documents; so this one is exact too.

    Args:
        scorer: of the passages.
        numbering: which belong to which document.
        queries: raw query weights.
        top_k: documents for each query.
        scoring: how to score.
        excluded: (n_queries,) a document that is no hit, or -1.
        share: as for ``Scorer.top``.
        among: for each query the only documents that may be hits; None for all.
        passing: what a filter lets pass; None for all.
    """
    given, live = None if among is None else _passages_among(numbering, among, passing), None
    if passing is not None and given is None:
        if passing.n_passages <= FEW_PASSING * numbering.first_passages[-1]:
            given = [passing.passages] * queries.n_rows
        else:
            live = passing.live
    if not numbering.has_passages:
        numbers, scores = scorer.top(queries, top_k, scoring, excluded, share, given, live)
        return TopDocuments(numbers, scores, numbers)
    shape = (queries.n_rows, top_k)
    best = TopDocuments(np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.full(shape, -1, np.int32))
    waiting = np.arange(queries.n_rows, dtype=np.int64)
    n_passages = int(numbering.first_passages[-1])
    depth = min(FIRST_DEPTH * top_k + MORE_DEPTH, n_passages) if top_k else 0
    while len(waiting) and depth:
        asked = _some_rows(queries, waiting)
        nothing = np.full(len(waiting), -1, dtype=np.int64)
        own = None if given is None else [given[query] for query in waiting.tolist()]
        passages, scores = scorer.top(asked, depth, scoring, nothing, share, own, live)
        unfinished = []
        for row, query in enumerate(waiting.tolist()):
            found = passages[row][passages[row] >= 0].astype(np.int64)
            documents = numbering.documents_of(found)
            first = np.sort(np.unique(documents, return_index=True)[1])
            first = first[documents[first] != excluded[query]][:top_k]
            best.documents[query, : len(first)], best.passages[query, : len(first)] = documents[first], found[first]
            best.scores[query, : len(first)] = scores[row, first]
            if len(first) < top_k and len(found) == depth < n_passages:
                unfinished.append(query)
        waiting, depth = np.array(unfinished, dtype=np.int64), min(MORE_DEPTH * depth, n_passages)
    return best


def _passages_among(
    numbering: Numbering, among: Sequence[NDArray[np.int64]], passing: Passing | None
) -> list[NDArray[np.int64]]:
    """The passages of the documents that each query may find; an array that queries share stays shared."""

    def passages(documents: NDArray[np.int64]) -> NDArray[np.int64]:
        documents = np.unique(documents)
        return numbering.all_passages(documents if passing is None else documents[passing.all_documents[documents]])

    known = {key: passages(given) for key, given in {id(given): given for given in among}.items()}
    return [known[id(given)] for given in among]


def _some_rows(rows: Rows, numbers: NDArray[np.int64]) -> Rows:
    """Some of the rows."""
    if len(numbers) == rows.n_rows:
        return rows
    sizes = np.diff(rows.indptr)[numbers]
    places = np.concatenate([np.arange(rows.indptr[n], rows.indptr[n + 1]) for n in numbers.tolist()])
    return Rows(_sums(sizes), rows.terms[places], rows.values[places])


def _sums(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Running sums, beginning with 0."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
