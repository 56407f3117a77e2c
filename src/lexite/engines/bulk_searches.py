"""Bodies of searches of OpenSearch and Elasticsearch, and what their hits say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lexite.engines.bulk_filters import field_path, filter_query
from lexite.engines.driver import Found, PassageParts, Question
from lexite.engines.forms.base import Collection, weights_json
from lexite.engines.forms.bulk import BulkForm
from lexite.engines.queries import EngineQuery
from lexite.engines.stored_values import span_between

PASSAGES_AT_ONCE = 1000
"""Passages of a document that are asked for at most."""


def search_body(form: BulkForm, question: Question, collection: Collection, factor: float) -> dict[str, Any]:
    """The body of a search. Equal scores come in the order of documents.

    Args:
        form: of the documents.
        question: what is asked.
        collection: of which.
        factor: what the engine's scores are of lexite's.
    """
    scored = form.query(question.query, collection)
    limits = [] if question.where is None else [filter_query(question.where, collection.fields)]
    if question.among is not None:
        limits.append({"terms": {"doc": list(question.among)}})
    excluded = [] if question.exclude is None else [{"term": {"doc": question.exclude}}]
    if limits or excluded:
        scored = {"bool": {"must": [scored], "filter": limits, "must_not": excluded}}
    order: list[Any] = [{"_score": "desc"}, {"n": "asc"}]
    if question.sort is not None:
        field, descending = question.sort
        order.insert(0, {field_path(field): {"order": "desc" if descending else "asc", "missing": "_last"}})
    body: dict[str, Any] = {"size": question.top_k, "query": scored, "sort": order, "track_scores": True}
    body |= {"_source": False, "docvalue_fields": ["doc"], "track_total_hits": False}
    if collection.has_passages:
        body |= {"collapse": {"field": "doc"}, "docvalue_fields": ["doc", "begin", "end"]}
    return body if question.min_score is None else {**body, "min_score": question.min_score * factor}


def found_in(hit: Mapping[str, Any], factor: float) -> Found:
    """A hit of such a search."""
    fields = {name: values[0] for name, values in hit["fields"].items()}
    return Found(str(fields["doc"]), float(np.float32(hit["_score"] / factor)), span_between(fields))


def parts_body(form: BulkForm, query: EngineQuery, document: str, collection: Collection) -> dict[str, Any]:
    """The body that asks for the passages of a document, with a name for each term, so that its score comes by name."""
    names = collection.names.of(query.terms.tolist())
    weights = weights_json(names, query.weights.tolist())
    clauses = []
    for place, (name, weight) in enumerate(weights.items()):
        ((kind, body),) = form.clause(name, weight, query.pivot, collection).items()
        clauses.append({"bool": {"must": [{kind: body}], "_name": str(place)}})
    return {
        "size": PASSAGES_AT_ONCE,
        "query": {"bool": {"filter": [{"term": {"doc": document}}], "should": clauses}},
        "_source": ["length", "begin", "end", "part"],
    }


def parts_in(hits: Sequence[Mapping[str, Any]], factor: float) -> list[PassageParts]:
    """The passages that it gives, in order, with what each term adds."""
    found = []
    for hit in sorted(hits, key=lambda each: each["_source"].get("part", 0)):
        source, scores = hit["_source"], hit.get("matched_queries") or {}
        parts = {int(place): float(score) / factor for place, score in scores.items()}
        found.append(PassageParts(span_between(source), float(source["length"]), dict(sorted(parts.items()))))
    return found
