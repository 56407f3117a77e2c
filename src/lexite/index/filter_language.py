"""The language of filters: conditions as in SQL's WHERE, parsed by sqlglot into a tree of lexite's own.

The tree is made of what is listed here. Everything else that SQL has, such as functions, subqueries and statements, is refused,
and nothing is ever run.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from lexite.errors import FilterError, MissingExtraError
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
    Operator,
    Value,
)
from lexite.index.field_types import in_utc

LONGEST = 200_000  # characters
DEEPEST = 30  # parentheses, nots and signs within one another; a parser takes up to 30 calls for each, of Python's 1,000
MOST_CONDITIONS = 2_000
EXAMPLE = "Write conditions as in SQL, such as: year >= 2020 and lang = 'en' and 'law' in tags"
_COMPARISONS: dict[str, Operator] = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_TURNED: dict[Operator, Operator] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@functools.lru_cache(maxsize=256)
def parse_filter(text: str) -> Condition:
    """Makes the tree of an expression. Names of fields and types of values are not checked yet.

    Raises:
        FilterError: it is no expression, or has something that filters do not have.
        MissingExtraError: sqlglot is not installed.

    >>> parse_filter("not (year between 1990 and 1999) and lang in ('en', 'de')")
    Both(parts=(Negation(part=Between(field='year', low=1990, high=1999)), OneOf(field='lang', values=('en', 'de'))))
    """
    if not isinstance(text, str) or not text.strip():
        raise FilterError(f"The filter is empty. {EXAMPLE}")
    if len(text) > LONGEST:
        raise FilterError(f"The filter has {len(text):,} characters, but may have {LONGEST:,} at most.")
    try:
        sqlglot: Any = importlib.import_module("sqlglot")
    except ImportError:
        raise MissingExtraError("sqlglot", "fields", "Filtering") from None
    errors: Any = sqlglot.errors
    try:
        _check_depth(sqlglot.tokenize(text))
        return _Builder(sqlglot.exp).condition(sqlglot.parse_one(text, into=sqlglot.exp.Condition))
    except errors.ParseError as error:
        raise FilterError(_place_of(error, text)) from None
    except errors.SqlglotError:
        raise FilterError(f"The filter cannot be read: a quotation mark is never closed. {EXAMPLE}") from None
    except RecursionError:
        raise FilterError("The filter is nested too deeply.") from None


class _Builder:
    """Makes lexite's tree of sqlglot's.

    Args:
        exp: the module of sqlglot's expressions.
    """

    def __init__(self, exp: Any) -> None:
        self._exp = exp
        self._conditions = 0
        self._makers: dict[type, Callable[[Any], Condition]] = {
            **{getattr(exp, name): self._comparison for name in _COMPARISONS},
            exp.And: self._several,
            exp.Or: self._several,
            exp.Not: lambda node: Negation(self.condition(_only(node, "this").this)),
            exp.Paren: lambda node: self.condition(_only(node, "this").this),
            exp.In: self._in,
            exp.Between: self._between,
            exp.Is: self._is,
            exp.Like: self._like,
            exp.ILike: self._like,
            exp.Escape: self._like,
            exp.Column: lambda node: Comparison(self._field(node), "=", True),
        }

    def condition(self, node: Any) -> Condition:
        """The condition that a node of sqlglot's tree stands for."""
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            raise FilterError(
                f"The filter has more than {MOST_CONDITIONS:,} conditions. Write lists as: field in ('a', 'b', …)"
            )
        make = self._makers.get(type(node))
        if make is None:
            raise _refused(node)
        return make(node)

    def _several(self, node: Any) -> Condition:
        kind, parts, stack = type(node), [], [node]
        while stack:  # a chain of hundreds is as many nodes deep
            part = stack.pop()
            if type(part) is kind:
                _only(part, "this", "expression")
                stack += [part.expression, part.this]
            else:
                parts.append(self.condition(part))
        return Both(tuple(parts)) if kind is self._exp.And else Either(tuple(parts))

    def _comparison(self, node: Any) -> Condition:
        _only(node, "this", "expression")
        operator = _COMPARISONS[type(node).__name__]
        left, right = self._bare(node.this), self._bare(node.expression)
        if isinstance(left, self._exp.Column):
            return Comparison(self._field(left), operator, self._value(right))
        if not isinstance(right, self._exp.Column):
            self._value(left)  # refuses what is no value, such as a function
            raise FilterError(f"'{_source(node)}' compares two values. Compare a field with a value.")
        return Comparison(self._field(right), _TURNED[operator], self._value(left))

    def _in(self, node: Any) -> Condition:
        _only(node, "this", "expressions", "field")
        left = self._bare(node.this)
        listed = [
            self._bare(each) for each in [node.args.get("field"), *(node.args.get("expressions") or [])] if each is not None
        ]
        if not listed:
            raise FilterError("A filter has 'in' before an empty list. Write the values: field in ('a', 'b')")
        if isinstance(left, self._exp.Column):
            return OneOf(self._field(left), tuple(self._value(each) for each in listed))
        value = self._value(left)
        if len(listed) != 1 or not isinstance(value, str):
            raise FilterError("Before 'in' stands a field with values behind it, or a text with a field of lists behind it.")
        return Contains(self._field(listed[0]), value)

    def _between(self, node: Any) -> Condition:
        _only(node, "this", "low", "high", "negate")
        low, high = self._value(self._bare(node.args["low"])), self._value(self._bare(node.args["high"]))
        return _negated(node, Between(self._field(self._bare(node.this)), low, high))

    def _is(self, node: Any) -> Condition:
        _only(node, "this", "expression", "negate")
        field, value = self._field(self._bare(node.this)), node.expression
        if isinstance(value, self._exp.Null):
            return _negated(node, IsNull(field))
        if isinstance(value, self._exp.Boolean):
            return _negated(node, Both((Comparison(field, "=", bool(value.this)), Negation(IsNull(field)))))
        raise FilterError("After 'is' stands null, true or false. Other values are compared with =.")

    def _like(self, node: Any) -> Condition:
        escape = ""
        outer = node
        if isinstance(node, self._exp.Escape):
            escape = self._text(_only(node, "this", "expression", "negate").expression)
            node = node.this
            if len(escape) != 1 or not isinstance(node, (self._exp.Like, self._exp.ILike)):
                raise FilterError("After 'escape' stands one character, and before it: field like pattern.")
        _only(node, "this", "expression", "negate")
        pattern = _escaped(self._text(node.expression), escape)
        found = Like(self._field(self._bare(node.this)), pattern, isinstance(node, self._exp.ILike))
        return _negated(node, _negated(outer, found) if outer is not node else found)

    def _bare(self, node: Any) -> Any:
        while isinstance(node, self._exp.Paren):
            node = _only(node, "this").this
        return node

    def _field(self, node: Any) -> str:
        if isinstance(node, self._exp.Column):
            return ".".join(part.name for part in node.parts)
        if isinstance(node, (self._exp.Literal, self._exp.Boolean, self._exp.Neg)):
            raise FilterError(
                f"{_source(node)} stands where the name of a field is wanted. Names have no quotation marks, or double ones."
            )
        raise _refused(node)

    def _text(self, node: Any) -> str:
        value = self._value(self._bare(node))
        if not isinstance(value, str):
            raise FilterError(f"{_source(node)} is no text. Write it in single quotation marks: '{_source(node)}'")
        return value

    def _value(self, node: Any) -> Value:
        exp = self._exp
        if isinstance(node, exp.Literal):
            return str(node.this) if node.is_string else _number(str(node.this))
        if isinstance(node, exp.Neg):
            value = self._value(self._bare(node.this))
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return -value
        if isinstance(node, exp.Boolean):
            return bool(node.this)
        if isinstance(node, exp.Null):
            raise FilterError("Nothing equals null in SQL. Write: field is null, or: field is not null")
        if isinstance(node, exp.Column):
            name = self._field(node)
            raise FilterError(
                f"The filter compares something with {name}, which is read as a field. Compare fields with values; text stands "
                f"in single quotation marks: '{name}'"
            )
        if type(node) is exp.Cast and isinstance(node.this, exp.Literal) and node.this.is_string:
            kind = str(getattr(node.to.this, "name", ""))
            if kind == "DATE":
                return date_of(str(node.this.this))
            if kind in ("TIMESTAMP", "TIMESTAMPTZ", "DATETIME"):
                return datetime_of(str(node.this.this))
        raise _refused(node)


