"""Filters as expressions of Milvus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lexite.engines.translating import translated
from lexite.errors import FilterError
from lexite.index.conditions import Condition, Value
from lexite.index.field_types import ID_FIELD, FieldType, in_utc

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

    from lexite.index.conditions import Operator

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_NOTHING = 'doc == ""'  # no id is empty
_MIRRORED: dict[str, bool] = {"<": True, "<=": True, ">": False, ">=": False}


def quoted(text: str) -> str:
    r"""A text as a literal.

    >>> print(quoted('say "ü"\n'))
    "say \"ü\"\n"
    """
    return f'"{text.translate(_ESCAPES)}"'


def one_of_texts(field: str, texts: Sequence[str]) -> str:
    """Whether a column has one of some texts.

    >>> one_of_texts("doc", ["d1", "d2"])
    'doc in ["d1", "d2"]'
    """
    return f"{field} in [{', '.join(map(quoted, texts))}]" if texts else _NOTHING


def where_expression(condition: Condition, schema: Mapping[str, FieldType]) -> str:
    """A filter as an expression.

    >>> from lexite.index.filters import read_filter
    >>> schema = {"year": "integer", "tags": "list"}
    >>> print(where_expression(read_filter("year > 1999 and not 'law' in tags", schema), schema))
    (fields["year"] > 1999 and (array_contains(has, "tags") and not (json_contains(fields["tags"], "law"))))
    """
    return translated(condition, schema, _Expressions())


def _literal(kind: FieldType, value: Value) -> str:
    """A value as it stands in the JSON of a document. Dates and times in UTC sort as their texts do."""
    if kind in ("date", "datetime"):
        moment: datetime.date = in_utc(value) if kind == "datetime" else value  # type: ignore[assignment, arg-type]
        return quoted(moment.isoformat())
    if kind == "boolean":
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def _key(field: str) -> str:
    return "doc" if field == ID_FIELD else f"fields[{quoted(field)}]"


class _Expressions:
    """Writes conditions in Milvus's language."""

    def all_of(self, parts: Sequence[str]) -> str:
        return f"({' and '.join(parts)})"

    def any_of(self, parts: Sequence[str]) -> str:
        return f"({' or '.join(parts)})"

    def no(self, part: str) -> str:
        return f"not ({part})"

    def nothing(self) -> str:
        return _NOTHING

    def has(self, field: str, kind: FieldType) -> str:
        return 'doc != ""' if field == ID_FIELD else f"array_contains(has, {quoted(field)})"

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> str:
        if field == ID_FIELD:
            return one_of_texts("doc", [str(value) for value in values])
        own = [value for value in values if not (isinstance(value, float) and math.isinf(value))]
        return self.any_of([f"{_key(field)} == {_literal(kind, value)}" for value in own]) if own else _NOTHING

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> str:
        if isinstance(value, float) and math.isinf(value):  # no field holds it, so it is above all or below all
            return self.has(field, kind) if _MIRRORED[operator] == (value > 0) else _NOTHING
        return f"{_key(field)} {operator} {_literal(kind, value)}"

    def like(self, field: str, pattern: str, *, any_case: bool) -> str:
        if any_case:
            raise FilterError(f"Milvus's patterns tell capitals apart, so '{field}' cannot be asked with ilike there.")
        if "\\" in pattern:
            raise FilterError(f"Milvus Lite's patterns have no escape, so '{field}' cannot be asked with one there.")
        return f"{_key(field)} like {quoted(pattern)}"

    def contains(self, field: str, value: str) -> str:
        return f"json_contains({_key(field)}, {quoted(value)})"
