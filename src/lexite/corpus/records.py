"""What the corpus readers hand on: documents, queries and relevance judgements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Args:
        id: unique within the corpus, never empty.
        text: the body; may be empty when there is a title.
        title: empty when there is none.
    """

    id: str
    text: str
    title: str = ""

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
