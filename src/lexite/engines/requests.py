"""A query as the request that an engine takes: the body, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.engines.export_checks import collection_of
from lexite.engines.export_settings import ExportSettings
from lexite.engines.forms import form
from lexite.engines.forms.base import Collection, check_top_k
from lexite.engines.queries import engine_queries
from lexite.engines.statistics import statistics_of
from lexite.errors import ArgumentError, QueryError
from lexite.search.operators import parse_query

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.scoring.config import BM25Config
    from lexite.terms import EncodedQueries

_TARGETS = {
    "opensearch-bulk": "POST /{name}/_search?search_type={search_type}",
    "elasticsearch-bulk": "POST /{name}/_search?search_type={search_type}",
    "solr": "POST /solr/{name}/select",
    "qdrant": "POST /collections/{name}/points/query{groups}",
    "vespa": "POST /search/",
}


@dataclass(frozen=True)
class Request:
    """What an engine is asked.

    Attributes:
        body: a JSON value, or text that is no JSON.
        target: method and path; empty where the engine is not asked by HTTP.
        n_terms: terms of the query.
        n_cut: terms that were left out because the engine takes no more.
    """

    body: Any
    target: str
    n_terms: int
    n_cut: int


def request_of(
    index: BM25Index,
    query: EncodedQueries,
    settings: ExportSettings,
    top_k: int = 10,
    *,
    scoring: BM25Config | None = None,
    most_terms: int | None = None,
) -> Request:
    """The request for one query.

    Args:
        index: that was exported.
        query: one query.
        settings: of the export.
        top_k: documents that are wanted.
        scoring: of the export; None: as the index scores.
        most_terms: terms at most; None: as many as the engine takes.

    Raises:
        ArgumentError: more than one query, or more hits than the engine gives.
        ConfigError: the form has no such route, or the route cannot express the scoring.
        QueryError: the query requires or excludes words, which would be a filter.
    """
    if len(query) != 1:
        raise ArgumentError(f"One query is needed for a request, not {len(query)}.")
    if query.texts is not None and parse_query(query.texts[0]).has_operators:
        raise QueryError(
            "The query requires or excludes words, which is a filter, and filters are not translated to other engines. "
            "Write it without + and - before words and without quotation marks."
        )
    chosen = form(settings.to)
    check_top_k(settings.to, top_k, chosen.most_hits)
    statistics = statistics_of(index, scoring)
    collection = collection_of(index, chosen, settings, statistics)
    limits = [limit for limit in (most_terms, chosen.most_terms) if limit is not None]
    (asked,) = engine_queries(index, query, collection.route, statistics, most_terms=min(limits, default=None))
    body = chosen.body(asked, collection, top_k)
    return Request(body, _target(settings.to, collection), len(asked.terms), asked.n_cut)


def _target(to: str, collection: Collection) -> str:
    """Where the body goes. Shards that count an idf of their own are asked to count it together."""
    search_type = "dfs_query_then_fetch" if collection.route.own_idf else "query_then_fetch"
    groups = "/groups" if collection.has_passages else ""
    return _TARGETS.get(to, "").format(name=collection.name, search_type=search_type, groups=groups)