def date_of(text: str) -> datetime.date:
    """The date that a text stands for.

    Raises:
        FilterError: it is none.

    >>> date_of("2020-02-29")
    datetime.date(2020, 2, 29)
    """
    try:
        if not _DAY.fullmatch(text):  # fromisoformat also reads weeks from Python 3.11 on
            raise ValueError(text)
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise FilterError(f"'{text}' is no date. Write year, month and day: '2020-12-31'") from None


def datetime_of(text: str) -> datetime.datetime:
    """The time that a text stands for, in UTC. A text without a zone is meant in UTC; a date alone is its first moment.

    Raises:
        FilterError: it is none.

    >>> datetime_of("2020-02-29T12:00:00+02:00").isoformat()
    '2020-02-29T10:00:00+00:00'
    """
    try:
        moment = datetime.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
        return in_utc(moment)
    except (ValueError, OverflowError):
        raise FilterError(
            f"'{text}' is no date with a time. Write: '2020-12-31 23:59:00', in UTC, or with +02:00 behind it"
        ) from None


def _only(node: Any, *allowed: str) -> Any:
    """The node, when it has no other parts than these: what a newer sqlglot reads in must not be passed over."""
    odd = [key for key, value in node.args.items() if key not in allowed and value not in (None, False, [])]
    if odd:
        raise _refused(node)
    return node


