"""Where Qdrant keeps points: on a server, in the local mode of its client, or in a folder by its engine in this process."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lexite.engines.folders import new_folder
from lexite.engines.forms.base import FIELD
from lexite.engines.qdrant_failures import failures
from lexite.engines.retrying import Line, Patience
from lexite.errors import EngineError, MissingExtraError

AT_ONCE = 1000
"""Points of a request."""
_EDGE_CONFIG = "edge_config.json"  # in the folder of each shard


@dataclass(frozen=True, slots=True)
class Point:
    """A point.

    Attributes:
        id: a UUID.
        payload: JSON values.
        indices: of the sparse vector; empty where there is none.
        values: likewise.
        score: where it was searched for.
    """

    id: str
    payload: Mapping[str, Any]
    indices: Sequence[int] = ()
    values: Sequence[float] = ()
    score: float = 0.0


class Points(Protocol):
    """Collections of points, by name."""

    @property
    def address(self) -> str:
        """Where they are."""
        ...

    @property
    def kit(self) -> Any:
        """The module that has the classes of filters."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a collection."""
        ...

    def create(self, name: str, *, own_idf: bool, fields: Mapping[str, str]) -> None:
        """Makes a collection with a sparse vector, and indexes of its payload: types of Qdrant by key."""
        ...

    def index_fields(self, name: str, fields: Mapping[str, str]) -> None:
        """Makes more indexes of the payload."""
        ...

    def drop(self, name: str) -> None:
        """Removes a collection, if there is one."""
        ...

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Writes points."""
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Deletes points."""
        ...

    def query(
        self, name: str, indices: list[int], values: list[float], only: Any, limit: int, payload: list[str]
    ) -> list[Point]:
        """The best points for a sparse vector, best first."""
        ...

    def retrieve(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Points by id, without vectors."""
        ...

    def scroll(self, name: str, only: Any, *, vectors: bool) -> Iterable[Point]:
        """All points that pass a filter."""
        ...

    def count(self, name: str, only: Any) -> int:
        """How many points pass a filter."""
        ...

    def settle(self, name: str) -> None:
        """Makes what was written quick to search, and durable."""
        ...

    def close(self) -> None:
        """Lets go."""
        ...


class ClientPoints:
    """A server, or the local mode of qdrant-client.

    Args:
        url: of the server; ``:memory:`` for local mode.
        patience: how often and how long is waited where the server is busy.
        options: for ``QdrantClient``: ``api_key``, ``prefer_grpc``, ``timeout``.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """

    def __init__(self, url: str, *, patience: Patience | None = None, **options: Any) -> None:
        try:
            qdrant_client: Any = importlib.import_module("qdrant_client")
        except ImportError:
            raise MissingExtraError("qdrant-client", "qdrant", "Qdrant") from None
        self.kit: Any = qdrant_client.models
        self.address = f"qdrant://{url.split('://')[-1]}" if "://" in url else url
        self._line = Line(self.address, patience)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a key goes over an unsafe connection, or a version differs
            self._client: Any = qdrant_client.QdrantClient(url, **options)
        self._failures = failures()

    def _ask(self, method: str, *values: Any, **named: Any) -> Any:
        """Calls the client, and again while its failure may pass."""

        def call() -> Any:
            try:
                return getattr(self._client, method)(*values, **named)
            except tuple(self._failures) as error:
                reading = next(self._failures[kind] for kind in type(error).__mro__ if kind in self._failures)
                raise reading(error) from None

        return self._line.ask(call)

    def exists(self, name: str) -> bool:
        """Whether there is a collection."""
        return bool(self._ask("collection_exists", name))

    def create(self, name: str, *, own_idf: bool, fields: Mapping[str, str]) -> None:
        """Makes a collection."""
        modifier = self.kit.Modifier.IDF if own_idf else None
        self._ask(
            "create_collection",
            name,
            vectors_config={},
            sparse_vectors_config={FIELD: self.kit.SparseVectorParams(modifier=modifier)},
        )
        self.index_fields(name, fields)

    def index_fields(self, name: str, fields: Mapping[str, str]) -> None:
        """Makes indexes; local mode warns that it has none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for key, kind in fields.items():
                self._ask("create_payload_index", name, key, self.kit.PayloadSchemaType(kind))

    def drop(self, name: str) -> None:
        """Removes a collection."""
        if self.exists(name):
            self._ask("delete_collection", name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Writes points."""
        sparse, kit = self.kit.SparseVector, self.kit
        given = [
            kit.PointStruct(
                id=each.id,
                payload=dict(each.payload),
                vector={FIELD: sparse(indices=list(each.indices), values=list(each.values))} if len(each.indices) else {},
            )
            for each in points
        ]
        self._ask("upsert", name, given, wait=True)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Deletes points."""
        self._ask("delete", name, self.kit.PointIdsList(points=list(ids)), wait=True)

    def query(
        self, name: str, indices: list[int], values: list[float], only: Any, limit: int, payload: list[str]
    ) -> list[Point]:
        """The best points."""
        vector = self.kit.SparseVector(indices=indices, values=values)
        found = self._ask(
            "query_points",
            name,
            query=vector,
            using=FIELD,
            query_filter=only,
            limit=limit,
            with_payload=payload,
            with_vectors=False,
        )
        return [Point(str(each.id), each.payload or {}, score=each.score) for each in found.points]

    def retrieve(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Points by id."""
        found = self._ask("retrieve", name, list(ids), with_payload=True, with_vectors=False)
        return [Point(str(each.id), each.payload or {}) for each in found]

    def scroll(self, name: str, only: Any, *, vectors: bool) -> Iterable[Point]:
        """All points that pass."""
        offset = None
        while True:
            found, offset = self._ask(
                "scroll", name, scroll_filter=only, limit=AT_ONCE, offset=offset, with_payload=True, with_vectors=vectors
            )
            yield from (_as_point(each) for each in found)
            if offset is None:
                return

    def count(self, name: str, only: Any) -> int:
        """Counts exactly."""
        return int(self._ask("count", name, count_filter=only, exact=True).count)

    def settle(self, name: str) -> None:
        """A server does it by itself."""

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


class EdgePoints:
    """Qdrant's engine in this process, over a folder of shards; one process at a time.

    Args:
        folder: where.

    Raises:
        MissingExtraError: qdrant-edge-py is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            self.kit: Any = importlib.import_module("qdrant_edge")
        except ImportError:
            raise MissingExtraError("qdrant-edge-py", "qdrant", "Qdrant in this process") from None
        self._folder = Path(folder)
        self.address = f"qdrant-edge:{folder}"
        self._shards: dict[str, Any] = {}

    def exists(self, name: str) -> bool:
        """Whether there is a folder of a shard."""
        return name in self._shards or (self._folder / name / _EDGE_CONFIG).is_file()

    def _shard(self, name: str) -> Any:
        if name not in self._shards:
            with self._errors("open", name):
                self._shards[name] = self.kit.EdgeShard.load(str(self._folder / name))
        return self._shards[name]

    @contextlib.contextmanager
    def _errors(self, verb: str, name: str) -> Iterator[None]:
        """Makes what the engine raises into errors for people."""
        try:
            yield
        except Exception as error:
            if type(error) not in (Exception, ValueError):  # no class of its own tells its errors
                raise
            said = "another process has it open" if "WouldBlock" in str(error) else str(error)
            raise EngineError(f"Cannot {verb} {self.address}/{name}: {said}") from None

    def create(self, name: str, *, own_idf: bool, fields: Mapping[str, str]) -> None:
        """Makes a shard."""
        new_folder(self._folder / name, "shard of Qdrant")
        vector = self.kit.EdgeSparseVectorParams(modifier=self.kit.Modifier.Idf if own_idf else None)
        config = self.kit.EdgeConfig(sparse_vectors={FIELD: vector})
        with self._errors("make", name):
            self._shards[name] = self.kit.EdgeShard.create(str(self._folder / name), config)
        self.index_fields(name, fields)

    def index_fields(self, name: str, fields: Mapping[str, str]) -> None:
        """Makes indexes."""
        for key, kind in fields.items():
            schema = getattr(self.kit.PayloadSchemaType, kind.capitalize())
            self._update("change", name, self.kit.UpdateOperation.create_field_index(key, schema))

    def drop(self, name: str) -> None:
        """Removes the folder."""
        shard = self._shards.pop(name, None)
        if shard is not None:
            shard.close()
        if (self._folder / name / _EDGE_CONFIG).is_file():
            shutil.rmtree(self._folder / name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Writes points."""
        sparse = self.kit.SparseVector
        given = [
            self.kit.Point(
                each.id,
                {FIELD: sparse(list(each.indices), list(each.values))} if len(each.indices) else {},
                dict(each.payload),
            )
            for each in points
        ]
        self._update("write to", name, self.kit.UpdateOperation.upsert_points(given))

    def _update(self, verb: str, name: str, operation: Any) -> None:
        shard = self._shard(name)
        with self._errors(verb, name):
            shard.update(operation)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Deletes points."""
        self._update("delete from", name, self.kit.UpdateOperation.delete_points(list(ids)))

    def query(
        self, name: str, indices: list[int], values: list[float], only: Any, limit: int, payload: list[str]
    ) -> list[Point]:
        """The best points."""
        vector = self.kit.Query.Nearest(self.kit.SparseVector(indices, values), using=FIELD)
        request = self.kit.QueryRequest(query=vector, filter=only, limit=limit, with_payload=payload)
        shard = self._shard(name)
        with self._errors("search", name):
            found = shard.query(request)
        return [Point(str(each.id), each.payload or {}, score=each.score) for each in found]

    def retrieve(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Points by id."""
        shard = self._shard(name)
        with self._errors("read", name):
            found = shard.retrieve(list(ids), with_payload=True, with_vector=False)
        return [Point(str(each.id), each.payload or {}) for each in found]

    def scroll(self, name: str, only: Any, *, vectors: bool) -> Iterable[Point]:
        """All points that pass."""
        offset, shard = None, self._shard(name)
        while True:
            request = self.kit.ScrollRequest(offset=offset, limit=AT_ONCE, filter=only, with_payload=True, with_vector=vectors)
            with self._errors("read", name):
                found, offset = shard.scroll(request)
            yield from (_as_point(each) for each in found)
            if offset is None:
                return

    def count(self, name: str, only: Any) -> int:
        """Counts exactly."""
        shard = self._shard(name)
        with self._errors("count", name):
            return int(shard.count(self.kit.CountRequest(exact=True, filter=only)))

    def settle(self, name: str) -> None:
        """Builds the index of what was written, and flushes it. Until then Qdrant's idf does not count it."""
        shard = self._shard(name)
        with self._errors("write to", name):
            shard.optimize()
            shard.flush()

    def close(self) -> None:
        """Closes all shards."""
        for shard in self._shards.values():
            shard.flush()
            shard.close()
        self._shards.clear()


def _as_point(found: Any) -> Point:
    vector = (found.vector or {}).get(FIELD) if isinstance(found.vector, dict) else None
    if vector is None:
        return Point(str(found.id), found.payload or {})
    return Point(str(found.id), found.payload or {}, list(vector.indices), list(vector.values))
