"""Each route, with the engine emulated in plain float32: the ranking is the index's, and scores are as near as is said."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from emulated_engines import N_LATENTS, Emulated, kept_feature, memory_index, random_queries
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.engines.documents import engine_documents
from lexite.engines.queries import engine_queries
from lexite.engines.routes import ROUTE_NAMES, check_route, feature_values, route, stored_values
from lexite.engines.statistics import statistics_of
from lexite.errors import ConfigError
from lexite.index import BM25Config, BM25Index, EncodedQueries, LiteralConfig, VocabularyInfo

EXACT = [name for name in ROUTE_NAMES if name != "integers"]
SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
SCIFACT = SHARED / "data" / "collections" / "scifact"
NEAR = {"saturation": 2**-9, "linear": 2**-9, "frequencies": 0.01, "impacts": 1e-5, "impacts-idf": 1e-5}


def overlap_and_error(index: BM25Index, queries: EncodedQueries, name: str, scale: float | None = None) -> tuple[float, float]:
    """Mean overlap@10 with the index, where equal scores at the end may be exchanged; the largest relative error of scores."""
    chosen, statistics = route(name, scale), statistics_of(index)
    held = {
        each.id: dict(zip(each.terms.tolist(), each.values.tolist(), strict=True))
        for together in engine_documents(index, chosen, statistics)
        for each in together
    }
    engine = Emulated(name, held)
    factor = 1.0 if chosen.rounding != "count" or chosen.saturates else 1 / chosen.scale
    overlaps, errors = [], [0.0]
    for query, asked, hits in zip(
        queries, engine_queries(index, queries, chosen, statistics), index.search(queries), strict=True
    ):
        found = engine.search(dict(zip(asked.terms.tolist(), asked.weights.tolist(), strict=True)), asked.pivot)
        ours = {hit.id for hit in hits}
        least = hits[-1].score if hits else 0.0
        scores = {hit.id: hit.score for hit in index.search(query, 200)[0]} if hits else {}
        same = sum(i in ours or scores.get(i) == least for i, _ in found)
        overlaps.append(same / max(len(hits), 1) if hits else 1.0)
        errors += [abs(score * factor / scores[i] - 1) for i, score in found if i in scores]
    return float(np.mean(overlaps)), max(errors)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("literal", [True, False])
def test_the_ranking_is_that_of_the_index(name: str, literal: bool, queries: EncodedQueries) -> None:
    overlap, error = overlap_and_error(memory_index(literal=literal), queries, name)
    assert overlap >= 0.999 and error <= NEAR[name]


SCORINGS = [
    BM25Config(idf="robertson"),
    BM25Config(idf_power=1.0, b=0.0, k1=0.9),
    BM25Config(b=1.0, document_transform="sqrt", query_transform="none"),
    BM25Config(document_transform="log1p", query_transform="log1p", literal_weight=0.0),
    BM25Config(idf="bm25+", delta=0.0),
]


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("name", ["saturation", "frequencies", "impacts-idf"])
def test_every_scoring_goes_through(name: str, scoring: BM25Config) -> None:
    scale = 20_000.0 if name == "frequencies" and scoring.document_transform != "none" else None
    overlap, error = overlap_and_error(memory_index(300, scoring=scoring), random_queries(20), name, scale)
    assert overlap >= 0.999 and error <= NEAR[name]


def test_delta_goes_through_impacts_alone() -> None:
    scoring = BM25Config(idf="bm25+", delta=0.7)
    assert overlap_and_error(memory_index(300, scoring=scoring), random_queries(20), "impacts")[0] == 1.0
    for name in ("saturation", "frequencies"):
        with pytest.raises(ConfigError, match="cannot add the delta"):
            check_route(route(name), scoring)
    check_route(route("linear"), scoring)


def test_a_k1_of_nothing() -> None:
    with pytest.raises(ConfigError, match="k1 above 0"):
        check_route(route("saturation"), BM25Config(k1=0.0))
    index = memory_index(200, scoring=BM25Config(k1=0.0))
    assert overlap_and_error(index, random_queries(10), "impacts")[1] < 1e-5


def test_whole_numbers_of_impacts_are_near_and_nearer_with_a_larger_scale(index: BM25Index, queries: EncodedQueries) -> None:
    coarse, fine = (overlap_and_error(index, queries, "integers", scale) for scale in (255, 20_000))
    assert coarse[0] >= 0.999 and fine[0] >= 0.999
    assert fine[1] < coarse[1] / 10 and coarse[1] < 0.01


def test_weights_of_every_size_keep_their_ranking_with_a_scale() -> None:
    index = memory_index(300, spread=3.0)
    assert index.rows().data.min() < 1e-2 and index.rows().data.max() > 1e4
    assert overlap_and_error(index, random_queries(20), "frequencies", 100_000)[0] >= 0.999
    assert overlap_and_error(index, random_queries(20), "impacts")[0] >= 0.999


@pytest.mark.slow
def test_real_documents_keep_their_ranking() -> None:
    """The first 500 documents of SciFact, as the packaged vocabulary's static table encodes them."""
    if not SCIFACT.is_dir():
        pytest.skip("SciFact is not on this machine")
    from lexite.terms.static import load_static

    def read(name: str, n: int) -> list[str]:
        with gzip.open(SCIFACT / name, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for _, line in zip(range(n), file, strict=False)]
        return [f"{record.get('title', '')} {record['text']}".strip() for record in records]

    table, _ = load_static("default")
    texts, asked = read("corpus.jsonl.gz", 500), read("queries.jsonl.gz", 20)
    info = VocabularyInfo("f" * 64, "static", table.n_latents)
    ids = [f"d{number}" for number in range(len(texts))]
    index = BM25Index.in_memory(table.encode(texts), ids, None, info, texts=texts, literal=LiteralConfig())
    queries = EncodedQueries(table.encode(asked), asked)
    for name in EXACT:
        overlap, error = overlap_and_error(index, queries, name)
        assert overlap >= 0.999 and error <= NEAR[name], (name, overlap, error)


