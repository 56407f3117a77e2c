"""Values of fields: what a field can hold, and how text and other values are read as one of its types."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from lexite.corpus.records import FieldValue

FieldType = Literal["text", "integer", "number", "boolean", "date", "datetime", "list"]
TYPES: tuple[str, ...] = get_args(FieldType)
_NARROW: tuple[FieldType, ...] = ("integer", "number", "boolean", "date", "datetime")  # the narrower before the wider
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")  # no leading zeros, which a code has and a number has not
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*")
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1


def storable(value: object) -> tuple[FieldValue | None, str]:
    """A value of JSON or Parquet as a field holds it; or None, and why not (no reason where it is as good as absent).

    >>> storable(["law", "tax"]), storable({}), storable({"a": 1})
    ((['law', 'tax'], ''), (None, ''), (None, 'it holds objects'))
    """
    kind = type(value)
    if kind is str or kind is bool or kind is datetime.date:
        return value, ""  # type: ignore[return-value]
    if isinstance(value, bool):
        return bool(value), ""
    if isinstance(value, int):
        return (value, "") if _SMALLEST <= value <= _LARGEST else (None, "it holds whole numbers of more than 64 bits")
    if isinstance(value, float):
        return (value, "") if math.isfinite(value) else (None, "")
    if isinstance(value, datetime.datetime):
        return naive(value), ""
    if isinstance(value, datetime.date):
        return value, ""
    if isinstance(value, (list, tuple)):
        if all(type(item) is str for item in value):
            return list(value), ""
        return None, "it holds lists of something other than text"
    if isinstance(value, dict):
        return None, "it holds objects" if value else ""
    return None, f"it holds values of the type {kind.__name__}"


def naive(value: datetime.datetime) -> datetime.datetime:
    """A date with a time, without a zone: in UTC where it had one."""
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    except OverflowError:  # within a day of the first or last that Python can name
        return value.replace(tzinfo=None)


def inferred(cells: Iterable[str]) -> FieldType:
    """The narrowest type that all cells have, apart from empty ones.

    >>> inferred(["1", "", "-20"]), inferred(["1", "2.5"]), inferred(["007"]), inferred(["TRUE", "false"]), inferred([])
    ('integer', 'number', 'text', 'boolean', 'text')
    """
    left: list[FieldType] = list(_NARROW)
    some = False
    for cell in cells:
        if not cell or cell.isspace():
            continue
        some = True
        left = [kind for kind in left if _reads(cell, kind)]
        if not left:
            return "text"
    return left[0] if some else "text"


def odd_one(cells: Iterable[str]) -> tuple[FieldType, str] | None:
    """Why a column is text though most of its cells have a narrower type: that type, and the first cell that has it not.

    >>> odd_one(["2020", "n/a", "2021"]), odd_one(["a", "b", "1"]), odd_one(["1", "2"])
    (('integer', 'n/a'), None, None)
    """
    filled = [cell for cell in cells if cell and not cell.isspace()]
    for kind in _NARROW:
        odd = [cell for cell in filled if not _reads(cell, kind)]
        if odd and 2 * len(odd) < len(filled):
            return kind, odd[0]
    return None


def _reads(cell: str, kind: str) -> bool:
    try:
        converted(cell, kind)
    except ValueError:
        return False
    return True


def converted(value: object, kind: str) -> FieldValue:
    """A value as a field of a type holds it.

    >>> converted("2024-02-29", "date"), converted(3, "text"), converted("law; tax", "list")
    (datetime.date(2024, 2, 29), '3', ['law', 'tax'])

    Raises:
        ValueError: it cannot be read as that type.
    """
    try:
        return _CONVERTERS[kind](value)
    except OverflowError:
        raise ValueError("outside of what this type can hold") from None


def _to_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=str)


def _to_integer(value: object) -> int:
    if isinstance(value, str):
        text = value.strip()
        if not _INTEGER.fullmatch(text):
            raise ValueError
        return int(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError
    if not _SMALLEST <= value <= _LARGEST:
        raise ValueError
    return int(value)


def _to_number(value: object) -> float:
    if isinstance(value, str):
        text = value.strip()
        if not text or not any(c.isdigit() for c in text) or not _NUMBER.fullmatch(text):
            raise ValueError
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _to_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError


def _to_date(value: object) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value.strip()):
        return datetime.date.fromisoformat(value.strip())
    raise ValueError


def _to_datetime(value: object) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return naive(value)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        text = value.strip()
        if _DATETIME.fullmatch(text):
            zulu = f"{text[:-1].rstrip()}+00:00" if text[-1] in "zZ" else text  # which Python 3.10 does not read
            return naive(datetime.datetime.fromisoformat(zulu))
        if _DATE.fullmatch(text):
            return datetime.datetime.fromisoformat(text)
    raise ValueError


def _to_list(value: object) -> list[str]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError:
                value = text
        if isinstance(value, str):
            separator = next((mark for mark in ";|," if mark in text), ",")
            return [item.strip() for item in text.split(separator) if item.strip()]
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, tuple, dict)) for item in value):
        return [_to_text(item) for item in value if item is not None]
    if isinstance(value, (bool, int, float, datetime.date)):
        return [_to_text(value)]
    raise ValueError


_CONVERTERS: dict[str, Callable[[Any], FieldValue]] = {
    "text": _to_text,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "date": _to_date,
    "datetime": _to_datetime,
    "list": _to_list,
}
