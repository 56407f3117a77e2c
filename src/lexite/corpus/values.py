"""The further fields of records: which are kept, of which type they are, and what is wrong with a value."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence

from lexite.corpus.conversion import TYPES, converted, inferred, odd_one, storable
from lexite.corpus.options import BadRecord, ReadOptions, ReadReport
from lexite.corpus.records import FieldValue, unusable_name
from lexite.errors import ConfigError

ROWS_LOOKED_AT = 1000
"""Rows of a table of text that settle the types of its columns."""


class Cells(dict[str, str]):
    """A record of a table of text: name of the column -> cell."""


_WIDENING = ("integer", "number")  # types of one field, of which the second may follow the first
_NOUNS = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date (2024-02-29)",
    "datetime": "a date with a time (2024-02-29 12:30)",
    "list": "a list of texts",
}
_TYPE_OF: dict[type, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime.date: "date",
    datetime.datetime: "datetime",
    list: "list",
}
_SHOWN = 40


class FieldTypes:
    """Which further fields documents keep, and of which type each is, over all sources of one reading.

    A type is settled by ``--field-type``, by the column (a table), or by the first value; a later value of another type is
    bad. Whole numbers and numbers are one type beside each other. What no field can hold is left out, and noted once for
    each source.

    Args:
        options: ``fields`` and ``field_type``.
        report: takes the notes.
        held: types of the fields that an index has already; values are read as these.

    Raises:
        ConfigError: ``field_type`` names no type.
    """

    def __init__(self, options: ReadOptions, report: ReadReport, held: Mapping[str, str] | None = None) -> None:
        self._report = report
        wanted = options.fields.strip()
        self.none = wanted == "none"
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        self._wanted = None if wanted in ("all", "none") else names
        self._seen: set[str] = set()
        self.held = dict(held or {})
        asked = dict(map(_parsed_type, options.field_type))
        self._asked_types = tuple(asked)
        self._kept_names: set[str] = set()
        self.given = {name: kind for name, kind in self.held.items() if kind not in _WIDENING} | asked
        self._types = {name: kind for name, kind in self.held.items() if kind in _WIDENING}  # 2.5 may follow 2 there too
        self._left_out: dict[tuple[str, str], int] = {}

    def of_source(self, where: str) -> SourceFields:
        """The fields of one source."""
        return SourceFields(self, where)

    def wants(self, name: str) -> bool:
        """Whether a field of this name is kept."""
        if self.none or not name:
            return False
        if self._wanted is None:
            return True
        found = next((own for own in self._wanted if own == name), None)
        found = found or next((own for own in self._wanted if own.lower() == name.lower()), None)
        if found is not None:
            self._seen.add(found)
        return found is not None

    def type_given(self, name: str) -> str | None:
        """The type that a person gave a field."""
        if not self.given:
            return None
        return self.given.get(name) or next((kind for own, kind in self.given.items() if own.lower() == name.lower()), None)

    def settled(self, name: str) -> str | None:
        """The type that a field has so far."""
        return self.type_given(name) or self._types.get(name)

    def settle(self, name: str, kind: str) -> None:
        """Settles the type of a field."""
        self._types[name] = kind

    def keep(self, name: str) -> None:
        """Says that documents keep a field of this name."""
        self._kept_names.add(name.lower())

    def note_odd_one(self, where: str, name: str, kind: str, cell: str) -> None:
        """Notes that a column of a table is text because of a few of its cells."""
        self._report.note(
            f"{where}: the field {name!r} is kept as text. Most of its values can be read as {_NOUNS[kind]}, "
            f"but {_shown(cell)} cannot. Leave such cells empty, or confirm with --field-type {name}=text."
        )

    def leave_out(self, where: str, name: str, reason: str) -> None:
        """Notes that a field is left out of a source, once for each."""
        if (where, name) not in self._left_out:
            self._left_out[where, name] = 1
            self._report.note(f"{where}: the field {name!r} is left out: {reason}.")

    def finish(self) -> None:
        """Notes the fields that were asked for and never seen, and those that were given a type and are not kept."""
        for name in self._wanted or ():
            if name not in self._seen:
                self._report.note(f"No document has the field {name!r} of --fields.")
        for name in self._asked_types:
            if name.lower() not in self._kept_names:
                self._report.note(f"No document keeps a field {name!r}, so its --field-type has no effect.")


class SourceFields:
    """The further fields of one source; made by :meth:`FieldTypes.of_source`."""

    def __init__(self, types: FieldTypes, where: str) -> None:
        self._types, self._where = types, where
        self._ignored: set[str] = set()
        self._plain: dict[str, type] = {}  # fields whose values of this Python type are taken as they are
        self._inferred: set[str] = set()  # fields whose type was settled by the first rows of this table
        self._kept: set[str] = set()

    def ignore(self, names: Iterable[str | None]) -> None:
        """Says what id, text and title are called, which are no further fields."""
        self._ignored.update(name for name in names if name is not None)

    def keeps(self, name: str) -> bool:
        """Whether this source's field of this name is kept."""
        if name in self._kept:
            return True
        if name in self._ignored or not self._types.wants(name):
            self._ignored.add(name)
            return False
        if (problem := unusable_name(name)) is not None:
            self._types.leave_out(self._where, name, problem)
            self._ignored.add(name)
            return False
        self._kept.add(name)
        self._types.keep(name)
        return True

    def leave_out(self, name: str, reason: str) -> None:
        """Leaves a field out of this source, and has it noted."""
        if self.keeps(name):
            self._types.leave_out(self._where, name, reason)
            self._plain.pop(name, None)
            self._kept.discard(name)
            self._ignored.add(name)

    def infer(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Settles the types of the columns of a table of text by its first rows; what is settled already stays."""
        for position, name in enumerate(columns):
            if self.keeps(name) and self._types.settled(name) is None:
                cells = [row[position] for row in rows if len(row) == len(columns)]
                kind = inferred(cells)
                self._types.settle(name, kind)
                self._inferred.add(name)
                if kind == "text" and (found := odd_one(cells)) is not None:
                    self._types.note_odd_one(self._where, name, *found)

    def read(self, record: Mapping[str, object], tell: Callable[[str], None] | None = None) -> dict[str, FieldValue]:
        """The values of a record with types of their own, as JSON and Parquet have.

        Args:
            record: all of it.
            tell: takes what is wrong with a value, which is left out then; None: such a value makes the record bad.

        Raises:
            BadRecord: a value is not of its field's type.
        """
        if self._types.none:
            return {}
        fields: dict[str, FieldValue] = {}
        for name, value in record.items():
            if type(value) is self._plain.get(name):
                fields[name] = value  # type: ignore[assignment]
                continue
            if value is None or name in self._ignored or not self.keeps(name):
                continue
            try:
                found = self._value(name, value)
            except BadRecord as problem:
                if tell is None:
                    raise
                if isinstance(value, str) and self._types.settled(name) == "list":
                    fields[name] = [value]  # people write one author as a text, and two as a list
                else:
                    tell(str(problem))
                continue
            if found is not None:
                fields[name] = found
        return fields

    def read_row(self, record: Mapping[str, object]) -> dict[str, FieldValue]:
        """The values of a record of any source; see :meth:`read` and :meth:`read_cells`."""
        return self.read_cells(record) if isinstance(record, Cells) else self.read(record)

    def read_cells(self, record: Cells) -> dict[str, FieldValue]:
        """The values of a record of a table of text; an empty cell has none.

        Raises:
            BadRecord: a cell cannot be read as its column's type.
        """
        fields: dict[str, FieldValue] = {}
        for name, cell in record.items():
            if not cell or name in self._ignored or cell.isspace() or not self.keeps(name):
                continue
            kind = self._types.settled(name) or "text"
            try:
                fields[name] = converted(cell, kind)
            except ValueError:
                raise BadRecord(self._problem(name, cell, kind)) from None
        return fields

    def _value(self, name: str, value: object) -> FieldValue | None:
        given = self._types.type_given(name)
        if given is not None:
            try:
                return converted(value, given)
            except ValueError:
                raise BadRecord(self._problem(name, value, given)) from None
        if isinstance(value, bytes):
            raise BadRecord(f"the field {name!r} is not valid UTF-8.")
        found, reason = storable(value)
        if found is None:
            if reason:
                self.leave_out(name, reason)
            return None
        kind, settled = _TYPE_OF[type(found)], self._types.settled(name)
        if settled is None or {kind, settled} == {"integer", "number"}:
            self._types.settle(name, kind if settled is None else "number")
        elif (kind, settled) == ("date", "datetime"):
            return converted(found, "datetime")
        elif kind != settled:
            raise BadRecord(self._problem(name, value, settled))
        if found is value and kind in ("text", "boolean", "date"):
            self._plain[name] = type(value)
        return found

    def _problem(self, name: str, value: object, kind: str) -> str:
        shown = _shown(value)
        if name in self._types.held:
            return f"the field {name!r} is {shown}, but must be {_NOUNS[kind]}, as in the index."
        if self._types.type_given(name):
            return f"the field {name!r} is {shown}, but must be {_NOUNS[kind]} (--field-type {name}={kind})."
        before = f"the first {ROWS_LOOKED_AT:,} rows hold" if name in self._inferred else "it held"
        after = " there" if name in self._inferred else " before"
        advice = f"Take it as text: --field-type {name}=text."
        return f"the field {name!r} is {shown}, but {before} {_NOUNS[kind]}{after}. {advice}"


def _shown(value: object) -> str:
    """A value for a message."""
    written = repr(value)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def _parsed_type(written: str) -> tuple[str, str]:
    name, sign, kind = written.rpartition("=")
    if not sign or not name or kind not in TYPES:
        raise ConfigError(f"--field-type {written!r}: write NAME=TYPE, with a type of {', '.join(TYPES)}.")
    return name, kind
