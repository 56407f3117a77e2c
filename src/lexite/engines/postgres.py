"""PostgreSQL with pgvector: impacts in a ``sparsevec``, inner products in SQL. Its client is psycopg.

Beside the table of passages there are two others. ``NAME_terms`` has the number of each word and in how many passages each term
occurs, ``NAME_record`` how the documents were made. Everything that changes together is changed in one transaction.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Written, joined_text
from lexite.engines.forms.base import Collection
from lexite.engines.forms.postgres import DIMENSIONS, MOST_TERMS, MOST_TERMS_HNSW, PostgresForm, sparsevec
from lexite.engines.live import LiveEngine
from lexite.engines.postgres_connection import PostgresConnection
from lexite.engines.postgres_search import search_sql
from lexite.engines.queries import EngineQuery
from lexite.engines.retrying import Patience
from lexite.engines.security import with_password
from lexite.engines.stored_values import stored_fields
from lexite.engines.word_numbers import WORDS_FROM, WordNumbers, json_fields, parts_of
from lexite.errors import ConfigError, EngineError
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType

if TYPE_CHECKING:
    from lexite.engines.addresses import Address

_TLS = ("sslmode", "sslrootcert")  # options of libpq
EF_SEARCH = 400
"""Candidates of an approximate search, unless told otherwise."""
MOST_EF_SEARCH = 1000
LONGEST_NAME = 63 - len("_record")
"""Bytes: PostgreSQL cuts names after 63, and the names of three tables begin with this one."""
T = TypeVar("T")
_COLUMNS = "id, doc, ordinal, number, length, first, behind, n_terms, title, text, fields, lexite"


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
        patience: how often and how long is waited where the connection was lost.

    Raises:
        ConfigError: the name is too long, or ef_search too small or too large.
        EngineError: the database cannot be reached, or has no pgvector.
        MissingExtraError: psycopg is not installed.
    """

    engine = "PostgreSQL"

    def __init__(
        self,
        url: str,
        name: str = "lexite",
        *,
        hnsw: bool = False,
        ef_search: int = EF_SEARCH,
        patience: Patience | None = None,
    ) -> None:
        if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
            raise ConfigError(f"'{name}' is no name of a table. It has 1 to {LONGEST_NAME} bytes, and no NUL.")
        if not 1 <= ef_search <= MOST_EF_SEARCH:
            raise ConfigError(f"ef_search is {ef_search:,}, but must be from 1 to {MOST_EF_SEARCH:,}.")
        self.name, self._hnsw, self._ef_search = name, hnsw, ef_search
        self.form = _HnswForm() if hnsw else PostgresForm()
        self._connection = PostgresConnection(url, name, patience)
        self.address = self._connection.address
        self._run, self._rows = self._connection.run, self._connection.rows
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
        self._do("make tables at", self._make)
        self._numbers.forget()

    def _make(self) -> None:
        self._drop_begun()
        there = [table for table in (self._table, self._terms, self._record) if self._is_there(table)]
        if there:
            raise EngineError(
                f"There is a table {there[0]} at {self.address} that was not made by lexite, or has lost its record, so it is "
                "not replaced. Choose another name, or drop it by the means of PostgreSQL."
            )
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

    def _is_there(self, table: str) -> bool:
        return self._rows("SELECT to_regclass(%s)", table)[0][0] is not None

    def _drop_begun(self) -> None:
        """Removes tables that were made, and never got a record or a row."""
        made = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'lexite'"
        if (
            self._is_there(self._record)
            and self._rows(made, self._table)
            and not self._rows(f"SELECT 1 FROM {self._table} LIMIT 1")
        ):
            self._drop()

    def drop(self) -> None:
        """Removes the tables."""
        self._do("remove tables at", self._drop)
        self._numbers.forget()

    def _drop(self) -> None:
        self._run(f"DROP TABLE IF EXISTS {self._table}, {self._terms}, {self._record}")

    def read_record(self) -> Any | None:
        """The record; None where there is no such table."""
        there = self._do("read", lambda: self._is_there(self._record))
        rows = self._do("read", lambda: self._rows(f"SELECT record::text FROM {self._record}")) if there else []
        return json.loads(rows[0][0]) if rows else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps the record in place of the one before."""

        def replace() -> None:
            self._run(f"DELETE FROM {self._record}")
            self._run(f"INSERT INTO {self._record} VALUES (%s::jsonb)", json.dumps(record))

        self._do("write to", replace)

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Fields are keys of a JSON object, so a new one needs nothing."""

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages by ``COPY``, all of them or none."""
        return Written(self._do("write to", lambda: self._copy(documents, collection)))

    def _copy(self, documents: Sequence[EngineDocument], collection: Collection) -> int:
        n_bytes = 0
        self._run(f"DELETE FROM {self._table} WHERE id = ANY(%s)", [each.id for each in documents])
        self._numbers.of_terms(collection.names, (term for each in documents for term in each.terms.tolist()), create=True)
        with self._connection.copy(f"COPY {self._table} ({_COLUMNS}) FROM STDIN") as copy:
            for each in documents:
                row = self._row(each, collection)
                n_bytes += len(row[-1]) + len(row[-2]) + len(row[-3])
                copy.write_row(row)
        return n_bytes

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

        def change() -> None:
            if anew:
                self._run(f"UPDATE {self._terms} SET frequency = 0 WHERE frequency <> 0")
            self._add_frequencies(changes)

        self._do("write to", change, additive=not anew)

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
        self._do("delete from", lambda: self._delete(list(documents)))

    def _delete(self, documents: list[str]) -> None:
        rows = self._rows(f"DELETE FROM {self._table} WHERE doc = ANY(%s) RETURNING lexite::text", documents)
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
        return {row[0] for row in self._asked(f"SELECT doc FROM {self._table} WHERE doc = ANY(%s)", own)}

    def counts(self) -> Counts:
        """Counts all rows."""
        ((documents, passages, filled, mean),) = self._asked(
            f"SELECT count(*) FILTER (WHERE ordinal = 0), count(*), count(*) FILTER (WHERE n_terms > 0), avg(length) "
            f"FROM {self._table}"
        )
        return Counts(documents, passages, filled, mean)

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """As they were kept."""
        rows = self._asked(f"SELECT name, frequency FROM {self._terms} WHERE name = ANY(%s)", list(names))
        known = dict(rows)
        return np.array([known.get(name, 0) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """One statement for each question."""
        return [self._do("search", functools.partial(self._answer, question, collection)) for question in questions]

    def _answer(self, question: Question, collection: Collection) -> list[Found]:
        terms = question.query.terms.tolist()
        if not terms:
            return []
        numbers = np.array(self._numbers.of_terms(collection.names, terms), dtype=np.int64)
        kept = np.flatnonzero(numbers >= 0)
        order = kept[np.argsort(numbers[kept])]
        vector = sparsevec(numbers[order].tolist(), question.query.weights[order].tolist())
        depth = max(self._ef_search, question.top_k) if self._hnsw and question.sort is None else None
        if depth is not None:
            self._run(
                "SELECT set_config('enable_seqscan', 'off', true), set_config('hnsw.iterative_scan', 'strict_order', true)"
            )
            self._run("SELECT set_config('hnsw.ef_search', %s, true)", str(self._ef_search))
        statement, values = search_sql(self._table, vector, question, collection, depth)
        rows = self._rows(statement, *values)
        return [Found(doc, score, None if first is None else (first, behind)) for doc, score, first, behind in rows]

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Reads the vectors of the document, and multiplies."""
        numbers = self._do("ask", lambda: self._numbers.of_terms(collection.names, query.terms.tolist()))
        rows = self._asked(
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
        rows = self._asked(
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

    def _do(self, verb: str, work: Callable[[], T], *, additive: bool = False) -> T:
        """What some work gives, in one transaction. Words that a failed one made have no number."""
        return self._connection.transaction(verb, work, lost=self._numbers.forget, additive=additive)

    def _asked(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._do("ask", lambda: self._rows(statement, *values))


class PostgresEngine(LiveEngine):
    """A table of PostgreSQL as a backend of searches.

    Args:
        url: as for :class:`PostgresDriver`.
        name: likewise.
        hnsw: likewise.
        ef_search: likewise.
        patience: likewise.
        **options: as for :class:`lexite.engines.live.LiveEngine`.

    Raises:
        EngineError, MissingExtraError: as for :class:`PostgresDriver`.
    """

    def __init__(
        self,
        url: str,
        name: str = "lexite",
        *,
        hnsw: bool = False,
        ef_search: int = EF_SEARCH,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        super().__init__(PostgresDriver(url, name, hnsw=hnsw, ef_search=ef_search, patience=patience), **options)


def at_address(address: Address, **options: Any) -> PostgresEngine:
    """The table at an address, ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE/TABLE``.

    Args:
        address: its options are ``hnsw`` (1 for an approximate index) and ``ef_search``, and libpq's ``sslmode`` and
            ``sslrootcert``.
        **options: as for :class:`PostgresEngine`.

    Raises:
        ConfigError: options that there are not, or no name of a database.
    """
    if address.secure:
        raise ConfigError("PostgreSQL does not speak HTTPS. Write postgresql://...?sslmode=verify-full, for TLS of its own.")
    if len(address.path) != 1:
        raise ConfigError("An address of PostgreSQL has a database and a table: postgresql://HOST/DATABASE/TABLE")
    numbers = address.numbers("hnsw", "ef_search", besides=_TLS)
    if numbers.get("hnsw", 0) not in (0, 1):
        raise ConfigError(f"hnsw in the address is {numbers['hnsw']}, but must be 0 or 1.")
    if "ef_search" in numbers and not numbers.get("hnsw"):
        raise ConfigError("ef_search in the address is for approximate searches, and has no effect without hnsw=1.")
    approximate: dict[str, Any] = {"hnsw": bool(numbers.pop("hnsw", 0))}
    port = f":{address.port}" if address.port else ""
    tls = urlencode({name: value for name, value in address.options.items() if name in _TLS})
    url = f"postgresql://{with_password(address).host}{port}/{quote(address.path[0], safe='')}?{tls}"
    return PostgresEngine(url, address.name, **approximate, **numbers, **options)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parsed(vector: str) -> dict[int, float]:
    """The values of a vector as pgvector writes it, by number of the term."""
    inside = vector[1 : vector.index("}")]
    pairs = (pair.split(":") for pair in inside.split(",")) if inside else ()
    return {int(number) - 1: float(value) for number, value in pairs}
