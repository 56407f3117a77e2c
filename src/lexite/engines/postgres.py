"""PostgreSQL with pgvector: impacts in a ``sparsevec``, inner products in SQL. Its client is psycopg.

Beside the table of passages there are two others. ``NAME_terms`` has the number of each word and in how many passages each term
occurs, ``NAME_record`` how the documents were made. Everything that changes together is changed in one transaction.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Written, joined_text
from lexite.engines.forms.base import Collection
from lexite.engines.forms.postgres import DIMENSIONS, MOST_TERMS, MOST_TERMS_HNSW, PostgresForm, sparsevec
from lexite.engines.live import LiveEngine
from lexite.engines.queries import EngineQuery
from lexite.engines.stored_values import stored_fields
from lexite.engines.translating import translated
from lexite.engines.word_numbers import WORDS_FROM, WordNumbers, json_fields, parts_of
from lexite.errors import EngineError, FilterError, MissingExtraError
from lexite.index.conditions import Condition, Value
from lexite.index.config import StoredDocument
from lexite.index.field_types import ID_FIELD, FieldType

if TYPE_CHECKING:
    from lexite.engines.addresses import Address
    from lexite.index.conditions import Operator

EF_SEARCH = 400
"""Candidates of an approximate search, unless told otherwise; 1,000 at most."""
_COLUMNS = "id, doc, ordinal, number, length, first, behind, n_terms, title, text, fields, lexite"
_CASTS: Mapping[FieldType, str] = {
    "integer": "::bigint",
    "number": "::double precision",
    "boolean": "::boolean",
    "date": "::date",
    "datetime": "::timestamptz",
    "text": ' COLLATE "C"',
}


class _HnswForm(PostgresForm):
    """Of a table with an index of pgvector's, which takes fewer terms."""

    most_terms: int | None = MOST_TERMS_HNSW
    most_terms_of_document: int | None = MOST_TERMS_HNSW


