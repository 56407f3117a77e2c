"""Vespa: a feed of JSON lines, a schema, and the services of an application that has it alone.

Documents hold the impacts twice: as whole numbers in a weighted set, by which candidates are looked for, and as a tensor,
by which these are ranked exactly. Field names, schemas and requests are as Vespa's reference describes them.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from lexite.engines.documents import EngineDocument
from lexite.engines.forms.base import FIELD, Collection, LinePart, json_line, number, too_long, weights_json
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName
from lexite.index.field_types import FieldType, in_utc

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue

LONGEST_ID = 20_000  # bytes: an id of a document has 65,536 at most, and three letters stand for an odd byte
WHOLE = 1000  # impacts and weights times this are whole numbers
CANDIDATES = 10  # times as many as hits are wanted
MOST_HITS = 400
"""Hits that Vespa gives at once, unless the application's query profile says otherwise."""
RECORD = "record"
"""The field that holds how a collection was made."""
EVERY_PASSAGE = "n_terms >= 0"
"""The part of a query that all passages fulfil, and the record does not."""
MADE_BY = "<!-- Made by lexite, which writes it anew for each collection. -->"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TYPES: Mapping[FieldType, str] = {
    "text": "string",
    "integer": "long",
    "number": "double",
    "boolean": "bool",
    "date": "long",
    "datetime": "long",
    "list": "array<string>",
}
_OWN = ("id", "doc", "title", "text", "n", "part", "begin", "end", "length", "n_terms", "has", "terms", RECORD, FIELD)
_RESERVED = frozenset(
    "attribute body case context documentid else header hit host if index position reference relevancy sddocname summary "
    "switch tokenize select from where order by asc desc limit offset timeout and or not in contains matches true false range "
    "null sources output rank near onear phrase uri sameelement equiv wand weakand dotproduct weightedset userinput "
    "userquery".split()
)
"""Words of schemas and of Vespa's language of queries."""
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)


class VespaForm:
    """Vespa, by impacts."""

    routes: tuple[RouteName, ...] = ("impacts",)
    suffix = ".jsonl"
    most_terms: int | None = None
    most_hits: int | None = MOST_HITS
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
        if name.lower() in _RESERVED:
            return "Vespa uses its name for something else"
        return "it would be called like a field of lexite" if name.lower() in _OWN else None

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """The schema, for the folder ``schemas`` of an application, and the services of one that has it alone."""
        return {f"{collection.name}.sd": schema(collection), "services.xml": services([collection.name])}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """A feed, as ``vespa feed`` reads it."""

        def encode(document: EngineDocument) -> bytes:
            name = collection.name
            return json_line({"put": f"id:{name}:{name}::{document.id}", "fields": record_of(document, collection)})

        return LinePart(file, encode)

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """The body of ``/search/``. Of a document with several passages, several hits may come."""
        weights = weights_json(collection.names.of(query.terms.tolist()), query.weights.tolist())
        return {
            "yql": f"select id, doc from sources * where {candidates(weights, CANDIDATES * top_k)}",
            "model.restrict": collection.name,
            f"input.query({FIELD})": literal_tensor(weights),
            "ranking": FIELD,
            "hits": top_k,
        }


def record_of(document: EngineDocument, collection: Collection) -> dict[str, Any]:
    """The fields of a passage. Characters that Vespa takes nowhere become U+FFFD in texts."""
    names = collection.names.of(document.terms.tolist())
    cells = weights_json(names, document.values.tolist())
    record: dict[str, Any] = {"id": document.id, "doc": document.document, "n": document.number, "part": document.ordinal}
    if document.span is not None:
        record["begin"], record["end"] = document.span
    record |= {"length": float(number(document.length)), "n_terms": len(cells)}
    if collection.text:
        record |= {"title": _legal(document.title), "text": _legal(document.text)}
    for name, value in document.fields.items():
        record[name] = _legal(stored_value(value))
    record["has"] = sorted(document.fields)
    return {**record, "terms": whole_weights(cells), FIELD: {"cells": cells}}


def stored_value(value: FieldValue) -> Any:
    """A value of a field as Vespa holds it: dates and times are microseconds since 1970, so that they have an order.

    >>> stored_value(datetime.date(1970, 1, 2)), stored_value(["law"])
    (86400000000, ['law'])
    """
    if isinstance(value, datetime.datetime):
        return (in_utc(value) - _EPOCH) // _MICROSECOND
    if isinstance(value, datetime.date):
        return (value - _EPOCH.date()) // _MICROSECOND
    return list(value) if isinstance(value, (list, tuple)) else value


