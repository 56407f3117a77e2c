"""Filters as queries of Lucene."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lexite.engines.like_patterns import like_regex
from lexite.engines.lucene_java import Java
from lexite.index.conditions import Value
from lexite.index.field_types import ID_FIELD, FieldType, in_utc

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

LEAST, MOST = -(1 << 63), (1 << 63) - 1
"""Whole numbers of 64 bits."""
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def field_key(field: str) -> str:
    """What Lucene calls a field."""
    return "doc" if field == ID_FIELD else f"f.{field}"


def as_double(value: Any) -> float:
    """A number as Lucene holds it: no -0.0, which it tells from 0.0."""
    return float(value) + 0.0


def as_long(value: Any) -> int:
    """Truth values, whole numbers, days and microseconds as whole numbers."""
    if isinstance(value, datetime.datetime):
        return (in_utc(value) - _EPOCH) // datetime.timedelta(microseconds=1)
    return (value - _EPOCH.date()).days if isinstance(value, datetime.date) else int(value)


class LuceneQueries:
    """Writes conditions as queries of Lucene.

    Args:
        java: its classes.
    """

    def __init__(self, java: Java) -> None:
        self._java = java

    def _joined(self, parts: Sequence[Any], occur: Any) -> Any:
        builder = self._java.Builder()
        for part in parts:
            builder.add(part, occur)
        return builder.build()

    def all_of(self, parts: Sequence[Any]) -> Any:
        """All of some conditions."""
        return self._joined(parts, self._java.Occur.FILTER)

    def any_of(self, parts: Sequence[Any]) -> Any:
        """One of some conditions."""
        return self._joined(parts, self._java.Occur.SHOULD)

    def no(self, part: Any) -> Any:
        """All documents but those."""
        own = self._java
        return own.Builder().add(own.MatchAllDocsQuery(), own.Occur.FILTER).add(part, own.Occur.MUST_NOT).build()

    def nothing(self) -> Any:
        """No document."""
        return self._java.MatchNoDocsQuery()

    def has(self, field: str, kind: FieldType) -> Any:
        """Documents with a field."""
        return self._java.MatchAllDocsQuery() if field == ID_FIELD else self._term("has", field)

    def _term(self, key: str, value: str) -> Any:
        return self._java.TermQuery(self._java.Term(key, value))

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> Any:
        """One of some values, exactly."""
        key = field_key(field)
        if kind == "text":
            listed = self._java.ArrayList()
            for value in values:
                listed.add(self._java.BytesRef(value))
            return self._java.TermInSetQuery(key, listed)
        if kind == "number":
            return self._java.DoublePoint.newSetQuery(key, self._java.doubles([as_double(value) for value in values]))
        return self._java.LongPoint.newSetQuery(key, self._java.longs([as_long(value) for value in values]))

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> Any:
        """A range with one end."""
        key = field_key(field)
        above, open_end = operator in (">", ">="), operator in ("<", ">")
        if kind == "text":
            low, high = (value, None) if above else (None, value)
            return self._java.TermRangeQuery.newStringRange(key, low, high, not open_end, not open_end)
        if kind == "number":
            bound = as_double(value)
            bound = math.nextafter(bound, math.inf if above else -math.inf) if open_end else bound
            low_number, high_number = (bound, math.inf) if above else (-math.inf, bound)
            return self._java.DoublePoint.newRangeQuery(key, low_number, high_number)
        whole = as_long(value)
        if open_end and whole == (MOST if above else LEAST):
            return self.nothing()
        whole += (1 if above else -1) * open_end
        low_whole, high_whole = (whole, MOST) if above else (LEAST, whole)
        return self._java.LongPoint.newRangeQuery(key, low_whole, high_whole)

    def like(self, field: str, pattern: str, *, any_case: bool) -> Any:
        """A pattern, as a regular expression."""
        key = field_key(field)
        return self._java.RegexpQuery(self._java.Term(key, like_regex(pattern, any_case=any_case)), 0)

    def contains(self, field: str, value: str) -> Any:
        """A list that has a text."""
        return self._term(field_key(field), value)
