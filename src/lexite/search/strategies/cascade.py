"""Cascade: static queries first, and the model for those whose static ranking is unsure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lexite.config import option
from lexite.errors import ArgumentError
from lexite.search.strategy import Answer

if TYPE_CHECKING:
    from lexite.index import Explanation
    from lexite.scoring.config import BM25Config
    from lexite.terms.queries import EncodedQueries

DEPTH = 10  # hits that are looked at


@dataclass(frozen=True)
class Cascade:
    """Asks the model for the queries that a static table answers unsurely.

    How sure a ranking is, is seen from the static ranking alone::

        sureness = (s1 - s10) / s1  +  s1 / ceiling

    s1 and s10 are the scores of the first and the tenth hit, and the ceiling is the score of a document that holds all terms of
    the query in plenty. The first part is large when few documents stand out, the second when the best one holds most of the
    query. A query without a hit is unsure. ``docs/static-queries.md`` says what this saves and what it costs.

    The encoder of the searcher must have static queries and the model, as that of ``Searcher.open(path, cascade=True)``.

    Attributes:
        sureness: from so sure a ranking on, the model isn't asked.
        static_literal_weight: weight of literal words in static queries.
        model_literal_weight: the same in queries by the model.

    >>> Cascade().sureness
    0.7
    """

    sureness: float = option(0.7, "From so sure a static ranking on, the model is not asked.", minimum=0.0, maximum=3.0)
    static_literal_weight: float = option(1.0, "Weight of literal words in static queries.", minimum=0.0, maximum=1e6)
    model_literal_weight: float = option(2.0, "Weight of literal words in queries by the model.", minimum=0.0, maximum=1e6)
    candidates: ClassVar[int] = DEPTH

    def __call__(self, answer: Answer) -> Answer:
        """Gives static rankings to sure queries, and those of the model to others.

        Raises:
            ArgumentError: nothing gives queries by the model, or the queries have no texts.
        """
        if "k_queries" in answer.queries.settings:  # they are the model's already
            return answer
        by_model = getattr(answer.encoder, "by_model", None)
        if by_model is None:
            raise ArgumentError("A cascade needs static queries and the model. Open the index with cascade=True.")
        if answer.queries.texts is None:
            raise ArgumentError("A cascade encodes some queries again, but these have no texts. Give texts.")
        base = answer.options.get("scoring") or answer.backend.scoring
        depth = max([answer.top_k, DEPTH, *map(len, answer.rankings)])
        static = dataclasses.replace(base, literal_weight=self.static_literal_weight)
        found = answer.asked_again(answer.queries, depth, scoring=static)
        unsure = self._unsure(found, static)
        if not unsure:
            return found
        asked: EncodedQueries = by_model([answer.queries.texts[number] for number in unsure])
        options = {
            **_options_of(unsure, answer),
            "scoring": dataclasses.replace(base, literal_weight=self.model_literal_weight),
        }
        rankings = list(found.rankings)
        for number, hits in zip(unsure, answer.backend.search(asked, depth, **options), strict=True):
            rankings[number] = hits
        return dataclasses.replace(found, queries=_replaced(answer.queries, unsure, asked), rankings=rankings)

    def _unsure(self, found: Answer, scoring: BM25Config) -> list[int]:
        """The numbers of the queries that the model is asked for."""
        if found.options.get("sort") is not None:  # hits in the order of a field say nothing of scores
            found = found.asked_again(found.queries, DEPTH, scoring=scoring, sort=None)
        unsure = []
        for number, hits in enumerate(found.rankings):
            best = found.backend.explain(found.queries[number], hits[0].id, scoring=scoring) if hits else None
            if best is None or sureness([hit.score for hit in hits], best) < self.sureness:
                unsure.append(number)
        return unsure


def sureness(scores: Sequence[float], best: Explanation) -> float:
    """How sure a ranking is: see :class:`Cascade`.

    Args:
        scores: of the hits, best first. Where there are fewer than ten, the tenth has the score 0.
        best: the score of the first hit, taken apart.
    """
    shared = sum(term.query_weight * term.worth for term in best.terms)
    if not shared or not best.coverage or scores[0] <= 0:
        return 0.0
    tenth = scores[DEPTH - 1] if len(scores) >= DEPTH else 0.0
    return (scores[0] - tenth) / scores[0] + scores[0] * best.coverage / shared


def _options_of(numbers: Sequence[int], answer: Answer) -> dict[str, Any]:
    """The options of a search for some of its queries: those that hold a value for each query keep the values of these."""
    options, n_queries = dict(answer.options), len(answer.queries)
    exclude, among = options.get("exclude"), options.get("among")
    if exclude is not None and not isinstance(exclude, str):
        options["exclude"] = [exclude[number] for number in numbers]
    if isinstance(among, (list, tuple)) and len(among) == n_queries and not isinstance(among[0], (str, int, np.integer)):
        options["among"] = [among[number] for number in numbers]
    return options


def _replaced(queries: EncodedQueries, numbers: Sequence[int], others: EncodedQueries) -> EncodedQueries:
    """Queries of which some have the rows of others, so that hits are explained by what found them."""
    from scipy.sparse import vstack

    own, place = dict(zip(numbers, others, strict=True)), range(len(queries))
    rows = vstack([own[number].to_csr() if number in own else queries[number].to_csr() for number in place], format="csr")
    return dataclasses.replace(queries, rows=rows)
