"""Second stages: functions from a question and its rankings to better ones.

A strategy is called with an :class:`Answer` and gives another one: with other rankings, or with other queries, which are then
searched again. It may be a plain function. A class is only for its settings.

    def without_drafts(answer):
        kept = [[hit for hit in hits if not hit.id.startswith("draft-")] for hits in answer.rankings]
        return answer.with_rankings(kept)

    searcher.search("how do plants breathe", then=[without_drafts])
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lexite.ranking.hits import Hit

if TYPE_CHECKING:
    from lexite.index import EncodedQueries, Explanation, StoredDocument, VocabularyInfo
    from lexite.index.document_ids import Among
    from lexite.scoring.config import BM25Config
    from lexite.scoring.words import LiteralConfig

CANDIDATES = 100
"""Hits that a first stage hands to a strategy that does not say how many it wants."""


class Backend(Protocol):
    """Where a question is asked: an index, or an engine that holds the same documents."""

    @property
    def vocabulary(self) -> VocabularyInfo:
        """Which vocabulary made the terms, and how documents and queries are encoded."""
        ...

    @property
    def scoring(self) -> BM25Config:
        """How searches score unless told otherwise."""
        ...

    @property
    def literal(self) -> LiteralConfig | None:
        """How literal words are indexed; None when there are none."""
        ...

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        ...

    def search(
        self,
        queries: EncodedQueries,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        exclude: Sequence[str | None] | None = None,
        among: Among | None = None,
        approximate: bool = False,
    ) -> list[list[Hit]]:
        """The best documents for each query; arguments as for ``BM25Index.search``."""
        ...

    def get(self, identifier: str) -> StoredDocument | None:
        """Id, title and text of a document; None when there is none."""
        ...

    def explain(self, query: EncodedQueries, document: str, *, scoring: BM25Config | None = None) -> Explanation:
        """Which terms made the score of a document."""
        ...


@dataclass(frozen=True)
class Answer:
    """A question with what was found so far.

    Attributes:
        queries: the queries, with their texts.
        rankings: for each query its hits, best first.
        top_k: hits that are wanted in the end.
        backend: where they were found, for strategies that search again or look at documents.
    """

    queries: EncodedQueries
    rankings: Sequence[Sequence[Hit]]
    top_k: int
    backend: Backend

    def with_rankings(self, rankings: Sequence[Sequence[Hit]]) -> Answer:
        """The same question with other hits: their order counts, and they are ranked from 1 again."""
        ranked = [[dataclasses.replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)] for hits in rankings]
        return dataclasses.replace(self, rankings=ranked)

    def asked_again(self, queries: EncodedQueries, top_k: int | None = None, **options: Any) -> Answer:
        """Other queries, such as expanded ones, with what is found for them.

        Args:
            queries: as many as before.
            top_k: hits for each; None takes as many as the longest ranking has, and at least ``top_k``.
            **options: as for ``BM25Index.search``.
        """
        depth = max([self.top_k, *map(len, self.rankings)]) if top_k is None else top_k
        return dataclasses.replace(self, queries=queries, rankings=self.backend.search(queries, depth, **options))


class Strategy(Protocol):
    """A function from an answer to a better one. An attribute ``candidates``, where it has one, says how many hits it wants."""

    def __call__(self, answer: Answer, /) -> Answer:
        """Gives the better answer."""
        ...


def depth_of(strategies: Sequence[Strategy], top_k: int) -> int:
    """Hits that the first stage must find for each query.

    >>> depth_of([], 10), depth_of([lambda answer: answer], 10)
    (10, 100)
    """
    return max([top_k, *(int(getattr(strategy, "candidates", CANDIDATES)) for strategy in strategies)])


def run_strategies(answer: Answer, strategies: Sequence[Strategy]) -> Answer:
    """Hands an answer from one strategy to the next."""
    for strategy in strategies:
        answer = strategy(answer)
    return answer