def _negated(node: Any, condition: Condition) -> Condition:
    return Negation(condition) if node.args.get("negate") else condition


def _number(text: str) -> int | float:
    if text.isascii() and text.isdigit() and len(text) < 400:
        return int(text)
    value = float(text) if _NUMBER.fullmatch(text) else float("inf")
    if value in (float("inf"), float("-inf")):
        raise FilterError(f"{text[:40]} is no number that a field can hold.")
    return value


def _escaped(pattern: str, escape: str) -> str:
    """A pattern of LIKE with backslashes before what means itself, in place of ``escape`` (empty: nothing can be escaped)."""
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        if escape and character == escape:
            at += 1
            if at == len(pattern):
                raise FilterError(f"The pattern '{pattern}' ends with its escape character, which escapes nothing.")
            character = pattern[at]
            parts.append(f"\\{character}" if character in "%_\\" else character)
        else:
            parts.append("\\\\" if character == "\\" else character)
        at += 1
    return "".join(parts)


def _check_depth(tokens: list[Any]) -> None:
    """Refuses what would make parsers call themselves too often; tokens are told apart without recursion."""
    opened: list[int] = []  # of each open parenthesis, how deep it was outside
    outside = depth = 0
    for token in tokens:
        kind = token.token_type.name
        if kind in ("L_PAREN", "L_BRACKET", "L_BRACE"):
            opened.append(outside)
            outside = depth = depth + 1
        elif kind in ("R_PAREN", "R_BRACKET", "R_BRACE"):
            outside = depth = opened.pop() if opened else 0
        else:
            depth = depth + 1 if kind in ("NOT", "DASH", "PLUS", "TILDE", "CASE") else outside
        if depth > DEEPEST:
            raise FilterError(f"The filter is nested more than {DEEPEST} deep. Write lists as: field in ('a', 'b', …)")


def _place_of(error: Any, text: str) -> str:
    """Where an expression stops making sense."""
    found: Mapping[str, Any] = error.errors[0] if error.errors else {}
    near = str(found.get("highlight") or "").strip()
    column = int(found.get("col") or 0) - len(near)
    if "expression" in str(found.get("description")) and "missing" in str(found.get("description")):
        what = f"something is missing after '{near}'"
    elif "Expecting )" in str(found.get("description")):
        what = "a parenthesis is never closed"
    else:
        what = f"'{near}' does not fit" if near else "it is no condition"
    where = f" at character {column + 1}" if near and 0 <= column < len(text) and "never" not in what else ""
    hint = f' If {near} is a field, write it in double quotation marks: "{near}".' if near.isidentifier() else ""
    return f"The filter cannot be read: {what}{where}.{hint} {EXAMPLE}"


def _refused(node: Any) -> FilterError:
    return FilterError(
        f"A filter cannot have '{_source(node)}'. It has fields, values, =, <>, <, <=, >, >=, in, between, like, ilike, "
        "is null, and, or, not, and parentheses."
    )


def _source(node: Any) -> str:
    text = str(node)
    return text if len(text) <= 60 else f"{text[:60]}…"
