"""Qdrant: points as JSON, one a line."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import IO, Any

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, Collection, LinePart, facts_json, json_line, json_text, not_unicode, number
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName


def point_id(identifier: str) -> str:
    """The UUID of a passage, since a point's id is a whole number or a UUID: version 5, by name, under the OID namespace.

    >>> point_id("d1")
    'cbca1785-765f-58e2-88eb-d1725e16827a'
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, identifier))


class QdrantForm:
    """Qdrant, by impacts, with its own idf or without."""

    routes: tuple[RouteName, ...] = ("impacts", "impacts-idf")
    suffix = ".jsonl"
    most_terms: int | None = None
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """The payload holds the id."""
        return not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Keys of payloads are any text; they lie under ``fields``."""
        return None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The body with which the collection is created."""
        modifier = {"modifier": "idf"} if collection.route.own_idf else {}
        return {"collection.json": json_text({"sparse_vectors": {FIELD: modifier}})}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """Points, one a line."""

        def encode(document: EngineDocument) -> bytes:
            vector = {FIELD: _vector(document.terms.tolist(), document.values.tolist())} if len(document.terms) else {}
            payload = {"id": document.id, **facts_json(document, collection)}
            return json_line({"id": point_id(document.id), "vector": vector, "payload": payload})

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The body of ``/points/query``, or of ``/points/query/groups`` where documents have passages."""
        asked = {"query": _vector(query.terms.tolist(), query.weights.tolist()), "using": FIELD}
        groups = {"group_by": "doc", "group_size": 1} if collection.has_passages else {}
        return {**asked, **groups, "limit": top_k, "with_payload": ["id", "doc"]}


def _vector(terms: list[int], values: list[float]) -> dict[str, Any]:
    return {"indices": terms, "values": [float(number(value)) for value in values]}
