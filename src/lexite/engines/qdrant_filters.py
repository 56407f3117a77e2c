"""Filters with the classes that Qdrant's clients have for them, and where the fields of documents lie in payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.engines.driver import Question
from lexite.engines.forms.base import Collection
from lexite.engines.translating import translated
from lexite.errors import FilterError
from lexite.index.conditions import Value
from lexite.index.field_types import ID_FIELD, FieldType, in_utc

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

_SCHEMAS: Mapping[FieldType, str] = {
    "text": "keyword",
    "integer": "integer",
    "number": "float",
    "date": "datetime",
    "datetime": "datetime",
    "list": "keyword",
}


def field_indexes(fields: Mapping[str, FieldType]) -> dict[str, str]:
    """What Qdrant is to index of fields: its types by key."""
    return {_key(name): _SCHEMAS[kind] for name, kind in fields.items() if kind in _SCHEMAS}


def _key(field: str) -> str:
    """The path of a field in the payload."""
    return "doc" if field == ID_FIELD else f'fields."{field}"'


class QdrantFilters:
    """Writes conditions with the classes of a client.

    Args:
        kit: the module that has them.
    """

    def __init__(self, kit: Any) -> None:
        self._kit = kit
        self._range = getattr(kit, "RangeFloat", None) or kit.Range
        self._times = getattr(kit, "RangeDateTime", None) or kit.DatetimeRange

    def of(self, question: Question, collection: Collection) -> Any | None:
        """The filter of a question; None where there is none."""
        must = [] if question.among is None else [self._any("doc", list(question.among))]
        if question.where is not None:
            must.append(translated(question.where, collection.fields, self))
        must_not = [] if question.exclude is None else [self._match("doc", question.exclude)]
        return self._kit.Filter(must=must, must_not=must_not) if must or must_not else None

    def equal(self, key: str, value: str | int) -> Any:
        """A filter for points with a value."""
        return self._kit.Filter(must=[self._match(key, value)])

    def any_equal(self, key: str, values: list[str]) -> Any:
        """A filter for points with one of some values."""
        return self._kit.Filter(must=[self._any(key, values)])

    def _match(self, key: str, value: Any) -> Any:
        return self._kit.FieldCondition(key=key, match=self._kit.MatchValue(value=value))

    def _any(self, key: str, values: list[Any]) -> Any:
        return self._kit.FieldCondition(key=key, match=self._kit.MatchAny(any=values)) if values else self.nothing()

    def all_of(self, parts: Sequence[Any]) -> Any:
        """All of some conditions."""
        return self._kit.Filter(must=list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        """One of some conditions."""
        return self._kit.Filter(should=list(parts))

    def no(self, part: Any) -> Any:
        """All but those."""
        return self._kit.Filter(must_not=[part])

    def nothing(self) -> Any:
        """No point."""
        return self._match("has", "")  # no field has an empty name

    def has(self, field: str, kind: FieldType) -> Any:
        """Those with a field."""
        return self._kit.Filter(must_not=[self.nothing()]) if field == ID_FIELD else self._match("has", field)

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> Any:
        """One of some values, exactly."""
        if kind in ("text", "integer"):
            return self._any(_key(field), list(values))
        if kind == "boolean":  # by the names of true fields: Edge takes a truth value for a number
            yes = self._match("yes", field)
            return self.any_of([yes if value else self.all_of([self.has(field, kind), self.no(yes)]) for value in values])
        return self.any_of([self._ranged(field, kind, gte=value, lte=value) for value in values])

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> Any:
        """A range with one end."""
        if kind == "text":
            raise FilterError(f"Qdrant has no order of texts, so '{field}' cannot be compared with {operator} there.")
        return self._ranged(field, kind, **{{"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[operator]: value})

    def _ranged(self, field: str, kind: FieldType, **bounds: Any) -> Any:
        if kind in ("date", "datetime"):
            times = {name: value.isoformat() if kind == "date" else in_utc(value).isoformat() for name, value in bounds.items()}
            return self._kit.FieldCondition(key=_key(field), range=self._times(**times))
        return self._kit.FieldCondition(key=_key(field), range=self._range(**bounds))

    def like(self, field: str, pattern: str, *, any_case: bool) -> Any:
        """Raises FilterError: there are no patterns."""
        raise FilterError(f"Qdrant has no patterns, so '{field}' cannot be asked with like there.")

    def contains(self, field: str, value: str) -> Any:
        """A list that has a text."""
        return self._match(_key(field), value)
