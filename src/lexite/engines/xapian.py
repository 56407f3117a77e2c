"""Xapian in this process: term frequencies, scored by its BM25. Its client is Xapian's own Python module.

Xapian counts an idf of another form, and each query takes that into account. Its counts are of living documents, right after
each change.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Written, joined_text
from lexite.engines.folders import new_folder
from lexite.engines.forms.base import FIELD, Collection, not_unicode
from lexite.engines.live import LiveEngine
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName
from lexite.engines.stored_values import span_of, stored_fields
from lexite.engines.translating import translated
from lexite.engines.word_numbers import json_fields
from lexite.engines.xapian_filters import DOCUMENT_SLOT, XapianQueries, key_of, value_bytes
from lexite.errors import EngineError
from lexite.index.config import StoredDocument
from lexite.index.field_types import ID_FIELD, FieldType
from lexite.scoring.formula import inverse_document_frequency

_UNIT = 1000.0  # lengths are kept as whole numbers of thousandths
_MOST_LENGTH = (1 << 31) - 1
_FIRST_FIELD = DOCUMENT_SLOT + 1
_LAST = b"\xff" * 10  # comes after every value


class XapianLimits:
    """What a database of Xapian can hold. It has no files of its own to export to."""

    routes: tuple[RouteName, ...] = ("frequencies",)
    most_terms: int | None = None
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids are data; the terms for them are digests where they are long."""
        return not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Fields are numbered."""
        return None


def xapian_idf(n_documents: int, frequency: NDArray[np.int64]) -> NDArray[np.float64]:
    """The idf of Xapian's ``BM25Weight``: ``log x``, x = (N - n + 0.5) / (n + 0.5), and x/2 + 1 in place of an x below 2.

    >>> xapian_idf(10, np.array([1, 9])).round(3).tolist()
    [1.846, 0.076]
    """
    odds = (n_documents - frequency + 0.5) / (frequency + 0.5)
    return np.log(np.where(odds < 2.0, odds / 2.0 + 1.0, odds))


class XapianDriver:
    """A database of Xapian in a folder. One process at a time changes it; others may read.

    Args:
        folder: of the database.

    Raises:
        EngineError: Xapian's module is not installed.
    """

    engine, name = "Xapian", FIELD
    form = XapianLimits()
    capabilities = Capabilities(live_statistics=True, among=True, exclude=True, fields=True, word_weights=True)

    def __init__(self, folder: str | Path) -> None:
        try:
            self._xapian: Any = importlib.import_module("xapian")
        except ImportError:
            raise EngineError(
                "Xapian's Python module is not installed. It comes with the system: apt install python3-xapian, in an "
                "environment that sees the packages of the system (python -m venv --system-site-packages)."
            ) from None
        self._folder, self.address = Path(folder), f"xapian:{folder}"
        self._open: Any = None
        self._writing = False

    @property
    def _database(self) -> Any:
        """What is open; a reader is renewed where another process may have written."""
        if self._open is None:
            self._open = self._xapian.Database(str(self._folder))
        return self._open

    @property
    def _writer(self) -> Any:
        if not self._writing:
            self._open = self._xapian.WritableDatabase(str(self._folder), self._xapian.DB_OPEN)
            self._writing = True
        return self._open

    def create(self, collection: Collection) -> None:
        """Makes the database."""
        if self.read_record() is not None:
            raise EngineError(f"There is a collection at {self.address} already.")
        if not self._begun():
            new_folder(self._folder, "database of Xapian")
        self.close()
        with self._errors("make a database at"):
            self._open = self._xapian.WritableDatabase(str(self._folder), self._xapian.DB_CREATE_OR_OVERWRITE)
            self._writing = True
        self.add_fields(collection.fields)

    def _begun(self) -> bool:
        """Whether making the database was stopped before there was a record: one without documents is all there is."""
        with self._errors("read"):
            try:
                return not self._database.get_doccount()
            except self._xapian.DatabaseOpeningError:
                return False

    def drop(self) -> None:
        """Removes the folder, if it has a database of lexite's."""
        there = self.read_record() is not None or self._writing
        self.close()
        if there:
            shutil.rmtree(self._folder)

    def read_record(self) -> Any | None:
        """The metadata of the database."""
        with self._errors("read"):
            try:
                self._reopen()
                said = self._database.get_metadata("lexite")
            except self._xapian.DatabaseOpeningError:  # no folder, an empty one, or one of something else
                return None
        return json.loads(said) if said else None

    def _reopen(self) -> None:
        if self._open is not None and not self._writing:
            self._open.reopen()

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps the record, and commits."""
        with self._errors("write to"):
            self._writer.set_metadata("lexite", json.dumps(record))
            self._writer.commit()

    def _slots(self) -> dict[str, int]:
        said = self._database.get_metadata("slots")
        return dict(json.loads(said)) if said else {}

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Gives fields their numbers."""
        with self._errors("write to"):
            slots = self._slots()
            for name in new:
                slots.setdefault(name, _FIRST_FIELD + len(slots))
            self._writer.set_metadata("slots", json.dumps(slots))

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages. One that is written again comes last, as in an index."""
        n_bytes = 0
        with self._errors("write to"):
            slots = self._slots()
            for each in documents:
                made, data = self._document(each, collection, slots)
                self._writer.delete_document(key_of("Q", each.id))
                self._writer.add_document(made)
                n_bytes += len(data) + 8 * len(each.terms)
        return Written(n_bytes)

    def _document(self, document: EngineDocument, collection: Collection, slots: Mapping[str, int]) -> tuple[Any, str]:
        made = self._xapian.Document()
        facts: dict[str, Any] = {
            "doc": document.document,
            "ordinal": document.ordinal,
            "length": document.length,
            "span": document.span,
            "fields": json_fields(document.fields),
        }
        if collection.text:
            facts |= {"title": document.title, "text": document.text}
        data = json.dumps(facts)
        made.set_data(data)
        names = collection.names.of(document.terms.tolist())
        for name, value in zip(names, document.values.tolist(), strict=True):
            made.add_term(key_of("T", name), value)
        made.add_term("L", min(max(round(document.length * _UNIT), 1), _MOST_LENGTH))
        for key in (key_of("Q", document.id), key_of("D", document.document)):
            made.add_boolean_term(key)
        for known, mark in ((not document.ordinal, "Kfirst"), (len(names) > 0, "Kfilled")):
            if known:
                made.add_boolean_term(mark)
        made.add_value(DOCUMENT_SLOT, value_bytes(document.document, "text"))
        for name, value in document.fields.items():
            slot, kind = slots[name], collection.fields[name]
            made.add_boolean_term(f"H{slot}")
            if kind != "list":
                made.add_value(slot, value_bytes(value, kind))
            texts = [value] if kind == "text" else value if kind == "list" else []
            assert isinstance(texts, (list, tuple))  # as its kind says
            for text in sorted({str(each) for each in texts}):
                made.add_boolean_term(key_of(f"F{slot}:", text))
        return made, data

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Xapian counts by itself."""

    def settle(self) -> None:
        """Commits."""
        with self._errors("write to"):
            self._writer.commit()

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents, and commits."""
        with self._errors("delete from"):
            for each in documents:
                self._writer.delete_document(key_of("D", each))
            self._writer.commit()

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which documents there are."""
        with self._errors("ask"):
            self._reopen()
            own = self._database
            return {each for each in documents if not not_unicode(each) and own.term_exists(key_of("D", each))}

    def counts(self) -> Counts:
        """As Xapian counts them."""
        with self._errors("ask"):
            self._reopen()
            own = self._database
            n_passages = int(own.get_doccount())
            mean = own.get_collection_freq("L") / n_passages / _UNIT if n_passages else None
            return Counts(own.get_termfreq("Kfirst"), n_passages, own.get_termfreq("Kfilled"), mean)

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """As Xapian counts them."""
        with self._errors("ask"):
            return np.array([self._database.get_termfreq(key_of("T", name)) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks one question after the other."""
        with self._errors("search"):
            self._reopen()
            return [self._found(question, collection) if len(question.query.terms) else [] for question in questions]

    def _found(self, question: Question, collection: Collection) -> list[Found]:
        xapian, slots = self._xapian, self._slots()
        query = self._query(question.query, collection)
        language = XapianQueries(xapian, slots)
        if question.among is not None:
            own = [xapian.Query(key_of("D", each)) for each in question.among]
            query = xapian.Query(xapian.Query.OP_FILTER, query, xapian.Query(xapian.Query.OP_OR, own))
        if question.where is not None:
            only = translated(question.where, collection.fields, language)
            query = xapian.Query(xapian.Query.OP_FILTER, query, only)
        if question.exclude is not None:
            query = xapian.Query(xapian.Query.OP_AND_NOT, query, xapian.Query(key_of("D", question.exclude)))
        enquire = xapian.Enquire(self._database)
        enquire.set_query(query)
        enquire.set_weighting_scheme(xapian.BM25Weight(question.query.pivot, 0.0, 1.0, 0.0, 0.0))
        factor = question.query.pivot + 1.0  # which Xapian's BM25 has, and lexite's has not
        if question.min_score is not None:
            enquire.set_cutoff(0, question.min_score * factor)
        if collection.has_passages:
            enquire.set_collapse_key(DOCUMENT_SLOT)
        if question.sort is not None:
            field, descending = question.sort
            maker = xapian.MultiValueKeyMaker()
            maker.add_value(DOCUMENT_SLOT if field == ID_FIELD else slots[field], descending, b"" if descending else _LAST)
            enquire.set_sort_by_key_then_relevance(maker, False)
        found = []
        for hit in enquire.get_mset(0, question.top_k):
            facts = json.loads(hit.document.get_data())
            found.append(Found(facts["doc"], hit.weight / factor, span_of(facts)))
        return found

    def _query(self, query: EngineQuery, collection: Collection) -> Any:
        """The terms with weights in which Xapian's idf cancels."""
        xapian = self._xapian
        names = collection.names.of(query.terms.tolist())
        frequency = self.frequencies(names)
        counted = xapian_idf(int(self._database.get_doccount()), frequency)
        weights = self._worth(query, frequency) / counted
        parts = [
            xapian.Query(xapian.Query.OP_SCALE_WEIGHT, xapian.Query(key_of("T", name)), float(weight))
            for name, weight in zip(names, weights.tolist(), strict=True)
        ]
        return xapian.Query(xapian.Query.OP_OR, parts)

    def _worth(self, query: EngineQuery, frequency: NDArray[np.int64]) -> NDArray[np.float64]:
        """What terms are multiplied by, without an idf of the engine's."""
        n_filled = int(self._database.get_termfreq("Kfilled"))
        return query.weights.astype(np.float64) * inverse_document_frequency(n_filled, frequency, "lucene")

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """From the frequencies that passages hold."""
        names = collection.names.of(query.terms.tolist())
        keys = {key_of("T", name): place for place, name in enumerate(names)}
        worth = self._worth(query, self.frequencies(names))
        found = []
        with self._errors("ask"):
            self._reopen()
            for number, facts in self._passages(document):
                parts = {}
                for each in self._database.termlist(number):
                    place = keys.get(each.term)
                    if place is not None:
                        parts[place] = float(worth[place] * each.wdf / (each.wdf + query.pivot))
                found.append(PassageParts(span_of(facts), float(facts["length"]), dict(sorted(parts.items()))))
        return found

    def _passages(self, document: str) -> list[tuple[int, dict[str, Any]]]:
        numbers = [each.docid for each in self._database.postlist(key_of("D", document))]
        found = [(number, json.loads(self._database.get_document(number).get_data())) for number in numbers]
        return sorted(found, key=lambda pair: int(pair[1]["ordinal"]))

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts a document together of its passages."""
        if not_unicode(document):
            return None
        with self._errors("ask"):
            self._reopen()
            found = [facts for _, facts in self._passages(document)]
        if not found:
            return None
        text = joined_text([(span_of(each), each.get("text", "")) for each in found])
        return StoredDocument(document, found[0].get("title", ""), text, stored_fields(found[0]["fields"], fields))

    def close(self) -> None:
        """Closes the database. Changes that were not settled are kept too."""
        if self._open is not None:
            self._open.close()
        self._open, self._writing = None, False

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        """Makes errors of Xapian into ones for people."""
        try:
            yield
        except self._xapian.DatabaseLockError:
            raise EngineError(
                f"Cannot {verb} {self.address}: another process changes it. Try again when it has ended."
            ) from None
        except self._xapian.Error as error:
            raise EngineError(f"Cannot {verb} {self.address}: {error}") from None


class XapianEngine(LiveEngine):
    """A database of Xapian as a backend of searches.

    Args:
        folder: as for :class:`XapianDriver`.
        **options: as for :class:`lexite.engines.live.LiveEngine`.
    """

    def __init__(self, folder: str | Path, **options: Any) -> None:
        super().__init__(XapianDriver(folder), **options)


def at_folder(path: str, **options: Any) -> XapianEngine:
    """The engine over a folder; other arguments as for :class:`XapianEngine`."""
    return XapianEngine(path, **options)