class PostgresDriver:
    """A table of a database.

    Args:
        url: of the database, ``postgresql://user:password@host/database``, or what else psycopg connects with.
        name: of the table.
        hnsw: whether a new table gets an approximate index, and searches go through it.
        ef_search: candidates of an approximate search.

    Raises:
        EngineError: the database cannot be reached, or has no pgvector.
        MissingExtraError: psycopg is not installed.
    """

    engine = "PostgreSQL"

    def __init__(self, url: str, name: str = "lexite", *, hnsw: bool = False, ef_search: int = EF_SEARCH) -> None:
        try:
            self._psycopg: Any = importlib.import_module("psycopg")
        except ImportError:
            raise MissingExtraError("psycopg", "postgres", "PostgreSQL") from None
        self.name, self._hnsw, self._ef_search = name, hnsw, ef_search
        self.form = _HnswForm() if hnsw else PostgresForm()
        with self._errors("reach"):
            self._connection: Any = self._psycopg.connect(url, autocommit=True)
        facts = self._connection.info
        self.address = f"postgresql://{facts.host or 'localhost'}:{facts.port}/{facts.dbname}/{name}"
        self._table, self._terms, self._record = (_quoted(f"{name}{end}") for end in ("", "_terms", "_record"))
        self._numbers = WordNumbers(self._find_words, self._create_words)

    @property
    def capabilities(self) -> Capabilities:
        """Exact without an index of pgvector's."""
        most = MOST_TERMS_HNSW if self._hnsw else MOST_TERMS
        return Capabilities(
            exact=not self._hnsw,
            live_statistics=False,
            among=True,
            exclude=True,
            fields=True,
            most_terms=most,
            word_weights=True,
        )

    def create(self, collection: Collection) -> None:
        """Makes the tables."""
        if self.read_record() is not None:
            raise EngineError(f"There is a collection at {self.address} already.")
        with self._errors("make tables at"), self._connection.transaction():
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            self._run(
                f"CREATE TABLE {self._table} (id text PRIMARY KEY, doc text NOT NULL, ordinal integer NOT NULL, "
                "number bigint NOT NULL, length double precision NOT NULL, first integer, behind integer, "
                "n_terms integer NOT NULL, title text NOT NULL, text text NOT NULL, fields jsonb NOT NULL, "
                f"lexite sparsevec({DIMENSIONS}) NOT NULL)"
            )
            self._run(f"CREATE INDEX ON {self._table} (doc)")
            self._run(
                f"CREATE TABLE {self._terms} (name text PRIMARY KEY, frequency bigint NOT NULL DEFAULT 0, "
                f"term integer UNIQUE GENERATED ALWAYS AS IDENTITY (START WITH {WORDS_FROM}))"
            )
            self._run(f"CREATE TABLE {self._record} (record jsonb NOT NULL)")
            if self._hnsw:
                self._run(f"CREATE INDEX ON {self._table} USING hnsw (lexite sparsevec_ip_ops)")
        self._numbers.forget()

    def drop(self) -> None:
        """Removes the tables."""
        with self._errors("remove tables at"):
            self._run(f"DROP TABLE IF EXISTS {self._table}, {self._terms}, {self._record}")
        self._numbers.forget()

    def read_record(self) -> Any | None:
        """The record; None where there is no such table."""
        with self._errors("read"):
            if self._rows("SELECT to_regclass(%s)", self._record)[0][0] is None:
                return None
            rows = self._rows(f"SELECT record::text FROM {self._record}")
        return json.loads(rows[0][0]) if rows else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps the record in place of the one before."""
        with self._errors("write to"), self._connection.transaction():
            self._run(f"DELETE FROM {self._record}")
            self._run(f"INSERT INTO {self._record} VALUES (%s::jsonb)", json.dumps(record))

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Fields are keys of a JSON object, so a new one needs nothing."""

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages by ``COPY``, all of them or none."""
        n_bytes = 0
        with self._errors("write to"), self._connection.transaction(), self._connection.cursor() as cursor:
            self._run(f"DELETE FROM {self._table} WHERE id = ANY(%s)", [each.id for each in documents])
            self._numbers.of_terms(collection.names, (term for each in documents for term in each.terms.tolist()), create=True)
            with cursor.copy(f"COPY {self._table} ({_COLUMNS}) FROM STDIN") as copy:
                for each in documents:
                    row = self._row(each, collection)
                    n_bytes += len(row[-1]) + len(row[-2]) + len(row[-3])
                    copy.write_row(row)
        return Written(n_bytes)

    def _row(self, document: EngineDocument, collection: Collection) -> tuple[Any, ...]:
        numbers = np.array(self._numbers.of_terms(collection.names, document.terms.tolist()), dtype=np.int64)
        order = np.argsort(numbers)
        vector = sparsevec(numbers[order].tolist(), document.values[order].tolist())
        first, behind = document.span or (None, None)
        return (
            document.id,
            document.document,
            document.ordinal,
            document.number,
            document.length,
            first,
            behind,
            len(numbers),
            document.title.replace("\0", "\ufffd"),
            document.text.replace("\0", "\ufffd"),
            json.dumps(json_fields(document.fields)).replace("\\u0000", "\\ufffd"),
            vector,
        )

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Adds to the frequencies of terms, or replaces all of them."""
        with self._errors("write to"), self._connection.transaction():
            if anew:
                self._run(f"UPDATE {self._terms} SET frequency = 0 WHERE frequency <> 0")
            self._add_frequencies(changes)

    def _add_frequencies(self, changes: Mapping[str, int]) -> None:
        self._run(
            f"INSERT INTO {self._terms} AS known (name, frequency) SELECT * FROM unnest(%s::text[], %s::bigint[]) "
            "ON CONFLICT (name) DO UPDATE SET frequency = known.frequency + excluded.frequency",
            list(changes),
            list(changes.values()),
        )

    def settle(self) -> None:
        """What was written is there already."""

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents, and takes their terms out of the frequencies."""
        with self._errors("delete from"), self._connection.transaction():
            rows = self._rows(f"DELETE FROM {self._table} WHERE doc = ANY(%s) RETURNING lexite::text", list(documents))
            counts: dict[int, int] = {}
            for (vector,) in rows:
                for number in _parsed(vector):
                    counts[number] = counts.get(number, 0) - 1
            words = [number for number in counts if number >= WORDS_FROM]
            named = dict(self._rows(f"SELECT term, name FROM {self._terms} WHERE term = ANY(%s)", words))
            self._add_frequencies({named.get(number, f"t{number}"): n for number, n in counts.items()})

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which documents there are."""
        own = [each for each in documents if "\0" not in each]
        with self._errors("ask"):
            return {row[0] for row in self._rows(f"SELECT doc FROM {self._table} WHERE doc = ANY(%s)", own)}

    def counts(self) -> Counts:
        """Counts all rows."""
        with self._errors("ask"):
            ((documents, passages, filled, mean),) = self._rows(
                f"SELECT count(*) FILTER (WHERE ordinal = 0), count(*), count(*) FILTER (WHERE n_terms > 0), avg(length) "
                f"FROM {self._table}"
            )
        return Counts(documents, passages, filled, mean)

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """As they were kept."""
        with self._errors("ask"):
            rows = self._rows(f"SELECT name, frequency FROM {self._terms} WHERE name = ANY(%s)", list(names))
        known = dict(rows)
        return np.array([known.get(name, 0) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """One statement for each question."""
        found = []
        for question in questions:
            with self._errors("search"), self._connection.transaction():
                statement, values = self._statement(question, collection)
                rows = self._rows(statement, *values) if len(question.query.terms) else []
            found.append([Found(doc, score, None if first is None else (first, behind)) for doc, score, first, behind in rows])
        return found

    def _statement(self, question: Question, collection: Collection) -> tuple[str, list[Any]]:
        """The statement of a question. pgvector's distance is the inner product times -1."""
        numbers = np.array(self._numbers.of_terms(collection.names, question.query.terms.tolist()), dtype=np.int64)
        kept = np.flatnonzero(numbers >= 0)
        order = kept[np.argsort(numbers[kept])]
        vector = sparsevec(numbers[order].tolist(), question.query.weights[order].tolist())
        conditions, values = self._conditions(question, collection)
        only = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        columns = "doc, ordinal, number, first, behind, fields"
        inner = f"SELECT {columns}, lexite <#> %s::sparsevec AS distance FROM {self._table}{only}"
        if self._hnsw and question.sort is None:
            depth = max(self._ef_search, question.top_k)
            self._run(
                "SELECT set_config('enable_seqscan', 'off', true), set_config('hnsw.iterative_scan', 'strict_order', true)"
            )
            self._run("SELECT set_config('hnsw.ef_search', %s, true)", str(min(self._ef_search, 1000)))
            inner = f"{inner} ORDER BY lexite <#> %s::sparsevec LIMIT {depth}"
            values = [vector, *values, vector]
        else:
            inner, values = f"{inner} OFFSET 0", [vector, *values]
        least = [] if question.min_score is None else [-question.min_score]
        found = f"SELECT * FROM ({inner}) AS scored WHERE distance < 0{' AND distance <= %s' if least else ''}"
        values += least
        if collection.has_passages:
            found = f"SELECT DISTINCT ON (doc) * FROM ({found}) AS passages ORDER BY doc, distance, ordinal"
        by, more = _order(question.sort, collection)
        statement = f"SELECT doc, -distance, first, behind FROM ({found}) AS best ORDER BY {by}distance, number LIMIT %s"
        return statement, [*values, *more, question.top_k]

    def _conditions(self, question: Question, collection: Collection) -> tuple[list[str], list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        if question.among is not None:
            conditions.append("doc = ANY(%s)")
            values.append(list(question.among))
        if question.exclude is not None and "\0" not in question.exclude:
            conditions.append("doc <> %s")
            values.append(question.exclude)
        if question.where is not None:
            written, own = where_sql(question.where, collection.fields)
            conditions.append(written)
            values += own
        return conditions, values

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Reads the vectors of the document, and multiplies."""
        numbers = self._numbers.of_terms(collection.names, query.terms.tolist())
        with self._errors("ask"):
            rows = self._rows(
                f"SELECT lexite::text, first, behind, length FROM {self._table} WHERE doc = %s ORDER BY ordinal", document
            )
        return [
            parts_of(query, numbers, _parsed(vector), None if first is None else (first, behind), length)
            for vector, first, behind, length in rows
        ]

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts a document together of its passages."""
        if "\0" in document:
            return None
        with self._errors("ask"):
            rows = self._rows(
                f"SELECT first, behind, text, title, fields FROM {self._table} WHERE doc = %s ORDER BY ordinal", document
            )
        if not rows:
            return None
        text = joined_text([(None if first is None else (first, behind), text) for first, behind, text, _, _ in rows])
        return StoredDocument(document, rows[0][3], text, stored_fields(rows[0][4], fields))

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _find_words(self, names: list[str]) -> Mapping[str, int]:
        return dict(self._rows(f"SELECT name, term FROM {self._terms} WHERE name = ANY(%s)", names))

    def _create_words(self, names: list[str]) -> Mapping[str, int]:
        self._run(f"INSERT INTO {self._terms} (name) SELECT unnest(%s::text[]) ON CONFLICT (name) DO NOTHING", names)
        return self._find_words(names)

    def _run(self, statement: str, *values: Any) -> None:
        self._connection.execute(statement, values)

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(statement, values).fetchall())

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        """Makes errors of the database into ones for people. Words that a failed transaction made have no number."""
        try:
            yield
        except self._psycopg.Error as error:
            if hasattr(self, "_numbers"):
                self._numbers.forget()
            where = getattr(self, "address", "PostgreSQL")
            said = " ".join(str(error).split()) or type(error).__name__
            raise EngineError(f"Cannot {verb} {where}: {said}") from None


class PostgresEngine(LiveEngine):
    """A table of PostgreSQL as a backend of searches.

    Args:
        url: as for :class:`PostgresDriver`.
        name: likewise.
        hnsw: likewise.
        ef_search: likewise.
        **options: as for :class:`lexite.engines.live.LiveEngine`.

    Raises:
        EngineError, MissingExtraError: as for :class:`PostgresDriver`.
    """

    def __init__(
        self, url: str, name: str = "lexite", *, hnsw: bool = False, ef_search: int = EF_SEARCH, **options: Any
    ) -> None:
        super().__init__(PostgresDriver(url, name, hnsw=hnsw, ef_search=ef_search), **options)


def at_address(address: Address, **options: Any) -> PostgresEngine:
    """The table at an address, ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE/TABLE``.

    Args:
        address: its options are ``hnsw`` (1 for an approximate index) and ``ef_search``.
        **options: as for :class:`PostgresEngine`.
    """
    numbers = address.numbers("hnsw", "ef_search")
    approximate = {"hnsw": bool(numbers.pop("hnsw"))} if "hnsw" in numbers else {}
    port = f":{address.port}" if address.port else ""
    url = f"postgresql://{address.host}{port}/{quote('/'.join(address.path), safe='')}"
    return PostgresEngine(url, address.name, **approximate, **numbers, **options)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parsed(vector: str) -> dict[int, float]:
    """The values of a vector as pgvector writes it, by number of the term."""
    inside = vector[1 : vector.index("}")]
    pairs = (pair.split(":") for pair in inside.split(",")) if inside else ()
    return {int(number) - 1: float(value) for number, value in pairs}


def _order(sort: tuple[str, bool] | None, collection: Collection) -> tuple[str, list[Any]]:
    if sort is None:
        return "", []
    field, descending = sort
    expression, values = _expression(field, collection.fields.get(field, "text"))
    return f"{expression} {'DESC' if descending else 'ASC'} NULLS LAST, ", values


def _expression(field: str, kind: FieldType) -> tuple[str, list[Any]]:
    """A field as a value of its type."""
    return ('(doc COLLATE "C")', []) if field == ID_FIELD else (f"((fields->>%s){_CASTS[kind]})", [field])


def where_sql(condition: Condition, schema: Mapping[str, FieldType]) -> tuple[str, list[Any]]:
    """A filter as SQL over the table, with the values of its placeholders.

    >>> from lexite.index.filters import read_filter
    >>> schema = {"year": "integer", "tags": "list"}
    >>> where_sql(read_filter("year > 1999 and not 'law' in tags", schema), schema)
    ('(((fields->>%s)::bigint) > %s AND (fields ? %s AND NOT fields->%s ? %s))', ['year', 1999, 'tags', 'tags', 'law'])
    """
    return translated(condition, schema, _Sql())


class _Sql:
    """Writes conditions in SQL."""

    def all_of(self, parts: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
        return self._joined(parts, " AND ")

    def any_of(self, parts: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
        return self._joined(parts, " OR ")

    def _joined(self, parts: Sequence[tuple[str, list[Any]]], word: str) -> tuple[str, list[Any]]:
        return f"({word.join(part for part, _ in parts)})", [value for _, own in parts for value in own]

    def no(self, part: tuple[str, list[Any]]) -> tuple[str, list[Any]]:
        return f"NOT {part[0]}", part[1]

    def nothing(self) -> tuple[str, list[Any]]:
        return "FALSE", []

    def has(self, field: str, kind: FieldType) -> tuple[str, list[Any]]:
        return ("TRUE", []) if field == ID_FIELD else ("fields ? %s", [field])

    def one_of(self, field: str, kind: FieldType, values: Sequence[Value]) -> tuple[str, list[Any]]:
        expression, own = _expression(field, kind)
        if any(isinstance(value, str) and "\0" in value for value in values):
            raise FilterError("PostgreSQL has no text with a NUL in it. Leave it out of the filter.")
        return (
            (f"{expression} = ANY(%s)", [*own, list(values)]) if len(values) > 1 else (f"{expression} = %s", [*own, values[0]])
        )

    def within(self, field: str, kind: FieldType, operator: Operator, value: Value) -> tuple[str, list[Any]]:
        expression, own = _expression(field, kind)
        return f"{expression} {operator} %s", [*own, value]

    def like(self, field: str, pattern: str, *, any_case: bool) -> tuple[str, list[Any]]:
        word = "ILIKE" if any_case else "LIKE"
        return (f"doc {word} %s", [pattern]) if field == ID_FIELD else (f"(fields->>%s) {word} %s", [field, pattern])

    def contains(self, field: str, value: str) -> tuple[str, list[Any]]:
        return "fields->%s ? %s", [field, value]
