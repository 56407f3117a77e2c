"""A small server that answers as Vespa's reference says: documents, queries in YQL, and a config server that takes schemas.

It knows nothing of lexite. What a request says is evaluated by the schema that was deployed: fields and their types,
casing, dot products, tensors, sorting, one form of grouping. What it does not know is an error.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

MOST_HITS = 400
LOWEST = {"int": -(2**31), "long": -(2**63)}
"""What an attribute holds for a number that was not given."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?L?)|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<sign><=|>=|[<>=!(){},:*|]))"""
)


class Bad(Exception):
    """A request that is refused."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Schema:
    """What a schema file says."""

    name: str
    types: dict[str, str]
    indexing: dict[str, set[str]]
    cased: set[str]
    profiles: dict[str, tuple[dict[str, str], str]]


def read_schema(text: str) -> Schema:
    """Reads a schema file; Bad where it is none."""
    name = re.search(r"schema (\w+) \{", text)
    if name is None or text.count("{") != text.count("}"):
        raise Bad("Could not parse schema")
    types, indexing, cased = {}, {}, set()
    for found in re.finditer(r"^ {8}field (\w+) type (\S+) \{\n(.*?)^ {8}\}", text, re.MULTILINE | re.DOTALL):
        own, kind, body = found.groups()
        how = re.search(r"indexing: (.*)", body)
        types[own], indexing[own] = kind, set(re.split(r" \| ", how.group(1))) if how else set()
        if "match: cased" in body:
            cased.add(own)
        if "hash" in body and own not in cased:
            raise Bad(f"For schema '{name.group(1)}', field '{own}': hash dictionaries require cased match")
    profiles = {"unranked": ({}, "")}
    for found in re.finditer(r"^ {4}rank-profile (\w+) \{\n(.*?)^ {4}\}", text, re.MULTILINE | re.DOTALL):
        inputs = dict(re.findall(r"^ +query\((\w+)\) (\S+)$", found.group(2), re.MULTILINE))
        expression = re.search(r"expression: (.*)", found.group(2))
        profiles[found.group(1)] = (inputs, expression.group(1) if expression else "")
    return Schema(name.group(1), types, indexing, cased, profiles)


@dataclass
class Stub:
    """A Vespa of one node.

    Attributes:
        schemas: by name.
        documents: by schema, then by id.
        files: of the active application.
        fail: is asked before each request; a status, a type and a body are the answer.
        requests: methods and paths that came.
        late: requests after which a deployed schema is served.
    """

    schemas: dict[str, Schema] = field(default_factory=dict)
    documents: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    sessions: list[dict[str, str]] = field(default_factory=list)
    fail: Callable[[str, str], tuple[int, str, bytes] | None] = lambda method, path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    late: int = 0
    host: str = ""
    lock: Any = field(default_factory=threading.RLock)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        split = urlsplit(path)
        given = {name: values[0] for name, values in parse_qs(split.query).items()}
        with self.lock:
            self.requests.append((method, split.path))
            try:
                if split.path.startswith("/document/v1/"):
                    return self.document(method, split.path, given, body)
                if split.path == "/search/" and method == "POST":
                    return 200, {"root": self.search(json.loads(body))}
                if split.path.startswith("/application/v2/tenant/default/"):
                    return 200, self.deploy(method, split.path.removeprefix("/application/v2/tenant/default"), given, body)
            except Exception as error:
                bad = error if isinstance(error, Bad) else Bad(f"{type(error).__name__}: {error}", 500)
                if split.path == "/search/":
                    errors = [{"code": 4, "summary": "Invalid query parameter", "message": str(bad)}]
                    return bad.status, {"root": {"id": "toplevel", "errors": errors}}
                return bad.status, {"pathId": split.path, "message": str(bad)} if "/document/" in path else {
                    "message": str(bad)
                }
        return 404, {"message": "Nothing here"}

    def deploy(self, method: str, path: str, given: dict[str, str], body: bytes) -> Any:
        if path == "/application/":
            active = f"http://{self.host}/application/v2/tenant/default/application/default/environment/prod/region/default"
            return [f"{active}/instance/default"] if self.files else []
        if (method, path) == ("POST", "/prepareandactivate"):
            with zipfile.ZipFile(io.BytesIO(body)) as package:
                self.activate({each: package.read(each).decode() for each in package.namelist()})
            return {"session-id": "1", "message": "Session 1 for tenant 'default' prepared and activated."}
        if (method, path) == ("POST", "/session"):
            if not given["from"].startswith(f"http://{self.host}/"):
                raise Bad("No such application", 404)
            self.sessions.append(dict(self.files))
            return {"session-id": str(len(self.sessions)), "tenant": "default"}
        found = re.fullmatch(r"/session/(\d+)/(?:content/(.+)|(prepared)|(active))", path)
        if found is None:
            raise Bad("Nothing here", 404)
        files, name = self.sessions[int(found.group(1)) - 1], unquote(found.group(2) or "")
        if name and method == "GET":
            return files[name]
        if method != "PUT":
            raise Bad("Method not allowed", 405)
        if name:
            files[name] = body.decode()
        elif found.group(4):
            self.activate(files)
        else:
            checked(files)
        return {"message": "ok"}

    def activate(self, files: dict[str, str]) -> None:
        for schema in checked(files):
            known = self.schemas.get(schema.name)
            changed = [each for each in known.types if known.types[each] != schema.types.get(each)] if known else []
            if changed:
                raise Bad(f"Field '{changed[0]}' changed its type: add validation override")
            self.schemas[schema.name] = schema
            self.documents.setdefault(schema.name, {})
        self.files = files

    def document(self, method: str, path: str, given: dict[str, str], body: bytes) -> tuple[int, Any]:
        parts = path.split("/", 6)
        if len(parts) != 7 or parts[5] != "docid" or not parts[6]:
            raise Bad("Nothing here", 404)
        kind, own = parts[4], unquote(parts[6])
        schema = self.schemas.get(kind)
        if self.late:
            self.late -= 1
            schema = None
        if schema is None:
            raise Bad(f"Document type '{kind}' does not exist")
        known, name = self.documents[kind], f"id:{unquote(parts[3])}:{kind}::{own}"
        facts = {"pathId": path, "id": name}
        if method == "GET":
            wanted = given["fieldSet"].partition(":")[2].split(",") if "fieldSet" in given else list(schema.types)
            for each in wanted:
                if each not in schema.types:
                    raise Bad(f"No such field '{each}' in document type '{kind}'")
            if name not in known:
                return 404, facts
            return 200, {**facts, "fields": {each: known[name][each] for each in wanted if each in known[name]}}
        if method == "DELETE":
            known.pop(name, None)
        elif method == "POST":
            fields = json.loads(body)["fields"]
            for each, value in fields.items():
                if each not in schema.types:
                    raise Bad(f"No field '{each}' in the structure of type '{kind}'")
                check(each, schema.types[each], value)
            known.pop(name, None)
            known[name] = stored(fields, schema)
        else:
            raise Bad("Method not allowed", 405)
        return 200, facts

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        schema = self.schemas.get(str(body.get("model.restrict")))
        if schema is None:
            raise Bad(f"Could not resolve schema '{body.get('model.restrict')}'")
        hits, profile = int(body.get("hits", 10)), str(body.get("ranking", "default"))
        if hits > MOST_HITS:
            raise Bad(f"{hits} hits requested, configured limit: {MOST_HITS}. See https://docs.vespa.ai/")
        if profile not in schema.profiles:
            raise Bad(f"schema does not contain requested rank profile '{profile}'")
        query = Yql(str(body["yql"]), schema, self.documents[schema.name])
        inputs, expression = schema.profiles[profile]
        asked: dict[str, float] = {}
        name = next(iter(inputs), "")
        if expression:
            if inputs != {name: "tensor<float>(term{})"} or expression != f"sum(query({name}) * attribute({name}))":
                raise Bad(f"Unknown expression {expression}")
            asked = tensor(str(body[f"input.query({name})"]))
        held = query.found()
        found = [(product(asked, each[name]["cells"]) if asked else 0.0, place, each) for place, each in enumerate(held)]
        root: dict[str, Any] = {
            "id": "toplevel",
            "fields": {"totalCount": len(found)},
            "coverage": {"coverage": 100, "full": True},
        }
        if query.grouping:
            if query.grouping != "all(group(1) each(output(avg(length))))":
                raise Bad(f"Unknown grouping {query.grouping}")
            mean = sum(each["length"] for _, _, each in found) / len(found)
            group = {"id": "group:long:1", "value": "1", "fields": {"avg(length)": mean}}
            groups = {"id": "grouplist:1", "label": "1", "children": [group]}
            root["children"] = [{"id": "group:root:0", "children": [groups], "relevance": 1.0}]
            return root
        found.sort(key=lambda each: (-each[0], -each[1]))  # equal ones in no order that one could rely on
        for attribute, descending in reversed(sorting(str(body.get("sorting", "")), schema)):
            if attribute == "[relevance]":
                found.sort(key=lambda each: each[0], reverse=descending)
                continue
            there = [each for each in found if attribute in each[2]]
            there.sort(key=lambda each: each[2][attribute], reverse=descending)
            found = there + [each for each in found if attribute not in each[2]]
        shown = query.columns or [each for each, how in schema.indexing.items() if "summary" in how]
        children = []
        for relevance, _, each in found[:hits]:
            fields = {name: each[name] for name in shown if name in each and each[name] not in ("", [])}
            for name in shown:
                if name in fields and schema.types[name].startswith("tensor"):
                    short = body.get("presentation.format.tensors") == "short-value"
                    fields[name] = fields[name]["cells"] if short else {"type": schema.types[name], **fields[name]}
            children.append(
                {"id": f"index:lexite/0/{len(children)}", "relevance": relevance, "source": "lexite", "fields": fields}
            )
        if children:
            root["children"] = children
        return root


def checked(files: dict[str, str]) -> list[Schema]:
    """The schemas of an application whose services name each."""
    schemas = [read_schema(text) for path, text in files.items() if re.fullmatch(r"schemas/\w+\.sd", path)]
    for schema in schemas:
        if (
            f'<document type="{schema.name}" mode="index"/>' not in files["services.xml"]
            or f"schemas/{schema.name}.sd" not in files
        ):
            raise Bad(f"Schema '{schema.name}' is in no content cluster")
    return schemas


def check(name: str, kind: str, value: Any) -> None:
    """Refuses a value that a field cannot hold."""
    plain: dict[str, Callable[[Any], bool]] = {
        "string": lambda each: (
            isinstance(each, str) and not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef\ufffe\uffff]", each)
        ),
        "int": lambda each: isinstance(each, int) and not isinstance(each, bool) and -(2**31) <= each < 2**31,
        "long": lambda each: isinstance(each, int) and not isinstance(each, bool) and -(2**63) <= each < 2**63,
        "double": lambda each: isinstance(each, (int, float)) and not isinstance(each, bool),
        "bool": lambda each: isinstance(each, bool),
        "array<string>": lambda each: isinstance(each, list) and all(plain["string"](one) for one in each),
        "weightedset<string>": lambda each: isinstance(each, dict) and all(plain["int"](one) for one in each.values()),
        "tensor<float>(term{})": lambda each: (
            set(each) == {"cells"} and all(plain["double"](one) for one in each["cells"].values())
        ),
    }
    if not plain[kind](value):
        raise Bad(f"Could not parse field '{name}' of type {kind}")


def stored(fields: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """A document as it is kept: tensors in single precision."""
    own = dict(fields)
    for name, kind in schema.types.items():
        if kind.startswith("tensor") and name in own:
            own[name] = {"cells": {term: float(np.float32(value)) for term, value in own[name]["cells"].items()}}
    return own


def tensor(text: str) -> dict[str, float]:
    """A tensor in its literal form, of one mapped dimension."""
    cells = {}
    inside, place = text[1:-1], 0
    pattern = re.compile(r"""\{term:(?:'([^']*)'|"([^"]*)")\}:([-+.\deE]+)(?:,|$)""")
    while place < len(inside):
        found = pattern.match(inside, place)
        if found is None or text[0] != "{" or text[-1] != "}":
            raise Bad(f"Could not parse tensor at {inside[place : place + 30]}")
        cells[found.group(1) or found.group(2) or ""] = float(np.float32(float(found.group(3))))
        place = found.end()
    return cells


