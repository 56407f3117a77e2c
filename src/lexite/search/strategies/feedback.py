"""Feedback: the best documents of a ranking, or documents that a person likes, change the query, which is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lexite.config import option
from lexite.errors import ArgumentError
from lexite.index.document_ids import listed_ids
from lexite.ranking.fusion import fused
from lexite.ranking.hits import Hit
from lexite.search.expansion import (
    DocumentWeights,
    Judged,
    Method,
    Mixing,
    Over,
    expanded_queries,
    term_space_of,
    weights_of_scores,
)
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategies.rescoring import ranked_anew
from lexite.search.strategy import Answer

if TYPE_CHECKING:
    from lexite.terms.queries import EncodedQueries

Interpolate = Literal["none", "before", "after", "both"]
PURPOSE = "Feedback"


@dataclass(frozen=True)
class Feedback:
    """Pseudo-relevance feedback over latent terms and words: the best documents are taken for good ones.

    :mod:`lexite.search.expansion` has the formulas. Where a ranking was fused before (with dense scores, say), Li et al. (*To
    Interpolate or not to Interpolate*, arXiv 2205.00235) ask which ranking the documents come from, and whether the new one
    is fused with the old one:

    =========== ============================ ======================================================
    interpolate documents come from          the ranking is
    =========== ============================ ======================================================
    ``none``    the first stage, asked anew  that of the expanded query
    ``before``  the ranking so far           that of the expanded query
    ``after``   the first stage, asked anew  the ranking so far + ``weight`` · the new one, min-max
    ``both``    the ranking so far           the ranking so far + ``weight`` · the new one, min-max
    =========== ============================ ======================================================

    Without a stage before it, ``none`` is ``before``, and ``after`` is ``both``. A fused ranking has the documents of both; one
    that a ranking does not have has the minimum there.

    Attributes:
        method: how documents are weighed.
        documents: how many of the best are taken for good.
        terms: latents and words that are taken at most, so many of each.
        mixing: part of the expanded query that comes from documents.
        over: the terms that are mixed.
        document_weights: what each good document weighs.
        negative: how strongly the last documents of the ranking are taken out; 0: not.
        tail: how many of the last documents are taken for bad.
        interpolate: where the documents come from, and whether rankings are fused.
        weight: of the new ranking in a fused one.
        candidates: hits that it wants to see.

    >>> Feedback(documents=3).mixing
    0.3
    """

    method: Method = option("rocchio", "How feedback weighs documents.")
    documents: int = option(3, "Best documents that feedback takes for good ones.", minimum=1)
    terms: int = option(30, "Latents and words that feedback takes at most, so many of each.", minimum=1)
    mixing: float = option(0.3, "Part of the expanded query that comes from documents.", minimum=0.0, maximum=1.0)
    over: Over = option("both", "Terms that feedback mixes in.")
    document_weights: DocumentWeights = option("scores", "What each good document weighs.")
    negative: float = option(0.0, "How strongly the last documents are taken out of the query.", minimum=0.0, maximum=100.0)
    tail: int = option(10, "Last documents of the ranking that are taken for bad, with a negative share.", minimum=1)
    interpolate: Interpolate = option(
        "both", "Feedback from the ranking so far (before), fused with it (after), both, or none of these."
    )
    weight: float = option(1.0, "Weight of the new ranking in one that is fused after feedback.", minimum=0.0, maximum=1e6)
    candidates: int = option(100, "Hits that feedback wants to see.", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self, "feedback")

    @property
    def how(self) -> Mixing:
        """How documents are mixed in."""
        return Mixing(self.method, self.terms, self.mixing, self.over, self.negative)

    def __call__(self, answer: Answer) -> Answer:
        """Expands the queries, and asks again.

        Raises:
            ArgumentError: the backend does not show the terms of documents.
        """
        found = answer.rankings
        if self.interpolate in ("none", "after"):
            found = answer.backend.search(answer.queries, max(self.documents, self.candidates), **answer.options)
        again = answer.asked_again(self.expanded(answer, found))
        if self.interpolate in ("none", "before"):
            return again
        pairs = zip(answer.rankings, again.rankings, strict=True)
        return again.with_rankings([fused_hits(old, new, self.weight) for old, new in pairs])

    def expanded(self, answer: Answer, rankings: Sequence[Sequence[Hit]]) -> EncodedQueries:
        """The expanded queries.

        Args:
            answer: the queries, and where they are asked.
            rankings: whose documents are taken.
        """
        space = term_space_of(answer.backend, answer.options.get("scoring"), PURPOSE)
        return expanded_queries(space, answer.queries, [self._judged(hits) for hits in rankings], self.how)

    def _judged(self, hits: Sequence[Hit]) -> Judged:
        good, rest = hits[: self.documents], hits[self.documents :]
        bad = rest[-self.tail :] if self.negative else ()
        return Judged(good, weights_of_scores([hit.score for hit in good], self.document_weights), bad)


def fused_hits(old: Sequence[Hit], new: Sequence[Hit], weight: float) -> list[Hit]:
    """The documents of two rankings by ``old + weight · new``, each from 0 to 1; one that a ranking lacks has 0 there.

    Among equals, those of the old ranking come first, each in its order. There are as many as the longer ranking has.
    """
    known = {hit.id: hit for hit in (*new, *old)}
    ids = list(dict.fromkeys(hit.id for hit in (*old, *new)))
    own = [{hit.id: hit.score for hit in hits} for hits in (old, new)]
    first, second = ([each.get(identifier, np.nan) for identifier in ids] for each in own)
    ranked = ranked_anew([known[identifier] for identifier in ids], fused(first, second, weight))
    return ranked[: max(len(old), len(new))]


EXPLICIT = Mixing("rocchio", terms=50, mixing=0.5, over="both", negative=0.5)
"""How documents that a person likes or dislikes are mixed into a query; ``docs/results/feedback.md`` compares mixings."""


def judged_queries(
    answer: Answer, liked: Sequence[str] | str, disliked: Sequence[str] | str = (), mixing: Mixing = EXPLICIT
) -> EncodedQueries:
    """Queries with the terms of liked documents mixed in, and those of disliked documents taken out.

    Args:
        answer: the queries, and where they are asked.
        liked: ids, or one, for all queries.
        disliked: likewise.
        mixing: how.

    Raises:
        CorpusError: the index has no document of an id.
        ArgumentError: a document is liked and disliked; or the backend does not show the terms of documents.
    """
    good, bad = listed_ids(liked), listed_ids(disliked)
    if both := next((each for each in good if each in bad), None):
        raise ArgumentError(f"The document '{both}' is among the liked and the disliked ones. Name it once.")
    space = term_space_of(answer.backend, answer.options.get("scoring"), PURPOSE)
    judged = Judged(good, np.ones(len(good)), bad)
    return expanded_queries(space, answer.queries, [judged] * len(answer.queries), mixing)
