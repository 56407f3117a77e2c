"""Qdrant: impacts in a sparse vector, with its own idf or without. Its clients are qdrant-client and qdrant-edge-py.

:mod:`lexite.engines.qdrant_points` speaks to a server, or to the engine in this process. :class:`QdrantDriver` does the rest
over either. Beside the points of passages there is a second collection,
``NAME_terms``, with the number of each word, in how many passages each term occurs, and how the documents were made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.collapsing import FoundPassage, best_documents, in_field_order
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Written, joined_text
from lexite.engines.forms.base import Collection
from lexite.engines.forms.qdrant import QdrantForm, point_id
from lexite.engines.live import LiveEngine
from lexite.engines.qdrant_filters import QdrantFilters, field_indexes
from lexite.engines.qdrant_points import AT_ONCE, ClientPoints, EdgePoints, Point, Points
from lexite.engines.queries import EngineQuery
from lexite.engines.security import TLS, security_of
from lexite.engines.stored_values import span_of, stored_fields
from lexite.engines.word_numbers import WORDS_FROM, WordNumbers, json_fields, parts_of
from lexite.errors import EngineError
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType

if TYPE_CHECKING:
    from lexite.engines.addresses import Address

_RECORD, _LENGTHS = point_id("lexite:record"), point_id("lexite:lengths")


class _HeldForm(QdrantForm):
    """What points can hold, where filters have to name their fields."""

    def field_problem(self, name: str) -> str | None:
        """Paths of a payload put names in quotation marks."""
        return "its name holds a quotation mark or a backslash" if '"' in name or "\\" in name else None


class QdrantDriver:
    """A collection of Qdrant.

    Args:
        points: a server or a folder.
        name: of the collection.
    """

    engine = "Qdrant"
    form = _HeldForm()
    capabilities = Capabilities(live_statistics=False, among=True, exclude=True, fields=True, word_weights=True)

    def __init__(self, points: Points, name: str = "lexite") -> None:
        self._points, self.name = points, name
        self.address = f"{points.address.rstrip('/')}/{name}"
        self._terms = f"{name}_terms"
        self._numbers = WordNumbers(self._find_words, self._create_words)
        self._filters = QdrantFilters(points.kit)
        self._added_length = 0.0

    def create(self, collection: Collection) -> None:
        """Makes both collections."""
        if self._begun():
            self.drop()
        elif self._points.exists(self.name) or self._points.exists(self._terms):
            raise EngineError(f"There is a collection at {self.address} already.")
        fields = {"doc": "keyword", "has": "keyword", "yes": "keyword", "ordinal": "integer", "n_terms": "integer"}
        self._points.create(self.name, own_idf=collection.route.own_idf, fields={**fields, **field_indexes(collection.fields)})
        self._points.create(self._terms, own_idf=False, fields={"kind": "keyword"})
        self._numbers.forget()
        self._added_length = 0.0

    def _begun(self) -> bool:
        """Whether making the collections was stopped before there was a record: nothing is in them."""
        own, terms = self._points.exists(self.name), self._points.exists(self._terms)
        return terms and not self._points.count(self._terms, None) and not (own and self._points.count(self.name, None))

    def drop(self) -> None:
        """Removes both collections."""
        self._points.drop(self.name)
        self._points.drop(self._terms)
        self._numbers.forget()

    def read_record(self) -> Any | None:
        """The record, which is a point."""
        if not self._points.exists(self._terms):
            return None
        found = self._points.retrieve(self._terms, [_RECORD])
        return json.loads(found[0].payload["record"]) if found else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps the record as text, so that its numbers stay what they are."""
        self._points.upsert(self._terms, [Point(_RECORD, {"kind": "record", "record": json.dumps(record)})])
        self._points.settle(self._terms)

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Makes indexes of new fields."""
        self._points.index_fields(self.name, field_indexes(new))

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes points."""
        self._numbers.of_terms(collection.names, (term for each in documents for term in each.terms.tolist()), create=True)
        points = [self._point(each, collection) for each in documents]
        for begin in range(0, len(points), AT_ONCE):
            self._points.upsert(self.name, points[begin : begin + AT_ONCE])
        self._added_length += sum(each.length for each in documents)
        return Written(sum(8 * len(each.indices) + len(json.dumps(each.payload)) for each in points))

    def _point(self, document: EngineDocument, collection: Collection) -> Point:
        payload: dict[str, Any] = {
            "id": document.id,
            "doc": document.document,
            "ordinal": document.ordinal,
            "number": document.number,
            "length": document.length,
            "n_terms": len(document.terms),
            "span": None if document.span is None else list(document.span),
            "fields": json_fields(document.fields),
            "has": sorted(document.fields),
            "yes": sorted(name for name, value in document.fields.items() if value is True),
        }
        if collection.text:
            payload |= {"title": document.title, "text": document.text}
        indices = self._numbers.of_terms(collection.names, document.terms.tolist())
        return Point(point_id(document.id), payload, indices, document.values.tolist())

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Adds to the frequencies of terms, or replaces all of them."""
        if anew:
            for each in self._points.scroll(self._terms, self._filters.equal("kind", "term"), vectors=False):
                known = int(each.payload["frequency"])
                if known or each.payload["name"] in changes:
                    changes = {**changes, each.payload["name"]: changes.get(each.payload["name"], 0) - known}
        self._add_frequencies(changes)

    def _add_frequencies(self, changes: Mapping[str, int]) -> None:
        names = list(changes)
        for begin in range(0, len(names), AT_ONCE):
            part = names[begin : begin + AT_ONCE]
            known = {each.payload["name"]: each.payload for each in self._term_points(part)}
            self._points.upsert(
                self._terms,
                [
                    Point(
                        _term_id(name),
                        {
                            "kind": "term",
                            "name": name,
                            "number": known.get(name, {}).get("number"),
                            "frequency": int(known.get(name, {}).get("frequency", 0)) + changes[name],
                        },
                    )
                    for name in part
                ],
            )

    def settle(self) -> None:
        """Builds indexes, and adds the lengths of what was written."""
        if self._added_length:
            found = self._points.retrieve(self._terms, [_LENGTHS])
            before = float(found[0].payload["sum"]) if found else 0.0
            self._points.upsert(self._terms, [Point(_LENGTHS, {"kind": "lengths", "sum": before + self._added_length})])
            self._added_length = 0.0
        self._points.settle(self.name)
        self._points.settle(self._terms)

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents, and takes their terms out of the frequencies."""
        gone, counts = list[str](), dict[int, int]()
        for each in self._points.scroll(self.name, self._filters.any_equal("doc", list(documents)), vectors=True):
            gone.append(each.id)
            self._added_length -= float(each.payload["length"])
            for number in each.indices:
                counts[number] = counts.get(number, 0) - 1
        self._points.delete(self.name, gone)
        self._add_frequencies({self._name_of(number): n for number, n in counts.items()})
        self.settle()

    def _name_of(self, number: int) -> str:
        if number < WORDS_FROM:
            return f"t{number}"
        found = next(iter(self._points.retrieve(self._terms, [_number_id(number)])))
        return str(found.payload["name"])

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which documents there are: those whose first passage there is."""
        found = set()
        for begin in range(0, len(documents), AT_ONCE):
            ids = [point_id(each) for each in documents[begin : begin + AT_ONCE]]
            found |= {each.payload["doc"] for each in self._points.retrieve(self.name, ids)}
        return found

    def counts(self) -> Counts:
        """Counts points."""
        passages = self._points.count(self.name, None)
        lengths = self._points.retrieve(self._terms, [_LENGTHS])
        mean = float(lengths[0].payload["sum"]) / passages if lengths and passages else None
        return Counts(
            self._points.count(self.name, self._filters.equal("ordinal", 0)),
            passages,
            passages - self._points.count(self.name, self._filters.equal("n_terms", 0)),
            mean,
        )

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """As they were kept."""
        known = {each.payload["name"]: each.payload["frequency"] for each in self._term_points(names)}
        return np.array([known.get(name, 0) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks for a few more than are wanted, so that equal scores have the order of an index."""
        return [self._found(question, collection) for question in questions]

    def _found(self, question: Question, collection: Collection) -> list[Found]:
        numbers = self._numbers.of_terms(collection.names, question.query.terms.tolist())
        known = [(number, w) for number, w in zip(numbers, question.query.weights.tolist(), strict=True) if number >= 0]
        if not known:
            return []
        only = self._filters.of(question, collection)
        payload = ["doc", "number", "ordinal", "span"]

        def ask(limit: int, more: Sequence[str] = ()) -> list[FoundPassage]:
            points = self._points.query(
                self.name, [number for number, _ in known], [w for _, w in known], only, limit, [*payload, *more]
            )
            return [_passage(each) for each in points if each.score > 0]

        if question.sort is None:
            return best_documents(ask, question.top_k, has_passages=collection.has_passages, min_score=question.min_score)
        everything = max(self._points.count(self.name, None), 1)
        return in_field_order(ask(everything, ["fields"]), question.sort, question.top_k, question.min_score)

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Reads the vectors of the document, and multiplies."""
        numbers = self._numbers.of_terms(collection.names, query.terms.tolist())
        if collection.route.own_idf:
            raise_idf = self._own_idf(query, collection)
            query = EngineQuery(query.terms, query.weights * raise_idf, query.pivot, query.n_cut)
        return [
            parts_of(
                query,
                numbers,
                dict(zip(each.indices, each.values, strict=True)),
                span_of(each.payload),
                float(each.payload["length"]),
            )
            for each in self._of(document, vectors=True)
        ]

    def _own_idf(self, query: EngineQuery, collection: Collection) -> NDArray[np.float32]:
        """What Qdrant multiplies by itself."""
        from lexite.scoring.formula import inverse_document_frequency

        frequency = self.frequencies(collection.names.of(query.terms.tolist()))
        return inverse_document_frequency(self.counts().n_filled, frequency, "lucene").astype(np.float32)

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts a document together of its passages."""
        found = self._of(document, vectors=False)
        if not found:
            return None
        first = found[0].payload
        text = joined_text([(span_of(each.payload), each.payload.get("text", "")) for each in found])
        return StoredDocument(document, first.get("title", ""), text, stored_fields(first["fields"], fields))

    def _of(self, document: str, *, vectors: bool) -> list[Point]:
        found = self._points.scroll(self.name, self._filters.equal("doc", document), vectors=vectors)
        return sorted(found, key=lambda each: int(each.payload["ordinal"]))

    def close(self) -> None:
        """Lets the points go."""
        self._points.close()

    def _term_points(self, names: Sequence[str]) -> list[Point]:
        ids = [_term_id(name) for name in names]
        parts = [ids[begin : begin + AT_ONCE] for begin in range(0, len(ids), AT_ONCE)]
        return [each for part in parts for each in self._points.retrieve(self._terms, part)]

    def _find_words(self, names: list[str]) -> Mapping[str, int]:
        found = self._term_points(names)
        return {each.payload["name"]: int(each.payload["number"]) for each in found if each.payload["number"] is not None}

    def _create_words(self, names: list[str]) -> Mapping[str, int]:
        first = WORDS_FROM + self._points.count(self._terms, self._filters.equal("kind", "number"))
        made = dict(zip(names, range(first, first + len(names)), strict=True))
        known = {each.payload["name"]: each.payload["frequency"] for each in self._term_points(names)}
        points = [Point(_number_id(number), {"kind": "number", "name": name}) for name, number in made.items()]
        points += [
            Point(_term_id(name), {"kind": "term", "name": name, "number": number, "frequency": known.get(name, 0)})
            for name, number in made.items()
        ]
        for begin in range(0, len(points), AT_ONCE):
            self._points.upsert(self._terms, points[begin : begin + AT_ONCE])
        return made


