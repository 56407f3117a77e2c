"""PostgreSQL with pgvector: a table with a ``sparsevec``, and files for ``COPY``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, Collection, LinePart, facts_json, not_unicode, number
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName

DIMENSIONS = 1_000_000_000
"""The most that pgvector has. A table of so many takes new words without a change, and a row takes no more room for it."""
MOST_TERMS = 16_000
MOST_TERMS_HNSW = 1000
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class PostgresForm:
    """PostgreSQL, by impacts and inner products."""

    routes: tuple[RouteName, ...] = ("impacts",)
    suffix = ".copy"
    most_terms: int | None = MOST_TERMS
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = MOST_TERMS

    def id_problem(self, identifier: str) -> str | None:
        """Texts hold no NUL."""
        return "it holds a NUL, which PostgreSQL takes in no text" if "\0" in identifier else not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Fields are keys of a JSON object."""
        return None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The table, and indexes to make once it is filled."""
        table = f'"{collection.name}"'
        columns = ["id text PRIMARY KEY", "doc text NOT NULL"]
        columns += ["title text NOT NULL", "text text NOT NULL"] if collection.text else []
        columns += ["fields jsonb NOT NULL"] if collection.fields else []
        columns += [f"{FIELD} sparsevec({DIMENSIONS}) NOT NULL"]
        listed = ",\n  ".join(columns)
        names = ", ".join(column.split()[0] for column in columns)
        create = (
            "CREATE EXTENSION IF NOT EXISTS vector;\n"
            f"CREATE TABLE {table} (\n  {listed}\n);\n"
            f"-- Each part: psql -c \"\\copy {collection.name} ({names}) FROM 'part-00000{self.suffix}'\"\n"
        )
        index = (
            f"CREATE INDEX ON {table} (doc);\n"
            f"-- Approximate search, of documents with {MOST_TERMS_HNSW:,} terms at most; without it, all rows are read.\n"
            f"-- CREATE INDEX ON {table} USING hnsw ({FIELD} sparsevec_ip_ops);\n"
        )
        return {"create.sql": create, "index.sql": index}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """Rows in the text format of ``COPY``. A NUL becomes U+FFFD in titles, texts and fields."""

        def encode(document: EngineDocument) -> bytes:
            facts = facts_json(document, collection)
            cells = [document.id, document.document]
            cells += [facts["title"], facts["text"]] if collection.text else []
            if collection.fields:
                cells.append(json.dumps(_without_nul(facts.get("fields", {})), ensure_ascii=False))
            cells.append(sparsevec(document.terms.tolist(), document.values.tolist()))
            return ("\t".join(cell.replace("\0", "\ufffd").translate(_ESCAPES) for cell in cells) + "\n").encode()

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> str:
        """A statement. Equal scores come in the order of ids."""
        vector = f"'{sparsevec(query.terms.tolist(), query.weights.tolist())}'"
        table, score = f'"{collection.name}"', f"{FIELD} <#> {vector}"
        if not collection.has_passages:
            return f"SELECT id, doc, -({score}) AS score FROM {table} WHERE {score} < 0 ORDER BY {score}, id LIMIT {top_k};"
        best = f"SELECT DISTINCT ON (doc) id, doc, -({score}) AS score FROM {table} WHERE {score} < 0 ORDER BY doc, {score}, id"
        return f"SELECT id, doc, score FROM ({best}) AS best ORDER BY score DESC, doc LIMIT {top_k};"


def sparsevec(terms: list[int], values: list[float]) -> str:
    """A vector as pgvector reads it, whose dimensions begin with 1.

    >>> sparsevec([0, 16], [0.5, 2.0])
    '{1:0.5,17:2}/1000000000'
    """
    return "{" + ",".join(f"{term + 1}:{number(value)}" for term, value in zip(terms, values, strict=True)) + f"}}/{DIMENSIONS}"


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {key: _without_nul(part) for key, part in value.items()}
    return [_without_nul(part) for part in value] if isinstance(value, (list, tuple)) else value
