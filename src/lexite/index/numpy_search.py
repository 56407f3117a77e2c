"""Searching with numpy alone, for a process that asks one question: loading the compiled kernels would take longer.

This search reads the same posting lists and returns the same results, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lexite.index.packed_rows import damaged_rows
from lexite.index.postings import ImpactScoring, Postings, n_chunks_of
from lexite.index.segment import Segment
from lexite.kernels.posting_lists import CHUNK, FULL, GAPS, SPARSE
from lexite.scoring.formula import impacts
from lexite.scoring.transform import transform_weights

ROWS_AT_ONCE = 16384
ROW_COST, ROW_ENTRY_COST, LIST_COST, LIST_BYTE_COST = 3.0, 0.02, 12.0, 0.004  # microseconds, about
Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SearchedSegment:
    """A segment as it is searched.

    Attributes:
        segment: its rows.
        postings: its lists, when they fit the scoring; None to score all rows.
        live: (n_passages,) uint8, 0 for deleted documents; empty when there are none.
        first: number of its first document.
        norms: (n_passages,) float32.
        impacts: the scoring.
    """

    segment: Segment
    postings: Postings | None
    live: NDArray[np.uint8]
    first: int
    norms: NDArray[np.float32]
    impacts: ImpactScoring


@dataclass(frozen=True, slots=True)
class SingleQuery:
    """A query.

    Attributes:
        terms: ascending in the index.
        factors: float32, query weight times idf of each, times ``literal_weight`` for a literal word.
        excluded: a document that is no hit, or -1.
        among: the only documents that may be hits, ascending; None for all.
    """

    terms: NDArray[np.int32]
    factors: NDArray[np.float32]
    excluded: int
    among: NDArray[np.int64] | None = None


def search(parts: Sequence[SearchedSegment], asked: SingleQuery, top_k: int) -> Ranking:
    """The best hits of one query: documents and scores, best first, equal scores by document.

    Raises:
        IndexFormatError: a file is damaged.
    """
    documents, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for part in parts:
        query = _known_terms(asked, part.segment)
        slots = np.full(part.segment.n_terms, -1, dtype=np.int64)
        slots[query.terms] = np.arange(len(query.terms))
        for found in _candidates(part, query, top_k, documents, scores):
            local, local_scores = _score(part, found, slots, query)
            kept = np.ones(len(local), dtype=bool) if not len(part.live) else part.live[local] != 0
            kept &= local + part.first != query.excluded
            documents = np.concatenate([documents, local[kept] + part.first])
            scores = np.concatenate([scores, local_scores[kept]])
            best = np.lexsort((documents, -scores))[:top_k]
            documents, scores = documents[best], scores[best]
    return documents, scores


def _known_terms(query: SingleQuery, segment: Segment) -> SingleQuery:
    """A query without the terms that a segment does not know, with the numbers that they have there."""
    known = segment.known(query.terms)
    return replace(query, terms=known[known >= 0], factors=query.factors[known >= 0])


def _candidates(
    part: SearchedSegment, query: SingleQuery, top_k: int, documents: NDArray[np.int64], scores: NDArray[np.float32]
) -> Iterator[NDArray[np.int64]]:
    """The documents of a segment that can be hits, ascending, some at a time."""
    n_passages = part.segment.n_passages
    given = None if query.among is None else _within(query.among, part.first, n_passages)
    if part.postings is None or (given is not None and _rows_are_quicker(part.segment, part.postings, given, query)):
        for begin in range(0, n_passages if given is None else len(given), ROWS_AT_ONCE):
            end = begin + ROWS_AT_ONCE
            yield np.arange(begin, min(end, n_passages)) if given is None else given[begin:end]
        return
    low, high = _bounds_of_scores(part, part.postings, query)
    if given is not None:
        outside = np.ones(n_passages, dtype=bool)
        outside[given] = False
        low[outside] = high[outside] = 0.0
    if len(part.live):
        low, high = low * part.live, high * part.live
    if 0 <= query.excluded - part.first < n_passages:
        low[query.excluded - part.first] = high[query.excluded - part.first] = 0.0
    matched = np.flatnonzero(high)
    needed = float(scores[-1]) if len(scores) == top_k else 0.0
    if len(matched) > top_k:
        needed = max(needed, float(np.partition(low[matched], -top_k)[-top_k]))
    yield matched[high[matched] >= needed]


def _within(documents: NDArray[np.int64], first: int, n_passages: int) -> NDArray[np.int64]:
    """The documents of an ascending array that lie in a segment, by their numbers in it."""
    begin, end = np.searchsorted(documents, [first, first + n_passages])
    return documents[begin:end] - first


def _rows_are_quicker(segment: Segment, postings: Postings, documents: NDArray[np.int64], query: SingleQuery) -> bool:
    """Whether scoring documents from their rows takes less time than reading the lists of the query's terms."""
    begins, ends = postings.places(query.terms, segment.n_terms)
    entries = int(segment.rows.sizes(documents).sum())
    lists = LIST_COST * len(begins) * n_chunks_of(segment.n_passages) + LIST_BYTE_COST * (ends - begins).sum()
    return bool(ROW_COST * len(documents) + ROW_ENTRY_COST * entries <= lists)


