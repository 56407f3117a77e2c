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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lexite.errors import ArgumentError
from lexite.index.side_data import how_to_keep
from lexite.ranking.hits import Hit, PassageHit

if TYPE_CHECKING:
    from lexite.index import EncodedQueries, Explanation, StoredDocument, VocabularyInfo
    from lexite.index.document_ids import Among
    from lexite.index.filters import Where
    from lexite.index.side_data import PassageCodes, PassageVectors
    from lexite.scoring.config import BM25Config
    from lexite.scoring.words import LiteralConfig
    from lexite.search.queries import QueryEncoder

CANDIDATES = 100
"""Hits that a first stage hands to a strategy that does not say how many it wants."""
NEEDS = ("vectors", "token_codes", "model")
"""What a strategy may say that it needs: dense vectors of the passages, the codes of their tokens, and queries that are encoded
by the model rather than by a static table."""

_NOUNS = {"vectors": "dense vectors", "token_codes": "token codes"}


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

    @property
    def side_data(self) -> frozenset[str]:
        """What is kept of passages for second stages: ``vectors``, ``token_codes``, both or neither.

        An engine whose capabilities name neither is not asked for them.
        """
        ...

    def vectors(self, hits: Sequence[Hit]) -> PassageVectors:
        """The dense vectors of the passages of documents, in the order of the hits.

        Raises:
            ArgumentError: they are not kept.
        """
        ...

    def token_codes(self, hits: Sequence[Hit]) -> PassageCodes:
        """The codes of the tokens of the passages of documents, in the order of the hits.

        Raises:
            ArgumentError: they are not kept.
        """
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
        where: Where | None = None,
        sort: str | None = None,
        min_score: float | None = None,
        min_coverage: float | None = None,
    ) -> list[list[Hit]]:
        """The best documents for each query; arguments as for ``BM25Index.search``.

        An engine whose capabilities do not say ``fields`` is never asked with the last four.
        """
        ...

    def get(self, identifier: str) -> StoredDocument | None:
        """Id, title, text and fields of a document; None when there is none."""
        ...

    def explain(self, query: EncodedQueries, document: str, *, scoring: BM25Config | None = None) -> Explanation:
        """Which terms made the score of a document."""
        ...

    def passages(self, query: EncodedQueries, document: str, *, scoring: BM25Config | None = None) -> Sequence[PassageHit]:
        """The passages of a document that share a term with a query, best first."""
        ...


@dataclass(frozen=True)
class Answer:
    """A question with what was found so far.

    Attributes:
        queries: the queries, with their texts.
        rankings: for each query its hits, best first.
        top_k: hits that are wanted in the end.
        backend: where they were found, for strategies that search again or look at documents.
        options: of the search: ``scoring``, ``exclude``, ``among``, ``approximate``; ``where``, ``min_score`` and
            ``min_coverage`` where they were given. :meth:`asked_again` keeps them.
        encoder: what encodes queries: a model, or a static table; None where nobody gave one.
        label: words for a latent term; None where nobody gave them.
        scorings: of each query, where a strategy asked some with another scoring than that of the options; hits are explained
            by it.
    """

    queries: EncodedQueries
    rankings: Sequence[Sequence[Hit]]
    top_k: int
    backend: Backend
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: QueryEncoder | None = None
    label: Callable[[int], str] | None = None
    scorings: Sequence[BM25Config] | None = None

    def with_rankings(self, rankings: Sequence[Sequence[Hit]]) -> Answer:
        """The same question with other hits: their order counts, and they are ranked from 1 again.

        Raises:
            ArgumentError: something among them is no :class:`Hit`.
        """
        wrong = [type(hit).__name__ for hits in rankings for hit in hits if not isinstance(hit, Hit)]
        if wrong:
            raise ArgumentError(f"Rankings hold hits, not a {wrong[0]}. dataclasses.replace(hit, score=...) changes one.")
        ranked = [[hit.ranked(rank) for rank, hit in enumerate(hits, start=1)] for hits in rankings]
        return dataclasses.replace(self, rankings=ranked)

    def asked_again(self, queries: EncodedQueries, top_k: int | None = None, **options: Any) -> Answer:
        """Other queries, such as expanded ones, with what is found for them.

        Args:
            queries: as many as before.
            top_k: hits for each; None takes as many as the longest ranking has, and at least ``top_k``.
            **options: as for ``BM25Index.search``, in place of those of the search.

        Raises:
            ArgumentError: the queries give words weights of their own, which an engine cannot search.
        """
        check_words(self.backend, queries)
        depth = max([self.top_k, *map(len, self.rankings)]) if top_k is None else top_k
        found = self.backend.search(queries, depth, **{**self.options, **options})
        return dataclasses.replace(self, queries=queries, rankings=found, scorings=None)


