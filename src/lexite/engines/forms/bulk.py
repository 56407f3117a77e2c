"""``_bulk`` bodies of OpenSearch and Elasticsearch, with settings and mapping beside them.

The terms are held in one of three kinds of fields: a text with frequencies (``t17|431``), ``rank_features``, or
Elasticsearch's ``sparse_vector``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import (
    FIELD,
    Collection,
    LinePart,
    facts_json,
    json_line,
    json_text,
    passage_facts,
    too_long,
    weights_json,
)
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName, feature_values
from lexite.index.field_types import FieldType

LONGEST_ID = 512  # bytes; one that is longer refuses its whole request
LONGEST_KEYWORD = 8191  # characters, of four bytes at most: Lucene's terms have 32,766 bytes
MOST_CLAUSES = 1024
MOST_HITS = 10_000
_PLACE = {"type": "integer", "index": False}
_TYPES: Mapping[FieldType, str] = {
    "text": "keyword",
    "integer": "long",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "datetime": "date",
    "list": "keyword",
}


@dataclass(frozen=True)
class BulkForm:
    """The form of an engine with ``_bulk``.

    Attributes:
        routes: what it can hold.
        sparse_vector: whether impacts are held in a ``sparse_vector``.
        most_terms: clauses of a query at most.
        most_hits: hits of a search at most.
        most_terms_of_document: no limit.
        holds_texts: they do.
        suffix: of its files.
    """

    routes: tuple[RouteName, ...]
    sparse_vector: bool = False
    most_terms: int | None = MOST_CLAUSES
    most_hits: int | None = MOST_HITS
    most_terms_of_document: int | None = None
    holds_texts: bool = True
    suffix: str = ".ndjson"

    def id_problem(self, identifier: str) -> str | None:
        """Ids have 1 to 512 bytes."""
        return too_long(identifier, LONGEST_ID)

    def field_problem(self, name: str) -> str | None:
        """A point would make an object of a field, and an empty part of a name is none."""
        return "a point divides its name in two" if "." in name else None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The body with which the index is created."""
        return {"index.json": json_text({"settings": _settings(collection), "mappings": _mappings(collection)})}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """A body of ``_bulk``: the name of the index is in the path of the request."""

        def encode(document: EngineDocument) -> bytes:
            action = json_line({"index": {"_id": document.id}})
            facts = {**facts_json(document, collection), **passage_facts(document, collection)}
            return action + json_line({**facts, **_terms(document, collection)})

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The body of ``_search``."""
        collapse = {"collapse": {"field": "doc"}} if collection.has_passages else {}
        return {"size": top_k, "query": self.query(query, collection), **collapse}

    def query(self, query: EngineQuery, collection: Collection) -> dict[str, Any]:
        """The query of a body."""
        weights = weights_json(collection.names.of(query.terms.tolist()), query.weights.tolist())
        if not weights:
            return {"match_none": {}}
        if collection.route.name == "impacts":
            return {"sparse_vector": {"field": FIELD, "query_vector": weights, "prune": False}}
        clauses = [self.clause(name, weight, query.pivot, collection) for name, weight in weights.items()]
        return {"bool": {"should": clauses, "minimum_should_match": 1}}

    def clause(self, name: str, weight: float, pivot: float, collection: Collection) -> dict[str, Any]:
        """The query for one term.

        Args:
            name: of the term.
            weight: what its part is multiplied by.
            pivot: k1 where the engine saturates.
            collection: with the route.
        """
        route = collection.route.name
        if route == "impacts":
            return {"sparse_vector": {"field": FIELD, "query_vector": {name: weight}, "prune": False}}
        if route == "frequencies":
            return {"term": {FIELD: {"value": name, "boost": weight}}}
        function = {"saturation": {"pivot": pivot}} if route == "saturation" else {"linear": {}}
        return {"rank_feature": {"field": f"{FIELD}.{name}", **function, "boost": weight}}


def _terms(document: EngineDocument, collection: Collection) -> dict[str, Any]:
    """The field of the terms; left out where there are none, which some kinds of fields refuse."""
    if not len(document.terms):
        return {}
    names = collection.names.of(document.terms.tolist())
    if collection.route.rounding == "count":
        return {FIELD: frequencies_text(names, document.values.tolist())}
    return {FIELD: weights_json(names, feature_values(document.values).tolist())}  # of which a field keeps 9 significant bits


def frequencies_text(names: list[str], values: list[int]) -> str:
    """Terms with their frequencies, as Lucene's delimited token filter reads them.

    >>> frequencies_text(["t1", "w_milk"], [200, 40])
    't1|200 w_milk|40'
    """
    return " ".join(f"{name}|{value}" for name, value in zip(names, values, strict=True))


def _settings(collection: Collection) -> dict[str, Any]:
    if collection.route.rounding != "count":
        return {}
    return {
        "similarity": {FIELD: {"type": "BM25", "k1": collection.pivot, "b": 0.0}},
        "analysis": {
            "filter": {f"{FIELD}_frequencies": {"type": "delimited_term_freq", "delimiter": "|"}},
            "analyzer": {FIELD: {"type": "custom", "tokenizer": "whitespace", "filter": [f"{FIELD}_frequencies"]}},
        },
    }


def _mappings(collection: Collection) -> dict[str, Any]:
    if collection.route.rounding == "count":
        terms = {"type": "text", "analyzer": FIELD, "index_options": "freqs", "norms": False, "similarity": FIELD}
    elif collection.route.name == "impacts":
        terms = {"type": "sparse_vector", "index_options": {"prune": False}}
    else:
        terms = {"type": "rank_features"}
    properties: dict[str, Any] = {
        "doc": {"type": "keyword"},
        "n": {"type": "long"},
        "length": {"type": "float", "index": False},
        "terms": {"type": "integer"},
        FIELD: terms,
    }
    if collection.has_passages:
        properties |= {"part": {"type": "integer"}, "begin": _PLACE, "end": _PLACE}
    if collection.text:
        properties |= {"title": {"type": "text", "index": False}, "text": {"type": "text", "index": False}}
    if collection.fields:
        properties["fields"] = field_mappings(collection.fields)
    source = {} if collection.keep_terms else {"_source": {"excludes": [FIELD]}}
    return {**source, "dynamic": False, "properties": properties}


def field_mappings(fields: Mapping[str, FieldType]) -> dict[str, Any]:
    """The mapping of the fields of documents."""
    return {"dynamic": False, "properties": {name: _field(kind) for name, kind in fields.items()}}


def _field(kind: FieldType) -> dict[str, Any]:
    engine_type = _TYPES[kind]
    return {"type": engine_type, "ignore_above": LONGEST_KEYWORD} if engine_type == "keyword" else {"type": engine_type}


OPENSEARCH = BulkForm(("saturation", "frequencies", "linear"))
ELASTICSEARCH = BulkForm(("impacts", "saturation", "linear"), sparse_vector=True)
