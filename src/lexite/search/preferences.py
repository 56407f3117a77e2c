"""Steering vectors from preferences: learned over an index, and counted in the order of its scores before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.errors import ArgumentError
from lexite.search.steering_vector import SPARSITY, SteeringVector, learn_steering

if TYPE_CHECKING:
    from lexite.corpus.preferences import Preference
    from lexite.index import BM25Index
    from lexite.scoring.config import BM25Config
    from lexite.search.searcher import Searcher
    from lexite.terms.queries import EncodedQueries


MOST_PAIRS = 20_000
"""Of which each takes some 80 kB of memory."""


@dataclass(frozen=True)
class LearnedVector:
    """A steering vector, and what it does to the pairs that it was learned from.

    Attributes:
        vector: the vector.
        n_queries: how many different queries there were.
        n_pairs: how many pairs of a preferred and a rejected document.
        before: pairs whose preferred document has the higher score without the vector.
        after: pairs for which this is so with it.
    """

    vector: SteeringVector
    n_queries: int
    n_pairs: int
    before: int
    after: int

    def to_json(self, label: Callable[[int], str]) -> dict[str, Any]:
        """All of it as JSON values, the largest changes first.

        Args:
            label: words for a latent.
        """
        return {
            "queries": self.n_queries,
            "pairs": self.n_pairs,
            "in_order_before": self.before,
            "in_order_after": self.after,
            "boosted": self.vector.n_boosted,
            "muted": self.vector.n_muted,
            "terms": self.vector.listed(label),
        }


def learn_from_preferences(searcher: Searcher, preferences: Iterable[Preference], sparsity: float = SPARSITY) -> LearnedVector:
    """Learns a steering vector from the pairs of preferences, each preferred document with each rejected one of a query.

    Args:
        searcher: over an index. It encodes the queries.
        preferences: what :func:`lexite.corpus.preferences.read_preferences` reads. A pair that occurs twice counts twice.
        sparsity: as for :func:`lexite.search.steering_vector.learn_steering`.

    Raises:
        ArgumentError: there is no pair, or there are more than :data:`MOST_PAIRS`; no latent tells the documents of the pairs
            apart at this ``sparsity``; or the searcher asks an engine.
        CorpusError: the index has no document of an id.
    """
    given = list(preferences)
    n_pairs = sum(len(each.preferred) * len(each.rejected) for each in given)
    if n_pairs > MOST_PAIRS:
        raise ArgumentError(
            f"These are {n_pairs:,} pairs of a preferred and a rejected document, but at most {MOST_PAIRS:,} can be learned "
            "from. Name fewer documents in a record, or give fewer records."
        )
    pairs = [(each.query, one, other) for each in given for one in each.preferred for other in each.rejected]
    if not pairs:
        raise ArgumentError("There are no pairs of a preferred and a rejected document to learn from.")
    numbers = {text: number for number, text in enumerate(dict.fromkeys(text for text, _, _ in pairs))}
    index, queries = searcher.index, searcher.encode(list(numbers))
    scoring, own = searcher.scoring or index.scoring, [numbers[text] for text, _, _ in pairs]
    space = index.term_space(scoring)
    preferred, rejected = [one for _, one, _ in pairs], [other for _, _, other in pairs]
    each_pair = dataclasses.replace(queries, rows=queries.to_csr()[own], texts=[text for text, _, _ in pairs])
    vector = learn_steering(space, each_pair, preferred, rejected, sparsity)
    if not vector.changes:
        raise ArgumentError(
            f"No latent tells the preferred documents from the rejected ones at the sparsity {sparsity:g}, so the vector would "
            "be empty. Give more pairs, or a smaller sparsity."
        )
    judged = list(zip(own, preferred, rejected, strict=True))
    before = _in_order(index, queries, judged, scoring)
    after = _in_order(index, vector.changed(space, queries), judged, scoring)
    return LearnedVector(vector, len(numbers), len(pairs), before, after)


def _in_order(index: BM25Index, queries: EncodedQueries, judged: Sequence[tuple[int, str, str]], scoring: BM25Config) -> int:
    """The pairs whose preferred document has the higher score for its query."""
    among: list[list[str]] = [[] for _ in range(len(queries))]
    for query, one, other in judged:
        among[query] += one, other
    among = [list(dict.fromkeys(ids)) for ids in among]
    found = index.search(queries, max(map(len, among)), scoring=scoring, among=among)
    scores = [{hit.id: hit.score for hit in hits} for hits in found]
    return sum(scores[query].get(one, 0.0) > scores[query].get(other, 0.0) for query, one, other in judged)
