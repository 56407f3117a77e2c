"""Weights that are chosen for a corpus, against choosing by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_fakes import drawn

from lexite.errors import ArgumentError, CorpusError
from lexite.index import StoredDocument
from lexite.search import Searcher
from lexite.search.learned_weight import (
    SHARES,
    learn_weight,
    learn_weight_from_judgements,
    measured,
    pseudo_queries,
)
from lexite.search.strategies import Hybrid

QUERIES = {str(number): str(number) for number in range(8)}


def judgements(seed: int) -> dict[str, dict[str, int]]:
    rng = np.random.default_rng(seed)
    return {query: {f"d{n}": int(rng.integers(0, 3)) for n in rng.permutation(12)[:5]} | {"d0": 1} for query in QUERIES}


def by_hand(searcher: Searcher, qrels: dict[str, dict[str, int]], queries: list[str], weight: float) -> list[float]:
    found = searcher.rank([QUERIES[query] for query in queries], 12, then=Hybrid(weight))
    values = []
    for query, hits in zip(queries, found, strict=True):
        gains = [qrels[query].get(hit.id, 0) / np.log2(rank + 1) for rank, hit in enumerate(hits[:10], start=1)]
        ideal = sorted(qrels[query].values(), reverse=True)[:10]
        values.append(sum(gains) / sum(gain / np.log2(rank + 1) for rank, gain in enumerate(ideal, start=1)))
    return values


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_values_and_folds_are_those_of_searches_with_each_weight(seed: int) -> None:
    searcher, _, _ = drawn(seed, n_queries=8)
    qrels = judgements(seed)
    learned = learn_weight_from_judgements(searcher, QUERIES, qrels, seed=seed, n_folds=3)
    for weight, value in learned.values.items():
        assert value == pytest.approx(float(np.mean(by_hand(searcher, qrels, list(QUERIES), weight))))
    assert learned.values[learned.weight] == max(learned.values.values())
    assert sum(fold.n_queries for fold in learned.folds) == 8 and len(learned.folds) == 3
    order = np.random.default_rng(seed).permutation(8)
    for part, fold in zip(np.array_split(order, 3), learned.folds, strict=True):
        inside = [str(number) for number in part]
        outside = [query for query in QUERIES if query not in inside]
        means = {weight: float(np.mean(by_hand(searcher, qrels, outside, weight))) for weight in learned.values}
        assert means[fold.weight] == pytest.approx(max(means.values()))
        assert fold.value == pytest.approx(float(np.mean(by_hand(searcher, qrels, inside, fold.weight))))
        assert fold.first_stage == pytest.approx(float(np.mean(by_hand(searcher, qrels, inside, 0.0))))
    mean = sum(fold.value * fold.n_queries for fold in learned.folds) / 8
    assert learned.cross_validated == pytest.approx(mean)
    assert json.loads(json.dumps(learned.to_json()))["strategy"]["weight"] == learned.weight


@given(st.lists(st.integers(0, 3), max_size=14))
def test_measures_are_those_of_ir_measures(gains: list[int]) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    if not any(gains):
        assert measured(np.array(gains, float), gains, "MRR") == measured(np.array(gains, float), gains, "nDCG@10") == 0.0
        return
    qrels = {"q": {f"d{n:02}": gain for n, gain in enumerate(gains)}}
    run = {"q": {f"d{n:02}": 100.0 - n for n in range(len(gains))}}
    theirs = ir_measures.calc_aggregate([ir_measures.nDCG @ 10, ir_measures.RR], qrels, run)
    ours = [measured(np.array(gains, float), gains, name) for name in ("nDCG@10", "MRR")]
    assert ours == pytest.approx([theirs[ir_measures.nDCG @ 10], theirs[ir_measures.RR]])


class Texts:
    """Documents with titles and texts."""

    def __init__(self, documents: list[StoredDocument]) -> None:
        self.index = self
        self.documents = documents

    def select(self) -> Any:
        return np.arange(len(self.documents))

    def stored(self, number: int) -> StoredDocument:
        return self.documents[number]


def test_pseudo_queries_are_titles_or_sentences_of_their_documents() -> None:
    documents = [StoredDocument(f"d{n}", f"Title {n}", f"Short. This is sentence {n} of it. More.") for n in range(20)]
    some: Any = Texts(documents)
    titles = pseudo_queries(some, 5, np.random.default_rng(1))
    assert titles.origin == "titles" and len(titles.texts) == 5 and len(set(titles.texts)) == 5
    assert all(text == f"Title {identifier[1:]}" for text, identifier in titles.texts)
    sentences = pseudo_queries(some, 50, np.random.default_rng(1), "sentences")
    assert len(sentences.texts) == 20
    assert all(text == f"This is sentence {identifier[1:]} of it." for text, identifier in sentences.texts)
    assert pseudo_queries(some, 5, np.random.default_rng(1)) == titles != pseudo_queries(some, 5, np.random.default_rng(2))
    untitled: Any = Texts([StoredDocument(d.id, "", d.text) for d in documents])
    assert pseudo_queries(untitled, 5, np.random.default_rng(1)).origin == "sentences"
    with pytest.raises(ArgumentError, match="No document gave a query of its sentences"):
        pseudo_queries(Texts([StoredDocument("a", "", "")]), 5, np.random.default_rng(1))  # type: ignore[arg-type]


def test_what_cannot_be_chosen_by_is_refused() -> None:
    searcher, _, _ = drawn(1)
    with pytest.raises(CorpusError, match="the query 'q', which has no text"):
        learn_weight_from_judgements(searcher, {}, {"q": {"d1": 1}})
    with pytest.raises(CorpusError, match="but 1 query has a relevant document"):
        learn_weight_from_judgements(searcher, QUERIES, {"0": {"d1": 1}, "1": {"d1": 0}})
    with pytest.raises(ArgumentError, match="at least 2 parts"):
        learn_weight_from_judgements(searcher, QUERIES, judgements(1), n_folds=1)
    for shares in ((0.5, 0.9), (0.0, 1.0)):
        with pytest.raises(ArgumentError, match="from 0 to below 1"):
            learn_weight(searcher, shares=shares)
    assert SHARES[0] == 0.0
