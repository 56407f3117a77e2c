"""Engines that are servers: OpenSearch 2 and 3, Elasticsearch 8, Solr 9. Each must answer as an index does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from congruence import CASES, Case, Kit, named, run
from engine_fixtures import address_of, new_name

from lexite.engines.elasticsearch import ElasticsearchEngine
from lexite.engines.live import LiveEngine
from lexite.engines.opensearch import OpenSearchEngine
from lexite.engines.solr import SolrEngine

pytestmark = [pytest.mark.engines, pytest.mark.slow]

MAKERS: dict[str, Callable[..., LiveEngine]] = {
    "opensearch2": OpenSearchEngine,
    "opensearch3": OpenSearchEngine,
    "elasticsearch8": ElasticsearchEngine,
    "solr9": SolrEngine,
}
FEATURE, COUNT = 2.0**-8, 0.01
"""Precision of scores: a field keeps 9 significant bits, and a frequency is a whole number with S = 200."""
WAYS = {  # server, route, shards, precision
    "opensearch2-saturation": ("opensearch2", "saturation", 1, FEATURE),
    "opensearch2-frequencies-5": ("opensearch2", "frequencies", 5, COUNT),
    "opensearch3-saturation-5": ("opensearch3", "saturation", 5, FEATURE),
    "opensearch3-frequencies": ("opensearch3", "frequencies", 1, COUNT),
    "elasticsearch8-impacts": ("elasticsearch8", "impacts", 1, FEATURE),
    "solr9-frequencies": ("solr9", "frequencies", 1, COUNT),
}
"""Every case runs over these."""
OTHERS = {
    "opensearch2-saturation-5": ("opensearch2", "saturation", 5, FEATURE),
    "opensearch2-frequencies": ("opensearch2", "frequencies", 1, COUNT),
    "opensearch3-saturation": ("opensearch3", "saturation", 1, FEATURE),
    "opensearch3-frequencies-5": ("opensearch3", "frequencies", 5, COUNT),
    "opensearch3-linear": ("opensearch3", "linear", 1, FEATURE),
    "elasticsearch8-impacts-5": ("elasticsearch8", "impacts", 5, FEATURE),
    "solr9-frequencies-5": ("solr9", "frequencies", 5, COUNT),
}
"""Rankings and explanations alone are compared over these."""
SHORT = [
    each for each in CASES if named(each) in ("rankings_and_scores_are_those_of_the_index", "explanations_add_up_to_the_score")
]


def make_kit(way: str) -> Kit:
    """The kit of a way."""
    kind, route, shards, precision = {**WAYS, **OTHERS}[way]
    url = address_of(kind)

    def make(**options: Any) -> LiveEngine:
        return MAKERS[kind](url, new_name(), **{"shards": shards, "route_name": route, **options})

    longest = "é" * (20_000 if kind == "solr9" else 300)
    return Kit(make, precision, impossible_ids=(longest,))


@pytest.fixture(scope="module", params=list(WAYS))
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    made = make_kit(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


@pytest.fixture(scope="module", params=list(OTHERS))
def other_kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    made = make_kit(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("case", SHORT, ids=named)
def test_other_routes_and_numbers_of_shards(case: Case, other_kit: Kit) -> None:
    run(case, other_kit)
