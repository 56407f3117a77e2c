"""Solr: documents as JSON, ``schema.xml``, and queries in its JSON language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, PASSAGE_FACTS, Collection, LinePart, facts_json, json_line, passage_facts, too_long
from lexite.engines.forms.bulk import MOST_CLAUSES, frequencies_text
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName
from lexite.index.field_types import FieldType

RECORD = "lexite_record"
"""A field of the one document that holds how the others were made."""
LONGEST_ID = 32_766  # bytes, of any term of Lucene
_TYPES: Mapping[FieldType, str] = {
    "text": "string",
    "integer": "plong",
    "number": "pdouble",
    "boolean": "boolean",
    "date": "pdate",
    "datetime": "pdate",
    "list": "strings",
}
_CLASSES: Mapping[str, Mapping[str, Any]] = {
    "string": {"class": "solr.StrField", "docValues": True, "sortMissingLast": True},
    "strings": {"class": "solr.StrField", "docValues": True, "multiValued": True},
    "plong": {"class": "solr.LongPointField", "docValues": True, "sortMissingLast": True},
    "pint": {"class": "solr.IntPointField", "docValues": True},
    "pfloat": {"class": "solr.FloatPointField", "docValues": True},
    "pdouble": {"class": "solr.DoublePointField", "docValues": True, "sortMissingLast": True},
    "pdate": {"class": "solr.DatePointField", "docValues": True, "sortMissingLast": True},
    "boolean": {"class": "solr.BoolField", "docValues": True, "sortMissingLast": True},
    "stored": {"class": "solr.StrField", "indexed": False, "docValues": False},
}
_TAKEN = ("id", "title", "text", FIELD, RECORD, *PASSAGE_FACTS)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PLAIN = re.compile(r"([^\w])")


class SolrForm:
    """Solr, by term frequencies."""

    routes: tuple[RouteName, ...] = ("frequencies",)
    suffix = ".json"
    most_terms: int | None = MOST_CLAUSES
    most_hits: int | None = None
    holds_texts = True
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids are terms of Lucene. One document is the record."""
        if identifier == RECORD:
            return "the record of the collection is called so"
        return too_long(identifier, LONGEST_ID)

    def field_problem(self, name: str) -> str | None:
        """Names are letters, digits and underscores, as Solr's language of queries needs them."""
        if not _NAME.fullmatch(name):
            return "its name is not made of letters, digits and underscores, with a letter first"
        return "it would be called like a field of lexite" if name in _TAKEN else None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The schema, to be put into the folder ``conf`` of a core or a configset."""
        return {"schema.xml": _schema(collection)}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """A body of ``/update``: a JSON array."""

        def encode(document: EngineDocument) -> bytes:
            facts = {**facts_json(document, collection), **passage_facts(document, collection)}
            fields = {name: _value(value, collection.fields[name]) for name, value in facts.pop("fields", {}).items()}
            terms = {}
            if len(document.terms):
                names = collection.names.of(document.terms.tolist())
                terms = {FIELD: frequencies_text(names, document.values.tolist())}
            return json_line({"id": document.id, **facts, **fields, **terms})

        return LinePart(file, encode, opening=b"[", separator=b",", closing=b"]\n")

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The body of ``/select``, which every configuration has."""
        names = collection.names.of(query.terms.tolist())
        clauses = [f"{_escaped(name)}^{_decimal(weight)}" for name, weight in zip(names, query.weights.tolist(), strict=True)]
        collapse = {"filter": "{!collapse field=doc}"} if collection.has_passages else {}
        text = " ".join(clauses)
        asked = {"lucene": {"df": FIELD, "q.op": "OR", "query": text}} if text else "-*:*"
        return {"query": asked, "limit": top_k, "fields": "id,doc,score", **collapse}


def _escaped(name: str) -> str:
    return _PLAIN.sub(r"\\\1", name)


def _decimal(weight: float) -> str:
    """A boost without exponent, which Solr's language does not know."""
    return np.format_float_positional(np.float32(weight), unique=True, trim="0")


def _value(value: Any, kind: FieldType) -> Any:
    """A value of a field; Solr's dates have a time and end with Z."""
    if kind == "date":
        return f"{value}T00:00:00Z"
    return value.replace("+00:00", "Z") if kind == "datetime" else value


def field_types(collection: Collection) -> dict[str, str]:
    """The fields of a schema beside the id and the terms, each with the name of its type."""
    found = {"doc": "string", "n": "plong", "length": "pfloat", "terms": "pint", RECORD: "stored"}
    found |= {"part": "pint", "begin": "pint", "end": "pint"}
    if collection.text:
        found |= {"title": "stored", "text": "stored"}
    found |= {name: _TYPES[kind] for name, kind in collection.fields.items()}
    return {name: f"{FIELD}_{kind}" for name, kind in found.items()}


def plain_types() -> list[dict[str, Any]]:
    """The types of fields beside that of the terms, as Solr's Schema API takes them."""
    return [{"name": f"{FIELD}_{name}", **settings} for name, settings in _CLASSES.items()]


def terms_type(pivot: float) -> dict[str, Any]:
    """The type of the field of the terms, as Solr's Schema API takes it.

    Args:
        pivot: k1 of the engine.
    """
    tokenizer = {"class": "solr.WhitespaceTokenizerFactory"}
    frequencies = {"class": "solr.DelimitedTermFrequencyTokenFilterFactory", "delimiter": "|"}
    return {
        "name": FIELD,
        "class": "solr.TextField",
        "indexAnalyzer": {"tokenizer": tokenizer, "filters": [frequencies]},
        "queryAnalyzer": {"tokenizer": tokenizer},
        "similarity": {"class": "solr.BM25SimilarityFactory", "k1": f"{pivot:g}", "b": "0.0"},
    }


def _attributes(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={quoteattr(str(value).lower() if isinstance(value, bool) else value)}" for name, value in values.items()
    )


def _schema(collection: Collection) -> str:
    pivot = terms_type(collection.pivot)["similarity"]["k1"]
    fields = "".join(
        f"  <field name={quoteattr(name)} type={quoteattr(kind)}/>\n" for name, kind in field_types(collection).items()
    )
    types = "".join(f"  <fieldType {_attributes(each)}/>\n" for each in plain_types())
    stored = str(collection.keep_terms).lower()
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<schema name={quoteattr(collection.name)} version="1.7">
  <uniqueKey>id</uniqueKey>
  <field name="id" type="{FIELD}_string" required="true"/>
  <field name="_version_" type="{FIELD}_plong"/>
{fields}  <field name="{FIELD}" type="{FIELD}" indexed="true" stored="{stored}" omitNorms="true" omitPositions="true"/>
{types}  <fieldType name="{FIELD}" class="solr.TextField">
    <analyzer type="index">
      <tokenizer class="solr.WhitespaceTokenizerFactory"/>
      <filter class="solr.DelimitedTermFrequencyTokenFilterFactory" delimiter="|"/>
    </analyzer>
    <analyzer type="query"><tokenizer class="solr.WhitespaceTokenizerFactory"/></analyzer>
    <similarity class="solr.BM25SimilarityFactory"><float name="k1">{pivot}</float><float name="b">0.0</float></similarity>
  </fieldType>
  <similarity class="solr.SchemaSimilarityFactory"/>
</schema>
"""
