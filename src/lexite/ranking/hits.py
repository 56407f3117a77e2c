"""What a search hands out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found by a search.

    Attributes:
        id: the document's id.
        score: its BM25 score.
        rank: its place in the ranking, from 1.
        document: its number in the opened index, for ``BM25Index.stored`` and ``BM25Index.explain``.
    """

    id: str
    score: float
    rank: int
    document: int
