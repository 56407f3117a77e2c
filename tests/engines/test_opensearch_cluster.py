"""Three nodes of OpenSearch, three shards with a replica, and a node that dies: nothing is lost, nothing doubled."""

from __future__ import annotations

from typing import Any

import pytest
from congruence import Kit, check_same, corpus
from engine_fixtures import new_name, unavailable
from servers import Server, ServerUnavailable, cluster

from lexite.engines import LoadSettings
from lexite.engines.opensearch import OpenSearchEngine
from lexite.engines.retrying import Patience

pytestmark = [pytest.mark.engines, pytest.mark.slow]


def test_a_node_dies_in_the_middle_of_loading_and_another_in_the_middle_of_searching() -> None:
    try:
        with cluster("opensearch3", 3) as nodes:
            _trial(nodes)
    except ServerUnavailable as error:
        unavailable(str(error))


def _trial(nodes: list[Server]) -> None:
    index, queries = corpus()
    url = ",".join(node.url for node in nodes)
    patience = Patience(tries=12, longest_wait=5.0)
    engine = OpenSearchEngine(url, new_name(), shards=3, replicas=1, route_name="frequencies", patience=patience)
    real, sent = engine.driver.write, []

    def write(passages: Any, collection: Any) -> Any:
        sent.append(len(passages))
        if len(sent) == 4:  # a replica that has not caught up yet can save nothing
            assert engine.driver._ask("GET", "/_cluster/health", {"wait_for_status": "green"})["status"] == "green"
            nodes[2].kill()
        return real(passages, collection)

    engine.driver.write = write  # type: ignore[method-assign]
    report = engine.load(index, settings=LoadSettings(batch_bytes=200_000))
    assert len(sent) > 6 and not report.refused and report.n_documents == index.n_documents
    assert len(engine) == index.n_documents and engine.counts.n_passages == index.n_passages
    check_same(Kit(lambda: engine, 0.01), engine, index, queries)
    before = [engine.search(each)[0] for each in queries]
    nodes[2].restart()
    health = engine.driver._ask("GET", "/_cluster/health", {"wait_for_status": "green"})
    assert (health["number_of_nodes"], health["status"]) == (3, "green")
    after = []
    for number, each in enumerate(queries):
        if number == len(queries) // 2:
            nodes[1].kill()
        after.append(engine.search(each)[0])
    for first, second in zip(before, after, strict=True):
        assert [hit.score for hit in first] == pytest.approx([hit.score for hit in second], rel=1e-5)
        assert len({hit.id for hit in first} & {hit.id for hit in second}) >= len(first) - 1
    check_same(Kit(lambda: engine, 0.01), engine, index, queries)
    engine.close()