def product(asked: dict[str, float], cells: dict[str, float]) -> float:
    """A dot product, summed in single precision."""
    total = np.float32(0)
    for term, weight in asked.items():
        if term in cells:
            total += np.float32(weight) * np.float32(cells[term])
    return float(total)


def sorting(text: str, schema: Schema) -> list[tuple[str, bool]]:
    """The attributes of a sorting specification, each with whether its largest values come first."""
    found = []
    for part in text.split():
        inside = re.fullmatch(r"([+-])(?:missing\((?:raw\((\w+)\)|(\w+)),last\)|(\w+)|(\[relevance\]))", part)
        if inside is None:
            raise Bad(f"Invalid sorting '{part}'")
        name = next(each for each in inside.groups()[1:] if each)
        if name != "[relevance]" and "attribute" not in schema.indexing.get(name, set()):
            raise Bad(f"Sorting on '{name}', which is no attribute")
        if inside.group(3) and schema.types[name] == "string":
            raise Bad("strings are sorted by raw() here")
        found.append((name, inside.group(1) == "-"))
    return found


class Yql:
    """A query in YQL, evaluated over documents."""

    def __init__(self, text: str, schema: Schema, documents: dict[str, dict[str, Any]]) -> None:
        head = re.match(r"select (\*|[\w, ]+?) from sources \* where ", text)
        if head is None:
            raise Bad(f"Could not create query from YQL: {text[:60]}")
        self.columns = [] if head.group(1) == "*" else head.group(1).split(", ")
        for column in self.columns:
            if "summary" not in schema.indexing.get(column, set()):
                raise Bad(f"no summary field '{column}'")
        self._schema, self._all = schema, documents
        self._tokens: list[tuple[str, str]] = []
        place, rest = head.end(), text.rstrip()
        while place < len(rest):
            token = _TOKEN.match(rest, place)
            if token is None:
                raise Bad(f"Could not create query from YQL at: {rest[place : place + 40]}")
            kind = str(token.lastgroup)
            if token.group(kind) == "|":
                break
            self._tokens.append((kind, token.group(kind)))
            place = token.end()
        self.grouping = rest[place:].strip().removeprefix("| ").strip()
        self._at = 0
        self._set = self._either()
        if self._at < len(self._tokens):
            raise Bad(f"Could not create query from YQL at {self._tokens[self._at]}")

    def found(self) -> list[dict[str, Any]]:
        """The documents for which it is true, in an order of the server's own."""
        return [each for name, each in self._all.items() if name in self._set]

    def _take(self, value: str | None = None) -> str:
        if self._at >= len(self._tokens):
            raise Bad("Could not create query from YQL: it ends too soon")
        found = self._tokens[self._at][1]
        if value is not None and found != value:
            raise Bad(f"Could not create query from YQL: '{found}' where '{value}' was expected")
        self._at += 1
        return found

    def _next(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _either(self) -> set[str]:
        found = self._both()
        while self._next() == "or":
            self._take()
            found = found | self._both()
        return found

    def _both(self) -> set[str]:
        parts = [self._one()]
        while self._next() == "and":
            self._take()
            parts.append(self._one())
        wanted = [found for yes, found in parts if yes]
        if not wanted:
            raise Bad("Could not create query from YQL: all parts of an 'and' are negative")
        found = set.intersection(*wanted)
        for yes, own in parts:
            found = found if yes else found - own
        return found

    def _one(self) -> tuple[bool, set[str]]:
        if self._next() == "!":
            self._take()
            self._take("(")
            found = self._either()
            self._take(")")
            return False, found
        if self._next() == "(":
            self._take()
            if self._next() == "{":
                found = self._annotated()
            else:
                found = self._either()
            self._take(")")
            return True, found
        kind, word = self._tokens[self._at]
        self._take()
        if kind != "name":
            raise Bad(f"Could not create query from YQL: '{word}'")
        if word in ("true", "false"):
            return True, set(self._all) if word == "true" else set()
        if word == "dotProduct":
            return True, {name for name, raw in self._raw().items() if raw > 0}
        return True, self._compared(word)

    def _annotated(self) -> set[str]:
        self._take("{")
        self._take("targetHits")
        self._take(":")
        most = int(self._take())
        self._take("}")
        self._take("wand")
        raw = sorted(((value, name) for name, value in self._raw().items() if value > 0), reverse=True)
        return {name for value, name in raw if value >= raw[min(most, len(raw)) - 1][0]} if raw else set()

    def _raw(self) -> dict[str, int]:
        """Dot products of whole numbers."""
        self._take("(")
        name = self._attribute(self._take(), "weightedset<string>")
        self._take(",")
        self._take("{")
        weights = {}
        while self._next() != "}":
            key = text_of(self._take())
            self._take(":")
            weights[self._cased(name, key)] = int(self._take())
            if self._next() == ",":
                self._take()
        self._take("}")
        self._take(")")
        held = {own: each.get(name, {}) for own, each in self._all.items()}
        if name not in self._schema.cased:
            held = {own: {key.lower(): n for key, n in each.items()} for own, each in held.items()}
        return {own: sum(n * each[key] for key, n in weights.items() if key in each) for own, each in held.items()}

    def _attribute(self, name: str, *kinds: str) -> str:
        if "attribute" not in self._schema.indexing.get(name, set()):
            raise Bad(f"Field '{name}' does not exist")
        if kinds and self._schema.types[name] not in kinds:
            raise Bad(f"Field '{name}' is of type {self._schema.types[name]}")
        return name

    def _cased(self, name: str, text: str) -> str:
        return text if name in self._schema.cased else text.lower()

    def _compared(self, name: str) -> set[str]:
        sign = self._take()
        if sign == "contains":
            self._attribute(name, "string", "array<string>", "weightedset<string>")
            return self._having(name, {text_of(self._take())})
        if sign == "in":
            self._attribute(name, "string", "array<string>")
            self._take("(")
            values = {text_of(self._take())}
            while self._next() == ",":
                self._take()
                values.add(text_of(self._take()))
            self._take(")")
            return self._having(name, values)
        kind = self._schema.types[self._attribute(name, "int", "long", "double", "bool")]
        written = self._take()
        if kind == "bool":
            if sign != "=" or written not in ("true", "false"):
                raise Bad(f"'{name}' is true or false")
            return {own for own, each in self._all.items() if each.get(name, False) == (written == "true")}
        if kind != "double" and not written.endswith("L") and abs(int(written)) >= 2**31:
            raise Bad(f"{written} is no number of 32 bits")
        value = float(written) if kind == "double" else int(written.removesuffix("L"))
        compare: dict[str, Callable[[Any], bool]] = {
            "=": lambda each: each == value,
            "<": lambda each: each < value,
            ">": lambda each: each > value,
            "<=": lambda each: each <= value,
            ">=": lambda each: each >= value,
        }
        unset = float("nan") if kind == "double" else None
        held = {own: each.get(name, unset) for own, each in self._all.items()}
        return {own for own, each in held.items() if each is not None and compare[sign](each)}

    def _having(self, name: str, values: set[str]) -> set[str]:
        wanted = {self._cased(name, value) for value in values if value}
        cased, found = name in self._schema.cased, set()
        for own, each in self._all.items():
            held = each.get(name, [])
            several = [held] if isinstance(held, str) else held
            if not wanted.isdisjoint(several if cased else map(str.lower, several)):
                found.add(own)
        return found


def text_of(token: str) -> str:
    """The text that a literal stands for."""
    if token[:1] not in "\"'":
        raise Bad(f"'{token}' is no text")
    inside = token[1:-1]
    return str(json.loads(f'"{inside}"')) if token[0] == '"' else re.sub(r"\\(.)", r"\1", inside)


@contextlib.contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """A server that answers from a stub."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer goes out at once, not in two parts of which the second waits for the first

        def do_GET(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                data = gzip.decompress(data)
            given = stub.fail(self.command, self.path)
            if given is None:
                status, value = stub.answer(self.command, self.path, data)
                kind, body = (
                    ("text/plain", value.encode())
                    if isinstance(value, str)
                    else ("application/json", json.dumps(value).encode())
                )
            else:
                status, kind, body = given
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.host = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
