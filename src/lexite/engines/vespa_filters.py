"""Filters in YQL, Vespa's language of queries."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lexite.engines.forms.vespa import EVERY_PASSAGE, stored_value
from lexite.engines.translating import translated
from lexite.errors import FilterError
from lexite.index.conditions import Condition, Value
from lexite.index.field_types import ID_FIELD, FieldType

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

NOTHING = "false"


def quoted(text: str) -> str:
    r"""A text as a literal of YQL.

    >>> print(quoted('say "ü"\n'))
    "say \"ü\"\n"
    """
    return json.dumps(text, ensure_ascii=False)


def one_of_texts(field: str, texts: Sequence[str]) -> str:
    """Whether an attribute has one of some texts.

    >>> one_of_texts("doc", ["d1", "d2"])
    'doc in ("d1", "d2")'
    """
    return f"{field} in ({', '.join(map(quoted, texts))})" if texts else NOTHING


def where_yql(condition: Condition, schema: Mapping[str, FieldType]) -> str:
    """A filter in YQL.

    >>> from lexite.index.filters import read_filter
    >>> schema = {"year": "integer", "tags": "list"}
    >>> print(where_yql(read_filter("year > 1999 and 'law' in tags", schema), schema))
    ((has contains "year" and year > 1999L) and tags contains "law")
    """
    return translated(condition, schema, _Yql())


class _Yql:
    """Writes conditions in YQL. A number that a document lacks has a value for Vespa, so ``has`` is asked beside it."""

    def all_of(self, parts: Sequence[str]) -> str:
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def any_of(self, parts: Sequence[str]) -> str:
        return parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"

    def no(self, part: str) -> str:
        return f"({EVERY_PASSAGE} and !({part}))"

    def nothing(self) -> str:
        return NOTHING

    def has(self, field: str, kind: FieldType) -> str:
        return EVERY_PASSAGE if field == ID_FIELD else f"has contains {quoted(field)}"

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> str:
        if kind in ("text", "list"):
            return one_of_texts("doc" if field == ID_FIELD else field, [str(value) for value in values])
        same = self.any_of([f"{field} = {_literal(value, kind)}" for value in values])
        return self.all_of([self.has(field, kind), same])

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> str:
        if kind == "text":
            raise FilterError(f"Vespa has no order of texts, so '{field}' cannot be compared with {operator} there.")
        return self.all_of([self.has(field, kind), f"{field} {operator} {_literal(value, kind)}"])

    def like(self, field: str, pattern: str, *, any_case: bool) -> str:
        raise FilterError(
            f"Vespa's patterns mind capitals or not, as its version has it, so '{field}' cannot be asked with like there."
        )

    def contains(self, field: str, value: str) -> str:
        return f"{field} contains {quoted(value)}"


def _literal(value: Value, kind: FieldType) -> str:
    """A number as YQL takes it: L stands behind one of 64 bits."""
    if isinstance(value, bool):
        return str(value).lower()
    if kind == "integer":
        return f"{value}L"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return f"{stored_value(value)}L"
    return repr(float(value))
