"""Filters in Solr's JSON language of queries."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.engines.like_patterns import like_regex, wildcard_pattern
from lexite.engines.translating import translated
from lexite.index.conditions import Condition, Value
from lexite.index.field_types import ID_FIELD, FieldType

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

NOTHING: dict[str, Any] = {"lucene": {"query": "-*:*"}}
_ALL: dict[str, Any] = {"lucene": {"query": "*:*"}}
_SPECIAL = re.compile(r"([\\+\-!():^\[\]\"{}~*?|&;/\s])")
_SEPARATOR = "\x01,\x02"  # between ids, none of which has it
_RANGES: Mapping[str, str] = {"<": "[* TO {}}}", "<=": "[* TO {}]", ">": "{{{} TO *]", ">=": "[{} TO *]"}


def filter_query(condition: Condition, types: Mapping[str, FieldType]) -> dict[str, Any]:
    """The query for the documents where a condition is true.

    Args:
        condition: checked (``lexite.index.filters.read_filter``).
        types: of the fields.

    >>> from lexite.index.filters import read_filter
    >>> filter_query(read_filter("year >= 2020", {"year": "integer"}), {"year": "integer"})
    {'lucene': {'query': 'year:["2020" TO *]'}}
    """
    return translated(condition, types, _SolrQueries())


def solr_field(field: str) -> str:
    """What Solr calls a field of a document; its id is in ``doc``."""
    return "doc" if field == ID_FIELD else field


def escaped_text(text: str) -> str:
    """A text as it stands in the quotation marks of Solr's language of queries."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def any_of_texts(field: str, values: Sequence[str]) -> dict[str, Any]:
    """The query for documents that have one of some values; it may be any number of them."""
    return {"terms": {"f": field, "separator": _SEPARATOR, "query": _SEPARATOR.join(values)}} if values else NOTHING


class _SolrQueries:
    """Writes conditions as :class:`lexite.engines.translating.Language` says."""

    def all_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return parts[0] if len(parts) == 1 else {"bool": {"must": list(parts)}}

    def any_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"bool": {"should": list(parts)}}

    def no(self, part: dict[str, Any]) -> dict[str, Any]:
        return {"bool": {"must": [_ALL], "must_not": [part]}}

    def nothing(self) -> dict[str, Any]:
        return NOTHING

    def has(self, field: str, kind: FieldType) -> dict[str, Any]:
        return {"lucene": {"query": f"{solr_field(field)}:*"}}

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> dict[str, Any]:
        own = [{"field": {"f": solr_field(field), "query": _written(value)}} for value in values]
        return own[0] if len(own) == 1 else self.any_of(own)

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> dict[str, Any]:
        text = _written(value).replace("\\", "\\\\").replace('"', '\\"')
        return {"lucene": {"query": f"{solr_field(field)}:{_RANGES[operator].format(chr(34) + text + chr(34))}"}}

    def like(self, field: str, pattern: str, *, any_case: bool) -> dict[str, Any]:
        if any_case:
            written = f"/{like_regex(pattern, any_case=True)}/"
        else:
            written = wildcard_pattern(pattern, lambda character: _SPECIAL.sub(r"\\\1", character))
        return {"lucene": {"query": f"{solr_field(field)}:{written}"}}

    def contains(self, field: str, value: str) -> dict[str, Any]:
        return self.one_of(field, "text", [value])


def _written(value: Value) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return f"{value.isoformat()}T00:00:00Z"
    return str(value).lower() if isinstance(value, bool) else str(value)
