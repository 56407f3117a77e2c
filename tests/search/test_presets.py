"""Presets: ways of searching by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.cli import main
from lexite.errors import ArgumentError, ConfigError
from lexite.scoring import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.search.presets import PRESETS, Preset
from lexite.search.strategies import Hybrid


@pytest.fixture
def searcher(tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> Searcher:
    return Searcher.build(documents, tmp_path / "i", vocabulary=tiny_vocabulary)


def test_default_and_fast_are_the_first_stage_with_either_encoder(searcher: Searcher) -> None:
    static = Searcher.open(searcher.path, static=True)
    question = "milk of the cow"
    assert searcher.search(question, preset="default") == searcher.search(question)
    fast = searcher.search(question, preset="fast")
    light = {"literal_weight": 1.0}
    assert fast == static.search(question, scoring=light) == static.search(question, preset="fast") != searcher.search(question)


def test_scoring_that_is_given_goes_before_a_preset(searcher: Searcher) -> None:
    static, own = Searcher.open(searcher.path, static=True), {"literal_weight": 5.0}
    expected = static.rank("milk of the cow", scoring=own)
    assert searcher.rank("milk of the cow", preset="fast", scoring=own) == expected
    assert Searcher.open(searcher.path, static=True, scoring=own).rank("milk of the cow", preset="fast") == expected
    other = static.rank("milk of the cow", scoring={"literal_weight": 1.0, "k1": 2.0})
    assert searcher.rank("milk of the cow", preset="fast", scoring={"k1": 2.0}) == other


def test_a_preset_is_its_chain(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (("outside", {"source": lambda text: {"d6": 2.0, "d1": 1.0}, "weight": 9.0}),)
    monkeypatch.setitem(PRESETS, "mine", Preset("Of a test.", steps))
    assert searcher.rank("milk", preset="mine") == searcher.rank("milk", then=PRESETS["mine"].chain())
    assert searcher.rank("milk", preset="mine")[0][0].id == "d6"
    assert PRESETS["mine"].needs == frozenset()
    assert Preset("", (("hybrid", {"weight": 2.0}),)).chain() == [Hybrid(2.0)]
    assert Preset("", (("hybrid", {}),)).needs == {"model", "vectors"}


def test_what_does_not_fit_a_preset_is_refused(searcher: Searcher) -> None:
    with pytest.raises(ConfigError, match="'defualt' is not a preset. Did you mean 'default'"):
        searcher.search("milk", preset="defualt")
    with pytest.raises(ArgumentError, match="then has no place beside it"):
        searcher.search("milk", preset="fast", then=Hybrid())
    with pytest.raises(ArgumentError, match="encoded already, so the preset 'fast'"):
        searcher.search(searcher.encode(["milk"]), preset="fast")


def test_what_an_index_is_built_with_for_a_preset(tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    built = Searcher.build(documents, tmp_path / "t", vocabulary=tiny_vocabulary, preset="tables")
    words, passages = built.index.literal, built.index.passages_config
    assert words is not None and words.literal_pairs and words.literal_numbers == "normal"
    assert passages is not None and passages.table_words > 0
    assert (built.index.scoring.k1, built.index.scoring.literal_weight) == (1.5, 4.5)
    assert built.search("milk of the cow", preset="tables") == built.search("milk of the cow")
    other = r"needs an index that was built for it.*'lexite index --preset tables'"
    with Searcher.build(documents, vocabulary=tiny_vocabulary) as plain, pytest.raises(ArgumentError, match=other):
        plain.search("milk of the cow", preset="tables")
    by_shell = tmp_path / "s"
    words_of_command = ["index", documents, "-o", by_shell, "--vocabulary", tiny_vocabulary, "--preset", "tables", "--k1", "2"]
    assert main([str(word) for word in words_of_command]) == 0
    index = Searcher.open(by_shell, static=True).index
    assert (index.literal, index.passages_config) == (words, passages)
    assert (index.scoring.k1, index.scoring.literal_weight) == (2.0, 4.5), "what is given wins"


def test_what_is_given_wins_over_a_preset() -> None:
    tables = PRESETS["tables"]
    assert tables.passages_over("auto") == "tables" and tables.passages_over(120) == 120
    assert PRESETS["fast"].passages_over("auto") == "auto"
    assert not tables.words_over(LiteralConfig(literal=False)).literal
    assert tables.recorded_over(None) == {"k1": 1.5, "literal_weight": 4.5}
    assert tables.recorded_over(BM25Config(k1=3.0)) == BM25Config(k1=3.0)
    assert PRESETS["best"].needs == {"model", "vectors", "token_codes"}
