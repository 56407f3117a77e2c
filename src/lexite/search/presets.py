"""Presets: ways of searching by name, each a chain of second stages that was chosen by measurement, or none."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

from lexite.errors import ConfigError
from lexite.index.side_config import SideDataConfig
from lexite.index.side_data import TOKEN_CODES, VECTORS
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.search.strategies import STRATEGIES
from lexite.search.strategies.chain import Chain
from lexite.search.strategy import Strategy

T = TypeVar("T")


@dataclass(frozen=True)
class Preset:
    """A way of searching.

    Attributes:
        description: what it is and what it costs, for people.
        steps: names of strategies with their settings, in order; none is the first stage alone.
        static: whether queries are encoded by the static table, without the model.
        scoring: numbers of BM25 in place of the index's, where a search gives none. An index that is built for it records them,
            unless they are for static queries only.
        passages: how an index that is built for it cuts long texts, as for ``Searcher.build``; None: as by default.
        words: how such an index takes literal words: fields of :class:`lexite.scoring.words.LiteralConfig`.
        with_tables: name of the preset that takes its place where most documents have tables (:mod:`lexite.search.tabular`).
    """

    description: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())
    static: bool = False
    scoring: Mapping[str, Any] = field(default_factory=dict)
    passages: Literal["tables"] | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    with_tables: str | None = None

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

    def passages_over(self, asked: T) -> T | Literal["tables"]:
        """How long texts are cut; what is asked for wins, where it is not the default ``"auto"``."""
        return self.passages if self.passages is not None and asked == "auto" else asked

    def words_over(self, asked: LiteralConfig) -> LiteralConfig:
        """How literal words are taken; what is asked for wins, where it is not the default.

        >>> Preset("", words={"literal_pairs": True}).words_over(LiteralConfig()).literal_pairs
        True
        """
        default = LiteralConfig()
        own = {name: value for name, value in self.words.items() if getattr(asked, name) == getattr(default, name)}
        return dataclasses.replace(asked, **own)

    @overload
    def recorded_over(self, asked: BM25Config) -> BM25Config: ...

    @overload
    def recorded_over(self, asked: Mapping[str, Any] | None) -> Mapping[str, Any]: ...

    def recorded_over(self, asked: BM25Config | Mapping[str, Any] | None) -> BM25Config | Mapping[str, Any]:
        """The numbers of BM25 that an index records, by name; what is asked for wins.

        >>> Preset("", scoring={"k1": 1.5, "b": 0.5}).recorded_over({"b": 0.9})
        {'k1': 1.5, 'b': 0.9}
        >>> Preset("", static=True, scoring={"k1": 1.5}).recorded_over(None)
        {}
        """
        if isinstance(asked, BM25Config):
            return asked
        return {**({} if self.static else self.scoring), **(asked or {})}


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


BEST: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("hybrid", {"fusion": "zscore"}),
    ("maxsim", {"fusion": "zscore", "token_weights": "idf", "candidates": 64}),
    ("neighbours", {}),
)
"""Chosen on SciFact, CISI, WikiQA, NFCorpus and TAT-QA, and confirmed on four others: ``docs/results/second-stages.md``."""

CODE: tuple[tuple[str, Mapping[str, Any]], ...] = (("hybrid", {"fusion": "zscore", "weight": 2.0}), *BEST[1:])
"""Measured on a stand-in for questions about code: ``docs/results/second-stages.md``."""

PRESETS = {
    "default": Preset("Latent terms and words in one index, queries through the model; no second stage."),
    "fast": Preset(
        "The same index, queries through its static table and words at 1: no model and no torch.",
        static=True,
        scoring={"literal_weight": 1.0},
    ),
    "cascade": Preset("Static queries, and the model only for those whose static ranking is unsure.", (("cascade", {}),)),
    "best": Preset(
        "Dense scores, MaxSim over token codes and neighbours, one after the other, for the best hundred (MaxSim: 64); rows of "
        "tables as passages, numbers in any written form. Where most documents have tables: tables.",
        BEST,
        passages="tables",
        words={"literal_numbers": "normal"},
        with_tables="tables",
    ),
    "tables": Preset(
        "For texts with tables and numbers: rows of tables as passages, pairs of words, numbers in any written form; no second "
        "stage.",
        scoring={"k1": 1.5, "literal_weight": 4.5},
        passages="tables",
        words={"literal_pairs": True, "literal_numbers": "normal"},
    ),
    "code": Preset(
        "For questions about code: words at 1, the steps of best, dense scores twice as heavy.",
        CODE,
        scoring={"literal_weight": 1.0},
    ),
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
