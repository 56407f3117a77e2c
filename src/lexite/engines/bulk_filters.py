"""Filters in the query language of OpenSearch and Elasticsearch."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.engines.like_patterns import like_regex, wildcard_pattern
from lexite.engines.translating import translated
from lexite.index.conditions import Condition, Value
from lexite.index.field_types import ID_FIELD, FieldType

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

_RANGES: Mapping[str, str] = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def filter_query(condition: Condition, types: Mapping[str, FieldType]) -> dict[str, Any]:
    """The query for the documents where a condition is true.

    Args:
        condition: checked (``lexite.index.filters.read_filter``).
        types: of the fields.

    >>> from lexite.index.filters import read_filter
    >>> filter_query(read_filter("year >= 2020", {"year": "integer"}), {"year": "integer"})
    {'range': {'fields.year': {'gte': 2020}}}
    """
    return translated(condition, types, _BulkQueries())


def field_path(field: str) -> str:
    """Where a field of a document is held; its id is in ``doc``."""
    return "doc" if field == ID_FIELD else f"fields.{field}"


class _BulkQueries:
    """Writes conditions as :class:`lexite.engines.translating.Language` says."""

    def all_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return parts[0] if len(parts) == 1 else {"bool": {"filter": list(parts)}}

    def any_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"bool": {"should": list(parts), "minimum_should_match": 1}}

    def no(self, part: dict[str, Any]) -> dict[str, Any]:
        return {"bool": {"must_not": [part]}}

    def nothing(self) -> dict[str, Any]:
        return {"match_none": {}}

    def has(self, field: str, kind: FieldType) -> dict[str, Any]:
        return {"exists": {"field": field_path(field)}}

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> dict[str, Any]:
        path, own = field_path(field), [_written(value) for value in values]
        return {"term": {path: own[0]}} if len(own) == 1 else {"terms": {path: own}}

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> dict[str, Any]:
        return {"range": {field_path(field): {_RANGES[operator]: _written(value)}}}

    def like(self, field: str, pattern: str, *, any_case: bool) -> dict[str, Any]:
        if any_case:
            return {"regexp": {field_path(field): {"value": like_regex(pattern, any_case=True), "flags": "NONE"}}}
        return {"wildcard": {field_path(field): {"value": wildcard_pattern(pattern)}}}

    def contains(self, field: str, value: str) -> dict[str, Any]:
        return {"term": {field_path(field): value}}


def _written(value: Value) -> Any:
    """A value in JSON. Times have milliseconds, so that no comparison rounds them."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds")
    return value.isoformat() if isinstance(value, datetime.date) else value
