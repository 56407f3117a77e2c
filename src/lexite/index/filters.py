"""From what a person wrote to a checked filter: every field is there, and every value has its field's type."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from lexite.errors import ArgumentError, FilterError
from lexite.index.conditions import (
    Between,
    Both,
    Comparison,
    Condition,
    Contains,
    Either,
    IsNull,
    Like,
    Negation,
    OneOf,
    Value,
)
from lexite.index.field_types import ID_FIELD, FieldType, in_utc, known_field, listed_fields, noun
from lexite.index.filter_language import date_of, datetime_of, parse_filter

Where = str | Condition
"""A filter: an expression as in SQL's WHERE, or its tree."""
_EXAMPLES = {
    "text": "'some text'",
    "integer": "2020",
    "number": "1.5",
    "boolean": "true",
    "date": "'2020-12-31'",
    "datetime": "'2020-12-31 23:59:00'",
    "list": "'a text'",
}


def read_filter(where: Where, schema: Mapping[str, FieldType]) -> Condition:
    """The tree of a filter, with the fields' own names and with values of their types.

    Args:
        where: an expression, or a tree of ``lexite.index.conditions``.
        schema: the fields that there are. The id of a document is the field ``_id``, of text.

    Raises:
        FilterError: it cannot be read, or a field or a value does not fit.
        ArgumentError: it is neither text nor a tree.

    >>> print(read_filter("Day > '2020-01-31' and year = 1999", {"day": "date", "year": "integer"}))
    day > '2020-01-31' and year = 1999
    """
    if isinstance(where, str):
        where = parse_filter(where)
    if not isinstance(where, Condition):
        raise ArgumentError(f'A filter is an expression, such as "year >= 2020", not a {type(where).__name__}.')
    return _checked(where, schema)


def _checked(condition: Condition, schema: Mapping[str, FieldType]) -> Condition:
    if isinstance(condition, (Both, Either)):
        return type(condition)(tuple(_checked(part, schema) for part in condition.parts))
    if isinstance(condition, Negation):
        return Negation(_checked(condition.part, schema))
    field = known_field(condition.field, schema, besides=(ID_FIELD,))
    kind: FieldType = "text" if field == ID_FIELD else schema[field]
    if isinstance(condition, IsNull):
        return IsNull(field)
    if isinstance(condition, Contains):
        if kind != "list":
            raise _wrong(field, kind, schema, f"'in {field}' asks for a text in a list.")
        return Contains(field, str(condition.value))
    if kind == "list":
        raise _wrong(field, kind, schema, "A list is asked for one text.")
    if isinstance(condition, Like):
        if kind != "text":
            raise _wrong(field, kind, schema, "Only text is like a pattern.")
        return Like(field, condition.pattern, condition.any_case)
    if isinstance(condition, Between):
        return Between(field, _typed(condition.low, field, kind, schema), _typed(condition.high, field, kind, schema))
    if isinstance(condition, OneOf):
        return OneOf(field, tuple(_typed(value, field, kind, schema) for value in condition.values))
    if kind == "boolean" and condition.operator not in ("=", "<>"):
        raise _wrong(field, kind, schema, "True and false have no order.")
    return Comparison(field, condition.operator, _typed(condition.value, field, kind, schema))


def _typed(value: Value, field: str, kind: FieldType, schema: Mapping[str, FieldType]) -> Value:
    """A value as its field holds it; texts become dates where the field has dates."""
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind in ("integer", "number") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if kind == "date":
        if isinstance(value, str):
            return date_of(value)
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return value
    if kind == "datetime":
        if isinstance(value, str):
            return datetime_of(value)
        if isinstance(value, datetime.datetime):
            return in_utc(value)
        if isinstance(value, datetime.date):
            return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc)
    what = "It is no condition by itself." if value is True else f"{_shown(value)} is {_kind_of(value)}."
    raise _wrong(field, kind, schema, what)


def _wrong(field: str, kind: FieldType, schema: Mapping[str, FieldType], what: str) -> FilterError:
    name = field if field.isidentifier() else f'"{field}"'
    example = f"{_EXAMPLES[kind]} in {name}" if kind == "list" else f"{name} = {_EXAMPLES[kind]}"
    return FilterError(f"The field '{field}' holds {noun(kind)}. {what} Write, for example: {example}. {listed_fields(schema)}")


def _kind_of(value: Value) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text, since it stands in quotation marks"
    return "a number" if isinstance(value, (int, float)) else "a date"


def _shown(value: Value) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
