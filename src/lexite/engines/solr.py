"""Solr 9, over plain HTTP (``pip install 'lexite[solr]'``), for there is no client of its project in Python."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lexite.engines.addresses import Address
from lexite.engines.base import Capabilities
from lexite.engines.bulk_clients import shown_address
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import (
    LARGEST_RECORD,
    Counts,
    Found,
    PassageParts,
    Question,
    Refused,
    Written,
    joined_text,
    too_large,
)
from lexite.engines.forms.base import FIELD, Collection
from lexite.engines.forms.solr import RECORD, SolrForm, field_types, plain_types, terms_type
from lexite.engines.live import LiveEngine
from lexite.engines.queries import EngineQuery
from lexite.engines.record import read_collection_record
from lexite.engines.retrying import Line, Patience, RequestFailed, quoted
from lexite.engines.security import TLS, Security, security_of, with_password
from lexite.engines.solr_filters import any_of_texts, escaped_text, filter_query, solr_field
from lexite.engines.solr_http import SolrHttp
from lexite.engines.stored_values import span_between, stored_fields
from lexite.errors import EngineError
from lexite.index import StoredDocument
from lexite.index.field_types import FieldType
from lexite.search.indexing import chunks

_IDS_AT_ONCE = 300
_TERMS_AT_ONCE = 200
_PASSAGES_AT_ONCE = 1000
_REFUSED = frozenset({400, 413})  # for what a document holds, so that the others may be taken
_EXPLAINED = re.compile(rf"weight\({FIELD}:(.+?) in \d+\)")


class SolrEngine(LiveEngine):
    """A collection of SolrCloud, or a core of a server by itself.

    Documents hold term frequencies (route ``frequencies``).

    Args:
        url: of the server, with its context: ``http://127.0.0.1:8983/solr``.
        name: of the collection or core. A core of a server by itself is made with ``bin/solr create -c NAME`` before.
        shards: of a new collection of SolrCloud.
        replicas: copies of each shard beside the first.
        configset: configuration of a new collection; it must let its schema be changed, as ``_default`` does.
        security: which certificates are believed. A user and a password stand in ``url``.
        client: an ``httpx.Client`` to use, with whatever security it was given.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``text``, ``most_terms`` …

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8983/solr",
        name: str = "lexite",
        *,
        shards: int = 1,
        replicas: int = 0,
        configset: str = "_default",
        security: Security | None = None,
        client: Any = None,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        http = SolrHttp(url, security or Security(), client)
        super().__init__(SolrDriver(http, name, shards, replicas, configset, patience), **options)


