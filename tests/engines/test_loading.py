"""Addresses, waiting, throttling, and what is reported of documents that an engine does not take; no server is needed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from congruence import begun, beside, fielded, small
from memory_driver import MemoryEngine
from scipy.sparse import csr_array

from lexite import Document
from lexite.engines import LoadSettings, connect
from lexite.engines.addresses import read_address
from lexite.engines.bulk_clients import check_index_name
from lexite.engines.bulk_driver import BulkDriver
from lexite.engines.driver import Refused, Written
from lexite.engines.forms.bulk import OPENSEARCH
from lexite.engines.live import LiveEngine
from lexite.engines.loading import Throttle
from lexite.engines.record import read_collection_record
from lexite.engines.retrying import Line, Patience, RequestFailed
from lexite.errors import ConfigError, CorpusError, EngineError, IndexFormatError


@pytest.mark.parametrize(
    ("text", "server", "name"),
    [
        ("opensearch://localhost/notes", "http://localhost:9200", "notes"),
        ("opensearch+https://u:p%40@h:9999/a%20b?shards=2", "https://u:p%40@h:9999", "a b"),
        ("elasticsearch://[::1]:1/x/y", "http://[::1]:1/x", "y"),
    ],
)
def test_addresses(text: str, server: str, name: str) -> None:
    read = read_address(text)
    assert (read.server(9200), read.name) == (server, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notes.lexite", "is no address of an engine. It begins with opensearch://"),
        ("nowhere://h/x", "is no address"),
        ("solr://h", "lacks a host or a name"),
        ("opensearch://u:secret@h/", "'h/' lacks"),
        ("opensearch://h:99999/x", "port"),
        ("opensearch://[::1/x", "host in 'opensearch://[::1/x' is none"),
        ("openserch://me:secret@h/x", "'h/x' is no address"),
        ("opensearch://h/x?shard=1", "has no option 'shard'. It has shards, replicas, ca, verify"),
        ("opensearch://h/x?api_key=k", "has no option 'api_key'"),
        ("opensearch://h/x?verify=0", "is about HTTPS, and this address has none"),
        ("solr+https://h/solr/x?verify=no", "'verify' in the address is 'no', but must be 0 or 1"),
        ("qdrant+https://h/x?ca=/nowhere.pem", "There is no file '/nowhere.pem'"),
        ("elasticsearch+https://h/x?ca=/nowhere.pem&verify=0", "ca has no effect"),
        ("elasticsearch://me:secret@h/x?api_key=k", "has a user and an api_key"),
        ("elasticsearch://h/x?api_key=", "'api_key' in the address is empty"),
        ("postgresql+https://h/d/x", "PostgreSQL does not speak HTTPS"),
        ("postgresql://h/x", "has a database and a table"),
        ("postgresql://h/d/x?ef_search=9", "has no effect without hnsw=1"),
        ("postgresql://h/d/x?hnsw=1&ef_search=1001", "ef_search is 1,001, but must be from 1 to 1,000"),
        ("postgresql://h/d/x?hnsw=2", "hnsw in the address is 2"),
        ("postgresql://h/d/" + 57 * "x", "no name of a table"),
        ("vespa://h/x?deploy=0", "deploy in the address is 0, but must be a port, from 1 to 65535"),
        ("vespa://h/x?deploy=65536", "deploy in the address is 65536, but must be a port, from 1 to 65535"),
        ("opensearch://h/x?shards=two", "'two' in the address is no whole number"),
    ],
)
def test_addresses_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        connect(text)
    assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    pytest.importorskip("opensearchpy")
    from lexite.engines.opensearch import OpenSearchEngine

    with pytest.raises(EngineError, match="127.0.0.1:1/x did not answer in 2 attempts: no connection") as refused:
        OpenSearchEngine("http://me:secret@127.0.0.1:1", "x", patience=Patience(2, 0.0))
    assert "secret" not in str(refused.value)


def test_what_may_pass_is_tried_again_and_what_cannot_is_not() -> None:
    waits: list[float] = []
    answers: list[Any] = [RequestFailed(429, "busy"), RequestFailed(None, "no connection"), "done"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    line = Line("here", Patience(sleep=waits.append))
    assert line.ask(call) == "done" and waits == [0.5, 1.0]
    answers[:] = [RequestFailed(400, "a reason")]
    with pytest.raises(EngineError, match=r"here refused a request \(400\): a reason"):
        line.ask(call)
    for status in (503, None):  # one that has answered before is waited for, whether it is busy or gone
        answers[:] = [RequestFailed(status, "starting")] * 9
        with pytest.raises(EngineError, match="did not answer in 8 attempts: starting"):
            line.ask(call)
    assert waits[-1] == 30.0
    with pytest.raises(EngineError, match="was given no attempt"):
        Line("here", Patience(tries=0)).ask(call)


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    waits: list[float] = []

    def call() -> str:
        raise RequestFailed(None, "no connection")

    with pytest.raises(EngineError, match="did not answer in 4 attempts"):
        Line("here", Patience(sleep=waits.append)).ask(call)
    assert waits == [0.5, 1.0, 2.0]


def test_bytes_are_throttled() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    throttle = Throttle(100.0, lambda: now[0], sleep)
    throttle.sent(50)
    now[0] += 10  # as long as the engine took
    throttle.sent(50)
    throttle.sent(2000)
    assert slept == [0.5, pytest.approx(10.5)]
    Throttle(None, lambda: now[0], sleep).sent(10**9)
    assert len(slept) == 2
    for settings, message in ((LoadSettings(0), "batch_bytes is 0"), (LoadSettings(bytes_per_second=0), "must be above 0")):
        with pytest.raises(ConfigError, match=message):
            settings.check()


class Scripted:
    """A connection whose bulk requests are answered from a list of statuses by id."""

    def __init__(self, statuses: Mapping[str, list[int]]) -> None:
        self.statuses, self.sent = {name: list(own) for name, own in statuses.items()}, []
        self.record: Any = None

    def request(self, method: str, path: str, params: Any = None, body: Any = None) -> Any:
        if path.endswith("/_bulk"):
            lines = body.decode().splitlines()
            ids = [json.loads(line)["index"]["_id"] for line in lines[::2]]
            self.sent.append(ids)
            items = []
            for each in ids:
                status = self.statuses.get(each, [201]).pop(0) if self.statuses.get(each) else 201
                error = {} if status < 400 else {"error": {"type": "t", "reason": "r", "caused_by": {"reason": "why"}}}
                items.append({"index": {"_id": each, "status": status, **error}})
            return {"items": items}
        return {}

    def close(self) -> None:
        pass


def test_of_a_bulk_only_what_was_put_off_is_sent_again_and_refusals_have_reasons() -> None:
    connection, waits = Scripted({"s1": [429, 503, 201], "s2": [400]}), []
    line = Line("here", Patience(sleep=waits.append))
    driver = BulkDriver("OpenSearch", connection, "x", OPENSEARCH, line)
    documents, rows = small(4)
    memory = begun(MemoryEngine("saturation"))
    taken: list[Any] = []
    memory.driver.write = lambda passages, collection: taken.append((passages, collection)) or Written(0)  # type: ignore
    memory.add(documents, rows)
    passages, collection = taken[0]
    written = driver.write(passages, collection)
    assert connection.sent == [["s0", "s1", "s2", "s3"], ["s1"], ["s1"]] and waits == [0.5, 1.0]
    assert written.refused == (Refused("s2", "r; why"),)
    busy = BulkDriver("OpenSearch", Scripted({"s1": [429] * 9}), "x", OPENSEARCH, line)
    with pytest.raises(EngineError, match="too busy for 1 documents, 8 times"):
        busy.write(passages, collection)


def test_documents_that_the_engine_refuses_are_named_and_the_others_stay() -> None:
    documents, rows = small(5)

    def refusing(engine: LiveEngine) -> LiveEngine:
        real = engine.driver.write

        def write(passages: Any, collection: Any) -> Written:
            real([each for each in passages if each.id != "s3"], collection)
            return Written(10, (Refused("s3", "a reason"),))

        engine.driver.write = write  # type: ignore[method-assign]
        return begun(engine)

    engine = refusing(MemoryEngine())
    with pytest.raises(CorpusError, match="'s3': a reason. The others are there"):
        engine.add(documents, rows)
    assert len(engine) == 4
    report = refusing(MemoryEngine()).add(documents, rows, settings=LoadSettings(skip_bad=True))
    assert report.n_documents == 4 and report.refused == (Refused("s3", "a reason"),)


def test_a_document_of_which_one_passage_is_refused_is_not_there_in_part() -> None:
    from congruence import passages_index

    engine = MemoryEngine()
    real = engine.driver.write

    def write(passages: Any, collection: Any) -> Written:
        real([each for each in passages if each.id != "p3#2"], collection)
        return Written(10, (Refused("p3#2", "a reason"),))

    engine.driver.write = write  # type: ignore[method-assign]
    report = engine.load(passages_index(), settings=LoadSettings(skip_bad=True))
    assert report.n_documents == 59 == len(engine) and engine.get("p3") is None
    assert [each.id for each in report.refused] == ["p3"]


def test_records_that_are_damaged_or_not_ours() -> None:
    engine = begun(MemoryEngine())
    record = engine.driver.read_record()
    assert read_collection_record(json.loads(json.dumps(record)), "here") == engine.record
    for value, message in (
        ({}, "was not made by lexite"),
        ({**record, "average_length": 7}, "checksum is wrong"),
        ({**record, "format_version": 2}, "format version 2"),
    ):
        with pytest.raises(IndexFormatError, match=message):
            read_collection_record(value, "here")


def test_fields_that_change_their_type_are_refused() -> None:
    engine = begun(MemoryEngine())
    rows = csr_array(np.ones((1, 400), np.float32))
    engine.add([Document("a", "x", fields={"year": 1})], rows)
    with pytest.raises(CorpusError, match="'year' holds integer values in the engine"):
        engine.add([Document("b", "x", fields={"year": 1.5})], rows)
    with pytest.raises(CorpusError, match="There are 2 documents, but 1 rows"):
        engine.add([Document("b", "x"), Document("c", "y")], rows)
    with pytest.raises(ConfigError, match="has no route 'frequencies'"):
        MemoryEngine("frequencies")


class Answering:
    """A connection with an answer for each path, in order; it keeps what was sent."""

    def __init__(self, answers: Mapping[str, list[Any]]) -> None:
        self.answers, self.sent = {path: list(own) for path, own in answers.items()}, []

    def request(self, method: str, path: str, params: Any = None, body: Any = None) -> Any:
        self.sent.append((method, path, body))
        own = self.answers[path]
        return own.pop(0) if len(own) > 1 else own[0]

    def close(self) -> None:
        pass


def test_a_deletion_that_is_refused_ends() -> None:
    hit = {"hits": {"hits": [{"_id": "s1"}]}}
    failed = {"delete": {"_id": "s1", "status": 403, "error": {"reason": "the index is read-only"}}}
    busy = {"delete": {"_id": "s1", "status": 429, "error": {"reason": "slow down"}}}
    answers = {"/x/_search": [hit], "/x/_bulk": [{"items": [busy]}, {"items": [failed]}]}
    driver = BulkDriver("OpenSearch", Answering(answers), "x", OPENSEARCH, Line("here", Patience(sleep=lambda seconds: None)))
    with pytest.raises(EngineError, match=r"here refused a request \(403\): the index is read-only. Whoever asks may not"):
        driver.delete(["s1"])


def test_a_name_stands_for_one_index() -> None:
    two = {name: {"mappings": {}} for name in ("a", "b")}
    driver = BulkDriver("OpenSearch", Answering({"/x/_mapping": [two]}), "x", OPENSEARCH, Line("here"))
    with pytest.raises(EngineError, match="here stands for 2 indexes. Name one of them"):
        driver.read_record()
    for name in ("a*", "_all", "a,b", "A", "", "-a", "..", "a b", "x" * 256, "<a>", "a/b", "a?"):
        with pytest.raises(ConfigError, match="is no name of an index"):
            check_index_name(name)
    for name in ("notes", ".hidden", "a-b_c.d", "ä", "1"):
        check_index_name(name)


def test_a_request_stays_below_what_servers_take(monkeypatch: pytest.MonkeyPatch) -> None:
    import lexite.engines.bulk_driver as module

    documents, rows = small(6)
    memory, taken = begun(MemoryEngine("saturation")), []
    memory.driver.write = lambda passages, collection: taken.append((passages, collection)) or Written(0)  # type: ignore
    memory.add(documents, rows)
    passages, collection = taken[0]
    connection = Scripted({})
    driver = BulkDriver("OpenSearch", connection, "x", OPENSEARCH, Line("here"))
    largest = max(driver.write([each], collection).n_bytes for each in passages)
    connection.sent.clear()
    monkeypatch.setattr(module, "LARGEST_RECORD", 2 * largest)
    driver.write(passages, collection)
    assert len(connection.sent) > 1 and [each for sent in connection.sent for each in sent] == [f"s{n}" for n in range(6)]
    monkeypatch.setattr(module, "LARGEST_RECORD", largest - 1)
    (refused,) = driver.write(passages, collection).refused
    assert "bytes, and" in refused.reason


def test_a_collection_is_replaced_when_the_new_one_can_be_made() -> None:
    documents, rows = small(30)
    engine = MemoryEngine()
    engine.load(beside(documents, rows))
    odd = [dataclasses.replace(each, fields={"a.b": 1}) for each in documents]
    odd_index = fielded(odd, rows)
    with pytest.raises(CorpusError, match="'a.b' cannot go to Memory: .* or leave fields out: fields=False"):
        engine.load(odd_index, overwrite=True)
    assert len(engine) == 30
    without = MemoryEngine(fields=False)
    assert without.load(odd_index).n_documents == 30 and without.record.fields == {}
    without.add([Document("new", "x", fields={"c.d": 1})], rows[[0]])
    assert without.record.fields == {} and len(without) == 31


def test_what_lexite_did_not_make_is_not_replaced() -> None:
    documents, rows = small(30)
    index, engine = beside(documents, rows), MemoryEngine()
    engine.load(index)
    engine.driver.record, engine._record = {}, None
    with pytest.raises(EngineError, match="was not made by lexite, so it is not replaced"):
        engine.load(index, overwrite=True)
    assert len(engine.driver.passages) == 30
    engine.driver.passages = {}
    assert engine.load(index, overwrite=True).n_documents == 30


def test_rows_of_another_width_and_options_without_effect_are_refused() -> None:
    engine = begun(MemoryEngine())
    with pytest.raises(CorpusError, match="The rows have 7 latents, but the vocabulary of memory:documents has 400"):
        engine.add([Document("a", "x")], csr_array(np.ones((1, 7), np.float32)))
    with pytest.raises(ConfigError, match="Memory holds terms in one way alone"):
        MemoryEngine(keep_terms=True)
