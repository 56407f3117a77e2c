"""Filters in the query language of OpenSearch and Elasticsearch.

A condition of lexite is true, false or, where a document lacks the field, unknown. Queries know two values. So each condition
has two queries: one for the documents where it is true, and one for those where it is false.
"""

from __future__ import annotations

import datetime
from typing import Any

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
from lexite.index.field_types import ID_FIELD

_RANGES: dict[Operator, str] = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_RESERVED = frozenset('.?+*|{}[]()"\\#@&<>~^$-')


def filter_query(condition: Condition, wanted: bool = True) -> dict[str, Any]:
    """The query for the documents where a condition is true, or false.

    Args:
        condition: checked (``lexite.index.filters.read_filter``).
        wanted: True or False.

    >>> filter_query(Comparison("year", ">=", 2020))
    {'range': {'fields.year': {'gte': 2020}}}
    """
    if isinstance(condition, Negation):
        return filter_query(condition.part, not wanted)
    if isinstance(condition, (Both, Either)):
        parts = [filter_query(part, wanted) for part in condition.parts]
        every = isinstance(condition, Both) == wanted
        return {"bool": {"filter": parts}} if every else {"bool": {"should": parts, "minimum_should_match": 1}}
    there = {"exists": {"field": field_path(condition.field)}}
    if isinstance(condition, IsNull):
        return {"bool": {"must_not": [there]}} if wanted else there
    if isinstance(condition, Comparison) and condition.operator == "<>":
        condition, wanted = Comparison(condition.field, "=", condition.value), not wanted
    query = _leaf(condition)
    return query if wanted else {"bool": {"filter": [there], "must_not": [query]}}


def field_path(field: str) -> str:
    """Where a field of a document is held; its id is in ``doc``."""
    return "doc" if field == ID_FIELD else f"fields.{field}"


def _leaf(condition: Leaf) -> dict[str, Any]:
    path = field_path(condition.field)
    if isinstance(condition, Comparison):
        value = written(condition.value)
        return {"term": {path: value}} if condition.operator == "=" else {"range": {path: {_RANGES[condition.operator]: value}}}
    if isinstance(condition, OneOf):
        return {"terms": {path: [written(value) for value in condition.values]}}
    if isinstance(condition, Between):
        return {"range": {path: {"gte": written(condition.low), "lte": written(condition.high)}}}
    if isinstance(condition, Contains):
        return {"term": {path: condition.value}}
    if isinstance(condition, Like):
        if condition.any_case:
            return {"regexp": {path: {"value": any_case_pattern(condition.pattern), "flags": "NONE"}}}
        return {"wildcard": {path: {"value": wildcard_pattern(condition.pattern)}}}
    return {"exists": {"field": path}}


def written(value: Value) -> Any:
    """A value in JSON. Times have milliseconds, so that no comparison rounds them."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds")
    return value.isoformat() if isinstance(value, datetime.date) else value


def wildcard_pattern(pattern: str) -> str:
    r"""A pattern of LIKE with the wildcards of Lucene.

    >>> print(wildcard_pattern("100\\% *_%"))
    100% \*?*
    """
    return "".join(
        ({"%": "*", "_": "?"}[character] if wild else f"\\{character}" if character in "*?\\" else character)
        for character, wild in pattern_parts(pattern)
    )


def any_case_pattern(pattern: str) -> str:
    """A pattern of LIKE as a regular expression of Lucene that takes capitals for small letters.

    >>> print(any_case_pattern("a1%"))
    (a|A)1.*
    """
    parts = []
    for character, wild in pattern_parts(pattern):
        if wild:
            parts.append({"%": ".*", "_": "."}[character])
            continue
        forms = dict.fromkeys((character, character.lower(), character.upper()))
        escaped = ["".join(f"\\{each}" if each in _RESERVED else each for each in form) for form in forms]
        parts.append(escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})")
    return "".join(parts)


def pattern_parts(pattern: str) -> list[tuple[str, bool]]:
    """The characters of a pattern of LIKE, each with whether it is a wildcard."""
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append((pattern[at], False))
        else:
            parts.append((pattern[at], pattern[at] in "%_"))
        at += 1
    return parts