def _bounds_of_scores(
    part: SearchedSegment, postings: Postings, query: SingleQuery
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the largest score that each document can have; both are 0 where no term is shared.

    A stored impact q, in 255 parts of u, stands for an impact from (q - 1) u / 255 to (q + 1/2) u / 255.
    """
    n_passages = part.segment.n_passages
    n_chunks, levels = n_chunks_of(n_passages), postings.levels.astype(np.float64)
    sums, slack = np.zeros(n_passages), np.zeros(n_chunks)
    matched = np.zeros(n_passages, dtype=bool)
    for term, factor in zip(query.terms.tolist(), query.factors.tolist(), strict=True):
        for chunk in range(n_chunks):
            place = term * n_chunks + chunk
            begin, end = int(postings.offsets[place]), int(postings.offsets[place + 1])
            if not 0 <= begin <= end <= len(postings.lists):
                raise damaged_rows(part.segment.place)
            if begin == end:
                continue
            unit = factor * levels[postings.tops[place]] / 255.0
            first = chunk * CHUNK
            size = min(CHUNK, n_passages - first)
            kind, part_of_list = int(postings.kinds[place]), postings.lists[begin:end]
            slack[chunk] += unit
            if kind == FULL and len(part_of_list) == size:
                sums[first : first + size] += part_of_list * unit
                matched[first : first + size] |= part_of_list > 0
                continue
            local, impacts = _decode(part_of_list, kind, part.segment)
            if not len(local) or int(local.max()) >= size or int(local.min()) < 0:
                raise damaged_rows(part.segment.place)
            sums[first + local] += impacts * unit
            matched[first + local[impacts > 0]] = True
    drift = postings.scoring.drift(part.impacts) or 1.0
    margin = np.repeat(slack, CHUNK)[:n_passages] + sums * (len(query.terms) + 16) * 1.2e-7
    low = np.maximum((sums - margin) / drift, 0.0) * (1.0 - 1e-6)
    high = (sums + margin) * drift * (1.0 + 1e-6) + 1e-30
    return np.where(matched, low, 0.0), np.where(matched, high, 0.0)


def passages_with(segment: Segment, term: int) -> NDArray[np.int64]:
    """The passages of a segment that have a term of the index, ascending; those of deleted documents are among them.

    Raises:
        IndexFormatError: the list is damaged.
    """
    term = int(segment.known(np.array([term]))[0])
    if term < 0:
        return np.empty(0, np.int64)
    postings = segment.postings
    if postings is None:  # of an index in memory
        bounds, terms, _ = segment.rows.span(0, segment.n_passages)
        return np.searchsorted(bounds, np.flatnonzero(terms == term), side="right") - 1
    n_chunks, found = n_chunks_of(segment.n_passages), [np.empty(0, np.int64)]
    for chunk in range(n_chunks):
        place, first = term * n_chunks + chunk, chunk * CHUNK
        begin, end = int(postings.offsets[place]), int(postings.offsets[place + 1])
        size = min(CHUNK, segment.n_passages - first)
        if not 0 <= begin <= end <= len(postings.lists):
            raise damaged_rows(segment.place)
        kind, part = int(postings.kinds[place]), postings.lists[begin:end]
        if kind == FULL and len(part) in (0, size):
            found.append(np.flatnonzero(part) + first)
            continue
        local, impacts = _decode(part, kind, segment)
        if len(local) and not 0 <= int(local.min()) <= int(local.max()) < size:
            raise damaged_rows(segment.place)
        found.append(local[impacts > 0] + first)
    return np.concatenate(found)


def _decode(data: NDArray[np.uint8], kind: int, segment: Segment) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Documents within the chunk, and impacts, of a list that is not full."""
    if kind == SPARSE and len(data) % 3 == 0:
        triples = data.reshape(-1, 3)
        return triples[:, 0] + triples[:, 1].astype(np.int64) * 256, triples[:, 2]
    if kind == GAPS and len(data) % 2 == 0:
        pairs = data.reshape(-1, 2)
        return np.cumsum(pairs[:, 0], dtype=np.int64) - 1, pairs[:, 1]
    raise damaged_rows(segment.place)


def _score(part: SearchedSegment, documents: NDArray[np.int64], slots: NDArray[np.int64], query: SingleQuery) -> Ranking:
    """The documents that share a term with the query, and their exact scores: float32, terms added in ascending order."""
    segment = part.segment
    if len(documents) and documents[-1] - documents[0] + 1 == len(documents):  # a range of rows, read in one piece
        bounds, terms, weights = segment.rows.span(int(documents[0]), int(documents[-1]) + 1)
    else:
        if segment.rows.on_disk():
            segment.rows.read_ahead(documents)
        bounds, terms, weights = segment.rows.pick(documents)
    if len(terms) and int(terms.max()) >= segment.n_terms:
        raise damaged_rows(segment.place)
    asked = slots[terms]
    shared = asked >= 0
    owners = np.repeat(np.arange(len(documents)), np.diff(bounds))[shared]
    tf = transform_weights(weights[shared], part.impacts.document_transform)
    impact_of_each = impacts(tf, part.norms[documents][owners], part.impacts.saturation)
    scores = np.zeros(len(documents), dtype=np.float32)
    parts = query.factors[asked[shared]] * impact_of_each
    if segment.numbers is not None:  # whose words come in another order than the query's terms
        order = np.lexsort((asked[shared], owners))
        owners, parts = owners[order], parts[order]
    np.add.at(scores, owners, parts)  # one after the other, in ascending order of terms
    found = np.zeros(len(documents), dtype=bool)
    found[owners] = True
    return documents[found], scores[found]
