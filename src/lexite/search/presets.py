"""Presets: ways of searching by name, each a chain of second stages that was chosen by measurement, or none."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lexite.errors import ConfigError
from lexite.index.side_config import SideDataConfig
from lexite.index.side_data import TOKEN_CODES, VECTORS
from lexite.search.strategies import STRATEGIES
from lexite.search.strategies.chain import Chain
from lexite.search.strategy import Strategy


@dataclass(frozen=True)
class Preset:
    """A way of searching.

    Attributes:
        description: what it is and what it costs, for people.
        steps: names of strategies with their settings, in order; none is the first stage alone.
        static: whether queries are encoded by the static table, without the model.
        scoring: numbers of BM25 in place of the index's, where a search gives none.
    """

    description: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())
    static: bool = False
    scoring: Mapping[str, Any] = field(default_factory=dict)

    def chain(self) -> list[Strategy]:
        """Its strategies."""
        return [STRATEGIES[name](**settings) for name, settings in self.steps]

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of an index and of queries (:data:`lexite.search.strategy.NEEDS`)."""
        return Chain(self.chain()).needs

    def side_data(self, asked: SideDataConfig | None = None) -> SideDataConfig:
        """What an index has to keep for it, beside what is asked for."""
        return side_data_for(self.needs, asked)


def side_data_for(needs: frozenset[str], asked: SideDataConfig | None = None) -> SideDataConfig:
    """What an index has to keep for strategies: vectors in int8 and token codes, where nothing else is asked for.

    Args:
        needs: of the strategies (:data:`lexite.search.strategy.NEEDS`).
        asked: what is kept in any case, and how.

    >>> side_data_for(frozenset({"vectors", "model"}))
    SideDataConfig(vectors='int8', token_codes=False, token_k=None)
    """
    asked = asked or SideDataConfig()
    vectors = asked.vectors or ("int8" if VECTORS in needs else None)
    return dataclasses.replace(asked, vectors=vectors, token_codes=asked.token_codes or TOKEN_CODES in needs)


PRESETS = {
    "default": Preset("Latent terms and words in one index, queries through the model; no second stage."),
    "fast": Preset(
        "The same index, queries through its static table and words at 1: no model and no torch.",
        static=True,
        scoring={"literal_weight": 1.0},
    ),
    "cascade": Preset("Static queries, and the model only for those whose static ranking is unsure.", (("cascade", {}),)),
}


def preset_of(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ConfigError: there is none of this name.

    >>> preset_of("fast").static, preset_of("default").chain()
    (True, [])
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), list(PRESETS), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Choose among {', '.join(PRESETS)}."
        raise ConfigError(f"'{name}' is not a preset. {hint}")
    return PRESETS[name]
