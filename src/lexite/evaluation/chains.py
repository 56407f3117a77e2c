"""Second stages under test: chains of strategies over the index of the system under test."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lexite.errors import ConfigError
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.kept_queries import KeptQueries
from lexite.evaluation.systems import Costs, SystemResult
from lexite.index.side_config import SideDataConfig
from lexite.ranking.hits import Hit
from lexite.ranking.rankings import Ranking
from lexite.search.presets import side_data_for
from lexite.search.queries import ModelQueries
from lexite.search.searcher import Searcher
from lexite.search.strategies.chain import Chain
from lexite.search.strategy import Strategy

if TYPE_CHECKING:
    from lexite.evaluation.cache import StateCache
    from lexite.index import BM25Index, EncodedQueries
    from lexite.terms import LatentTermEncoder

QUERIES_PER_BATCH = 64
"""Queries that go through a chain together, which bounds the memory for what strategies read of their candidates."""


@dataclass(frozen=True)
class Chains:
    """Chains by name, and where vectors and token states of queries are kept.

    Attributes:
        strategies: name → the strategies of a chain.
        cache: where query vectors and states are kept; None: nowhere.

    Raises:
        ConfigError: a name that cannot stand in the name of a file.
    """

    strategies: Mapping[str, Sequence[Strategy]] = field(default_factory=dict)
    cache: StateCache | None = None

    def __post_init__(self) -> None:
        strange = next((name for name in self.strategies if not re.fullmatch(r"[\w+,.=-]+", name)), None)
        if strange is not None:
            raise ConfigError(f"'{strange}' is no name for a chain. Use letters, digits and the signs + , . = - _.")

    def side_data(self, asked: SideDataConfig | None = None) -> SideDataConfig:
        """What an index has to keep for all of them: vectors in int8 and token codes, where nothing else is asked for."""
        return side_data_for(frozenset().union(*(Chain(each).needs for each in self.strategies.values())), asked)

    def run(
        self,
        index: BM25Index,
        encoder: LatentTermEncoder,
        collection: JudgedCollection,
        queries: EncodedQueries,
        first: SystemResult,
        top_k: int,
    ) -> dict[str, SystemResult]:
        """Runs every chain over an index.

        Args:
            index: of the collection.
            encoder: what made it.
            collection: whose queries are asked.
            queries: these, encoded.
            first: what the first stage found, and its costs.
            top_k: documents that are ranked.
        """
        kept = KeptQueries(ModelQueries(encoder), collection, queries, self.cache)
        searcher = Searcher(index, kept, encoder.label if encoder.vocabulary else None)
        found = {}
        for name, strategies in self.strategies.items():
            kept.prepare(Chain(strategies).needs)
            began, hits = time.perf_counter(), list[Sequence[Hit]]()
            for start in range(0, len(queries), QUERIES_PER_BATCH):
                hits += searcher.rank(queries[start : start + QUERIES_PER_BATCH], top_k, then=strategies)
            milliseconds = 1000 * (time.perf_counter() - began) / max(len(queries), 1)
            costs = _costs(index, first.costs, Chain(strategies).needs)
            found[name] = SystemResult([_ranking(each) for each in hits], costs, milliseconds=milliseconds)
        return found


def _costs(index: BM25Index, first: Costs, needs: frozenset[str]) -> Costs:
    """The costs of the first stage, with the side files that a chain reads."""
    kept = index.info().get("side_data", {})
    side = sum(facts["bytes"] for kind, facts in kept.items() if kind in needs)
    return dataclasses.replace(first, bytes_per_document=(first.bytes_per_document or 0.0) + side / index.n_documents)


def _ranking(hits: Sequence[Hit]) -> Ranking:
    """Hits in their order, which counts: a score that rises is held down to the one before it."""
    scores = np.array([hit.score for hit in hits], dtype=np.float32)
    return Ranking(np.array([hit.document for hit in hits], dtype=np.int64), np.minimum.accumulate(scores))
