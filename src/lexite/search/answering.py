"""From a question to an answer: its options are checked, its queries encoded and searched, and its strategies run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.errors import ArgumentError
from lexite.index import BM25Index
from lexite.index.checks import check_top_k, differing_settings
from lexite.index.document_ids import listed_ids
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.rows import CSRRows
from lexite.search.cascade_queries import CascadeQueries
from lexite.search.operators import without_operators
from lexite.search.presets import Preset
from lexite.search.queries import ModelQueries, QueryEncoder, static_queries_of
from lexite.search.strategy import Answer, Backend, Strategy, check_needs, check_order, depth_of, run_strategies, strategies_of
from lexite.search.tabular import preset_for_index
from lexite.terms.queries import EncodedQueries

if TYPE_CHECKING:
    from lexite.index.document_ids import Among

FIELD_OPTIONS = ("where", "sort", "min_score", "min_coverage")
OPTIONS = (
    *("passages", "passages_per_hit", "scoring", "exclude", "among", "approximate", "k_queries", "floor_queries"),
    *("then", "preset", "liked", "disliked"),
    *(*FIELD_OPTIONS, "offset", "operators"),
)
"""Of a search, by name."""


def answered(
    index: Backend,
    encoder: QueryEncoder,
    label: Callable[[int], str],
    own_scoring: BM25Config | None,
    queries: str | Sequence[str] | EncodedQueries,
    top_k: int,
    /,
    *,
    scoring: BM25Config | Mapping[str, Any] | None = None,
    exclude: Sequence[str | None] | None = None,
    among: Among | None = None,
    approximate: bool = False,
    k_queries: int | None = None,
    floor_queries: float | None = None,
    then: Sequence[Strategy] | Strategy | None = None,
    preset: str | None = None,
    offset: int = 0,
    operators: bool = False,
    liked: Iterable[str] | str | None = None,
    disliked: Iterable[str] | str | None = None,
    **others: Any,
) -> Answer:
    """Encodes, searches, and runs the strategies.

    An index or an engine is asked, with what encodes its queries, words for its latent terms, and the scoring of the searcher,
    None for what the index says. All other arguments, and the errors, are those of ``Searcher.rank``.
    """
    unknown = next((name for name in others if name not in FIELD_OPTIONS), None)
    if unknown is not None:
        raise ArgumentError(f"A search has no option '{unknown}'. It has {', '.join(OPTIONS)}.")
    check_top_k(top_k)
    limits = {name: value for name, value in others.items() if value is not None}
    strategies = strategies_of(then)
    good, bad = ids_given(liked, "liked"), ids_given(disliked, "disliked")
    if preset is not None:
        way = preset_for_index(preset, index)
        strategies, encoder = _as_preset(way, preset, strategies, index, encoder, queries)
        if own_scoring is None and not isinstance(scoring, BM25Config):
            scoring = {**way.scoring, **(scoring or {})} or None
    strategies, encoder = _static_first(strategies, index, encoder, queries)
    _check_limits(index, limits, offset, strategies)
    if operators:
        if isinstance(queries, EncodedQueries):
            raise ArgumentError("These queries are encoded already, so operators can have no effect. Give texts.")
        queries, among = without_operators(index, texts_of(queries), among)
    encoded = encoded_for(index, encoder, queries, k_queries, floor_queries)
    chosen = scoring_for(index, own_scoring, scoring)
    options: dict[str, Any] = {"scoring": chosen, "exclude": exclude, "among": among, "approximate": approximate, **limits}
    check_order(strategies)
    check_needs(strategies, index, encoder)
    wanted = top_k + offset
    asked = Answer(encoded, [], wanted, index, options, encoder, label)
    if good or bad:
        from lexite.search.strategies.feedback import judged_queries

        asked = dataclasses.replace(asked, queries=judged_queries(asked, good, bad))
    answer = run_strategies(asked.asked_again(asked.queries, depth_of(strategies, wanted)), strategies)
    return dataclasses.replace(answer, rankings=[list(ranked[offset:wanted]) for ranked in answer.rankings])


def _as_preset(
    preset: Preset, name: str, then: Sequence[Strategy], index: Backend, encoder: QueryEncoder, queries: object
) -> tuple[list[Strategy], QueryEncoder]:
    """The strategies of a preset, and what encodes queries for it."""
    if then:
        raise ArgumentError("A preset has its own strategies, so then has no place beside it. Leave one of them out.")
    if not preset.static or encoder.kind == "static":
        return preset.chain(), encoder
    if isinstance(queries, EncodedQueries):
        raise ArgumentError(f"These queries are encoded already, so the preset '{name}' can have no effect. Give texts.")
    if not isinstance(index, BM25Index):
        raise ArgumentError(f"{type(index).__name__} has no static table, which the preset '{name}' encodes queries with.")
    return preset.chain(), static_queries_of(index)


def documents_like(
    index: Backend,
    encoder: QueryEncoder,
    label: Callable[[int], str],
    own_scoring: BM25Config | None,
    ids: Sequence[str] | str,
    top_k: int,
    /,
    *,
    offset: int = 0,
    **options: Any,
) -> Answer:
    """The answer to a query that has the terms of documents, which are no hits; arguments and errors as for ``more_like``."""
    given = ids_given(ids, "more_like")
    if not given:
        raise ArgumentError("More like which documents? Name one at least by its id.")
    check_top_k(top_k)
    if "liked" in options:
        raise ArgumentError("The documents that hits should be like are named by ids, so liked has no place beside them.")
    _check_limits(index, {}, offset, None)
    depth = top_k + offset + len(given)  # each of the documents may be among the hits
    encoder = encoder.static if isinstance(encoder, CascadeQueries) else encoder  # there is no text to be unsure of
    answer = answered(index, encoder, label, own_scoring, no_terms(index), depth, liked=given, **options)
    others = [hit for hit in answer.rankings[0] if hit.id not in given]
    return dataclasses.replace(answer.with_rankings([others[offset : offset + top_k]]), top_k=top_k)


def ids_given(ids: Iterable[str] | str | None, name: str) -> list[str]:
    """Ids of documents as a list, each once; None is none.

    Raises:
        ArgumentError: they are no texts.
    """
    given = [] if ids is None else listed_ids(ids)
    if strange := [type(each).__name__ for each in given if not isinstance(each, str)]:
        raise ArgumentError(f"{name} takes ids of documents, which are text, not a {strange[0]}.")
    return list(dict.fromkeys(given))


def no_terms(index: Backend) -> EncodedQueries:
    """A query without terms, which liked documents give some."""
    nothing = CSRRows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), (1, index.vocabulary.n_terms))
    return EncodedQueries(nothing, fingerprint=index.vocabulary.fingerprint)


def _static_first(
    strategies: list[Strategy], index: Backend, encoder: QueryEncoder, queries: object
) -> tuple[list[Strategy], QueryEncoder]:
    """The strategies, after those of the encoder, and an encoder that spares the model where a cascade comes first."""
    own = list(getattr(encoder, "strategies", ()))
    if not strategies or not getattr(strategies[0], "static_first", False):
        return [*own, *strategies], encoder
    if isinstance(encoder, ModelQueries) and isinstance(index, BM25Index) and not isinstance(queries, EncodedQueries):
        encoder = CascadeQueries.around(encoder, index)
    return strategies, encoder


def encoded_for(
    index: Backend,
    encoder: QueryEncoder,
    queries: str | Sequence[str] | EncodedQueries,
    k_queries: int | None = None,
    floor_queries: float | None = None,
) -> EncodedQueries:
    """Queries as the index recorded; those that were encoded in another way are encoded again from their texts."""
    if not isinstance(queries, EncodedQueries):
        return encoder.encode(texts_of(queries), k_queries=k_queries, floor_queries=floor_queries)
    if k_queries is not None or floor_queries is not None:
        raise ArgumentError("These queries are encoded already, so k_queries and floor_queries can have no effect.")
    if queries.texts is not None and not queries.expanded_words and differing_settings(index.vocabulary, queries):
        return encoder.encode(list(queries.texts))
    return queries


def scoring_for(index: Backend, own: BM25Config | None, scoring: BM25Config | Mapping[str, Any] | None) -> BM25Config | None:
    """The scoring of a search, of which some numbers may be given: over the searcher's own, else over the index's."""
    return own if scoring is None else scoring_of(scoring, own or index.scoring)


def texts_of(queries: object) -> list[str]:
    """Queries as a list of texts."""
    if isinstance(queries, str):
        return [queries]
    if isinstance(queries, bytes) or not isinstance(queries, Iterable):
        raise ArgumentError(f"A query is text, or several are a list of texts, not a {type(queries).__name__}.")
    return list(queries)


def _check_limits(index: Backend, limits: Mapping[str, Any], offset: int, then: object) -> None:
    """Refuses options of a search that cannot have their effect."""
    if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)) or offset < 0:
        raise ArgumentError(f"offset is {offset!r}, but must be a whole number and not negative.")
    for name in ("min_score", "min_coverage"):
        if name in limits and (isinstance(limits[name], bool) or not isinstance(limits[name], (int, float))):
            raise ArgumentError(f"{name} is {limits[name]!r}, but must be a number.")
    capabilities = getattr(index, "capabilities", None)
    if limits and capabilities is not None and not capabilities.fields:
        raise ArgumentError(
            f"{type(index).__name__} keeps no fields, so {next(iter(limits))} can have no effect. Leave it out."
        )
    if "sort" in limits and then:
        raise ArgumentError(
            "Strategies make a ranking of their own, so sort can have no effect beside then. Leave one of them out."
        )
