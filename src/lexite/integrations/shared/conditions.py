"""Filters of other frameworks as conditions of lexite's own.

The languages of the frameworks know two values, true and false: a comparison with what a document lacks is false, and its
negation true. lexite's conditions have SQL's third value, *unknown*. :class:`Conditions` makes conditions that are never
unknown. Values stay values: no text of a filter language is written, so there is nothing to quote.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lexite.errors import FilterError
from lexite.index import conditions
from lexite.index.conditions import Condition, Operator
from lexite.index.field_types import ID_FIELD, FieldType

NOTHING: Condition = conditions.IsNull(ID_FIELD)
"""Lets no document pass: each has an id."""
EVERYTHING: Condition = conditions.Negation(NOTHING)
"""Lets all documents pass."""
ORDERS: tuple[Operator, ...] = ("<", "<=", ">", ">=")


@dataclass(frozen=True)
class Conditions:
    """Makes conditions on the fields that an index has.

    Attributes:
        types: types of the fields.
        absent_is_null: whether a field that no document has is one that each document lacks; else naming it is an error, which
            the index raises.
    """

    types: Mapping[str, FieldType]
    absent_is_null: bool = False

    def equal(self, field: str, value: Any) -> Condition:
        """The field has a value; None: the document lacks the field. A list of texts has the value among others.

        >>> print(Conditions({"tags": "list"}).equal("tags", "it's"))
        'it''s' in tags and not tags is null
        """
        if value is None:
            return self._null(field)
        if self._holds_lists(field):
            texts = value if isinstance(value, (list, tuple)) else [value]
            return self.contains_all(field, texts)
        return self._definite(conditions.Comparison(field, "=", _plain(field, value)))

    def differs(self, field: str, value: Any) -> Condition:
        """The opposite of :meth:`equal`: documents without the field pass, unless the value is None."""
        return conditions.Negation(self.equal(field, value))

    def ordered(self, field: str, operator: Operator, value: Any) -> Condition:
        """The field is less than a value, or greater. Nothing is less or greater than None."""
        return NOTHING if value is None else self._definite(conditions.Comparison(field, operator, _plain(field, value)))

    def one_of(self, field: str, values: Iterable[Any]) -> Condition:
        """The field has one of some values; None among them stands for documents without the field.

        >>> print(Conditions({"year": "integer"}).one_of("year", [1999, None]))
        (year in (1999) and not year is null) or year is null
        """
        listed = list(values)
        there = [value for value in listed if value is not None]
        parts: list[Condition] = []
        if there and self._holds_lists(field):
            parts += [self._definite(conditions.Contains(field, _text(field, value))) for value in there]
        elif there:
            parts.append(self._definite(conditions.OneOf(field, tuple(_plain(field, value) for value in there))))
        if len(there) < len(listed):
            parts.append(self._null(field))
        return any_of(parts)

    def contains_all(self, field: str, values: Iterable[Any]) -> Condition:
        """A list of texts has all of some texts."""
        return all_of([self._definite(conditions.Contains(field, _text(field, value))) for value in values])

    def like(self, field: str, pattern: str, *, any_case: bool = False) -> Condition:
        """A text is like a pattern of SQL, in which a backslash stands before what means itself."""
        return self._definite(conditions.Like(field, _text(field, pattern), any_case))

    def has_part(self, field: str, part: str, *, any_case: bool = False) -> Condition:
        r"""A text has another one somewhere.

        >>> print(Conditions({"name": "text"}).has_part("name", "50%"))
        name like '%50\%%' escape '\' and not name is null
        """
        escaped = "".join(f"\\{character}" if character in "%_\\" else character for character in _text(field, part))
        return self.like(field, f"%{escaped}%", any_case=any_case)

    def exists(self, field: str, there: bool = True) -> Condition:
        """The document has the field, or lacks it."""
        return conditions.Negation(self._null(field)) if there else self._null(field)

    def _holds_lists(self, field: str) -> bool:
        return self.types.get(field) == "list"

    def _missing(self, field: str) -> bool:
        return self.absent_is_null and field != ID_FIELD and field not in self.types

    def _null(self, field: str) -> Condition:
        return EVERYTHING if self._missing(field) else conditions.IsNull(field)

    def _definite(self, leaf: conditions.Leaf) -> Condition:
        """A comparison that is false where it would be unknown."""
        return (
            NOTHING
            if self._missing(leaf.field)
            else conditions.Both((leaf, conditions.Negation(conditions.IsNull(leaf.field))))
        )


def all_of(parts: Iterable[Condition]) -> Condition:
    """The conjunction; of no conditions it is true."""
    listed = tuple(parts)
    return listed[0] if len(listed) == 1 else conditions.Both(listed) if listed else EVERYTHING


def any_of(parts: Iterable[Condition]) -> Condition:
    """The disjunction; of no conditions it is false."""
    listed = tuple(parts)
    return listed[0] if len(listed) == 1 else conditions.Either(listed) if listed else NOTHING


def _plain(field: str, value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, datetime.date)):
        return value
    raise FilterError(
        f"The filter compares '{field}' with a {type(value).__name__}. A value is text, a number, true or false, or a date."
    )


def _text(field: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise FilterError(f"The filter asks for {value!r} in '{field}', but lists and patterns are of text.")
