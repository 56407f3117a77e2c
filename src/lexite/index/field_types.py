"""Types of the fields that documents carry: which there are, what has which, and how two of them come together."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from lexite.corpus.records import RESERVED_FIELDS, unusable_name
from lexite.errors import CorpusError, FilterError

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue

FieldType = Literal["text", "integer", "number", "boolean", "date", "datetime", "list"]
"""Text; a whole number of 64 bits; a number in double precision; true or false; a date; a date with a time; a list of text."""
FIELD_TYPES: tuple[FieldType, ...] = get_args(FieldType)
ID_FIELD, SCORE_FIELD = RESERVED_FIELDS
"""What filters and sorting call the id of a document, and sorting the score of a hit. No field has these names."""
MOST_FIELDS = 1000
VALUES_COUNTED = 10  # of each field, unless told otherwise
NAMES_SHOWN = 30

_NOUNS = {
    "text": "text",
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates",
    "datetime": "dates with times",
    "list": "lists of text",
}


def noun(kind: FieldType) -> str:
    """What a field of a type holds, for messages.

    >>> noun("integer"), noun("list")
    ('whole numbers', 'lists of text')
    """
    return _NOUNS[kind]


def type_of(value: object, field: str, document: str) -> FieldType:
    """The type of a value.

    Args:
        value: of a field.
        field: its name, for the message.
        document: id of the document, for the message.

    Raises:
        CorpusError: a field cannot hold it.

    >>> type_of(1999, "year", "d1"), type_of(["law"], "tags", "d1"), type_of(datetime.date(1999, 1, 2), "day", "d1")
    ('integer', 'list', 'date')
    """
    place = f"Document '{document}', field '{field}'"
    if isinstance(value, str):
        _check_text(value, place)
        return "text"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise CorpusError(f"{place}: {value} is too large for a whole number of 64 bits. Make it text.")
        return "integer"
    if isinstance(value, float):
        if math.isinf(value):
            raise CorpusError(f"{place}: an infinite number cannot be kept. Leave it out.")
        return "number"
    if isinstance(value, datetime.datetime):
        try:
            in_utc(value)
        except OverflowError:
            raise CorpusError(
                f"{place}: {value} is out of the years that can be kept, 1 to 9999 in UTC. Leave it out."
            ) from None
        return "datetime"
    if isinstance(value, datetime.date):
        return "date"
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        for part in value:
            _check_text(part, place)
        return "list"
    raise CorpusError(
        f"{place}: {_shown(value)} is no value of a field. A field holds text, a number, true or false, a date, or a list of "
        "texts."
    )


def in_utc(moment: datetime.datetime) -> datetime.datetime:
    """A moment in UTC. One without a zone is taken to be in UTC already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc)


def plain_value(value: object) -> Any:
    """A value of numpy as one of Python, and None for what stands for an absent value: None and NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def json_value(value: FieldValue) -> Any:
    """A value of a field in JSON: dates become text as in ISO 8601.

    >>> import datetime
    >>> json_value(datetime.date(2020, 1, 31)), json_value(["law"])
    ('2020-01-31', ['law'])
    """
    return value if isinstance(value, (str, int, float, list, tuple)) else value.isoformat()


def joined_type(have: FieldType, new: FieldType) -> FieldType | None:
    """The type that holds values of two types; None when there is none. Whole numbers among numbers become numbers.

    >>> joined_type("integer", "number"), joined_type("date", "date"), joined_type("text", "list")
    ('number', 'date', None)
    """
    if have == new:
        return have
    return "number" if {have, new} == {"integer", "number"} else None


def joined_schema(
    schema: Mapping[str, FieldType], fields: Mapping[str, FieldValue | None], document: str
) -> Mapping[str, FieldType]:
    """The types of fields once a document is among the others.

    Args:
        schema: the types so far. They come back as they are where the document brings nothing new.
        fields: of the document.
        document: its id, for messages.

    Raises:
        CorpusError: a value has another type than the field has, or none that can be kept; or a name cannot be used.
    """
    found = schema
    for name, given in fields.items():
        value = plain_value(given)
        have = found.get(name)
        if have is None:
            _check_name(name, document, len(found))
        if value is None:
            continue
        kind = type_of(value, name, document)
        if kind == have:
            continue
        wanted = kind if have is None else joined_type(have, kind)
        if wanted is None:
            assert have is not None
            raise CorpusError(
                f"Document '{document}', field '{name}': {_shown(value)} is {_singular(kind)}, but the field holds "
                f"{noun(have)} in documents before it. Give the field one type everywhere (--field-type {name}=text), or leave "
                "it out (--fields)."
            )
        if wanted != have:
            found = {**found, name: wanted}
    return found


def known_field(name: str, schema: Mapping[str, FieldType], *, besides: tuple[str, ...] = ()) -> str:
    """The field that a name means: the one of this name, or the only one that has it in other capitals.

    Args:
        name: what a person wrote.
        schema: the fields that there are.
        besides: other names that are allowed.

    Raises:
        FilterError: there is none; the message names those that there are.

    >>> known_field("year", {"Year": "integer"})
    'Year'
    """
    if name in schema or name in besides:
        return name
    alike = [field for field in schema if field.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    close = difflib.get_close_matches(name, alike or list(schema), 1)
    meant = f" Did you mean '{close[0]}'?" if close else ""
    raise FilterError(f"There is no field '{name}'.{meant} {listed_fields(schema)}")


def listed_fields(schema: Mapping[str, FieldType]) -> str:
    """The fields that there are, as a sentence.

    >>> listed_fields({"year": "integer", "tags": "list"})
    'The fields are year (whole numbers), tags (lists of text).'
    """
    if not schema:
        return "The documents of this index have no fields."
    names = [f"{name} ({noun(kind)})" for name, kind in list(schema.items())[:NAMES_SHOWN]]
    more = f" and {len(schema) - NAMES_SHOWN} more" if len(schema) > NAMES_SHOWN else ""
    return f"The field{'s are' if len(schema) > 1 else ' is'} {', '.join(names)}{more}."


def _check_name(name: object, document: str, n_fields: int) -> None:
    where = f"Document '{document}'"
    problem = unusable_name(name) if isinstance(name, str) else "its name is no text"
    if problem is not None:
        raise CorpusError(
            f"{where}: the field {_shown(name)} cannot be kept: {problem}. Give it another name, or leave it out."
        )
    if n_fields >= MOST_FIELDS:
        raise CorpusError(f"{where}: '{name}' is one field too many. An index has {MOST_FIELDS:,} at most.")


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CorpusError(
            f"{place}: the text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character."
        ) from None


def _singular(kind: FieldType) -> str:
    return {
        "integer": "a whole number",
        "number": "a number",
        "date": "a date",
        "datetime": "a date with a time",
        "list": "a list of text",
    }.get(kind, noun(kind))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