MOST = 2.0**59  # near 10**18, and held by float32 without rounding
positive = st.floats(2.0**-126, MOST, width=32)


@given(st.lists(positive, min_size=1, max_size=20))
def test_features_are_rounded_to_what_lucene_keeps_and_no_further_than_half_a_step(values: list[float]) -> None:
    given_values = np.array(values, np.float32)
    kept = feature_values(given_values)
    for value, rounded in zip(given_values, kept, strict=True):
        assert kept_feature(rounded) == rounded  # nothing is left to cut off
        assert abs(float(rounded) / float(value) - 1) <= 2**-9
        assert float(np.float32(float(f"{rounded:.9g}"))) == float(rounded)  # nor on the way through a text


@settings(max_examples=50)
@given(st.lists(st.floats(2.0**-10, MOST, width=32), min_size=1, max_size=50), st.floats(1, 1e6))
def test_frequencies_are_what_lucene_counts(weights: list[float], scale: float) -> None:
    values = stored_values(
        route("frequencies", scale),
        np.array(weights, np.float32),
        np.array([0, len(weights)]),
        np.array([np.sum(weights)], np.float32),
        5.0,
        BM25Config(),
    )
    assert values.min() >= 1 and values.sum() <= 2**31 - 1


def test_relative_frequencies_by_hand() -> None:
    given_values = (np.array([4, 2, 6], np.float32), np.array([0, 1, 1, 3]), np.array([4, 0, 8], np.float32), 4.0)
    scoring = BM25Config(k1=2.0, b=0.5)
    assert stored_values(route("frequencies"), *given_values, scoring).tolist() == [800, 267, 800]
    assert stored_values(route("impacts"), *given_values, scoring).tolist() == pytest.approx([2 / 3, 0.4, 2 / 3], rel=1e-6)


def test_the_lightest_terms_are_cut(index: BM25Index, queries: EncodedQueries) -> None:
    statistics = statistics_of(index)
    whole = engine_queries(index, queries, route("impacts"), statistics)
    short = engine_queries(index, queries, route("impacts"), statistics, most_terms=5)
    for all_terms, few in zip(whole, short, strict=True):
        assert len(few.terms) == min(5, len(all_terms.terms)) and few.n_cut == len(all_terms.terms) - len(few.terms)
        assert sorted(few.weights) == sorted(all_terms.weights)[-len(few.weights) :]
        assert few.terms.tolist() == sorted(few.terms.tolist())


def test_unknown_terms_and_empty_queries_ask_for_nothing(index: BM25Index) -> None:
    nothing = EncodedQueries(csr_array((1, N_LATENTS), dtype=np.float32), ["unknownword"])
    (asked,) = engine_queries(index, nothing, route("frequencies"), statistics_of(index))
    assert not len(asked.terms) and not asked.n_cut


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("nothing", None, "There is no route 'nothing'. The routes are saturation"),
        ("impacts", 100.0, "no whole numbers"),
        ("frequencies", 0.5, "scale is 0.5, but must be from 1"),
        ("integers", float("nan"), "scale is nan"),
    ],
)
def test_routes_that_are_not_there(name: str, scale: float | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        route(name, scale)
