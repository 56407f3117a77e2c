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
        span: where its best passage begins and ends in its text, in characters; None where that is all of it.
    """

    id: str
    score: float
    rank: int
    document: int
    span: tuple[int, int] | None = None

    def scored(self, score: float, rank: int | None = None) -> Hit:
        """The same document with another score, and in another place where one is given.

        It is faster than ``dataclasses.replace``, since strategies make hundreds a query.
        """
        return Hit(self.id, score, self.rank if rank is None else rank, self.document, self.span)

    def ranked(self, rank: int) -> Hit:
        """The same document in another place."""
        return self if rank == self.rank else Hit(self.id, self.score, rank, self.document, self.span)


@dataclass(frozen=True, slots=True)
class PassageHit:
    """A passage of a document that shares terms with a query.

    Attributes:
        score: its BM25 score.
        span: where it begins and ends in the document's text, in characters; None where it is all of it.
    """

    score: float
    span: tuple[int, int] | None