class QdrantEngine(LiveEngine):
    """A collection of Qdrant as a backend of searches.

    Args:
        points: :class:`ClientPoints` or :class:`EdgePoints`.
        name: of the collection.
        **options: as for :class:`lexite.engines.live.LiveEngine`; ``route_name`` is ``impacts`` or ``impacts-idf``.
    """

    def __init__(self, points: Points, name: str = "lexite", **options: Any) -> None:
        super().__init__(QdrantDriver(points, name), **options)


def at_address(address: Address, **options: Any) -> QdrantEngine:
    """The collection of a server, ``qdrant://API-KEY@HOST:6333/NAME``; other arguments as for :class:`QdrantEngine`."""
    address.numbers(besides=(*TLS, "api_key"))
    security = security_of(address, key=True)
    before, _, host = address.host.rpartition("@")
    key = security.api_key or unquote(before)
    known = {**security.httpx_verify(), **({"api_key": key} if key else {})}
    return QdrantEngine(ClientPoints(dataclasses.replace(address, host=host).server(6333), **known), address.name, **options)


def at_folder(path: str, **options: Any) -> QdrantEngine:
    """The shard of Qdrant Edge in a folder; other arguments as for :class:`QdrantEngine`."""
    place = Path(path)
    return QdrantEngine(EdgePoints(place.parent), place.name, **options)


def _term_id(name: str) -> str:
    return point_id(f"lexite:term:{name}")


def _number_id(number: int) -> str:
    return point_id(f"lexite:number:{number}")


def _passage(point: Point) -> FoundPassage:
    payload = point.payload
    return FoundPassage(
        payload["doc"],
        int(payload["number"]),
        int(payload["ordinal"]),
        point.score,
        span_of(payload),
        payload.get("fields", {}),
    )
