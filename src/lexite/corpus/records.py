"""What the corpus readers hand on: documents, queries and relevance judgements."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

FieldValue = str | int | float | bool | datetime.date | datetime.datetime | list[str] | tuple[str, ...]
"""What a field of a document holds: text, a number, true or false, a date, a date with a time, or a list of texts."""


RESERVED_FIELDS = ("_id", "_score")
"""What filters and sorting call the id of a document and the score of a hit, so that no field can be called so."""
LONGEST_FIELD_NAME = 200


def unusable_name(name: str) -> str | None:
    r"""Why a field cannot have a name; None where it can.

    >>> unusable_name("year"), unusable_name("_id"), unusable_name("a\nb")
    (None, 'the name has a meaning of its own', 'its name is not 1 to 200 printable characters')
    """
    if name in RESERVED_FIELDS:
        return "the name has a meaning of its own"
    if not name or not name.isprintable() or len(name) > LONGEST_FIELD_NAME:
        return f"its name is not 1 to {LONGEST_FIELD_NAME} printable characters"
    return None


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Args:
        id: unique within the corpus, never empty.
        text: the body; may be empty when there is a title.
        title: empty when there is none.
        fields: what else is known of it, by name: year, author, tags. A value that is absent is left out, never ``None``.
            Two documents are equal only if their fields are; the hash leaves fields out, which need not be hashable.
    """

    id: str
    text: str
    title: str = ""
    fields: Mapping[str, FieldValue] = field(default_factory=dict, hash=False, kw_only=True)

    @property
    def full_text(self) -> str:
        """Title and text joined by one space, or the one that is there (BEIR's rule for encoding a document).

        >>> Document("1", "It barks.", title="Dog").full_text
        'Dog It barks.'
        """
        return f"{self.title} {self.text}".strip() if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """One query: an id that is unique within its file, and its text."""

    id: str
    text: str


Qrels = dict[str, dict[str, int]]
"""Relevance judgements: query id -> document id -> grade. A grade above 0 is relevant."""
