"""What a form is: how an engine takes documents from files, what it must be told before, and what a query looks like to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from lexite.engines.documents import EngineDocument
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import Route, RouteName
from lexite.engines.term_names import TermNames
from lexite.errors import ArgumentError, CorpusError
from lexite.index.field_types import FieldType, json_value
from lexite.scoring.config import BM25Config

if TYPE_CHECKING:
    from lexite.engines.statistics import Statistics
    from lexite.index import BM25Index

FIELD = "lexite"
"""What engines call the field of the terms."""


@dataclass(frozen=True)
class Collection:
    """What forms know of the documents that they write.

    Attributes:
        name: of the collection, table or schema in the engine.
        route: what documents hold.
        scoring: k1 and the rest.
        names: of the terms.
        n_terms: number of terms; later documents may bring more.
        fields: types of the fields that go along, by name; empty where none do.
        text: whether titles and texts go along.
        keep_terms: whether the engine keeps the terms in what it gives back for a document.
        has_passages: whether a document may be several passages, so that hits have to be collapsed.
    """

    name: str
    route: Route
    scoring: BM25Config
    names: TermNames
    n_terms: int
    fields: Mapping[str, FieldType]
    text: bool = False
    keep_terms: bool = False
    has_passages: bool = False

    @property
    def pivot(self) -> float:
        """The k1 that an engine is given where it saturates."""
        return self.route.pivot(self.scoring)


class Part(Protocol):
    """A file that is being written."""

    @property
    def n_bytes(self) -> int:
        """Bytes so far, before they are compressed; about as many where the form compresses by itself."""
        ...

    def add(self, documents: Sequence[EngineDocument]) -> None:
        """Writes documents."""
        ...

    def close(self) -> None:
        """Writes what ends the file. It stays open."""
        ...


class Limits(Protocol):
    """What an engine can hold."""

    @property
    def routes(self) -> tuple[RouteName, ...]:
        """What it can hold, the usual route first."""
        ...

    @property
    def holds_texts(self) -> bool:
        """Whether titles, texts and fields can go along."""
        ...

    @property
    def most_terms(self) -> int | None:
        """Terms of a query at most; None: any number."""
        ...

    @property
    def most_hits(self) -> int | None:
        """Hits of a search at most; None: any number."""
        ...

    @property
    def most_terms_of_document(self) -> int | None:
        """Terms of a document at most; None: any number."""
        ...

    def id_problem(self, identifier: str) -> str | None:
        """Why the engine cannot hold an id; None where it can."""
        ...

    def field_problem(self, name: str) -> str | None:
        """Why the engine cannot hold a field of this name; None where it can."""
        ...


class Form(Limits, Protocol):
    """A form: what an engine can hold, and how files hold it for it."""

    @property
    def suffix(self) -> str:
        """Of its files."""
        ...

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """What the engine must be told before: texts by file name."""
        ...

    def part(self, file: IO[bytes], collection: Collection) -> Part:
        """Begins a file."""
        ...

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> Any:
        """The request for a query: a JSON value, or text that is no JSON."""
        ...


class WholeForm(Form, Protocol):
    """A form whose file is made of all documents at once, and cannot be divided."""

    def write(self, file: IO[bytes], index: BM25Index, statistics: Statistics, collection: Collection) -> tuple[int, int]:
        """Writes the file; returns how many passages and how many bytes before compression."""
        ...


class LinePart:
    """A file of records, each encoded by itself.

    Args:
        file: where they are written.
        encode: gives the bytes of a record, with its line end.
        opening: bytes before all records.
        separator: bytes between two.
        closing: bytes after all.
    """

    def __init__(
        self,
        file: IO[bytes],
        encode: Callable[[EngineDocument], bytes],
        opening: bytes = b"",
        separator: bytes = b"",
        closing: bytes = b"",
    ) -> None:
        self._file, self._encode = file, encode
        self._next, self._separator, self._closing = opening, separator, closing
        self.n_bytes = 0

    def add(self, documents: Sequence[EngineDocument]) -> None:
        """Writes documents."""
        for document in documents:
            self._write(self._next + self._encode(document))
            self._next = self._separator

    def close(self) -> None:
        """Writes the end."""
        self._write(self._closing)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.n_bytes += len(data)


def json_line(value: Any) -> bytes:
    """A JSON value on one line, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def json_text(value: Any) -> str:
    """A JSON value as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def number(value: float) -> str:
    """A float32 in decimal digits that give the same float32 back.

    >>> number(0.5), number(1e-7), number(float("0.1"))
    ('0.5', '1e-07', '0.1')
    """
    return f"{value:.9g}"


def weights_json(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Terms with their weights, in as few digits as give the same float32 back."""
    return {name: float(number(value)) for name, value in zip(names, values, strict=True)}


def facts_json(document: EngineDocument, collection: Collection) -> dict[str, Any]:
    """What goes along with the terms: the document's id, title and text, fields."""
    facts: dict[str, Any] = {"doc": document.document}
    if collection.text:
        facts |= {"title": document.title, "text": document.text}
    if document.fields:
        facts["fields"] = {name: json_value(value) for name, value in document.fields.items()}
    return facts


def passage_facts(document: EngineDocument, collection: Collection) -> dict[str, Any]:
    """What a running engine is to know of a passage, beside what goes along for people.

    ``n`` is the number of its document, by which equal scores are ordered; ``length`` the sum of its weights, whose mean is
    compared with the one that is baked in; ``terms`` how many it has. Of documents that may be several passages, ``part`` says
    which it is, and ``begin`` and ``end`` where it stands in the text.
    """
    facts: dict[str, Any] = {"n": document.number, "length": float(number(document.length)), "terms": len(document.terms)}
    if collection.has_passages:
        facts["part"] = document.ordinal
        if document.span is not None:
            facts["begin"], facts["end"] = document.span
    return facts


PASSAGE_FACTS = ("doc", "n", "length", "terms", "part", "begin", "end")
"""Names that no field of a document can have where they stand beside each other."""


def not_unicode(identifier: str) -> str | None:
    """Why no file in UTF-8 can hold an id; None where one can."""
    if not identifier:
        return "it is empty"
    try:
        identifier.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no character"
    return None


def too_long(identifier: str, most: int) -> str | None:
    """Why an engine whose ids have ``most`` bytes cannot hold an id; None where it can."""
    problem = not_unicode(identifier)
    if problem is None and len(identifier.encode()) > most:
        return f"it has {len(identifier.encode()):,} bytes, and {most:,} are the most"
    return problem


def check_top_k(form_name: str, top_k: int, most: int | None) -> None:
    """Refuses more hits than an engine gives at once.

    Raises:
        ArgumentError: ``top_k`` is more than that, or below 1.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k is {top_k}, but must be at least 1.")
    if most is not None and top_k > most:
        raise ArgumentError(f"top_k is {top_k:,}, but {form_name} gives {most:,} hits at once at most.")


def refuse_fields(form: Limits, form_name: str, collection: Collection) -> None:
    """Refuses fields whose names an engine cannot hold.

    Raises:
        CorpusError: there is such a field.
    """
    for name in collection.fields:
        problem = form.field_problem(name)
        if problem is not None:
            raise CorpusError(
                f"The field '{name}' cannot go to {form_name}: {problem}. Rename it, or leave fields out: fields=False."
            )
