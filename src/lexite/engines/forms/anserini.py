"""Anserini: JSON vectors of whole numbers, for its collection ``JsonVectorCollection`` with ``-impact -pretokenized``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import Collection, LinePart, json_line, not_unicode
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName

QUERY_SCALE = 1000  # of the heaviest term of a query


class AnseriniForm:
    """Anserini, by whole numbers in proportion to impacts."""

    routes: tuple[RouteName, ...] = ("integers",)
    suffix = ".jsonl"
    most_terms: int | None = 1024
    most_hits: int | None = None
    holds_texts = False
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Its runs have blanks between their columns."""
        if any(character.isspace() for character in identifier):
            return "it holds a blank, which divides the columns of a run"
        return not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Vectors go without fields."""
        return "Anserini's vectors have no fields"

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """Nothing: everything is said on Anserini's command line."""
        return {}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """Vectors, one a line."""

        def encode(document: EngineDocument) -> bytes:
            names = collection.names.of(document.terms.tolist())
            vector = dict(zip(names, document.values.tolist(), strict=True))
            return json_line({"id": document.id, "contents": "", "vector": vector})

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """A vector of whole numbers, in proportion to the weights; the heaviest term has 1000."""
        heaviest = float(query.weights.max(initial=0.0)) or 1.0
        whole = [max(1, round(weight * QUERY_SCALE / heaviest)) for weight in query.weights.tolist()]
        return {"vector": dict(zip(collection.names.of(query.terms.tolist()), whole, strict=True))}
