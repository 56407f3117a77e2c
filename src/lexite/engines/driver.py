"""What an engine's own file has to do, so that :class:`lexite.engines.live.LiveEngine` can do the rest.

A driver speaks to one collection of one engine. It knows the engine's requests, and nothing of encoding and scoring: documents
and questions come to it in the numbers of a route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import Collection, Limits
from lexite.engines.queries import EngineQuery
from lexite.index.conditions import Condition
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that an engine did not take.

    Attributes:
        id: its id.
        reason: why, in words.
    """

    id: str
    reason: str


LARGEST_RECORD = 90_000_000
"""Bytes of a passage that servers of search engines are sent at most: they do not answer bodies above 100 MB."""


def too_large(identifier: str, n_bytes: int) -> Refused:
    """A passage that is not sent, for its size."""
    return Refused(identifier, f"its record has {n_bytes:,} bytes, and {LARGEST_RECORD:,} are the most")


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing passages.

    Attributes:
        n_bytes: bytes that were sent.
        refused: passages that the engine did not take.
    """

    n_bytes: int
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What a collection holds.

    Attributes:
        n_documents: documents.
        n_passages: their passages; N of the formula.
        n_filled: passages that have a term.
        mean_length: mean length of the passages; None where the engine does not say.
    """

    n_documents: int
    n_passages: int
    n_filled: int
    mean_length: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its limits.

    Attributes:
        query: terms and weights; it may have none.
        top_k: documents that are wanted, 1 or more.
        among: ids of the only documents that may be hits; None: all.
        exclude: id of a document that is none.
        where: a checked filter (``lexite.index.filters.read_filter``).
        sort: a field and whether its largest values come first, in place of the scores. ``_id`` is the id of the document.
        min_score: least score of a hit, in lexite's numbers.
    """

    query: EngineQuery
    top_k: int
    among: Sequence[str] | None = None
    exclude: str | None = None
    where: Condition | None = None
    sort: tuple[str, bool] | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A document that an engine found, by its best passage.

    Attributes:
        document: id of the document.
        score: in lexite's numbers.
        span: of the passage in the document's text; None where it is all of it.
    """

    document: str
    score: float
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class PassageParts:
    """What the terms of a query add to the score of a passage.

    Attributes:
        span: as in :class:`Found`.
        length: sum of the transformed weights of the passage.
        parts: by place of the term in the query; terms that the passage lacks are not there. In lexite's numbers.
    """

    span: tuple[int, int] | None
    length: float
    parts: Mapping[int, float] = field(default_factory=dict)


class Driver(Protocol):
    """One collection of one engine."""

    @property
    def address(self) -> str:
        """Where the collection is, for messages; without a password."""
        ...

    @property
    def name(self) -> str:
        """Of the collection."""
        ...

    @property
    def engine(self) -> str:
        """What the engine is called, for messages."""
        ...

    @property
    def form(self) -> Limits:
        """What it can hold, and which routes it has."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. Where ``live_statistics`` is false, :meth:`keep_frequencies` is called."""
        ...

    def create(self, collection: Collection) -> None:
        """Makes the collection. EngineError: there is one."""
        ...

    def drop(self) -> None:
        """Removes the collection, if there is one."""
        ...

    def read_record(self) -> Any | None:
        """The record that was written last; None where there is no collection."""
        ...

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps a record."""
        ...

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Takes up fields that no document had before."""
        ...

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages; one of the same id is replaced. Passing failures are retried here."""
        ...

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Adds to the frequencies of terms by name, or replaces them all."""
        ...

    def settle(self) -> None:
        """Makes what was written searchable."""
        ...

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents with all their passages, so that the next search does not find them."""
        ...

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which of these documents there are."""
        ...

    def counts(self) -> Counts:
        """How much there is."""
        ...

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """In how many passages each of these terms occurs."""
        ...

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """The best documents for each question, best first. Equal scores come in the order in which documents were added."""
        ...

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """The passages of a document with the parts of their scores, in the order of the text; empty where there is none."""
        ...

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Title, text and fields of a document; None where there is none."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


def joined_text(parts: Sequence[tuple[tuple[int, int] | None, str]]) -> str:
    """The text of a document, put together of its passages; blanks stand where no passage was.

    Args:
        parts: span and text of each passage, in any order.

    >>> joined_text([((6, 9), "two"), ((0, 5), "one, ")])
    'one,  two'
    """
    text = ""
    for span, part in sorted(parts, key=lambda each: each[0] or (0, 0)):
        begin = 0 if span is None else span[0]
        text = text[:begin].ljust(begin) + part + text[begin + len(part) :]
    return text
