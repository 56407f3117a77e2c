"""Presets: ways of searching by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.errors import ArgumentError, ConfigError
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
