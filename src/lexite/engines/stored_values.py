"""Fields of documents as they come back from engines that keep them as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lexite.index.field_types import FieldType, in_utc

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue


def span_between(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where a passage stands in the text of its document, kept as ``begin`` and ``end``; None where it is all of it."""
    return (int(values["begin"]), int(values["end"])) if "begin" in values else None


def span_of(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """The same, kept as two numbers under ``span``."""
    span = facts.get("span")
    return None if span is None else (int(span[0]), int(span[1]))


def stored_fields(values: Mapping[str, Any], types: Mapping[str, FieldType]) -> dict[str, FieldValue]:
    """The values of fields, with the types that they had.

    >>> stored_fields({"day": "2020-01-31", "tags": ["law"]}, {"day": "date", "tags": "list"})
    {'day': datetime.date(2020, 1, 31), 'tags': ['law']}
    """
    return {name: _value(value, types.get(name, "text")) for name, value in values.items()}


def _value(value: Any, kind: FieldType) -> FieldValue:
    if kind == "date":
        return datetime.date.fromisoformat(str(value)[:10])
    if kind == "datetime":
        return in_utc(datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00")))
    if kind == "number":
        return float(value)
    if kind == "list":
        return [str(each) for each in value] if isinstance(value, list) else [str(value)]
    found: FieldValue = value
    return found
