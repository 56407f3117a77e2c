"""What each term adds to the scores of hits: the numbers of explanations that every search shows, for all hits at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.index.scorer import Scorer
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import coverage, impacts, saturation_form
from lexite.scoring.rows import Rows
from lexite.scoring.transform import transform_weights

if TYPE_CHECKING:
    from lexite.index.segment import Segment


class TermScore(NamedTuple):
    """What a shared term adds to a score.

    Attributes:
        term: its number.
        score: its part, in single precision.
        word: the literal word; None for a latent.
    """

    term: int
    score: float
    word: str | None


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """A score in parts.

    Attributes:
        score: BM25's score, as a search gives it.
        coverage: the share of the query that the document, or its best passage, covers: from 0 to 1.
        terms: the shared terms, the largest part first.
    """

    score: float
    coverage: float
    terms: tuple[TermScore, ...]

    def share_of(self, latents: Collection[int]) -> float:
        """The share of the score that some latents add."""
        added = fsum(term.score for term in self.terms if term.word is None and term.term in latents)
        return added / self.score if self.score > 0 else 0.0


class QueryParts(NamedTuple):
    """What a query asks for, and what documents give of it.

    Attributes:
        asked: what the impact of each term of the query is multiplied by, the largest first; terms that are worth nothing are
            left out.
        scores: of the documents.
    """

    asked: tuple[TermScore, ...]
    scores: list[ScoreParts]


def score_parts(
    scorer: Scorer, query: Rows, passages: Sequence[int], scoring: BM25Config, word: Callable[[int], str]
) -> QueryParts:
    """Takes a query and scores of passages apart; the numbers are those of :func:`lexite.index.explanation.explain_document`.

    Args:
        scorer: of the index.
        query: one query, its literal words included.
        passages: numbers of passages.
        scoring: how to score.
        word: the literal word of a term.
    """
    factors = scorer.factors(query, scoring)
    owners, places, saturation = _shared(scorer, query, passages, scoring)
    scores = factors[places] * saturation
    bounds = np.searchsorted(owners, np.arange(len(passages) + 1)).tolist()
    own_factors, terms = factors[places], query.terms.tolist()
    words = [None if term < scorer.n_latents else word(term) for term in terms]
    order = np.lexsort((-scores, owners))  # stable, as an explanation's
    ordered = list(zip(places[order].tolist(), scores[order].tolist(), strict=True))
    found = []
    for begin, end in zip(bounds, bounds[1:], strict=False):
        total = float(np.add.accumulate(scores[begin:end], dtype=np.float32)[-1]) if end > begin else 0.0
        found.append(
            ScoreParts(
                total,
                coverage(own_factors[begin:end], factors),
                tuple([TermScore(terms[i], score, words[i]) for i, score in ordered[begin:end]]),
            )
        )
    best = np.argsort(-factors, kind="stable").tolist()
    worth = factors.tolist()
    return QueryParts(tuple([TermScore(terms[i], worth[i], words[i]) for i in best if worth[i] > 0]), found)


def _rows_of(places: Sequence[tuple[Segment, int]]) -> list[tuple[NDArray[Any], NDArray[np.float32]]]:
    """Terms and raw weights of passages; those of one segment are read together, which takes as long as to read one."""
    by_segment: dict[int, list[int]] = {}
    for number, (segment, _) in enumerate(places):
        by_segment.setdefault(id(segment), []).append(number)
    found: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}
    for numbers in by_segment.values():
        rows = places[numbers[0]][0].rows
        bounds, terms, weights = rows.pick(np.array([places[number][1] for number in numbers], dtype=np.int64))
        ends = bounds.tolist()
        found |= {number: (terms[a:b], weights[a:b]) for number, a, b in zip(numbers, ends, ends[1:], strict=False)}
    return [found[number] for number in range(len(places))]


def _shared(
    scorer: Scorer, query: Rows, passages: Sequence[int], scoring: BM25Config
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The terms that passages share with a query, passage by passage: whose, which of the query's, and its impact."""
    located = scorer.located(passages, scoring)
    rows = _rows_of([(segment, local) for segment, local, _ in located])
    nothing = (np.empty(0, query.terms.dtype), np.empty(0, np.float32))
    own = np.concatenate([nothing[0], *(place[0].in_index(row[0]) for place, row in zip(located, rows, strict=True))])
    sizes = [len(row[0]) for row in rows]
    owners = np.repeat(np.arange(len(rows)), sizes)
    if not len(query.terms):
        return owners[:0], owners[:0], nothing[1]
    places = np.minimum(np.searchsorted(query.terms, own), len(query.terms) - 1)
    shared = np.flatnonzero(query.terms[places] == own)
    shared = shared[np.lexsort((places[shared], owners[shared]))]  # rows of an index among several need not ascend
    weights = np.concatenate([nothing[1], *(row[1] for row in rows)])[shared]
    norms = np.array([norm for _, _, norm in located], dtype=np.float32)[owners[shared]]
    tf = transform_weights(weights, scoring.document_transform)
    return owners[shared], places[shared], impacts(tf, norms, saturation_form(scoring))
