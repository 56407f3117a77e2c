"""Hybrid search over a real index with vectors, from texts, and over an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite import Searcher, read_documents
from lexite.engines import Capabilities
from lexite.errors import ArgumentError
from lexite.index import Hit
from lexite.search.learned_weight import learn_weight
from lexite.search.strategies import Hybrid, Outside, Rescore

QUESTIONS = ["milk of the cow", "parse a json file"]


class Engine:
    """An engine in front of an index: it numbers no documents."""

    capabilities = Capabilities(exclude=True)

    def __init__(self, index: Any) -> None:
        self._index = index
        self.vocabulary, self.scoring, self.literal = index.vocabulary, index.scoring, index.literal
        self.n_documents = index.n_documents

    def search(self, queries: Any, top_k: int = 10, **options: Any) -> list[list[Hit]]:
        found = self._index.search(queries, top_k, **options)
        return [[Hit(hit.id, hit.score, hit.rank, -1) for hit in hits] for hits in found]

    def get(self, identifier: str) -> Any:
        return self._index.get(identifier)


@pytest.fixture
def searcher(tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> Searcher:
    return Searcher.build(documents, tmp_path / "i", vocabulary=tiny_vocabulary, vectors="fp32")


def test_scores_are_the_dense_models_with_vectors_from_texts_and_over_an_engine(searcher: Searcher, documents: Path) -> None:
    backbone = searcher.queries.encoder.backbone  # type: ignore[attr-defined]
    read = list(read_documents(documents))
    vectors = backbone.dense([document.full_text for document in read], "document")
    engine = Searcher(Engine(searcher.index), searcher.queries, label=str)  # type: ignore[arg-type]
    kept = searcher.rank(QUESTIONS, then=Rescore())
    from_text = searcher.rank(QUESTIONS, then=Rescore(from_text=True))
    over_engine = engine.rank(QUESTIONS, then=Rescore(from_text=True))
    for question, *ways in zip(QUESTIONS, kept, from_text, over_engine, strict=True):
        cosines = vectors @ backbone.dense([question], "query")[0]
        plain = {document.id: float(cosine) for document, cosine in zip(read, cosines, strict=True)}
        for hits in ways:
            assert {hit.id: hit.score for hit in hits} == pytest.approx({hit.id: plain[hit.id] for hit in hits}, abs=1e-4)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_documents_that_the_first_stage_missed_are_shown_too(searcher: Searcher) -> None:
    found = searcher.search("zzz", 6, then=Hybrid(exhaustive=True))
    assert len(found) == 6 and all(hit.passage is not None for hit in found)


def test_an_engine_takes_rankings_from_outside_and_no_exhaustive_ones(searcher: Searcher) -> None:
    engine = Searcher(Engine(searcher.index), searcher.queries, label=str)  # type: ignore[arg-type]
    outside = Outside(source=lambda text: {"d6": 2.0, "d2": 1.0, "unknown": 9.0}, weight=9.0)
    (found,) = engine.rank("milk", then=outside)
    assert found[0].id == "d6" and "unknown" not in {hit.id for hit in found}
    (found,) = engine.rank("milk", then=outside, exclude=["d6"])
    assert "d6" not in {hit.id for hit in found}
    with pytest.raises(ArgumentError, match="Engine"):
        engine.rank("milk", then=Hybrid(exhaustive=True))


def test_a_weight_is_learned_without_judgements(searcher: Searcher) -> None:
    chosen = learn_weight(searcher, seed=3)
    assert chosen.origin == "titles" and chosen.n_queries == 5
    assert chosen.values[chosen.weight] == max(chosen.values.values()) and not chosen.folds
    assert learn_weight(searcher, seed=3) == chosen
    titles = [(hit.title, hit.id) for hit in searcher.index if hit.title]
    for weight, value in chosen.values.items():
        ranks = []
        for title, identifier in titles:
            ids = [hit.id for hit in searcher.rank(title, 6, then=Hybrid(weight))[0]]
            ranks.append(1 / (ids.index(identifier) + 1) if identifier in ids else 0.0)
        assert value == pytest.approx(float(np.mean(ranks)))


def test_static_queries_are_refused_before_anything_is_searched(searcher: Searcher) -> None:
    static = Searcher.open(searcher.path, static=True)
    with pytest.raises(ArgumentError, match="needs the model"):
        static.rank("milk", then=Hybrid())