class Strategy(Protocol):
    """A function from an answer to a better one.

    It may have two attributes: ``candidates`` says how many hits it wants to see, and ``needs`` what it cannot do without
    (:data:`NEEDS`), so that a search that lacks it is refused before anything is searched.
    """

    def __call__(self, answer: Answer, /) -> Answer:
        """Gives the better answer."""
        ...


def strategies_of(then: object) -> list[Strategy]:
    """One strategy or several as a list; None is none.

    Raises:
        ArgumentError: one is no function, or a class that was not called.
    """
    if then is None:
        return []
    given: list[Any] = [then] if callable(then) or isinstance(then, str) or not isinstance(then, Iterable) else list(then)
    for strategy in given:
        if isinstance(strategy, type):
            raise ArgumentError(f"{strategy.__name__} is a class, and a strategy is an object of it: {strategy.__name__}().")
        if not callable(strategy):
            raise ArgumentError(
                f"A strategy is a function, or an object that can be called, not a {type(strategy).__name__}. "
                "lexite.search.strategies has those that come with lexite."
            )
    return given


def name_of(strategy: Strategy) -> str:
    """What messages call a strategy: its class, or its function."""
    return str(getattr(strategy, "__name__", type(strategy).__name__))


def check_words(backend: Backend, queries: EncodedQueries) -> None:
    """Refuses queries with weights of words where an engine cannot search them; raises :class:`ArgumentError`."""
    capabilities = getattr(backend, "capabilities", None)
    if capabilities is not None and queries.expanded_words and not getattr(capabilities, "word_weights", False):
        raise ArgumentError(
            f"{type(backend).__name__} searches the words of texts only, and these queries give words weights of their own. "
            "Ask an index, or leave out what expands the queries."
        )


def depth_of(strategies: Sequence[Strategy], top_k: int) -> int:
    """Hits that the first stage must find for each query.

    >>> depth_of([], 10), depth_of([lambda answer: answer], 10)
    (10, 100)
    """
    return max([top_k, *(int(getattr(strategy, "candidates", None) or CANDIDATES) for strategy in strategies)])


def check_order(strategies: Sequence[Strategy]) -> None:
    """Refuses a cascade behind other strategies, whose work it would throw away; raises :class:`ArgumentError`."""
    late = next((each for each in strategies[1:] if getattr(each, "static_first", False)), None)
    if late is not None:
        raise ArgumentError(
            f"The strategy {name_of(late)} asks anew, so it would throw away what the strategies before it found. "
            "Name it first, and once."
        )


def check_needs(strategies: Sequence[Strategy], backend: Backend, encoder: QueryEncoder | None) -> None:
    """Refuses strategies that need what is not there (:data:`NEEDS`), before anything is searched.

    Args:
        strategies: that are to be called.
        backend: where the question is asked. An engine says what it keeps in its capabilities.
        encoder: what encodes queries.

    Raises:
        ArgumentError: a strategy needs dense vectors or token codes that are not kept, or the model where queries are static.
    """
    capabilities = getattr(backend, "capabilities", None)
    kept = set(getattr(backend, "side_data", ()) if capabilities is None else capabilities.side_data)
    there = kept | ({"model"} if encoder is not None and encoder.kind != "static" else set())
    for strategy in strategies:
        needs = getattr(strategy, "needs", ())
        missing = next((need for need in NEEDS if need in needs and need not in there), None)
        if missing is None:
            continue
        name = name_of(strategy)
        if missing == "model":
            raise ArgumentError(
                f"The strategy {name} needs the model, but queries are encoded without it. Leave --static out, in Python "
                "static=True."
            )
        if capabilities is not None:
            raise ArgumentError(
                f"The strategy {name} needs {_NOUNS[missing]}, and {type(backend).__name__} keeps none. Leave it out."
            )
        wanted = {need for each in strategies for need in getattr(each, "needs", ())}
        keep = how_to_keep(*(kind for kind in _NOUNS if kind in wanted))  # of the whole chain: to build an index takes long
        raise ArgumentError(f"The strategy {name} needs {_NOUNS[missing]}, and the index keeps none. {keep}")


def run_strategies(answer: Answer, strategies: Sequence[Strategy]) -> Answer:
    """Hands an answer from one strategy to the next.

    Raises:
        ArgumentError: one is no strategy, stands where it cannot, or gives something else than an answer with a ranking for
            each query.
    """
    listed = strategies_of(strategies)
    check_order(listed)
    for strategy in listed:
        name = name_of(strategy)
        found = strategy(answer)
        if not isinstance(found, Answer):
            raise ArgumentError(f"The strategy {name} gave a {type(found).__name__}. It must give an Answer.")
        if len(found.rankings) != len(answer.queries):
            raise ArgumentError(f"The strategy {name} gave {len(found.rankings)} rankings for {len(answer.queries)} queries.")
        answer = found
    return answer