def value_of(stored: Any, kind: FieldType) -> FieldValue:
    """The value that :func:`stored_value` was given.

    >>> value_of(86400000000, "date")
    datetime.date(1970, 1, 2)
    """
    if kind in ("date", "datetime"):
        moment = _EPOCH + int(stored) * _MICROSECOND
        return moment.date() if kind == "date" else moment
    if kind == "list":
        return [str(each) for each in stored]
    if kind == "boolean":
        return bool(stored)
    return float(stored) if kind == "number" else int(stored) if kind == "integer" else str(stored)


def whole_weights(weights: Mapping[str, float]) -> dict[str, int]:
    """Weights as whole numbers above 0."""
    return {name: max(1, round(value * WHOLE)) for name, value in weights.items()}


def candidates(weights: Mapping[str, float], most: int | None) -> str:
    """The part of a query that finds what is ranked.

    Args:
        weights: of the terms.
        most: passages that are ranked on each node, at least, the best by whole numbers; None: all that share a term.

    >>> candidates({"t1": 0.5}, None), candidates({"t1": 0.5}, 100)
    ('dotProduct(terms, {"t1":500})', '({targetHits: 100}wand(terms, {"t1":500}))')
    """
    if not weights:
        return "false"
    whole = json.dumps(whole_weights(weights), ensure_ascii=False, separators=(",", ":"))
    return f"dotProduct(terms, {whole})" if most is None else f"({{targetHits: {most}}}wand(terms, {whole}))"


def literal_tensor(weights: Mapping[str, float]) -> str:
    """A tensor with one mapped dimension, in the literal form that queries take.

    >>> print(literal_tensor({"t1": 0.5, "w_it's": 2.0}))
    {{term:'t1'}:0.5,{term:"w_it's"}:2}
    """
    return f"{{{','.join(f'{{term:{_label(name)}}}:{number(value)}' for name, value in weights.items())}}}"


def _label(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"


def _legal(value: Any) -> Any:
    if isinstance(value, str):
        return _ILLEGAL.sub("\ufffd", value)
    return [_legal(part) for part in value] if isinstance(value, list) else value


def schema(collection: Collection) -> str:
    """The schema of a collection. Texts that are compared are compared as they are, capitals and all."""
    numbers = [("n", "long"), ("part", "int"), ("begin", "int"), ("end", "int"), ("length", "double"), ("n_terms", "int")]
    own: list[tuple[str, str]] = [("id", "string"), ("doc", "string"), *numbers, ("has", "array<string>")]
    own += [(name, _TYPES[kind]) for name, kind in collection.fields.items()]
    fields = [_field(name, kind, "attribute | summary", quick=name == "doc") for name, kind in own]
    shown = ["title", "text", RECORD] if collection.text else [RECORD]
    fields += [_field(name, "string", "summary") for name in shown]
    fields.append(_field("terms", "weightedset<string>", "attribute", quick=True))
    fields.append(_field(FIELD, "tensor<float>(term{})", "attribute | summary"))
    return f"""schema {collection.name} {{
    document {collection.name} {{
{"".join(fields)}    }}
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


def _field(name: str, kind: str, indexing: str, *, quick: bool = False) -> str:
    lines = [f"indexing: {indexing}"]
    if "string" in kind and "attribute" in indexing:
        lines.append("match: cased")
    if quick:
        lines += ["attribute: fast-search", "dictionary {", "    hash", "    cased", "}"]
    inside = "".join(f"            {line}\n" for line in lines)
    return f"        field {name} type {kind} {{\n{inside}        }}\n"


def services(names: Sequence[str]) -> str:
    """The services of an application on one node.

    Args:
        names: of its schemas.
    """
    documents = "".join(f'      <document type="{name}" mode="index"/>\n' for name in names)
    return f"""<?xml version="1.0" encoding="utf-8" ?>
{MADE_BY}
<services version="1.0">
  <container id="default" version="1.0">
    <search/>
    <document-api/>
    <nodes>
      <node hostalias="node1"/>
    </nodes>
  </container>
  <content id="lexite" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents>
{documents}    </documents>
    <nodes>
      <node hostalias="node1" distribution-key="0"/>
    </nodes>
  </content>
</services>
"""
