"""Filters as queries of Xapian, and how its terms and values are written."""

from __future__ import annotations

import datetime
import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.errors import FilterError
from lexite.index.conditions import Value
from lexite.index.field_types import ID_FIELD, FieldType, in_utc

if TYPE_CHECKING:
    from lexite.index.conditions import Operator

DOCUMENT_SLOT = 0
"""The slot of values with the id of the document; fields are behind it."""
_LONGEST = 200  # bytes of a term of Xapian's, which has 245, and fewer where it holds NULs
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def key_of(prefix: str, text: str) -> bytes:
    """A term for a text: with its digest where it is too long for one.

    >>> key_of("T", "t17"), len(key_of("D", "x" * 500))
    (b'Tt17', 66)
    """
    written = f"{prefix}{text}".encode()
    if len(written) <= _LONGEST and b"\0" not in written and not text.startswith("\x01"):
        return written
    return f"{prefix}\x01{hashlib.sha256(text.encode()).hexdigest()}".encode()


def value_bytes(value: Any, kind: FieldType) -> bytes:
    """A value of a field as bytes that have its order. None of them is empty, which stands for no value.

    >>> value_bytes(-1, "integer") < value_bytes(2, "integer"), value_bytes(-1.5, "number") < value_bytes(-1.0, "number")
    (True, True)
    """
    if kind == "text":
        return b"v" + str(value).encode()
    if kind == "number":
        (bits,) = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))
        return struct.pack(">Q", bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63)
    if kind == "datetime":
        value = (in_utc(value) - _EPOCH) // datetime.timedelta(microseconds=1)
    elif kind == "date":
        value = (value - _EPOCH.date()).days
    return struct.pack(">Q", int(value) + (1 << 63))


class XapianQueries:
    """Writes conditions as queries of Xapian.

    Args:
        xapian: its module.
        slots: numbers of fields.
    """

    def __init__(self, xapian: Any, slots: Mapping[str, int]) -> None:
        self._xapian, self._slots = xapian, slots
        self._query: Any = xapian.Query

    def all_of(self, parts: Sequence[Any]) -> Any:
        """All of some conditions."""
        return self._query(self._query.OP_AND, list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        """One of some conditions."""
        return self._query(self._query.OP_OR, list(parts))

    def no(self, part: Any) -> Any:
        """All but those."""
        return self._query(self._query.OP_AND_NOT, self._query.MatchAll, part)

    def nothing(self) -> Any:
        """None."""
        return self._query.MatchNothing

    def has(self, field: str, kind: FieldType) -> Any:
        """Those with a field."""
        return self._query.MatchAll if field == ID_FIELD else self._query(f"H{self._slots[field]}")

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> Any:
        """One of some values, exactly."""
        if field == ID_FIELD:
            return self.any_of([self._query(key_of("D", str(value))) for value in values])
        if kind == "text":
            return self.any_of([self.contains(field, str(value)) for value in values])
        own = [value_bytes(value, kind) for value in values]
        return self.any_of([self._query(self._query.OP_VALUE_RANGE, self._slots[field], each, each) for each in own])

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> Any:
        """A range with one end."""
        slot, bound = DOCUMENT_SLOT if field == ID_FIELD else self._slots[field], value_bytes(value, kind)
        ends = self._query.OP_VALUE_GE if operator in (">", ">=") else self._query.OP_VALUE_LE
        found = self.all_of([self.has(field, kind), self._query(ends, slot, bound)])  # no value is less than all
        if operator in ("<=", ">="):
            return found
        return self._query(self._query.OP_AND_NOT, found, self._query(self._query.OP_VALUE_RANGE, slot, bound, bound))

    def like(self, field: str, pattern: str, *, any_case: bool) -> Any:
        """Raises FilterError: there are no patterns."""
        raise FilterError(f"Xapian has no patterns, so '{field}' cannot be asked with like there.")

    def contains(self, field: str, value: str) -> Any:
        """A list that has a text."""
        return self._query(key_of(f"F{self._slots[field]}:", value))
