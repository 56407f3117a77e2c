"""Real servers with indexes of somebody else, aliases, blocks and lost records: clear words, and nothing lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from congruence import Kit, check_same, fielded_index
from emulated_engines import random_queries
from engine_fixtures import address_of, new_name

from lexite.engines.elasticsearch import ElasticsearchEngine
from lexite.engines.live import LiveEngine
from lexite.engines.loading import LoadSettings
from lexite.engines.opensearch import OpenSearchEngine
from lexite.engines.solr import SolrEngine
from lexite.errors import EngineError, LexiteError

pytestmark = [pytest.mark.engines, pytest.mark.slow]
KINDS: dict[str, Any] = {
    "opensearch3": OpenSearchEngine,
    "elasticsearch8": ElasticsearchEngine,
    "solr9": SolrEngine,
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def engine_of(kind: str, name: str, **options: Any) -> LiveEngine:
    made: LiveEngine = KINDS[kind](address_of(kind), name, **options)
    return made


@pytest.fixture
def name(kind: str) -> Iterator[str]:
    given = new_name()
    yield given
    ask_to_end(kind, given)


def ask_to_end(kind: str, name: str) -> None:
    driver: Any = engine_of(kind, name).driver
    with contextlib.suppress(EngineError):
        if kind == "solr9":
            driver._ask("/admin/collections", {"action": "DELETE", "name": name})
        else:
            driver._ask("DELETE", f"/{name}")


def write_by_somebody_else(kind: str, name: str) -> None:
    driver: Any = engine_of(kind, name).driver
    if kind == "solr9":
        shape = {"numShards": "1", "collection.configName": "_default", "waitForFinalState": "true"}
        driver._ask("/admin/collections", {"action": "CREATE", "name": name, **shape})
        driver._ask(f"/{name}/update", {"commit": "true"}, [{"id": "theirs"}])
    else:
        driver._ask("POST", f"/{name}/_doc", {"refresh": "true"}, {"theirs": 1})


def count_all(kind: str, name: str) -> int:
    driver: Any = engine_of(kind, name).driver
    return int(driver._count("*:*") if kind == "solr9" else driver._ask("GET", f"/{name}/_count")["count"])


def test_what_somebody_else_wrote_is_not_replaced(kind: str, name: str) -> None:
    write_by_somebody_else(kind, name)
    for overwrite in (False, True):
        with pytest.raises(EngineError, match="was not made by lexite, so it is not replaced. Choose another name"):
            engine_of(kind, name).load(fielded_index(), overwrite=overwrite)
    with pytest.raises(LexiteError, match="was not made by lexite"):
        engine_of(kind, name).search(random_queries(1))
    assert count_all(kind, name) == 1


def test_a_collection_without_its_record_is_not_replaced(kind: str, name: str) -> None:
    engine: Any = engine_of(kind, name)
    engine.load(fielded_index())
    if kind == "solr9":
        engine.driver._ask(f"/{name}/update", {"commit": "true"}, {"delete": {"id": "lexite_record"}})
    else:
        engine.driver._ask("PUT", f"/{name}/_mapping", body={"_meta": {}})
    for overwrite in (False, True):
        with pytest.raises(EngineError, match="was not made by lexite, so it is not replaced"):
            engine_of(kind, name).load(fielded_index(), overwrite=overwrite)
    with pytest.raises(LexiteError, match="was not made by lexite"):
        engine_of(kind, name).search(random_queries(1))
    assert count_all(kind, name) == 200


def test_an_alias_is_searched_and_not_replaced(kind: str, name: str) -> None:
    engine: Any = engine_of(kind, name)
    engine.load(fielded_index())
    other = f"{name}-alias"
    if kind == "solr9":
        engine.driver._ask("/admin/collections", {"action": "CREATEALIAS", "name": other, "collections": name})
    else:
        engine.driver._ask("PUT", f"/{name}/_alias/{other}")
    beside = engine_of(kind, other)
    check_same(Kit(lambda: beside, 0.01), beside, fielded_index(), random_queries(5))
    with pytest.raises(EngineError, match="already. Replace it with overwrite=True"):
        beside.load(fielded_index())
    with pytest.raises(EngineError, match=f"is another name of the (index|collection) {name}, which is not deleted by that"):
        beside.load(fielded_index(), overwrite=True)
    assert len(engine) == 200
    if kind == "solr9":
        engine.driver._ask("/admin/collections", {"action": "DELETEALIAS", "name": other})


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
def test_a_full_disk_is_named_at_once_and_the_load_goes_on_when_there_is_room(kind: str, name: str, block: str) -> None:
    if kind == "solr9":
        pytest.skip("Solr has no such blocks")
    engine: Any = engine_of(kind, name)
    real, sent = engine.driver.write, []

    def blocked(value: bool | None) -> None:
        engine.driver._ask("PUT", f"/{name}/_settings", body={f"index.blocks.{block}": value})

    def blocking(passages: Any, collection: Any) -> Any:
        sent.append(len(passages))
        if len(sent) == 3:
            blocked(True)
        return real(passages, collection)

    engine.driver.write = blocking
    with pytest.raises(EngineError, match="takes no documents now: .*block.*Free space on its disk or lift the block"):
        engine.load(fielded_index(), settings=LoadSettings(batch_bytes=20_000))
    engine.forget_counts()
    engine.driver.settle()
    assert 0 < len(engine) < 200
    with pytest.raises(EngineError, match=r"refused a request \((429|403)\): .*block"):
        engine.delete(["s0"])
    blocked(None)
    engine.driver.write = real
    again = engine_of(kind, name)
    assert again.load(fielded_index()).n_documents == 200
    check_same(Kit(lambda: again, 0.01), again, fielded_index(), random_queries(5))


def test_cores_that_are_being_opened_are_waited_for(kind: str, name: str) -> None:
    if kind != "solr9":
        pytest.skip("it is Solr that answers 404 meanwhile")
    from lexite.engines.retrying import Patience, RequestFailed

    waits: list[float] = []
    engine: Any = engine_of(kind, name, patience=Patience(sleep=waits.append))
    real, turns = engine.driver._http.request, iter([False, True, True] * 3)

    def opening(path: str, *more: Any) -> Any:
        if path.endswith("/update") and next(turns, False):
            raise RequestFailed(404, "Can not find: /solr/x/update")
        return real(path, *more)

    engine.driver._http.request = opening
    report = engine.load(fielded_index(), settings=LoadSettings(batch_bytes=50_000))
    assert report.n_documents == 200 and not report.refused and len(waits) >= 4
    assert json.dumps(waits[:2]) == "[0.5, 1.0]"
    check_same(Kit(lambda: engine, 0.01), engine, fielded_index(), random_queries(5))
