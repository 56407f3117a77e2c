"""Cascade: static queries first, and the model for those whose static ranking is unsure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.errors import ArgumentError
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategy import Answer

if TYPE_CHECKING:
    from lexite.index import Explanation
    from lexite.ranking.hits import Hit
    from lexite.scoring.config import BM25Config
    from lexite.terms.queries import EncodedQueries

DEPTH = 10  # hits that are looked at


@dataclass(frozen=True)
class Cascade:
    """Asks the model for the queries that a static table answers unsurely.

    How sure a ranking is, is seen from static rankings alone::

        sureness = (s1 - s10) / s1  +  s1 / ceiling  +  common / 10

    s1 and s10 are the scores of the first and the tenth hit, and the ceiling is the score of a document that holds all terms
    of the query in plenty. ``common`` is how many of the first ten hits stay there when words have another weight.
    The first part is large when few documents stand out, the second when the best one holds most of the query, the third when
    latents and words agree. A query without a hit is unsure. ``docs/static-queries.md`` says what this saves and costs.

    It stands first in a chain, and asks the same index twice. The encoder of the searcher should have static queries and the
    model, as that of ``Searcher.open(path, cascade=True)``. Where the queries are the model's already, nothing is saved, and
    the rankings are the same.

    Attributes:
        sureness: from so sure a ranking on, the model isn't asked.
        static_literal_weight: weight of literal words in static queries.
        other_literal_weight: the other weight, for ``common``.
        model_literal_weight: weight of literal words in queries by the model.

    >>> Cascade().sureness
    1.54
    """

    sureness: float = option(1.54, "From so sure a static ranking on, the model is not asked.", minimum=0.0, maximum=4.0)
    static_literal_weight: float = option(1.0, "Weight of literal words in static queries.", minimum=0.0, maximum=1e6)
    other_literal_weight: float = option(
        3.25, "A second weight, with which a sure static ranking has the same first ten.", minimum=0.0, maximum=1e6
    )
    model_literal_weight: float = option(2.0, "Weight of literal words in queries by the model.", minimum=0.0, maximum=1e6)
    candidates: ClassVar[int] = DEPTH
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    static_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_settings(self, "cascade")

    def __call__(self, answer: Answer) -> Answer:
        """Gives static rankings to sure queries, and those of the model to others.

        Raises:
            ArgumentError: nothing gives queries by the model, or static ones; or the queries have no texts, or were changed.
        """
        static, by_model = _both(answer)
        base = answer.options.get("scoring") or answer.backend.scoring
        depth = max([answer.top_k, DEPTH, *map(len, answer.rankings)])
        scoring = dataclasses.replace(base, literal_weight=self.static_literal_weight)
        found = answer.asked_again(static, depth, scoring=scoring)
        unsure = np.flatnonzero(self.measured(found, scoring) < self.sureness).tolist()
        scorings = [scoring] * len(found.rankings)
        if not unsure:
            return dataclasses.replace(found, scorings=scorings)
        asked = by_model(unsure)
        scoring = dataclasses.replace(base, literal_weight=self.model_literal_weight)
        options = {**_options_of(unsure, answer), "scoring": scoring}
        rankings = list(found.rankings)
        for number, hits in zip(unsure, answer.backend.search(asked, depth, **options), strict=True):
            rankings[number], scorings[number] = hits, scoring
        return dataclasses.replace(found, queries=_replaced(static, unsure, asked), rankings=rankings, scorings=scorings)

    def measured(self, found: Answer, scoring: BM25Config) -> NDArray[np.float64]:
        """How sure each query of a static answer is; 0 without hits.

        Args:
            found: what static queries found.
            scoring: with which they found it.
        """
        if found.options.get("sort") is not None:  # hits in the order of a field say nothing of scores
            found = found.asked_again(found.queries, DEPTH, scoring=scoring, sort=None)
        other, rankings = dataclasses.replace(scoring, literal_weight=self.other_literal_weight), found.rankings
        others = rankings if found.backend.literal is None else found.asked_again(found.queries, DEPTH, scoring=other).rankings
        values = np.zeros(len(rankings))
        for number, hits in enumerate(rankings):
            if hits:
                best = found.backend.explain(found.queries[number], hits[0].id, scoring=scoring)
                values[number] = sureness([hit.score for hit in hits], best, common(hits, others[number]))
        return values


def sureness(scores: Sequence[float], best: Explanation, in_common: float) -> float:
    """How sure a ranking is: see :class:`Cascade`.

    Args:
        scores: of the hits, best first. Where there are fewer than ten, the tenth has the score 0.
        best: the score of the first hit, taken apart.
        in_common: the share of the first ten that stays with another weight of words.
    """
    shared = sum(term.query_weight * term.worth for term in best.terms)
    if not shared or not best.coverage or scores[0] <= 0:
        return 0.0
    tenth = scores[DEPTH - 1] if len(scores) >= DEPTH else 0.0
    return (scores[0] - tenth) / scores[0] + scores[0] * best.coverage / shared + in_common


def common(hits: Sequence[Hit], others: Sequence[Hit]) -> float:
    """The share of the first ten hits of a ranking, or of all where there are fewer, that another has among its first ten."""
    first = {hit.document for hit in hits[:DEPTH]}
    return len(first & {hit.document for hit in others[:DEPTH]}) / len(first)


def _both(answer: Answer) -> tuple[EncodedQueries, Callable[[Sequence[int]], EncodedQueries]]:
    """The static queries of an answer, and what gives some of them as the model encodes them."""
    from lexite.index import BM25Index
    from lexite.search.queries import static_queries_of

    queries = answer.queries
    if queries.texts is None:
        raise ArgumentError("A cascade encodes some queries again, but these have no texts. Give texts.")
    if queries.word_weights is not None:  # as after feedback, of which the texts know nothing
        raise ArgumentError("A cascade encodes queries by their texts, but these were changed. Leave it, or liked, out.")
    texts = list(queries.texts)
    if "k_queries" in queries.settings:  # they are the model's
        if not isinstance(answer.backend, BM25Index):
            raise ArgumentError(f"{type(answer.backend).__name__} has no static table, which a cascade asks first.")
        return static_queries_of(answer.backend).encode(texts), lambda numbers: _some(queries, numbers)
    by_model = getattr(answer.encoder, "by_model", None)
    if by_model is None:
        raise ArgumentError("A cascade needs static queries and the model. Open the index with cascade=True.")
    floor = queries.settings["floor_queries"] if "floor_queries" in queries.deliberate else None
    return queries, lambda numbers: by_model([texts[number] for number in numbers], floor_queries=floor)


def _options_of(numbers: Sequence[int], answer: Answer) -> dict[str, Any]:
    """The options of a search for some of its queries: those that hold a value for each query keep the values of these."""
    options, n_queries = dict(answer.options), len(answer.queries)
    exclude, among = options.get("exclude"), options.get("among")
    if exclude is not None and not isinstance(exclude, str):
        options["exclude"] = [exclude[number] for number in numbers]
    if isinstance(among, (list, tuple)) and len(among) == n_queries and not isinstance(among[0], (str, int, np.integer)):
        options["among"] = [among[number] for number in numbers]
    return options


def _some(queries: EncodedQueries, numbers: Sequence[int]) -> EncodedQueries:
    """Some of the queries, by their numbers."""
    texts = None if queries.texts is None else [queries.texts[number] for number in numbers]
    return dataclasses.replace(queries, rows=queries.to_csr()[list(numbers)], texts=texts)


def _replaced(queries: EncodedQueries, numbers: Sequence[int], others: EncodedQueries) -> EncodedQueries:
    """Queries of which some have the rows of others, so that hits are explained by what found them."""
    from scipy.sparse import vstack

    own, place = dict(zip(numbers, others, strict=True)), range(len(queries))
    rows = vstack([own[number].to_csr() if number in own else queries[number].to_csr() for number in place], format="csr")
    return dataclasses.replace(queries, rows=rows)
