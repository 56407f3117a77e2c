"""Where Qdrant keeps points: on a server, in the local mode of its client, or in a folder by its engine in this process."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lexite.engines.forms.base import FIELD
from lexite.errors import EngineError, MissingExtraError

AT_ONCE = 1000
"""Points of a request."""


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
        options: for ``QdrantClient``: ``api_key``, ``prefer_grpc``, ``timeout``.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        try:
            qdrant_client: Any = importlib.import_module("qdrant_client")
        except ImportError:
            raise MissingExtraError("qdrant-client", "qdrant", "Qdrant") from None
        self.kit: Any = qdrant_client.models
        self.address = url
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a key goes over an unsafe connection, or a version differs
            self._client: Any = qdrant_client.QdrantClient(url, **options)
        errors = importlib.import_module("qdrant_client.http.exceptions")
        self._errors: tuple[type[Exception], ...] = (errors.ApiException,)
        with contextlib.suppress(ImportError):
            self._errors += (importlib.import_module("grpc").RpcError,)

    def _ask(self, method: str, *values: Any, **named: Any) -> Any:
        """Calls the client, and makes its errors into ones for people."""
        try:
            return getattr(self._client, method)(*values, **named)
        except self._errors as error:
            said = " ".join(str(error).split())
            answered = getattr(error, "status_code", None) is not None
            subject = f"The request '{method}' is refused by Qdrant at" if answered else "Cannot reach Qdrant at"
            raise EngineError(f"{subject} {self.address}: {said[:500]}") from None

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
        self.address = str(folder)
        self._shards: dict[str, Any] = {}

    def exists(self, name: str) -> bool:
        """Whether there is a folder of a shard."""
        return name in self._shards or (self._folder / name).is_dir()

    def _shard(self, name: str) -> Any:
        if name not in self._shards:
            self._shards[name] = self.kit.EdgeShard.load(str(self._folder / name))
        return self._shards[name]

    def create(self, name: str, *, own_idf: bool, fields: Mapping[str, str]) -> None:
        """Makes a shard."""
        (self._folder / name).mkdir(parents=True)
        vector = self.kit.EdgeSparseVectorParams(modifier=self.kit.Modifier.Idf if own_idf else None)
        config = self.kit.EdgeConfig(sparse_vectors={FIELD: vector})
        self._shards[name] = self.kit.EdgeShard.create(str(self._folder / name), config)
        self.index_fields(name, fields)

    def index_fields(self, name: str, fields: Mapping[str, str]) -> None:
        """Makes indexes."""
        for key, kind in fields.items():
            schema = getattr(self.kit.PayloadSchemaType, kind.capitalize())
            self._shard(name).update(self.kit.UpdateOperation.create_field_index(key, schema))

    def drop(self, name: str) -> None:
        """Removes the folder."""
        shard = self._shards.pop(name, None)
        if shard is not None:
            shard.close()
        if (self._folder / name).is_dir():
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
        self._shard(name).update(self.kit.UpdateOperation.upsert_points(given))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Deletes points."""
        self._shard(name).update(self.kit.UpdateOperation.delete_points(list(ids)))

    def query(
        self, name: str, indices: list[int], values: list[float], only: Any, limit: int, payload: list[str]
    ) -> list[Point]:
        """The best points."""
        vector = self.kit.Query.Nearest(self.kit.SparseVector(indices, values), using=FIELD)
        request = self.kit.QueryRequest(query=vector, filter=only, limit=limit, with_payload=payload)
        return [Point(str(each.id), each.payload or {}, score=each.score) for each in self._shard(name).query(request)]

    def retrieve(self, name: str, ids: Sequence[str]) -> list[Point]:
        """Points by id."""
        found = self._shard(name).retrieve(list(ids), with_payload=True, with_vector=False)
        return [Point(str(each.id), each.payload or {}) for each in found]

    def scroll(self, name: str, only: Any, *, vectors: bool) -> Iterable[Point]:
        """All points that pass."""
        offset = None
        while True:
            request = self.kit.ScrollRequest(offset=offset, limit=AT_ONCE, filter=only, with_payload=True, with_vector=vectors)
            found, offset = self._shard(name).scroll(request)
            yield from (_as_point(each) for each in found)
            if offset is None:
                return

    def count(self, name: str, only: Any) -> int:
        """Counts exactly."""
        return int(self._shard(name).count(self.kit.CountRequest(exact=True, filter=only)))

    def settle(self, name: str) -> None:
        """Builds the index of what was written, and flushes it. Until then Qdrant's idf does not count it."""
        self._shard(name).optimize()
        self._shard(name).flush()

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
