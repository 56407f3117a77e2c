"""The conditions of a filter as a tree, which other engines' languages can be made of.

``lexite.index.filters`` makes the tree of an expression, ``lexite.index.masks`` evaluates it. Every condition is true, false
or, where a document lacks the field, unknown: SQL's logic of three values. A filter lets pass what is true.

>>> print(Both((Comparison("year", ">=", 2020), Negation(Contains("tags", "draft")))))
year >= 2020 and not 'draft' in tags
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool | datetime.date | datetime.datetime
"""What a field is compared with."""
Operator = Literal["=", "<>", "<", "<=", ">", ">="]
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field beside a value.

    Attributes:
        field: name of the field.
        operator: how they are compared.
        value: of the field's type: a number for integers and numbers, text for text, a date or a date with a time for those.
    """

    field: str
    operator: Operator
    value: Value

    def __str__(self) -> str:
        return f"{_name(self.field)} {self.operator} {_literal(self.value)}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """``field in (…)``: a field that has one of some values."""

    field: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{_name(self.field)} in ({', '.join(map(_literal, self.values))})"


@dataclass(frozen=True, slots=True)
class Between:
    """``field between low and high``, both included."""

    field: str
    low: Value
    high: Value

    def __str__(self) -> str:
        return f"{_name(self.field)} between {_literal(self.low)} and {_literal(self.high)}"


@dataclass(frozen=True, slots=True)
class Like:
    r"""``field like pattern``: the whole text fits, where ``%`` stands for any text and ``_`` for one character.

    Attributes:
        field: name of a field of text.
        pattern: with a backslash before a ``%``, ``_`` or backslash that means itself.
        any_case: whether capitals make no difference (``ilike``).
    """

    field: str
    pattern: str
    any_case: bool = False

    def __str__(self) -> str:
        return f"{_name(self.field)} {'ilike' if self.any_case else 'like'} {_literal(self.pattern)} escape '\\'"


@dataclass(frozen=True, slots=True)
class Contains:
    """``'value' in field``: a list of text that has a text."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"{_literal(self.value)} in {_name(self.field)}"


@dataclass(frozen=True, slots=True)
class IsNull:
    """``field is null``: a document without the field. It is never unknown."""

    field: str

    def __str__(self) -> str:
        return f"{_name(self.field)} is null"


@dataclass(frozen=True, slots=True)
class Negation:
    """``not``; unknown stays unknown."""

    part: Condition

    def __str__(self) -> str:
        return f"not {_part(self.part)}"


@dataclass(frozen=True, slots=True)
class Both:
    """``and`` of two conditions or more: false where one is false, else unknown where one is unknown."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(map(_part, self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """``or`` of two conditions or more: true where one is true, else unknown where one is unknown."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(map(_part, self.parts))


Leaf = Comparison | OneOf | Between | Like | Contains | IsNull
Condition = Comparison | OneOf | Between | Like | Contains | IsNull | Negation | Both | Either


def leaves(condition: Condition) -> Iterator[Leaf]:
    """The conditions on single fields, from left to right."""
    if isinstance(condition, (Both, Either)):
        for part in condition.parts:
            yield from leaves(part)
    elif isinstance(condition, Negation):
        yield from leaves(condition.part)
    else:
        yield condition


def _part(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, (Both, Either)) else str(condition)


def _name(field: str) -> str:
    return field if _PLAIN_NAME.fullmatch(field) else '"' + field.replace('"', '""') + '"'


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = value if isinstance(value, str) else value.isoformat()
    return "'" + text.replace("'", "''") + "'"
