"""Fields of documents for tests, and a plain evaluator of conditions over them: SQL's logic, in Python alone."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lexite.index.field_types import FieldType, joined_schema
from lexite.index.fields import FieldBuffer, StoredFields
from lexite.index.ids import IdTable
from lexite.index.masks import FieldedDocuments
from lexite.index.storage import map_bytes

UTC = datetime.timezone.utc
Row = Mapping[str, Any]
Truth = bool | None
"""True, false, or None for unknown."""
Tested = tuple[str, Callable[[Row], Truth]]
"""An expression and what it means."""

TEXTS = ["", "a", "ab", "b", "A", "%", "a_b", "a\\b", "it's", "é", "a\nb", "日本"]
NAMES = {
    "year": "integer",
    "price": "number",
    "lang": "text",
    "draft": "boolean",
    "day": "date",
    "seen": "datetime",
    "tags": "list",
    "my field": "text",
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "year": st.one_of(st.integers(-3, 3), st.integers(-(1 << 63), (1 << 63) - 1)),
    "price": st.one_of(st.sampled_from([-1.5, 0.0, 1.0, 2.5]), st.floats(allow_nan=False, allow_infinity=False)),
    "lang": st.sampled_from(TEXTS),
    "draft": st.booleans(),
    "day": st.dates(datetime.date(1999, 12, 29), datetime.date(2000, 1, 3)),
    "seen": st.datetimes(datetime.datetime(1999, 12, 31), datetime.datetime(2000, 1, 2)).map(lambda t: t.replace(tzinfo=UTC)),
    "tags": st.lists(st.sampled_from(TEXTS), max_size=3),
    "my field": st.sampled_from(TEXTS),
}


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Fields of some documents, each with some of the fields."""
    return st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=12)


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return f"'{value.isoformat()}'"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def name_of(field: str) -> str:
    return f'"{field}"' if " " in field else field


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
TURNED = {"=": "=", "<>": "<>", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def value_for(field: str) -> st.SearchStrategy[Any]:
    """A value to compare a field with. Whole numbers are compared with broken ones too."""
    return st.one_of(VALUES["year"], VALUES["price"]) if field == "year" else VALUES[field]


def as_field(field: str, value: Any) -> Any:
    return float(value) if field == "price" else value


@st.composite
def comparisons(draw: Any) -> Tested:
    field = draw(st.sampled_from([name for name, kind in NAMES.items() if kind != "list"]))
    operator = draw(st.sampled_from(["=", "<>", "!="] if field == "draft" else list(COMPARED)))
    value = draw(value_for(field))
    compare = COMPARED[operator]

    def truth(row: Row) -> Truth:
        return None if row.get(field) is None else compare(row[field], as_field(field, value))

    if draw(st.booleans()):
        return f"{literal(value)} {TURNED[operator]} {name_of(field)}", truth
    return f"{name_of(field)} {operator} {literal(value)}", truth


@st.composite
def lists(draw: Any) -> Tested:
    field = draw(st.sampled_from([name for name, kind in NAMES.items() if kind != "list"]))
    values = draw(st.lists(value_for(field), min_size=1, max_size=4))
    negated = draw(st.booleans())

    def truth(row: Row) -> Truth:
        return None if row.get(field) is None else (row[field] in [as_field(field, value) for value in values]) != negated

    return f"{name_of(field)} {'not ' if negated else ''}in ({', '.join(map(literal, values))})", truth


@st.composite
def ranges(draw: Any) -> Tested:
    field = draw(st.sampled_from(["year", "price", "lang", "day", "seen"]))
    low, high = draw(value_for(field)), draw(value_for(field))
    negated = draw(st.booleans())

    def truth(row: Row) -> Truth:
        if row.get(field) is None:
            return None
        return (as_field(field, low) <= row[field] <= as_field(field, high)) != negated

    return f"{field} {'not ' if negated else ''}between {literal(low)} and {literal(high)}", truth


@st.composite
def patterns(draw: Any) -> Tested:
    field = draw(st.sampled_from(["lang", "my field"]))
    escape = draw(st.sampled_from(["", "!", "\\"]))
    parts = draw(st.lists(st.sampled_from(["%", "_", "a", "b", "A", "é", "%%", "\n", "e%", "."] + [escape + "%"]), max_size=4))
    any_case, negated = draw(st.booleans()), draw(st.booleans())
    pattern = "".join(parts)
    expression = ""
    for part in parts:
        if escape and part == escape + "%":
            expression += "%"
        else:
            expression += "".join({"%": ".*", "_": "."}.get(character, re.escape(character)) for character in part)
    found = re.compile(expression, re.DOTALL | (re.IGNORECASE if any_case else 0))

    def truth(row: Row) -> Truth:
        return None if row.get(field) is None else (found.fullmatch(row[field]) is not None) != negated

    word = ("not " if negated else "") + ("ilike" if any_case else "like")
    return f"{name_of(field)} {word} {literal(pattern)}" + (f" escape {literal(escape)}" if escape else ""), truth


@st.composite
def contained(draw: Any) -> Tested:
    value, negated = draw(st.sampled_from(TEXTS)), draw(st.booleans())

    def truth(row: Row) -> Truth:
        return None if row.get("tags") is None else (value in row["tags"]) != negated

    return f"{literal(value)} {'not ' if negated else ''}in tags", truth


@st.composite
def nulls(draw: Any) -> Tested:
    field, negated = draw(st.sampled_from(list(NAMES))), draw(st.booleans())
    return f"{name_of(field)} is {'not ' if negated else ''}null", lambda row: (row.get(field) is None) != negated


def kleene(parts: Sequence[Truth], decisive: bool) -> Truth:
    """``and`` where false is decisive, ``or`` where true is."""
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def conditions() -> st.SearchStrategy[Tested]:
    """Expressions of any depth with their meaning."""
    bare: st.SearchStrategy[Tested] = st.just(("draft", lambda row: row.get("draft")))
    leaf = st.one_of(comparisons(), comparisons(), lists(), ranges(), patterns(), contained(), nulls(), bare)

    def deeper(inner: st.SearchStrategy[Tested]) -> st.SearchStrategy[Tested]:
        def negation(part: Tested) -> Tested:
            return f"not ({part[0]})", lambda row: None if (known := part[1](row)) is None else not known

        def joined(parts: list[Tested], word: str) -> Tested:
            text = f" {word} ".join(f"({part[0]})" for part in parts)
            return text, lambda row: kleene([part[1](row) for part in parts], word == "or")

        several = st.builds(joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"]))
        return st.one_of(st.builds(negation, inner), several)

    return st.recursive(leaf, deeper, max_leaves=5)


def stored(folder: Path, documents: Sequence[Row]) -> StoredFields | None:
    """The fields of documents, written and opened again."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = FieldBuffer(folder)
    for number, fields in enumerate(documents):
        buffer.append(str(number), fields)
    record = buffer.write()
    if record is None:
        return None
    path = folder / "fields.arrow"
    return StoredFields(path, map_bytes(path, record), len(documents))


def schema_of(documents: Sequence[Row]) -> dict[str, FieldType]:
    schema: Mapping[str, FieldType] = {}
    for number, fields in enumerate(documents):
        schema = joined_schema(schema, fields, str(number))
    return dict(schema)


def segments_of(folder: Path, documents: Sequence[Row], sizes: Sequence[int]) -> list[FieldedDocuments]:
    """Documents in segments; the last takes the rest."""
    segments, first = [], 0
    for number, size in enumerate([*sizes, len(documents)]):
        part = documents[first : first + size]
        if part:
            ids = IdTable.build([str(first + place).encode() for place in range(len(part))])
            segments.append(FieldedDocuments(ids, stored(folder / str(number), part), len(part)))
        first += len(part)
    return segments
