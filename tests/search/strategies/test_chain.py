"""Chains of strategies."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product

import pytest
from scipy.sparse import csr_array

from lexite.errors import ArgumentError
from lexite.index import EncodedQueries
from lexite.ranking import Hit
from lexite.search import Answer
from lexite.search.strategies import Chain


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
        Chain([7])(asked())  # type: ignore[list-item]
