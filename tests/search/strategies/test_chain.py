"""Chains of strategies."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from scipy.sparse import csr_array

from lexite.errors import ArgumentError, ConfigError
from lexite.index import EncodedQueries
from lexite.ranking import Hit
from lexite.search import Answer
from lexite.search.strategies import STRATEGIES, Cascade, Chain, Outside


@dataclass(frozen=True)
class Shifted:
    """Adds to scores, reverses the order."""

    by: float
    candidates: int = 100
    needs: tuple[str, ...] = ()

    def __call__(self, answer: Answer) -> Answer:
        return answer.with_rankings(
            [[dataclasses.replace(hit, score=hit.score * 2 + self.by) for hit in reversed(hits)] for hits in answer.rankings]
        )


def asked() -> Answer:
    hits = [[Hit(name, 3.0 - rank, rank + 1, rank) for rank, name in enumerate("abc")]]
    return Answer(EncodedQueries(csr_array([[1.0, 0.0]]), ["q"]), hits, 2, None)  # type: ignore[arg-type]


def test_chains_are_associative() -> None:
    a, b, c = Shifted(1.0), Shifted(-2.0, 300, ("vectors",)), Shifted(0.5, 20, ("model",))
    ways = [Chain([a, b, c]), Chain([Chain([a, b]), c]), Chain([a, Chain([b, c])]), Chain([Chain([a]), Chain([]), b, c])]
    for one, other in product(ways, repeat=2):
        assert one(asked()).rankings == other(asked()).rankings
        assert one.candidates == other.candidates == 300 and one.needs == other.needs == {"vectors", "model"}


def test_an_empty_chain_changes_nothing_and_a_bad_strategy_is_named() -> None:
    assert Chain([])(asked()).rankings == asked().rankings
    with pytest.raises(ArgumentError, match="not a int"):
        Chain([7])  # type: ignore[list-item]


def test_a_chain_takes_a_single_strategy_and_an_iterator_too() -> None:
    one = Shifted(1.0, 200, ("model",))
    for chain in (Chain(one), Chain(step for step in [one])):  # type: ignore[arg-type]
        assert (chain.candidates, chain.needs) == (200, {"model"})
        assert chain(asked()).rankings == one(asked()).rankings == chain(asked()).rankings
    with pytest.raises(ArgumentError, match=r"Shifted is a class, and a strategy is an object of it: Shifted\(\)"):
        Chain([Shifted])


def test_a_cascade_stands_first_wherever_it_is_nested() -> None:
    """What ranked before it would be thrown away without a word."""
    assert Chain([Chain([Cascade(), Shifted(1.0)])]).static_first and not Chain([]).static_first
    for late in (Cascade(), Chain([Cascade()])):
        with pytest.raises(ArgumentError, match="throw away what the strategies before it found"):
            Chain([Shifted(1.0), late])(asked())


@pytest.mark.parametrize("strategy", STRATEGIES.values())
def test_settings_are_checked_when_a_strategy_is_made(strategy: Any) -> None:
    needed = {"source": {}} if strategy is Outside else {}
    strategy(**needed)
    wrong = {"candidates": (0, -1, 2.5, True), "weight": (float("nan"), float("inf"), 1e308, -1.0, "x"), "fusion": ("sum",)}
    tried = [(field.name, value) for field in dataclasses.fields(strategy) for value in wrong.get(field.name, ())]
    tried += [("sureness", float("nan"))] if strategy is Cascade else []
    assert tried
    for name, value in tried:
        with pytest.raises(ConfigError, match=name):
            strategy(**needed, **{name: value})
