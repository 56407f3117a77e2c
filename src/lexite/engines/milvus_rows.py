"""Rows in collections of Milvus: on a server, or in a file by Milvus Lite in this process. pymilvus speaks to both."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from lexite.engines.forms.base import FIELD
from lexite.errors import ConfigError, EngineError, MissingExtraError

AT_ONCE = 1000
"""Rows of a request, and keys."""
MOST_HITS = 16_384
"""Hits that a server gives of a search."""
MOST_TEXT = 65_535
"""Bytes of a text."""
MOST_JSON = 65_536
"""Bytes of a JSON value."""
MOST_PARTS = 4096
"""Texts of a list."""
_FIRST_LITE = (3, 2, 2)  # those before it score sparse vectors by BM25, whatever they are told
_LOGGERS = ("pymilvus.decorators", "milvus_lite.server_manager")
_asking: ContextVar[bool] = ContextVar("lexite_asks_milvus", default=False)
_users: Counter[str] = Counter()  # of each file that Milvus Lite has open for lexite
_users_lock = threading.Lock()

Column = str
"""Of a schema: ``text``, ``whole``, ``number``, ``texts``, ``json``."""


def text_parts(text: str) -> list[str]:
    """A text in parts that a column holds, one or more.

    >>> [len(part) for part in text_parts("x" * 40_000)], text_parts("")
    ([16383, 16383, 7234], [''])
    """
    size = MOST_TEXT // 4  # bytes of a character at most
    return [text[begin : begin + size] for begin in range(0, max(len(text), 1), size)]


class MilvusRows:
    """Collections of a server, or of a file.

    Args:
        uri: ``http://HOST:19530``, or a path that ends with ``.db``.
        token: an API key, or ``USER:PASSWORD``.
        database: of the server.
        options: more for ``MilvusClient``, such as ``server_pem_path``.

    Raises:
        MissingExtraError: pymilvus or, for a file, milvus-lite is not installed.
        EngineError: milvus-lite is too old.
        ConfigError: the path has another end.
    """

    def __init__(self, uri: str | Path, *, token: str = "", database: str = "", **options: Any) -> None:
        try:
            self._pymilvus: Any = importlib.import_module("pymilvus")
        except ImportError:
            raise MissingExtraError("pymilvus", "milvus", "Milvus") from None
        self._uri = str(uri)
        self.local = "://" not in self._uri
        way = "+https" if self._uri.startswith("https://") else ""
        host = self._uri.partition("://")[2].rpartition("@")[2].rstrip("/")
        self.address = f"milvus-lite:{self._uri}" if self.local else f"milvus{way}://{host}{f'/{database}' if database else ''}"
        if self.local:
            _check_lite()
            if not self._uri.endswith(".db"):
                raise ConfigError(
                    f"'{uri}' is no file of Milvus Lite. Its name ends with .db, and a collection may follow: notes.db/NAME"
                )
        for name in _LOGGERS:  # errors are raised for people; the same with a traceback would stand before them
            logging.getLogger(name).addFilter(_is_not_asked)
        self._options = {"token": token, "db_name": database, **options}
        self._client: Any = None
        self._loaded: set[str] = set()

    @contextmanager
    def _errors(self, beginning: str) -> Iterator[None]:
        """Makes errors of the client into ones for people."""
        token = _asking.set(True)
        try:
            yield
        except self._pymilvus.MilvusException as error:
            said = " ".join(str(error.message or error).split())
            raise EngineError(f"{beginning}: {said[:500]}") from None
        finally:
            _asking.reset(token)

    def _open(self) -> Any:
        if self._client is None:
            with self._errors(f"Cannot reach Milvus at {self.address}{self._why_not()}"):
                self._client = self._pymilvus.MilvusClient(self._uri, **self._options)
            if self.local:
                with _users_lock:
                    _users[self._file] += 1
        return self._client

    def _why_not(self) -> str:
        """What may keep a file from being opened."""
        if not self.local:
            return ""
        if not Path(self._uri).parent.is_dir():
            return " (its folder is not there)"
        return " (one process at a time has a file open, and it may be another one)"

    @property
    def _file(self) -> str:
        return os.path.abspath(self._uri)

    def _ask(self, method: str, *values: Any, **named: Any) -> Any:
        client = self._open()
        with self._errors(f"Milvus at {self.address} failed at '{method}'"):
            return getattr(client, method)(*values, **named)

    def exists(self, name: str) -> bool:
        """Whether there is a collection."""
        if self.local and self._client is None and not Path(self._uri).exists():
            return False
        return bool(self._ask("has_collection", name))

    def _ask_loaded(self, method: str, name: str, **named: Any) -> Any:
        """Asks a collection that is in memory, where Milvus wants it."""
        if name not in self._loaded:
            self._ask("load_collection", name)
            self._loaded.add(name)
        return self._ask(method, name, **named)

    def create(self, name: str, key: str, columns: Mapping[str, Column]) -> None:
        """Makes a collection with a column for sparse vectors.

        Args:
            name: of the collection.
            key: the column of the primary key.
            columns: the others.
        """
        kit = self._pymilvus.DataType
        kinds: dict[Column, tuple[Any, dict[str, Any]]] = {
            "text": (kit.VARCHAR, {"max_length": MOST_TEXT}),
            "whole": (kit.INT64, {}),
            "number": (kit.DOUBLE, {}),
            "texts": (kit.ARRAY, {"element_type": kit.VARCHAR, "max_capacity": MOST_PARTS, "max_length": MOST_TEXT}),
            "json": (kit.JSON, {}),
        }
        client = self._pymilvus.MilvusClient
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(key, kit.VARCHAR, is_primary=True, max_length=MOST_TEXT)
        for column, kind in columns.items():
            schema.add_field(column, kinds[kind][0], **kinds[kind][1])
        schema.add_field(FIELD, kit.SPARSE_FLOAT_VECTOR)
        indexes = client.prepare_index_params()
        indexes.add_index(field_name=FIELD, index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        self._ask("create_collection", name, schema=schema, consistency_level="Strong")
        self._ask("create_index", name, indexes, sync=False)  # of nothing yet, so there is nothing to wait for

    def drop(self, name: str) -> None:
        """Removes a collection, if there is one."""
        self._loaded.discard(name)
        if not self.local or self._client is not None or Path(self._uri).exists():
            self._ask("drop_collection", name)

    def upsert(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Writes rows."""
        for begin in range(0, len(rows), AT_ONCE):
            self._ask("upsert", name, list(rows[begin : begin + AT_ONCE]))

    def delete(self, name: str, only: str) -> None:
        """Deletes the rows that pass an expression."""
        self._ask_loaded("delete", name, filter=only)

    def query(self, name: str, only: str, columns: list[str]) -> list[dict[str, Any]]:
        """The rows that pass an expression."""
        return [dict(row) for row in self._ask_loaded("query", name, filter=only, output_fields=columns)]

    def count(self, name: str, only: str) -> int:
        """How many rows pass."""
        return int(self._ask_loaded("query", name, filter=only, output_fields=["count(*)"])[0]["count(*)"])

    def search(
        self, name: str, vectors: list[dict[int, float]], only: str, limit: int, columns: list[str]
    ) -> list[list[tuple[float, dict[str, Any]]]]:
        """The best rows for each vector by inner products, best first."""
        found = self._ask_loaded(
            "search", name, data=vectors, anns_field=FIELD, filter=only, limit=limit, output_fields=columns, search_params={}
        )
        return [[(float(hit["distance"]), dict(hit["entity"])) for hit in hits] for hits in found]

    def settle(self, name: str) -> None:
        """Has Milvus Lite write a file, since it reads what is in none anew at every search. A server does it by itself."""
        if self.local:
            self._ask("flush", name)

    def close(self) -> None:
        """Ends the connection, and Milvus Lite where nobody else of lexite has the file open."""
        if self._client is None:
            return
        self._client.close()
        self._client = None
        self._loaded.clear()
        if self.local:
            with _users_lock:
                _users[self._file] -= 1
                if not _users[self._file]:
                    importlib.import_module("milvus_lite.server_manager").server_manager_instance.release_server(self._file)


def _is_not_asked(record: logging.LogRecord) -> bool:
    """Lets pass what was not logged within a request of lexite."""
    return not _asking.get()


def _check_lite() -> None:
    try:
        version = importlib.metadata.version("milvus-lite")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("milvus-lite", "milvus", "Milvus in this process") from None
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < _FIRST_LITE:
        raise EngineError(
            f"Milvus Lite {version} scores sparse vectors by BM25 of its own. Take a later one: pip install 'lexite[milvus]'"
        )
