"""Filters for engines that know true and false alone: lexite's conditions, told to whoever writes an engine's language.

A condition over a field that a document lacks is unknown, and so is its negation: neither lets the document pass. Engines say
that a document without the field is not equal, so that its negation would pass. So ``not`` is moved inwards until it stands
before a single field, where it means that the document has the field and the condition does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

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
from lexite.index.masks import rounded, whole_comparison

T = TypeVar("T")


class Language(Protocol[T]):
    """Writes conditions in the language of an engine. The field ``_id`` is the id of a document, of the type text."""

    def all_of(self, parts: Sequence[T]) -> T:
        """All of some conditions, one or more."""
        ...

    def any_of(self, parts: Sequence[T]) -> T:
        """One of some conditions, one or more."""
        ...

    def no(self, part: T) -> T:
        """The documents for which a condition is not true."""
        ...

    def nothing(self) -> T:
        """What no document fulfils."""
        ...

    def has(self, field: str, kind: FieldType) -> T:
        """Whether a document has a field."""
        ...

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> T:
        """Whether the field has one of some values, one or more."""
        ...

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> T:
        """Whether the field is ``<``, ``<=``, ``>`` or ``>=`` than a value."""
        ...

    def like(self, field: str, pattern: str, *, any_case: bool) -> T:
        """Whether a text fits a pattern (:class:`lexite.index.conditions.Like`)."""
        ...

    def contains(self, field: str, value: str) -> T:
        """Whether a list of text has a text."""
        ...


def translated(condition: Condition, schema: Mapping[str, FieldType], language: Language[T]) -> T:
    """A filter in the language of an engine.

    Args:
        condition: checked (:func:`lexite.index.filters.read_filter`).
        schema: types of the fields.
        language: writes it.

    Raises:
        FilterError: the engine has nothing for a part of it; the message says for which.
    """
    return _condition(condition, schema, language, holds=True)


def _condition(condition: Condition, schema: Mapping[str, FieldType], language: Language[T], *, holds: bool) -> T:
    if isinstance(condition, Negation):
        return _condition(condition.part, schema, language, holds=not holds)
    if isinstance(condition, (Both, Either)):
        parts = [_condition(part, schema, language, holds=holds) for part in condition.parts]
        return language.all_of(parts) if isinstance(condition, Both) == holds else language.any_of(parts)
    kind: FieldType = "text" if condition.field == ID_FIELD else schema[condition.field]
    if isinstance(condition, IsNull):
        has = language.has(condition.field, kind)
        return language.no(has) if holds else has
    found = _leaf(condition, kind, language)
    if holds:
        return language.has(condition.field, kind) if found is None else found
    has = language.has(condition.field, kind)
    return language.nothing() if found is None else language.all_of([has, language.no(found)])


def _leaf(condition: Leaf, kind: FieldType, language: Language[T]) -> T | None:
    """A condition over one field; None: it is true wherever the document has the field."""
    field = condition.field
    if isinstance(condition, Like):
        return language.like(field, condition.pattern, any_case=condition.any_case)
    if isinstance(condition, Contains):
        return language.contains(field, condition.value)
    if isinstance(condition, OneOf):
        return _one_of(field, kind, condition.values, language)
    if isinstance(condition, Between):
        sides = [_compared(field, kind, ">=", condition.low, language), _compared(field, kind, "<=", condition.high, language)]
        known = [side for side in sides if side is not None]
        return language.all_of(known) if known else None
    assert isinstance(condition, Comparison)
    return _compared(field, kind, condition.operator, condition.value, language)


def _one_of(field: str, kind: FieldType, values: Sequence[Value], language: Language[T]) -> T:
    own: list[Value] = list(values)
    if kind == "integer":  # a fraction is equal to no whole number, nor is one that is too large
        own = [int(value) for value in own if not isinstance(whole_comparison("=", value), bool)]  # type: ignore[arg-type]
    elif kind == "number":
        own = [number for number in map(rounded, own) if not math.isinf(number)]
    return language.one_of(field, kind, own) if own else language.nothing()


def _compared(field: str, kind: FieldType, operator: Operator, value: Value, language: Language[T]) -> T | None:
    if kind == "integer":
        known = whole_comparison(operator, value)
        if isinstance(known, bool):
            return None if known else language.nothing()
        operator, value = known
    elif kind == "number":
        value = rounded(value)
        if math.isinf(value):  # beyond what a field holds
            above = operator == "<>" or (operator in ("<", "<=") and value > 0) or (operator in (">", ">=") and value < 0)
            return None if above else language.nothing()
    if operator == "=":
        return language.one_of(field, kind, [value])
    if operator == "<>":
        return language.all_of([language.has(field, kind), language.no(language.one_of(field, kind, [value]))])
    return language.within(field, kind, operator, value)
