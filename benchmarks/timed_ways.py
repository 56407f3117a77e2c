"""Ways to search one index, by name, that ``second_stages_time.py`` times: chains, and what they are compared with."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite import Searcher
from lexite.index import BM25Index
from lexite.ranking.hits import Hit
from lexite.scoring.rows import CSRRows
from lexite.search.presets import PRESETS
from lexite.search.strategies import STRATEGIES
from lexite.search.strategies.maxsim import MaxSim
from lexite.search.strategy import Strategy
from lexite.terms.queries import EncodedQueries

FIRST = "first stage"
STATES = ", token states"
WORDS, DENSE, LIKED = "words alone", "dense ranking of all", "two judged documents"
Way = Callable[[Searcher, EncodedQueries], object]
"""Searches an index with a query that is encoded."""


def chains_of(preset: str) -> dict[str, list[Strategy]]:
    """The first stage, the chain after each of its steps, without each of them, and MaxSim alone; both also from states."""
    steps = [(name, STRATEGIES[name](**settings)) for name, settings in PRESETS[preset].steps]
    found = {FIRST: [], **{f"+ {name}": [step for _, step in steps[: n + 1]] for n, (name, _) in enumerate(steps)}}
    for left_out, _ in steps[:-1]:
        found[f"without {left_out}"] = [step for name, step in steps if name != left_out]
    alone = [dataclasses.replace(step, alone=True) for _, step in steps if isinstance(step, MaxSim)]
    if alone:
        found["maxsim alone"] = list(alone)
        found[f"maxsim alone{STATES}"] = list(alone)
        found[f"+ {steps[-1][0]}{STATES}"] = [step for _, step in steps]
    return found


def chains_in(file: Path) -> dict[str, list[Strategy]]:
    """Chains by name from a JSON file: lists of a strategy's name and its settings."""
    named = json.loads(file.read_text(encoding="utf-8"))
    return {name: [STRATEGIES[step](**_settings(own)) for step, own in steps] for name, steps in named.items()}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a strategy, with tuples in place of lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def ways_of(chains: Mapping[str, Sequence[Strategy]], index: BM25Index, states: MadeStates, compared: bool) -> dict[str, Way]:
    """What is timed.

    Args:
        chains: by name.
        index: what is searched.
        states: of its tokens.
        compared: whether words alone, a dense ranking of all documents and two judged documents are timed too.
    """
    found = {name: _way(with_states(chain, states) if name.endswith(STATES) else chain) for name, chain in chains.items()}
    if compared:
        vectors = np.concatenate([each for _, each in index.all_vectors()])
        found |= {WORDS: _words, DENSE: _dense(vectors), LIKED: _liked}
    return found


def with_states(chain: Sequence[Strategy], states: Mapping[str, Sequence[NDArray[Any]]]) -> list[Strategy]:
    """The chain with MaxSim from token states."""
    return [dataclasses.replace(step, source="states", states=states) if isinstance(step, MaxSim) else step for step in chain]


class MadeStates(Mapping[str, Sequence[NDArray[Any]]]):
    """Random token states in fp16 by the id of a document, as many as it has tokens; made at first sight, then in memory."""

    def __init__(self, index: BM25Index, width: int = 384, seed: int = 0) -> None:
        self._index, self._width, self._rng = index, width, np.random.default_rng(seed)
        self._made: dict[str, list[NDArray[Any]]] = {}

    def __getitem__(self, identifier: str) -> Sequence[NDArray[Any]]:
        if identifier not in self._made:
            document = self._index.find(identifier)
            assert document is not None
            sizes = np.diff(self._index.token_codes([Hit(identifier, 0.0, 1, document)]).tokens).tolist()
            self._made[identifier] = [
                self._rng.standard_normal((size, self._width), dtype=np.float32).astype(np.float16) for size in sizes
            ]
        return self._made[identifier]

    @property
    def bytes_per_document(self) -> float:
        """Mean over the documents whose states were made."""
        return sum(each.nbytes for passages in self._made.values() for each in passages) / max(len(self._made), 1)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def _way(chain: Sequence[Strategy]) -> Way:
    return lambda searcher, query: searcher.rank(query, 10, then=chain)


def _words(searcher: Searcher, query: EncodedQueries) -> object:
    """BM25 by the words of the same index: a query without latents."""
    nothing = CSRRows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), query.rows.shape)
    return searcher.rank(dataclasses.replace(query, rows=nothing), 10)


def _dense(vectors: NDArray[np.float32]) -> Way:
    """Cosines with the vectors of all documents, in memory in fp32, and the best ten."""

    def ranked(searcher: Searcher, query: EncodedQueries) -> object:
        scores = vectors @ searcher.queries.dense(list(query.texts or ()))[0]
        best = np.argpartition(scores, -10)[-10:]
        return best[np.argsort(-scores[best])]

    return ranked


def _liked(searcher: Searcher, query: EncodedQueries) -> object:
    """Two judged documents mixed into the query. Any two cost the same, so they are the first two of the index."""
    return searcher.rank(query, 10, liked=list(itertools.islice((each.id for each in searcher.index), 2)))
