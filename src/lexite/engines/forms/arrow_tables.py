"""Parquet and Arrow: a row for each passage, with the numbers of its terms and their values."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import Collection, json_text, not_unicode
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import ROUTE_NAMES, RouteName
from lexite.errors import MissingExtraError
from lexite.index.fields import arrow_type

ROWS_AT_ONCE = 2048  # of a row group
_FACTS = 64  # bytes of a row beside terms and texts, about


@dataclass(frozen=True)
class ArrowForm:
    """Tables of Arrow.

    Attributes:
        kind: of file.
        suffix: of its files.
        routes: what it can hold.
        most_terms: no limit.
        most_hits: no limit.
        most_terms_of_document: no limit.
        holds_texts: they do.
    """

    kind: Literal["parquet", "arrow"]
    suffix: str
    routes: tuple[RouteName, ...] = ("impacts", *(name for name in ROUTE_NAMES if name != "impacts"))
    most_terms: int | None = None
    most_hits: int | None = None
    most_terms_of_document: int | None = None
    holds_texts: bool = True

    def id_problem(self, identifier: str) -> str | None:
        """Ids are text."""
        return not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Fields are columns of a struct."""
        return None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The columns, for people."""
        columns = {name: str(kind) for name, kind in zip(*_schema(collection), strict=True)}
        return {"columns.json": json_text(columns)}

    def part(self, file: IO[bytes], collection: Collection) -> ArrowPart:
        """A table."""
        return ArrowPart(self.kind, file, collection)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The terms of a query and their weights, for whatever reads the table."""
        return {
            "indices": query.terms.tolist(),
            "values": query.weights.tolist(),
            **({"pivot": query.pivot} if collection.route.saturates else {}),
            "limit": top_k,
        }


def _arrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "Writing Parquet and Arrow files") from None


def _schema(collection: Collection) -> tuple[list[str], list[Any]]:
    pa = _arrow()
    value = pa.int64() if collection.route.rounding == "count" else pa.float32()
    columns = {"id": pa.string(), "doc": pa.string(), "indices": pa.list_(pa.int32()), "values": pa.list_(value)}
    if collection.text:
        columns |= {"title": pa.large_string(), "text": pa.large_string()}
    if collection.fields:
        columns["fields"] = pa.struct([(name, arrow_type(kind, pa)) for name, kind in collection.fields.items()])
    return list(columns), list(columns.values())


class ArrowPart:
    """A file with a table that is being written, some thousand rows at a time.

    Args:
        kind: of file.
        file: where it is written.
        collection: what the rows hold.
    """

    def __init__(self, kind: Literal["parquet", "arrow"], file: IO[bytes], collection: Collection) -> None:
        pa = _arrow()
        self._pa, self._collection = pa, collection
        self._schema = pa.schema(list(zip(*_schema(collection), strict=True)))
        if kind == "parquet":
            self._writer: Any = importlib.import_module("pyarrow.parquet").ParquetWriter(file, self._schema)
        else:
            self._writer = pa.ipc.new_file(file, self._schema)
        self._waiting: list[EngineDocument] = []
        self.n_bytes = 0

    def add(self, documents: Sequence[EngineDocument]) -> None:
        """Writes documents, or lets them wait."""
        self._waiting.extend(documents)
        self.n_bytes += sum(_FACTS + 8 * len(d.terms) + len(d.title) + len(d.text) for d in documents)
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._write()

    def close(self) -> None:
        """Writes what waits, and the end of the file."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._waiting:
            rows = [self._row(document) for document in self._waiting]
            self._writer.write_table(self._pa.Table.from_pylist(rows, self._schema))
            self._waiting = []

    def _row(self, document: EngineDocument) -> dict[str, Any]:
        row = {"id": document.id, "doc": document.document, "indices": document.terms, "values": document.values}
        if self._collection.text:
            row |= {"title": document.title, "text": document.text}
        if self._collection.fields:
            row["fields"] = {name: _plain(value) for name, value in document.fields.items()}
        return row


def _plain(value: Any) -> Any:
    """A value as Arrow's columns take it: moments without their zone, which is UTC."""
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else list(value) if isinstance(value, tuple) else value
