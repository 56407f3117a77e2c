"""Filters in Solr's JSON language of queries.

A condition of lexite is true, false or, where a document lacks the field, unknown. Queries know two values. So each condition
has two queries: one for the documents where it is true, and one for those where it is false.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from lexite.engines.bulk_filters import any_case_pattern, pattern_parts
from lexite.index.conditions import (
    Between,
    Both,
    Comparison,
    Condition,
    Contains,
    Either,
    IsNull,
    Leaf,
    Like,
    Negation,
    OneOf,
    Operator,
    Value,
)
from lexite.index.field_types import ID_FIELD, FieldType

NOTHING: dict[str, Any] = {"lucene": {"query": "-*:*"}}
_ALL: dict[str, Any] = {"lucene": {"query": "*:*"}}
_SPECIAL = re.compile(r"([\\+\-!():^\[\]\"{}~*?|&;/\s])")
_RANGES: dict[Operator, str] = {"<": "[* TO {}}}", "<=": "[* TO {}]", ">": "{{{} TO *]", ">=": "[{} TO *]"}


def filter_query(condition: Condition, types: Mapping[str, FieldType], wanted: bool = True) -> dict[str, Any]:
    """The query for the documents where a condition is true, or false.

    Args:
        condition: checked (``lexite.index.filters.read_filter``).
        types: of the fields.
        wanted: True or False.

    >>> filter_query(Comparison("year", ">=", 2020), {"year": "integer"})
    {'lucene': {'query': 'year:["2020" TO *]'}}
    """
    if isinstance(condition, Negation):
        return filter_query(condition.part, types, not wanted)
    if isinstance(condition, (Both, Either)):
        parts = [filter_query(part, types, wanted) for part in condition.parts]
        return {"bool": {"must" if isinstance(condition, Both) == wanted else "should": parts}}
    there: dict[str, Any] = {"lucene": {"query": f"{solr_field(condition.field)}:*"}}
    if isinstance(condition, IsNull):
        return {"bool": {"must": [_ALL], "must_not": [there]}} if wanted else there
    if isinstance(condition, Comparison) and condition.operator == "<>":
        condition, wanted = Comparison(condition.field, "=", condition.value), not wanted
    query = _leaf(condition, "text" if condition.field == ID_FIELD else types[condition.field])
    return query if wanted else {"bool": {"must": [there], "must_not": [query]}}


def solr_field(field: str) -> str:
    """What Solr calls a field of a document; its id is in ``doc``."""
    return "doc" if field == ID_FIELD else field


def _leaf(condition: Leaf, kind: FieldType) -> dict[str, Any]:
    field = solr_field(condition.field)
    if isinstance(condition, Comparison):
        if condition.operator == "=":
            return _equal(field, condition.value, kind)
        return _range(field, condition.operator, condition.value, kind)
    if isinstance(condition, OneOf):
        return {"bool": {"should": [_equal(field, value, kind) for value in condition.values]}}
    if isinstance(condition, Between):
        return {"bool": {"must": [_range(field, ">=", condition.low, kind), _range(field, "<=", condition.high, kind)]}}
    if isinstance(condition, Contains):
        return _equal(field, condition.value, "text")
    if isinstance(condition, Like):
        return {"lucene": {"query": f"{field}:{_pattern(condition)}"}}
    return {"lucene": {"query": f"{field}:*"}}


def _equal(field: str, value: Value, kind: FieldType) -> dict[str, Any]:
    if kind == "integer" and isinstance(value, float) and not value.is_integer():
        return NOTHING
    return {"field": {"f": field, "query": _written(value, kind)}}


def _range(field: str, operator: Operator, value: Value, kind: FieldType) -> dict[str, Any]:
    if kind == "integer" and isinstance(value, float):  # which a field of whole numbers cannot be compared with
        value = math.floor(value) if operator in ("<=", ">") else math.ceil(value)
    text = _written(value, kind).replace("\\", "\\\\").replace('"', '\\"')
    return {"lucene": {"query": f"{field}:{_RANGES[operator].format(chr(34) + text + chr(34))}"}}


def _written(value: Value, kind: FieldType) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if kind == "integer" and isinstance(value, (int, float)) else str(value)


def _pattern(condition: Like) -> str:
    """A pattern of LIKE as Solr's wildcards, or as a regular expression where capitals make no difference."""
    if condition.any_case:
        return "/" + any_case_pattern(condition.pattern).replace("/", "\\/") + "/"
    return "".join(
        {"%": "*", "_": "?"}[character] if wild else _SPECIAL.sub(r"\\\1", character)
        for character, wild in pattern_parts(condition.pattern)
    )
