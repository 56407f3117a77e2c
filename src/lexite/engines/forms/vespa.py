"""Vespa: a feed of JSON lines and a schema.

Documents hold the impacts twice: as whole numbers in a weighted set, in which ``wand`` looks for candidates, and as a tensor,
by which these are ranked exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, Collection, LinePart, facts_json, json_line, too_long, weights_json
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName
from lexite.index.field_types import FieldType

LONGEST_ID = 60_000  # bytes, with the name of the schema before it
WHOLE = 1000  # impacts and weights times this are whole numbers
CANDIDATES = 10  # times as many as hits are wanted
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TYPES: Mapping[FieldType, str] = {
    "text": "string",
    "integer": "long",
    "number": "double",
    "boolean": "bool",
    "date": "string",
    "datetime": "string",
    "list": "array<string>",
}


class VespaForm:
    """Vespa, by impacts."""

    routes: tuple[RouteName, ...] = ("impacts",)
    suffix = ".jsonl"
    most_terms: int | None = None
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids hold no control characters."""
        if _ILLEGAL.search(identifier):
            return "it holds a character that Vespa takes nowhere"
        return too_long(identifier, LONGEST_ID)

    def field_problem(self, name: str) -> str | None:
        """Names are identifiers."""
        if not _NAME.fullmatch(name):
            return "its name is not made of letters, digits and underscores, with a letter first"
        taken = ("id", "doc", "title", "text", "terms", FIELD)
        return "it would be called like a field of lexite" if name.lower() in taken else None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The schema, for the folder ``schemas`` of an application."""
        return {f"{collection.name}.sd": _schema(collection)}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """A feed, as ``vespa feed`` reads it. Characters that Vespa takes nowhere become U+FFFD in texts."""

        def encode(document: EngineDocument) -> bytes:
            facts = facts_json(document, collection)
            fields = facts.pop("fields", {})
            names = collection.names.of(document.terms.tolist())
            cells = weights_json(names, document.values.tolist())
            whole = {name: max(1, round(value * WHOLE)) for name, value in cells.items()}
            record = {"id": document.id, **_legal({**facts, **fields}), "terms": whole, FIELD: {"cells": cells}}
            return json_line({"put": f"id:{collection.name}:{collection.name}::{document.id}", "fields": record})

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The body of ``/search/``. Of a document with several passages, several hits may come."""
        weights = weights_json(collection.names.of(query.terms.tolist()), query.weights.tolist())
        whole = json.dumps({name: max(1, round(value * WHOLE)) for name, value in weights.items()}, ensure_ascii=False)
        candidates = f"{{targetHits: {CANDIDATES * top_k}}}wand(terms, {whole})" if weights else "false"
        return {
            "yql": f"select id, doc from {collection.name} where {candidates}",
            f"input.query({FIELD})": {"cells": weights},
            "ranking": FIELD,
            "hits": top_k,
        }


def _legal(value: Any) -> Any:
    if isinstance(value, str):
        return _ILLEGAL.sub("\ufffd", value)
    if isinstance(value, dict):
        return {key: _legal(part) for key, part in value.items()}
    return [_legal(part) for part in value] if isinstance(value, (list, tuple)) else value


def _schema(collection: Collection) -> str:
    fields = [("id", "string", "attribute | summary"), ("doc", "string", "attribute | summary")]
    fields += [(name, "string", "summary") for name in ("title", "text") if collection.text]
    fields += [(name, _TYPES[kind], "attribute | summary") for name, kind in collection.fields.items()]
    lines = "".join(
        f"        field {name} type {kind} {{\n            indexing: {how}\n        }}\n" for name, kind, how in fields
    )
    return f"""schema {collection.name} {{
    document {collection.name} {{
{lines}        field terms type weightedset<string> {{
            indexing: attribute
            attribute: fast-search
        }}
        field {FIELD} type tensor<float>(term{{}}) {{
            indexing: attribute
        }}
    }}
    rank-profile {FIELD} {{
        inputs {{
            query({FIELD}) tensor<float>(term{{}})
        }}
        first-phase {{
            expression: sum(query({FIELD}) * attribute({FIELD}))
        }}
    }}
}}
"""
