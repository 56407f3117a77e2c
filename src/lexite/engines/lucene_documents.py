"""Passages as documents of Lucene, and what it can hold of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, Collection, too_long
from lexite.engines.lucene_filters import as_double, as_long, field_key
from lexite.engines.lucene_java import Java
from lexite.engines.routes import RouteName
from lexite.engines.word_numbers import json_fields
from lexite.index.field_types import FieldType

LONGEST = 32_766  # bytes of a term of Lucene, and so of an id or a field's text
UNIT = 1000.0  # lengths are kept as whole numbers of thousandths
_CUT_BITS = 15  # of a float32, which a feature field does not keep
_MOST_LENGTH = (1 << 31) - 1


class LuceneLimits:
    """What an index of Lucene can hold. It has no files of its own to export to."""

    routes: tuple[RouteName, ...] = ("saturation", "frequencies", "linear")
    most_terms: int | None = None
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids are terms."""
        return too_long(identifier, LONGEST)

    def field_problem(self, name: str) -> str | None:
        """Fields are behind a prefix, so any name is free."""
        return None


def value_problem(document: EngineDocument) -> str | None:
    """Why Lucene cannot hold the fields of a document: a text is too long for a term. None where it can."""
    for name, value in document.fields.items():
        texts = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
        longest = max((len(text.encode()) for text in texts), default=0)
        if longest > LONGEST:
            return f"its field '{name}' has {longest:,} bytes, and {LONGEST:,} are the most"
    return None


def tokens(document: EngineDocument, collection: Collection) -> str:
    """The terms of a passage with their frequencies, as Lucene's own analysis reads them: ``t17|431 t20|3``."""
    values = document.values
    if collection.route.rounding == "feature":
        values = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32) >> _CUT_BITS
    names = collection.names.of(document.terms.tolist())
    return " ".join(f"{name}|{value}" for name, value in zip(names, values.tolist(), strict=True))


class DocumentMaker:
    """Makes documents of Lucene.

    Args:
        java: its classes.
    """

    def __init__(self, java: Java) -> None:
        self._java: Any = java
        self._terms_type = self._java.FieldType()
        self._terms_type.setIndexOptions(self._java.IndexOptions.DOCS_AND_FREQS)
        self._terms_type.setTokenized(True)
        self._terms_type.setOmitNorms(True)
        self._terms_type.freeze()

    def document(self, document: EngineDocument, terms: str, collection: Collection) -> Any:
        """A passage as a document of Lucene.

        Args:
            document: the passage.
            terms: its :func:`tokens`.
            collection: it is part of.
        """
        own, store = self._java, self._java.Store
        made = own.Document()
        made.add(own.StringField("id", document.id, store.YES))
        made.add(own.StringField("doc", document.document, store.YES))
        made.add(own.SortedDocValuesField("doc", own.BytesRef(document.document)))
        facts: dict[str, Any] = {"ordinal": document.ordinal, "length": document.length, "span": document.span}
        if collection.text:
            facts |= {"title": document.title, "text": document.text}
        facts |= {"fields": json_fields(document.fields)}
        made.add(own.StoredField("facts", json.dumps(facts)))
        if not document.ordinal:
            made.add(own.StringField("kind", "first", store.NO))
        if terms:
            made.add(own.StringField("kind", "filled", store.NO))
            made.add(own.Field(FIELD, terms, self._terms_type))
        length = min(max(round(document.length * UNIT), 1), _MOST_LENGTH)
        made.add(own.Field("length", f"l|{length}", self._terms_type))
        for name, value in document.fields.items():
            made.add(own.StringField("has", name, store.NO))
            for part in self._field(field_key(name), value, collection.fields[name]):
                made.add(part)
        return made

    def _field(self, key: str, value: Any, kind: FieldType) -> list[Any]:
        own = self._java
        if kind == "text":
            return [own.StringField(key, value, own.Store.NO), own.SortedDocValuesField(key, own.BytesRef(value))]
        if kind == "list":
            return [own.StringField(key, part, own.Store.NO) for part in dict.fromkeys(value)]
        if kind == "number":
            return [own.DoublePoint(key, as_double(value)), own.DoubleDocValuesField(key, as_double(value))]
        return [own.LongPoint(key, as_long(value)), own.NumericDocValuesField(key, as_long(value))]
