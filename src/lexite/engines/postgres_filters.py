"""Filters as SQL over the table of passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.engines.translating import translated
from lexite.errors import FilterError
from lexite.index.conditions import Condition, Value
from lexite.index.field_types import ID_FIELD, FieldType

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

_CASTS: Mapping[FieldType, str] = {
    "integer": "::bigint",
    "number": "::double precision",
    "boolean": "::boolean",
    "date": "::date",
    "datetime": "::timestamptz",
    "text": ' COLLATE "C"',
}


def sql_value(field: str, kind: FieldType) -> tuple[str, list[Any]]:
    """A field as a value of its type."""
    return ('(doc COLLATE "C")', []) if field == ID_FIELD else (f"((fields->>%s){_CASTS[kind]})", [field])


def where_sql(condition: Condition, schema: Mapping[str, FieldType]) -> tuple[str, list[Any]]:
    """A filter as SQL over the table, with the values of its placeholders.

    >>> from lexite.index.filters import read_filter
    >>> schema = {"year": "integer", "tags": "list"}
    >>> where_sql(read_filter("year > 1999 and not 'law' in tags", schema), schema)
    ('(((fields->>%s)::bigint) > %s AND (fields ? %s AND NOT fields->%s ? %s))', ['year', 1999, 'tags', 'tags', 'law'])
    """
    return translated(condition, schema, _Sql())


class _Sql:
    """Writes conditions in SQL."""

    def all_of(self, parts: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
        return self._joined(parts, " AND ")

    def any_of(self, parts: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
        return self._joined(parts, " OR ")

    def _joined(self, parts: Sequence[tuple[str, list[Any]]], word: str) -> tuple[str, list[Any]]:
        return f"({word.join(part for part, _ in parts)})", [value for _, own in parts for value in own]

    def no(self, part: tuple[str, list[Any]]) -> tuple[str, list[Any]]:
        return f"NOT {part[0]}", part[1]

    def nothing(self) -> tuple[str, list[Any]]:
        return "FALSE", []

    def has(self, field: str, kind: FieldType) -> tuple[str, list[Any]]:
        return ("TRUE", []) if field == ID_FIELD else ("fields ? %s", [field])

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> tuple[str, list[Any]]:
        expression, own = sql_value(field, kind)
        if any(isinstance(value, str) and "\0" in value for value in values):
            raise FilterError("PostgreSQL has no text with a NUL in it. Leave it out of the filter.")
        return (
            (f"{expression} = ANY(%s)", [*own, list(values)]) if len(values) > 1 else (f"{expression} = %s", [*own, values[0]])
        )

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> tuple[str, list[Any]]:
        expression, own = sql_value(field, kind)
        return f"{expression} {operator} %s", [*own, value]

    def like(self, field: str, pattern: str, *, any_case: bool) -> tuple[str, list[Any]]:
        word = "ILIKE" if any_case else "LIKE"
        return (f"doc {word} %s", [pattern]) if field == ID_FIELD else (f"(fields->>%s) {word} %s", [field, pattern])

    def contains(self, field: str, value: str) -> tuple[str, list[Any]]:
        return "fields->%s ? %s", [field, value]