class SolrDriver:
    """One collection or core. Arguments are those of :class:`SolrEngine`."""

    engine = "Solr"

    def __init__(
        self, http: SolrHttp, name: str, shards: int, replicas: int, configset: str, patience: Patience | None
    ) -> None:
        self.form, self.name, self._http = SolrForm(), name, http
        self._shards, self._replicas, self._configset = shards, replicas, configset
        self.address = shown_address("solr", http.url, name)
        self._line = Line(self.address, patience)
        self._path = f"/{quote(name, safe='')}"
        self._cloud: bool | None = None

    @property
    def capabilities(self) -> Capabilities:
        """It counts frequencies and keeps fields."""
        most = self.form.most_terms
        return Capabilities(among=True, exclude=True, fields=True, most_terms=most, word_weights=True, keeps_terms=True)

    @property
    def in_cloud(self) -> bool:
        """Whether the server is one of a SolrCloud."""
        if self._cloud is None:
            self._cloud = self._line.ask(self._mode) == "solrcloud"
        return self._cloud

    def _mode(self) -> str:
        """How the server runs, which is the first question; RequestFailed where it is no Solr."""
        answer = self._http.request("/admin/info/system")
        if "lucene" not in answer:
            raise RequestFailed(200, f"it does not say its version of Solr, but {quoted(answer)}")
        return str(answer.get("mode"))

    def _there(self) -> bool:
        if self.in_cloud:
            return self.name in self._ask("/admin/collections", {"action": "LIST"})["collections"] or self._meant() is not None
        return bool(self._ask("/admin/cores", {"action": "STATUS", "core": self.name})["status"].get(self.name))

    def _meant(self) -> str | None:
        """The collection of which the name is an alias; EngineError where it stands for several."""
        meant = (self._ask("/admin/collections", {"action": "LISTALIASES"}).get("aliases") or {}).get(self.name)
        if meant is not None and "," in meant:
            raise EngineError(f"{self.address} stands for {meant.count(',') + 1} collections. Name one of them.")
        return None if meant is None else str(meant)

    def create(self, collection: Collection) -> None:
        """Makes the collection, or takes a core that is empty, and adds to its schema."""
        if self._there():
            if self.in_cloud or self.read_record() or self._count("*:*"):
                raise EngineError(f"There is a collection at {self.address} already.")
        elif self.in_cloud:
            shape = {"numShards": self._shards, "replicationFactor": self._replicas + 1, "waitForFinalState": "true"}
            chosen = {"collection.configName": self._configset}
            self._ask("/admin/collections", {"action": "CREATE", "name": self.name, **shape, **chosen})
        else:
            raise EngineError(
                f"The server of {self.address} runs by itself, so make an empty core: bin/solr create -c {self.name}"
            )
        terms = {"name": FIELD, "type": FIELD, "indexed": True, "stored": collection.keep_terms, "omitNorms": True}
        types = [*plain_types(), terms_type(collection.pivot)]
        fields = [{"name": name, "type": kind} for name, kind in field_types(collection).items()]
        self._change_schema(types, [*fields, {**terms, "omitPositions": True}])

    def _change_schema(self, types: Sequence[dict[str, Any]], fields: Sequence[dict[str, Any]]) -> None:
        """Adds what is not there, and replaces what is."""
        schema = self._ask(f"{self._path}/schema")["schema"]
        known_types = {each["name"] for each in schema["fieldTypes"]}
        known_fields = {each["name"] for each in schema["fields"]}
        commands: dict[str, list[dict[str, Any]]] = {}
        for each in types:
            verb = "replace-field-type" if each["name"] in known_types else "add-field-type"
            commands.setdefault(verb, []).append(each)
        for each in fields:
            verb = "replace-field" if each["name"] in known_fields else "add-field"
            commands.setdefault(verb, []).append(each)
        within = {"updateTimeoutSecs": "60"} if self.in_cloud else None  # else replicas may not know a field that is sent next
        self._ask(f"{self._path}/schema", within, commands)

    def drop(self) -> None:
        """Deletes the collection; a core of a server by itself is emptied."""
        if not self._there():
            return
        meant = self._meant() if self.in_cloud else None
        if meant is not None:
            raise EngineError(
                f"{self.address} is another name of the collection {meant}, which is not deleted by that. Name the collection "
                "itself."
            )
        if self.in_cloud:
            self._ask("/admin/collections", {"action": "DELETE", "name": self.name})
        else:
            self._ask(f"{self._path}/update", {"commit": "true"}, {"delete": {"query": "*:*"}})

    def read_record(self) -> Any | None:
        """The document of the record."""
        if not self._there():
            return None
        found = self._ask(f"{self._path}/get", {"id": RECORD, "fl": RECORD})["doc"]
        return {} if found is None else json.loads(found[RECORD])

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replaces the document of the record."""
        document = {"id": RECORD, RECORD: json.dumps(record)}
        self._ask(f"{self._path}/update", {"commit": "true"}, [document])

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Widens the schema."""
        collection = read_collection_record(self.read_record(), self.address).collection(self.name, str)
        kinds = field_types(Collection(self.name, collection.route, collection.scoring, collection.names, 0, new))
        self._change_schema([], [{"name": name, "type": kinds[name]} for name in new])

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Sends an update. Where Solr refuses it, its documents are sent one by one, so that the bad ones are known."""
        refused, sizes, kept = [], 0, []
        for each in documents:
            data = self._encoded([each], collection)
            if len(data) > LARGEST_RECORD:
                refused.append(too_large(each.id, len(data)))
            else:
                kept.append(each)
        if not kept:
            return Written(0, tuple(refused))
        data = self._encoded(kept, collection)
        try:
            self._ask(f"{self._path}/update", body=data, refusable=True)
            return Written(len(data), tuple(refused))
        except RequestFailed as failed:
            if len(kept) == 1:
                return Written(len(data), (*refused, Refused(kept[0].id, failed.reason)))
        for each in kept:
            alone = self.write([each], collection)
            sizes, refused = sizes + alone.n_bytes, [*refused, *alone.refused]
        return Written(len(data) + sizes, tuple(refused))

    def _encoded(self, documents: Sequence[EngineDocument], collection: Collection) -> bytes:
        file = io.BytesIO()
        part = self.form.part(file, collection)
        part.add(documents)
        part.close()
        return file.getvalue()

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Nothing: the engine counts."""

    def settle(self) -> None:
        """Commits."""
        self._ask(f"{self._path}/update", {"commit": "true"}, {})

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes by a query over the ids of documents."""
        for ids in chunks(documents, _IDS_AT_ONCE):
            queries = [{"query": f'doc:"{escaped_text(each)}"'} for each in ids]
            self._ask(f"{self._path}/update", body=_repeated("delete", queries))
        self.settle()

    def present(self, documents: Sequence[str]) -> set[str]:
        """Looks for the first passages of documents."""
        found: set[str] = set()
        for ids in chunks([each for each in documents if self.form.id_problem(each) is None], _IDS_AT_ONCE):
            body = {"query": any_of_texts("doc", ids), "filter": ["-part:[1 TO *]"], "limit": len(ids), "fields": ["doc"]}
            found.update(each["doc"] for each in self._select(body)["response"]["docs"])
        return found

    def counts(self) -> Counts:
        """One request without hits."""
        facet = {
            "filled": {"type": "query", "q": "terms:[1 TO *]"},
            "rest": {"type": "query", "q": "part:[1 TO *]"},
            "length": "avg(length)",
        }
        answer = self._select({"query": "doc:*", "limit": 0, "facet": facet})
        found = answer["facets"]
        total = int(found["count"])
        if not total:
            return Counts(0, self._count(f"*:* -id:{RECORD}"), 0)  # documents of somebody else count as passages
        n_documents = total - int(found["rest"]["count"])
        return Counts(n_documents, total, int(found["filled"]["count"]), float(found["length"]))

    def _count(self, query: str) -> int:
        return int(self._select({"query": query, "limit": 0})["response"]["numFound"])

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Counts the passages of each term among those that are not deleted."""
        found: list[int] = []
        for some in chunks(names, _TERMS_AT_ONCE):
            facet = {f"f{n}": {"type": "query", "q": f"{{!term f={FIELD} v=$t{n}}}"} for n in range(len(some))}
            params = {f"t{n}": name for n, name in enumerate(some)}
            counts = self._select({"query": "doc:*", "limit": 0, "facet": facet, "params": params})["facets"]
            found += [int((counts.get(f"f{n}") or {"count": 0})["count"]) for n in range(len(some))]
        return np.array(found, dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks one question after the other."""
        return [self._answer(question, collection) for question in questions]

    def _answer(self, question: Question, collection: Collection) -> list[Found]:
        if not len(question.query.terms):
            return []
        body = self.form.body(question.query, collection, question.top_k)
        limits: list[Any] = [] if question.where is None else [filter_query(question.where, collection.fields)]
        if question.among is not None:
            limits.append(any_of_texts("doc", question.among))
        if question.exclude is not None:
            limits.append(f'-doc:"{escaped_text(question.exclude)}"')
        params = {}
        if question.min_score is not None:
            params = {"asked": f"{{!lucene df={FIELD} q.op=OR v=$text}}", "text": body["query"]["lucene"]["query"]}
            limits.append(f"{{!frange l={question.min_score:.9g}}}query($asked)")
        if collection.has_passages:
            limits.append("{!collapse field=doc}")
        order = "score desc, n asc"
        if question.sort is not None:
            field, descending = question.sort
            order = f"{solr_field(field)} {'desc' if descending else 'asc'}, {order}"
        sent = {**body, "filter": limits, "sort": order, "fields": ["doc", "begin", "end", "score"], "params": params}
        documents = self._select(sent)["response"]["docs"]
        return [Found(each["doc"], float(np.float32(each["score"])), span_between(each)) for each in documents]

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Asks for an explanation as a tree, and takes the weight of each term from it."""
        places = {name: place for place, name in enumerate(collection.names.of(query.terms.tolist()))}
        only: dict[str, Any] = {"filter": [f'doc:"{escaped_text(document)}"'], "limit": _PASSAGES_AT_ONCE}
        shown = {"fields": ["id", "length", "begin", "end", "part"], "sort": "part asc"}
        passages = self._select({"query": "*:*", **only, **shown})["response"]["docs"]
        explained: Mapping[str, Any] = {}
        if places and passages:
            body = {**self.form.body(query, collection, _PASSAGES_AT_ONCE), **only, "fields": ["id"]}
            debug = {"debug": "results", "debug.explain.structured": "true"}
            explained = self._select({**body, "params": debug})["debug"]["explain"]
        found = []
        for each in passages:
            parts: dict[int, float] = {}
            _take_parts(explained.get(each["id"]), places, parts)
            found.append(PassageParts(span_between(each), float(each["length"]), dict(sorted(parts.items()))))
        return found

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts the passages of a document together."""
        if self.form.id_problem(document) is not None:
            return None
        body = {"query": "*:*", "filter": [f'doc:"{escaped_text(document)}"'], "limit": _PASSAGES_AT_ONCE}
        passages = self._select(body)["response"]["docs"]
        if not passages:
            return None
        first = passages[0]
        text = joined_text([(span_between(each), each.get("text", "")) for each in passages])
        values = {name: first[name] for name in fields if name in first}
        return StoredDocument(document, first.get("title", ""), text, stored_fields(values, fields))

    def close(self) -> None:
        """Ends the connection."""
        self._http.close()

    def _select(self, body: Mapping[str, Any]) -> Any:
        return self._ask(f"{self._path}/select", body=body)

    def _ask(self, path: str, params: Mapping[str, Any] | None = None, body: Any = None, refusable: bool = False) -> Any:
        """The answer to a request that is tried again while its failure may pass.

        Args:
            path: behind the address of the server.
            params: of the address.
            body: JSON.
            refusable: whether a refusal is RequestFailed; else it is an EngineError.
        """

        def send() -> Any:
            try:
                return self._http.request(path, params, body)
            except RequestFailed as failed:
                if failed.status == 404 and path.startswith(
                    f"{self._path}/"
                ):  # the collection is there: its cores are being opened
                    raise RequestFailed(503, failed.reason) from None
                if refusable and failed.status in _REFUSED:
                    return failed
                raise

        answer = self._line.ask(send)
        if isinstance(answer, RequestFailed):
            raise answer
        return answer


def _repeated(name: str, values: Sequence[Any]) -> bytes:
    """A JSON object that has a name many times, which is how Solr takes several commands."""
    return ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for value in values) + "}").encode()


def _take_parts(node: Any, places: Mapping[str, int], parts: dict[int, float]) -> None:
    """Goes through an explanation to the weights of terms."""
    if not isinstance(node, Mapping):
        return
    found = _EXPLAINED.match(str(node.get("description", "")))
    if found and found.group(1) in places:
        parts[places[found.group(1)]] = float(node["value"])
        return
    for each in node.get("details") or ():
        _take_parts(each, places, parts)


def at_address(address: Address, **options: Any) -> SolrEngine:
    """The engine at ``solr://HOST:8983/solr/NAME``; ``?shards=5&replicas=1`` shape a new collection."""
    shape, security = address.numbers("shards", "replicas", besides=TLS), security_of(address)
    return SolrEngine(with_password(address).server(8983, "/solr"), address.name, security=security, **shape, **options)
