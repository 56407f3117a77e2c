"""``--then``, the settings of strategies and ``--preset`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexite import Searcher
from lexite.cli.strategy_options import StrategySettings
from lexite.ranking import write_trec_run
from lexite.search.presets import PRESETS, Preset
from lexite.search.strategies import Hybrid, Outside, Rescore


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    write_trec_run(tmp_path / "outside.run", {"q1": {"d6": 3.0, "d2": 1.0}, "milk": {"d6": 3.0, "d2": 1.0}})
    return tmp_path / "outside.run"


def test_a_search_goes_on_with_the_chain(lexite, tiny_index: Path, run_file: Path) -> None:
    words = ["--then", "outside", "--outside-run", run_file, "--outside-weight", "3", "--json"]
    found = json.loads(lexite("search", tiny_index, "milk", *words).out)["hits"]
    chain = [Outside(run=str(run_file), weight=3.0)]
    expected = Searcher.open(tiny_index).search("milk", then=chain)
    assert [(hit["id"], hit["score"]) for hit in found] == [(hit.id, round(hit.score, 6)) for hit in expected]
    assert found[0]["id"] == "d6"


def test_an_evaluation_measures_chains(lexite, tiny_vocabulary: Path, collection: Path, run_file: Path) -> None:
    words = ["--vocabulary", tiny_vocabulary, "--no-literal", "--baselines", "none", "--json", "-"]
    chain = ["--then", "outside", "--outside-run", run_file, "--outside-queries", collection / "queries.jsonl"]
    found = lexite("eval", collection, *words, *chain, "--then", "outside,outside", "--preset", "fast").json
    systems = ["latent", "latent > outside", "latent > outside,outside", "static"]
    assert list(found["collections"]["tiny"]) == systems
    assert set(found["milliseconds"]["tiny"]) == set(systems)


def test_chains_are_built_from_names_and_settings() -> None:
    settings = StrategySettings({"hybrid": {"weight": 2.0, "fusion": "rrf"}})
    assert settings.chains(["hybrid, rescore", "hybrid"]) == {
        "hybrid,rescore": [Hybrid(2.0, "rrf"), Rescore()],
        "hybrid": [Hybrid(2.0, "rrf")],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--then", "hybird"], "'hybird' is not a strategy. Did you mean 'hybrid'?"),
        (["--then", ","], "--then names no strategy"),
        (["--hybrid-weight", "2"], "--hybrid-weight has no effect without 'hybrid' in --then"),
        (["--then", "rescore", "--hybrid-from-text"], "--hybrid-from-text has no effect without 'hybrid'"),
        (["--then", "hybrid", "--preset", "fast"], "--preset takes the place of --then"),
    ],
)
def test_wrong_chains_are_named(lexite, tiny_index: Path, words: list[str], message: str) -> None:
    assert message in lexite("search", tiny_index, "milk", *words).usage


def test_two_equal_chains_are_refused(lexite, collection: Path) -> None:
    assert "the same chain" in lexite("eval", collection, "--then", "hybrid", "--then", " hybrid").usage


def test_an_unknown_preset_is_named(lexite, tiny_index: Path) -> None:
    assert "'bset' is not a preset" in lexite("search", tiny_index, "milk", "--preset", "bset").error


def test_an_index_keeps_what_a_preset_needs(
    lexite, tiny_vocabulary: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "mine", Preset("Of a test.", (("hybrid", {"weight": 2.0}),)))
    words = ["--vocabulary", tiny_vocabulary, "--no-literal"]
    assert lexite("index", documents, "-o", tmp_path / "i", *words, "--preset", "mine", "--vectors", "fp16").status == 0
    assert lexite("info", tmp_path / "i", "--json").json["side_data"]["vectors"]["format"] == "fp16"
    found = json.loads(lexite("search", tmp_path / "i", "milk", "--preset", "mine", "--json").out)["hits"]
    chain = json.loads(lexite("search", tmp_path / "i", "milk", "--then", "hybrid", "--hybrid-weight", "2", "--json").out)[
        "hits"
    ]
    assert found == chain
    assert "needs the static table" in lexite("index", documents, "-o", tmp_path / "j", "--preset", "fast", "--no-static").usage


def test_messages_say_what_to_type_and_nothing_of_python(lexite, tiny_index: Path) -> None:
    static = lexite("search", tiny_index, "milk", "--static", "--then", "hybrid", "--hybrid-from-text").error
    assert static == "The strategy Hybrid needs the model, but queries are encoded without it. Leave --static out."
    vectors = lexite("search", tiny_index, "milk", "--static", "--then", "hybrid").error
    assert vectors.endswith("the index keeps none. Build it again with 'lexite index --vectors int8'.")
    best = lexite("search", tiny_index, "milk", "--preset", "best").error
    assert best.endswith("Build it again with 'lexite index --vectors int8 --token-codes'."), "all that the chain needs"
    tables = lexite("search", tiny_index, "milk", "--preset", "tables").error
    assert "Build it again with 'lexite index --preset tables'. Or leave the preset out." in tables
