"""What OpenSearch and Elasticsearch have in common: ``_bulk``, ``_msearch``, and a record in the mapping.

The clients of both are used for what they do best, connections. Bodies are those of ``lexite.engines.forms.bulk``, so that what
is loaded here is what an export holds.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.bulk_clients import is_blocked, reason_of
from lexite.engines.bulk_searches import PASSAGES_AT_ONCE, found_in, parts_body, parts_in, search_body
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
from lexite.engines.forms.base import Collection
from lexite.engines.forms.bulk import MOST_HITS, BulkForm, field_mappings
from lexite.engines.queries import EngineQuery
from lexite.engines.retrying import PASSING, Line, RequestFailed
from lexite.engines.stored_values import span_between, stored_fields
from lexite.errors import EngineError
from lexite.index import StoredDocument
from lexite.index.field_types import FieldType
from lexite.search.indexing import chunks

META = "lexite"
_WHOLE = {"allow_partial_search_results": False}  # a ranking of some shards would be another one
_IDS_AT_ONCE = 500
_TERMS_AT_ONCE = 200
_QUERIES_AT_ONCE = 50


class Connection(Protocol):
    """A client, made plain."""

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """Sends a JSON value, or lines of JSON in bytes; the JSON that comes back.

        Raises:
            RequestFailed: no answer, or a status of 400 and above.
        """
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass(frozen=True)
class IndexSettings:
    """How an index is made in the engine.

    Attributes:
        shards: primary shards.
        replicas: copies of each.
        settings: other settings of the index, by name.
    """

    shards: int = 1
    replicas: int = 0
    settings: Mapping[str, Any] | None = None


class BulkDriver:
    """One index of OpenSearch or Elasticsearch.

    Args:
        engine: what the engine is called.
        connection: to it.
        name: of the index.
        form: of its documents.
        line: on which it is asked, with the address for messages.
        index: how a new index is made.
        factor: gives, for a collection, what the engine's scores are of lexite's.
    """

    def __init__(
        self,
        engine: str,
        connection: Connection,
        name: str,
        form: BulkForm,
        line: Line,
        *,
        index: IndexSettings | None = None,
        factor: Callable[[Collection], float] | None = None,
    ) -> None:
        self.engine, self.name, self.form, self.address = engine, name, form, line.where
        self._connection, self._line, self._index = connection, line, index or IndexSettings()
        self._factor, self._patience = factor or (lambda collection: 1.0), line.patience
        self._path = f"/{quote(name, safe='')}"
        self._n_shards: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Both engines count frequencies and keep fields."""
        return Capabilities(
            among=True,
            exclude=True,
            fields=True,
            most_terms=self.form.most_terms,
            most_hits=MOST_HITS,
            word_weights=True,
            keeps_terms=True,
        )

    def create(self, collection: Collection) -> None:
        """Makes the index, with the mapping of an export."""
        body = json.loads(self.form.setup(collection)["index.json"])
        shape = {"number_of_shards": self._index.shards, "number_of_replicas": self._index.replicas}
        body["settings"] = {**body["settings"], "index": {**(self._index.settings or {}), **shape}}
        if self._there():
            raise EngineError(f"There is an index at {self.address} already.")
        self._ask("PUT", self._path, body=body)
        self._ask("GET", f"/_cluster/health{self._path}", {"wait_for_status": "yellow"})
        self._n_shards = self._index.shards

    def _there(self) -> bool:
        return self.read_record() is not None

    def drop(self) -> None:
        """Deletes the index. EngineError: it has another name."""
        found = self._line.ask(self._mapping) or {}
        if found and self.name not in found:
            raise EngineError(
                f"{self.address} is another name of the index {' and '.join(sorted(found))}, which is not deleted by that. "
                "Name the index itself."
            )
        self._ask("DELETE", self._path, {"ignore_unavailable": "true"})
        self._n_shards = None

    def read_record(self) -> Any | None:
        """What the mapping carries under ``_meta``."""
        found = self._line.ask(self._mapping)
        if found is None:
            return None
        mapping = self._only(found)
        return (mapping["mappings"].get("_meta") or {}).get(META) or {}

    def _mapping(self) -> Any | None:
        try:
            return self._send("GET", f"{self._path}/_mapping")
        except RequestFailed as failed:
            if failed.status == 404:
                return None
            raise

    def _only(self, answers: Mapping[str, Any]) -> Any:
        """The answer of the index, among answers by name; behind an alias there may be several indexes."""
        if len(answers) != 1:
            raise EngineError(f"{self.address} stands for {len(answers)} indexes. Name one of them.")
        (only,) = answers.values()
        return only

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Puts it into the mapping."""
        self._ask("PUT", f"{self._path}/_mapping", body={"_meta": {META: record}})

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Widens the mapping."""
        self._ask("PUT", f"{self._path}/_mapping", body={"properties": {"fields": field_mappings(new)}})

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Sends a ``_bulk``; what the engine is too busy for is sent again alone."""
        waiting: dict[str, bytes] = {}
        refused = []
        for each in documents:
            file = io.BytesIO()
            self.form.part(file, collection).add([each])
            if file.tell() > LARGEST_RECORD:
                refused.append(too_large(each.id, file.tell()))
            else:
                waiting[each.id] = file.getvalue()
        n_bytes = 0
        for attempt in range(self._patience.tries):
            if not waiting:
                break
            items = []
            for body in _bodies(list(waiting.values())):
                n_bytes += len(body)
                items += self._ask("POST", f"{self._path}/_bulk", body=body)["items"]
            for item in items:
                (result,) = item.values()
                if is_blocked(result.get("error")):
                    raise self._blocked(result["error"])
                if result["status"] in PASSING:
                    continue
                own = waiting.pop(result["_id"], None)
                if result["status"] >= 400 and own is not None:
                    refused.append(Refused(result["_id"], reason_of(result["error"])))
            if waiting:
                self._patience.wait(attempt)
        if waiting:
            raise EngineError(f"{self.address} was too busy for {len(waiting)} documents, {self._patience.tries} times.")
        return Written(n_bytes, tuple(refused))

    def _blocked(self, error: Any) -> EngineError:
        return EngineError(
            f"{self.address} takes no documents now: {reason_of(error).rstrip(';')}. Those that were sent before are there. "
            "Free space on its disk or lift the block, and give the same command again."
        )

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Nothing: the engine counts."""

    def settle(self) -> None:
        """Refreshes the index."""
        self._ask("POST", f"{self._path}/_refresh")

    def delete(self, documents: Sequence[str]) -> None:
        """Looks for the passages of documents, and deletes them."""
        for ids in chunks(documents, _IDS_AT_ONCE):
            while True:
                asked = {"size": MOST_HITS, "_source": False, "query": {"terms": {"doc": ids}}}
                hits = self._search(asked)["hits"]["hits"]
                if not hits:
                    break
                lines = [json.dumps({"delete": {"_id": hit["_id"]}}) for hit in hits]
                body = "".join(f"{line}\n" for line in lines).encode()
                self._line.ask(functools.partial(self._deleted, body))

    def _deleted(self, body: bytes) -> None:
        """Sends deletions; RequestFailed where one of them failed, which is then sent again with the others that are left."""
        items = self._send("POST", f"{self._path}/_bulk", {"refresh": "true"}, body)["items"]
        failed = next((item["delete"] for item in items if "error" in item["delete"]), None)
        if failed is not None:
            error = failed["error"]
            raise RequestFailed(int(failed["status"]), reason_of(error).rstrip(";"), lasting=is_blocked(error))

    def present(self, documents: Sequence[str]) -> set[str]:
        """Looks for the first passages of documents."""
        found: set[str] = set()
        for ids in chunks([each for each in documents if self.form.id_problem(each) is None], _IDS_AT_ONCE):
            body = {"size": len(ids), "_source": False, "docvalue_fields": ["doc"]}
            query = {"size": len(ids), "query": {"bool": {"filter": [{"terms": {"doc": ids}}]}}, "collapse": {"field": "doc"}}
            hits = self._search({**body, **query})["hits"]["hits"]
            found.update(hit["fields"]["doc"][0] for hit in hits)
        return found

    def counts(self) -> Counts:
        """One request without hits."""
        parts = {
            "filled": {"filter": {"range": {"terms": {"gte": 1}}}},
            "first": {"filter": {"range": {"part": {"gte": 1}}}},
            "length": {"avg": {"field": "length"}},
        }
        answer = self._search({"size": 0, "track_total_hits": True, "aggs": parts})
        total, found = int(answer["hits"]["total"]["value"]), answer["aggregations"]
        mean = found["length"]["value"]
        n_documents = total - int(found["first"]["doc_count"])
        return Counts(n_documents, total, int(found["filled"]["doc_count"]), None if mean is None else float(mean))

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Counts the passages of each term among those that are not deleted."""
        collection = self._plain_collection()
        found: list[int] = []
        for some in chunks(names, _TERMS_AT_ONCE):
            filters = {str(place): self.form.clause(name, 1.0, 1.0, collection) for place, name in enumerate(some)}
            body = {"size": 0, "aggs": {"terms": {"filters": {"filters": filters}}}}
            buckets = self._search(body)["aggregations"]["terms"]["buckets"]
            found += [int(buckets[str(place)]["doc_count"]) for place in range(len(some))]
        return np.array(found, dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Sends ``_msearch`` with some questions at a time."""
        factor = self._factor(collection)
        params = {"search_type": "dfs_query_then_fetch"} if collection.route.own_idf and self._shards > 1 else {}
        found: list[list[Found]] = []
        for some in chunks(questions, _QUERIES_AT_ONCE):
            lines = [line for each in some for line in (_WHOLE, search_body(self.form, each, collection, factor))]
            body = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
            answers = self._line.ask(functools.partial(self._answers, params, body))
            found += [[found_in(hit, factor) for hit in answer["hits"]["hits"]] for answer in answers]
        return found

    def _answers(self, params: Mapping[str, Any], body: bytes) -> list[Any]:
        """The answers to several searches; RequestFailed where one of them failed, as it does while a node is lost."""
        answers: list[Any] = self._send("POST", f"{self._path}/_msearch", params, body)["responses"]
        failed = next((answer for answer in answers if "error" in answer), None)
        if failed is not None:
            raise RequestFailed(int(failed["status"]), reason_of(failed["error"]))
        return answers

    def _search(self, body: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> Any:
        """The answer to one search, of all shards."""
        whole = {"allow_partial_search_results": "false"}
        return self._ask("POST", f"{self._path}/_search", {**whole, **(params or {})}, body)

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Asks with a name for each term, and takes the scores by name."""
        params = {"include_named_queries_score": "true"}
        if collection.route.own_idf and self._shards > 1:
            params["search_type"] = "dfs_query_then_fetch"
        hits = self._search(parts_body(self.form, query, document, collection), params)["hits"]["hits"]
        return parts_in(hits, self._factor(collection))

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts the passages of a document together."""
        if self.form.id_problem(document) is not None:
            return None
        body = {"size": PASSAGES_AT_ONCE, "query": {"bool": {"filter": [{"term": {"doc": document}}]}}}
        sources = [hit["_source"] for hit in self._search(body)["hits"]["hits"]]
        if not sources:
            return None
        text = joined_text([(span_between(source), source.get("text", "")) for source in sources])
        return StoredDocument(
            document, sources[0].get("title", ""), text, stored_fields(sources[0].get("fields") or {}, fields)
        )

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    @property
    def _shards(self) -> int:
        if self._n_shards is None:
            found = self._only(self._ask("GET", f"{self._path}/_settings"))
            self._n_shards = int(found["settings"]["index"]["number_of_shards"])
        return self._n_shards

    def _plain_collection(self) -> Collection:
        """The collection as it was recorded, for what needs its route alone."""
        from lexite.engines.record import read_collection_record

        return read_collection_record(self.read_record(), self.address).collection(self.name, str)

    def _send(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        return self._connection.request(method, path, params, body)

    def _ask(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        return self._line.ask(lambda: self._send(method, path, params, body))


def _bodies(records: Sequence[bytes]) -> Iterator[bytes]:
    """Records together, as many as a request may have."""
    together: list[bytes] = []
    size = 0
    for each in records:
        if together and size + len(each) > LARGEST_RECORD:
            yield b"".join(together)
            together, size = [], 0
        together.append(each)
        size += len(each)
    yield b"".join(together)
