"""Milvus: impacts in a sparse vector, inner products. Its client is pymilvus, and Milvus Lite holds a file in this process.

:mod:`lexite.engines.milvus_rows` speaks to a server or to Milvus Lite. Beside the collection of passages there is a second one,
``NAME_terms``, with the number of each word, in how many passages each term occurs, and how the documents were made.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.collapsing import FoundPassage, best_documents, first_passages, in_field_order
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Refused, Written, joined_text
from lexite.engines.forms.base import FIELD, Collection, not_unicode, too_long
from lexite.engines.live import LiveEngine
from lexite.engines.milvus_filters import one_of_texts, quoted, where_expression
from lexite.engines.milvus_rows import MOST_HITS, MOST_JSON, MOST_PARTS, MOST_TEXT, MilvusRows, text_parts
from lexite.engines.milvus_terms import MilvusTerms
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName
from lexite.engines.stored_values import stored_fields
from lexite.engines.word_numbers import json_fields, parts_of
from lexite.errors import ArgumentError, ConfigError, EngineError
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType

if TYPE_CHECKING:
    from lexite.engines.addresses import Address

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,248}")
_NO_TERM = 2**32 - 2  # of a passage without terms, since Milvus takes no empty vector; no query asks it
_HITS_AT_ONCE = 100_000
_QUESTIONS_AT_ONCE = 64
_PASSAGE = {
    "doc": "text",
    "ordinal": "whole",
    "number": "whole",
    "length": "number",
    "n_terms": "whole",
    "first": "whole",
    "behind": "whole",
    "title": "text",
    "text": "text",
    "more": "texts",
    "has": "texts",
    "fields": "json",
}


class _Limits:
    """What rows can hold."""

    routes: tuple[RouteName, ...] = ("impacts",)
    holds_texts = True
    most_terms: int | None = None
    most_hits: int | None = MOST_HITS
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids are texts."""
        return too_long(identifier, MOST_TEXT)

    def field_problem(self, name: str) -> str | None:
        """Paths of JSON put names in quotation marks."""
        return "its name holds a quotation mark or a backslash" if '"' in name or "\\" in name else None


