"""Metadata of other frameworks as fields of documents, and back again without loss.

What a field can hold becomes a field, so that it can be filtered by. Dictionaries within metadata become fields too, named
``outer.inner``. What no field can hold, such as None, empty lists and lists of numbers, is kept as JSON in one more field,
:data:`RECORD`.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lexite.corpus.records import FieldValue, unusable_name
from lexite.errors import CorpusError

if TYPE_CHECKING:
    from lexite.index import StoredDocument

RECORD = "_metadata"
"""The field of what no other field can hold: JSON with ``rest``, ``made`` and ``extra``."""
MOST_INTEGER = 1 << 63


def fields_of(metadata: Mapping[str, Any], document: str, extra: Mapping[str, Any] | None = None) -> dict[str, FieldValue]:
    """The fields of a document that has some metadata.

    Args:
        metadata: of the document, by name.
        document: its id, for messages.
        extra: what else is to be kept with the document and not to be filtered by, as JSON values.

    Raises:
        CorpusError: a value can be kept neither in a field nor as JSON.

    >>> fields_of({"year": 2020, "by": {"name": "Ida"}}, "d1")
    {'year': 2020, 'by.name': 'Ida', '_metadata': '{"rest": {"by": {"name": "Ida"}}, "made": ["by.name"]}'}
    """
    fields: dict[str, FieldValue] = {}
    rest: dict[str, Any] = {}
    made: dict[str, FieldValue] = {}
    for name, value in metadata.items():
        if not isinstance(name, str):
            raise CorpusError(f"Document '{document}': the name {name!r} in its metadata is no text.")
        if name != RECORD and unusable_name(name) is None and _fits(value):
            fields[name] = value
            continue
        rest[name] = value
        if isinstance(value, Mapping):
            made |= _within(value, f"{name}.")
    made = {name: value for name, value in made.items() if name not in metadata}
    record = {"rest": rest, "made": sorted(made), "extra": dict(extra or {})}
    kept = {name: value for name, value in record.items() if value}
    if kept:
        try:
            fields |= made | {RECORD: json.dumps(kept, ensure_ascii=True)}
        except (TypeError, ValueError) as error:
            wrong = next((name for name, value in rest.items() if not _is_json(value)), next(iter(kept)))
            raise CorpusError(
                f"Document '{document}': its metadata '{wrong}' can be kept neither as a field nor as JSON ({error}). Make it "
                "text, or leave it out."
            ) from None
    return fields


def metadata_of(fields: Mapping[str, FieldValue]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata that fields were made of, and what was kept with them.

    Args:
        fields: of a stored document.

    >>> metadata_of(fields_of({"year": 2020, "author": {"name": "Ida"}, "none": None}, "d1", {"colour": [1]}))
    ({'year': 2020, 'author': {'name': 'Ida'}, 'none': None}, {'colour': [1]})
    """
    record = fields.get(RECORD)
    kept = json.loads(record) if isinstance(record, str) else {}
    made = {RECORD, *kept.get("made", ())}
    found = {name: value for name, value in fields.items() if name not in made}
    return {**found, **kept.get("rest", {})}, kept.get("extra", {})


def shown_metadata(stored: StoredDocument) -> tuple[dict[str, Any], dict[str, Any]]:
    """:func:`metadata_of` a stored document, with its title among the metadata where it has one and they have none.

    >>> from lexite.index import StoredDocument
    >>> shown_metadata(StoredDocument("d1", "Tides", "The sea rises.", {"year": 2020}))
    ({'year': 2020, 'title': 'Tides'}, {})
    """
    metadata, kept = metadata_of(stored.fields)
    if stored.title:
        metadata.setdefault("title", stored.title)
    return metadata, kept


def _within(values: Mapping[str, Any], prefix: str) -> dict[str, FieldValue]:
    """The fields within a dictionary of metadata."""
    found: dict[str, FieldValue] = {}
    for name, value in values.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= _within(value, f"{full}.")
        elif unusable_name(full) is None and _fits(value):
            found[full] = value
    return found


def _fits(value: object) -> bool:
    """Whether a field can hold a value, and gives it back as it was."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -MOST_INTEGER <= value < MOST_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str) and _encodable(part) for part in value)
    return isinstance(value, datetime.date)


def _encodable(text: str) -> bool:
    """Whether a text is free of half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