class MilvusDriver:
    """A collection of Milvus.

    Args:
        rows: a server or a file.
        name: of the collection.

    Raises:
        ConfigError: no collection can be called so.
    """

    engine = "Milvus"
    form = _Limits()
    capabilities = Capabilities(
        live_statistics=False, among=True, exclude=True, fields=True, most_hits=MOST_HITS, word_weights=True
    )

    def __init__(self, rows: MilvusRows, name: str = FIELD) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"A collection of Milvus cannot be called '{name}'. Its name has letters, digits and underscores, and begins "
                "with no digit."
            )
        self._rows, self.name = rows, name
        self.address = f"{rows.address}/{name}"
        self._terms = MilvusTerms(rows, f"{name}_terms")
        self._added_length = 0.0

    def create(self, collection: Collection) -> None:
        """Makes both collections."""
        if self._rows.exists(self.name) or self._rows.exists(self._terms.name):
            raise EngineError(f"There is a collection at {self.address} already.")
        self._rows.create(self.name, "id", _PASSAGE)
        self._terms.create()
        self._added_length = 0.0

    def drop(self) -> None:
        """Removes both collections."""
        self._rows.drop(self.name)
        self._terms.drop()

    def read_record(self) -> Any | None:
        """The record, which is a row."""
        if not (self._rows.exists(self._terms.name) and self._rows.exists(self.name)):
            return None
        return self._terms.record

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps the record."""
        self._terms.write_record(record)

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Fields are keys of a JSON object, so a new one needs nothing."""

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes rows; what is too large for one is refused before."""
        problems = [(each, _too_large(each)) for each in documents]
        taken = [each for each, problem in problems if problem is None]
        self._terms.numbers.of_terms(collection.names, (term for each in taken for term in each.terms.tolist()), create=True)
        rows = [self._row(each, collection) for each in taken]
        self._rows.upsert(self.name, rows)
        self._added_length += sum(each.length for each in taken)
        refused = [Refused(each.id, problem) for each, problem in problems if problem is not None]
        n_bytes = sum(8 * len(row[FIELD]) + len(row["text"]) + len(row["title"]) + len(str(row["fields"])) for row in rows)
        return Written(n_bytes, tuple(refused))

    def _row(self, document: EngineDocument, collection: Collection) -> dict[str, Any]:
        numbers = self._terms.numbers.of_terms(collection.names, document.terms.tolist())
        first, behind = document.span or (-1, -1)
        text, *more = text_parts(document.text)
        return {
            "id": document.id,
            "doc": document.document,
            "ordinal": document.ordinal,
            "number": document.number,
            "length": document.length,
            "n_terms": len(numbers),
            "first": first,
            "behind": behind,
            "title": document.title,
            "text": text,
            "more": more,
            "has": sorted(document.fields),
            "fields": json_fields(document.fields),
            FIELD: dict(zip(numbers, document.values.tolist(), strict=True)) or {_NO_TERM: 1.0},
        }

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Adds to the frequencies of terms, or replaces all of them."""
        if anew:
            self._terms.forget_frequencies()
        self._terms.add_frequencies(changes)

    def settle(self) -> None:
        """Makes what was written quick to search, and adds its lengths."""
        if self._added_length:
            self._terms.add_length(self._added_length)
            self._added_length = 0.0
        self._rows.settle(self.name)

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents, and takes their terms out of the frequencies."""
        counts: dict[int, int] = {}
        for part in _by_hundreds([each for each in documents if self.form.id_problem(each) is None]):
            gone = self._rows.query(self.name, one_of_texts("doc", part), ["id", "length", FIELD])
            for row in gone:
                self._added_length -= float(row["length"])
                for number in row[FIELD]:
                    counts[number] = counts.get(number, 0) - 1
            if gone:
                self._rows.delete(self.name, one_of_texts("id", [row["id"] for row in gone]))
        counts.pop(_NO_TERM, None)
        names = self._terms.names_of(list(counts))
        self._terms.add_frequencies({names[number]: n for number, n in counts.items()})
        self.settle()

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which documents there are: those whose first passage there is."""
        own = [each for each in documents if self.form.id_problem(each) is None]
        return {
            row["doc"] for part in _by_hundreds(own) for row in self._rows.query(self.name, one_of_texts("id", part), ["doc"])
        }

    def counts(self) -> Counts:
        """Counts rows."""
        passages = self._rows.count(self.name, "")
        length = self._terms.length
        return Counts(
            self._rows.count(self.name, "ordinal == 0"),
            passages,
            passages - self._rows.count(self.name, "n_terms == 0"),
            length / passages if length is not None and passages else None,
        )

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """As they were kept."""
        known = self._terms.frequencies(names)
        return np.array([known.get(name, 0) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks for a few more than are wanted, so that equal scores have the order of an index; many questions at once."""
        asked = [self._asked(each, collection) for each in questions]
        return [
            self._found(question, mine, first, collection)
            for question, mine, first in zip(questions, asked, self._first_hits(asked), strict=True)
        ]

    def _asked(self, question: Question, collection: Collection) -> _Asked:
        numbers = self._terms.numbers.of_terms(collection.names, question.query.terms.tolist())
        known = {number: w for number, w in zip(numbers, question.query.weights.tolist(), strict=True) if number >= 0}
        if question.sort is None:
            return _Asked(
                known, _only(question, collection), first_passages(question.top_k, collection.has_passages, MOST_HITS)
            )
        everything = self._rows.count(self.name, "")
        if everything > MOST_HITS:
            raise ArgumentError(
                f"A sort reads every hit, of which Milvus gives {MOST_HITS:,} at most, and {self.address} has {everything:,} "
                "passages. Leave sort out."
            )
        return _Asked(known, _only(question, collection), max(everything, 1), ("fields",))

    def _first_hits(self, asked: Sequence[_Asked]) -> list[list[FoundPassage]]:
        """The hits of each question; those that differ in their terms alone are asked together."""
        groups: dict[Any, list[int]] = {}
        for place, each in enumerate(asked):
            if each.vector:
                groups.setdefault((each.only, each.limit, each.more), []).append(place)
        found: list[list[FoundPassage]] = [[] for _ in asked]
        for places in groups.values():
            size = max(1, min(_QUESTIONS_AT_ONCE, _HITS_AT_ONCE // asked[places[0]].limit))
            for begin in range(0, len(places), size):
                part = places[begin : begin + size]
                for place, hits in zip(part, self._hits([asked[each] for each in part]), strict=True):
                    found[place] = hits
        return found

    def _hits(self, asked: Sequence[_Asked]) -> list[list[FoundPassage]]:
        one, vectors = asked[0], [each.vector for each in asked]
        columns = ["doc", "number", "ordinal", "first", "behind", *one.more]
        found = self._rows.search(self.name, vectors, one.only, one.limit, columns)
        return [[_passage(score, row) for score, row in hits if score > 0] for hits in found]

    def _found(self, question: Question, asked: _Asked, first: list[FoundPassage], collection: Collection) -> list[Found]:
        if question.sort is not None:
            return in_field_order(first, question.sort, question.top_k, question.min_score)
        if not asked.vector:
            return []

        def ask(limit: int) -> list[FoundPassage]:
            return first if limit == asked.limit else self._hits([dataclasses.replace(asked, limit=limit)])[0]

        return best_documents(
            ask, question.top_k, has_passages=collection.has_passages, min_score=question.min_score, most=MOST_HITS
        )

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Reads the vectors of the document, and multiplies."""
        numbers = self._terms.numbers.of_terms(collection.names, query.terms.tolist())
        rows = self._of(document, ["length", FIELD])
        return [parts_of(query, numbers, row[FIELD], _span(row), float(row["length"])) for row in rows]

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts a document together of its passages."""
        rows = self._of(document, ["title", "text", "more", "fields"])
        if not rows:
            return None
        text = joined_text([(_span(row), "".join([row["text"], *row["more"]])) for row in rows])
        return StoredDocument(document, rows[0]["title"], text, stored_fields(rows[0]["fields"], fields))

    def _of(self, document: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        if self.form.id_problem(document) is not None:
            return []
        found = self._rows.query(self.name, f"doc == {quoted(document)}", ["ordinal", "first", "behind", *columns])
        return sorted(found, key=lambda row: int(row["ordinal"]))

    def close(self) -> None:
        """Lets the rows go."""
        self._rows.close()


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """A question in Milvus's words: a vector, an expression, how many rows, and columns beside the usual ones."""

    vector: dict[int, float]
    only: str
    limit: int
    more: tuple[str, ...] = ()


class MilvusEngine(LiveEngine):
    """A collection of Milvus as a backend of searches.

    Args:
        rows: of a server or a file.
        name: of the collection.
        **options: as for :class:`lexite.engines.live.LiveEngine`.

    Raises:
        ConfigError: no collection can be called so.
    """

    def __init__(self, rows: MilvusRows, name: str = FIELD, **options: Any) -> None:
        super().__init__(MilvusDriver(rows, name), **options)


def at_address(address: Address, **options: Any) -> MilvusEngine:
    """The collection of a server, ``milvus://TOKEN@HOST:19530/DATABASE/NAME``; other arguments as for :class:`MilvusEngine`."""
    address.numbers()
    if len(address.path) > 1:
        raise ConfigError(
            "The address of a collection of Milvus is milvus://HOST:19530/NAME, or with /DATABASE/NAME behind the host."
        )
    token, _, host = address.host.rpartition("@")
    server = dataclasses.replace(address, host=host, path=()).server(19530)
    return MilvusEngine(MilvusRows(server, token=unquote(token), database="".join(address.path)), address.name, **options)


def at_folder(path: str, **options: Any) -> MilvusEngine:
    """The collection of a file of Milvus Lite, ``FILE.db`` or ``FILE.db/NAME``; other arguments as for a server."""
    place = Path(path)
    if place.parent.suffix == ".db":
        return MilvusEngine(MilvusRows(place.parent), place.name, **options)
    return MilvusEngine(MilvusRows(place), **options)


def _only(question: Question, collection: Collection) -> str:
    """The expression of a question; empty where all rows may pass."""
    parts = [] if question.among is None else [one_of_texts("doc", question.among)]
    if question.exclude is not None and not_unicode(question.exclude) is None:
        parts.append(f"doc != {quoted(question.exclude)}")
    if question.where is not None:
        parts.append(where_expression(question.where, collection.fields))
    return " and ".join(parts)


def _too_large(document: EngineDocument) -> str | None:
    """Why a row cannot hold a passage; None where it can."""
    size = len(json.dumps(json_fields(document.fields), ensure_ascii=False).encode())
    if size > MOST_JSON:
        return f"its fields have {size:,} bytes, and {MOST_JSON:,} are the most"
    if len(document.fields) > MOST_PARTS:
        return f"it has {len(document.fields):,} fields, and {MOST_PARTS:,} are the most"
    if len(document.title.encode()) > MOST_TEXT:
        return f"its title has {len(document.title.encode()):,} bytes, and {MOST_TEXT:,} are the most"
    return None


def _span(row: Mapping[str, Any]) -> tuple[int, int] | None:
    return None if int(row["first"]) < 0 else (int(row["first"]), int(row["behind"]))


def _passage(score: float, row: Mapping[str, Any]) -> FoundPassage:
    return FoundPassage(row["doc"], int(row["number"]), int(row["ordinal"]), score, _span(row), row.get("fields", {}))


def _by_hundreds(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[begin : begin + 100] for begin in range(0, len(ids), 100))
