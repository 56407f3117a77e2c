"""Hybrid search against plain sums over dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from vector_fakes import VectorIndex, VectorQueries, cosine, drawn

from lexite.errors import ArgumentError
from lexite.index import EncodedQueries, Hit
from lexite.ranking.fusion import Fusion
from lexite.search.strategies import Chain, Hybrid, Rescore
from lexite.search.strategies import dense_scores as module

TEXTS = ["0", "1", "2"]


def plain(hits: list[Hit], index: VectorIndex, queries: VectorQueries, query: int, strategy: Hybrid) -> list[tuple[str, float]]:
    """The ranking by its definition."""
    head, rest = hits[: strategy.candidates], hits[strategy.candidates :]
    current: dict[int, float | None] = {hit.document: hit.score for hit in head}
    if strategy.exhaustive:
        everything = sorted(range(len(index.passages)), key=lambda d: -cosine(index, queries, query, d))
        best = everything[: strategy.candidates]
        later = {hit.document: hit.score for hit in rest}
        current |= {hit.document: hit.score for hit in rest if hit.document in best}
        current |= {document: None for document in best if document not in current}
        rest = [hit for hit in rest if hit.document not in best]
        assert all(later.get(document) is not None for document in best if current[document] is not None and document in later)
    dense = {document: cosine(index, queries, query, document) for document in current}
    sums = dict.fromkeys(current, 0.0)
    for scores, weight in ((current, 1.0), (dense, strategy.weight)):
        known = {d: s for d, s in scores.items() if s is not None}
        ranked = sorted(known, key=lambda d: -known[d])
        for document in sums:
            score = known.get(document)
            if strategy.fusion == "rrf":
                part = 0.0 if score is None else 1 / (61 + ranked.index(document))
            else:
                score = min(known.values(), default=0.0) if score is None else score
                part = scale(score, list(known.values()), strategy.fusion)
                if strategy.fusion == "minmax" and document not in known:
                    part = 0.0
            sums[document] += weight * part
    found = [(f"d{document}", score) for document, score in sums.items()]
    return sorted(found, key=lambda pair: -pair[1]) + [(hit.id, None) for hit in rest]  # type: ignore[list-item]


def scale(score: float, known: list[float], fusion: str) -> float:
    if not known:
        return 0.0
    least, most = min(known), max(known)
    if fusion == "minmax":
        return (score - least) / (most - least) if most > least else 1.0
    deviation = float(np.std(known))
    return 0.0 if most == least else (score - float(np.mean(known))) / deviation


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["minmax", "rrf", "zscore"]),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    st.integers(1, 14),
    st.booleans(),
)
def test_the_ranking_is_its_definition(seed: int, fusion: Fusion, weight: float, candidates: int, exhaustive: bool) -> None:
    searcher, index, queries = drawn(seed)
    first = searcher.rank(TEXTS, 12)
    strategy = Hybrid(weight, fusion, candidates, exhaustive)
    for query, found in enumerate(searcher.rank(TEXTS, 12, then=[strategy])):
        expected = plain(first[query], index, queries, query, strategy)
        scores = [score for _, score in expected if score is not None]
        assert len(found) == len(expected) and {hit.id for hit in found} == {name for name, _ in expected}
        assert [hit.score for hit in found[: len(scores)]] == pytest.approx(scores, abs=1e-5)
        known = {name: score for name, score in expected if score is not None}
        assert [known[hit.id] for hit in found[: len(scores)]] == pytest.approx(scores, abs=1e-5)
        assert [hit.id for hit in found[len(scores) :]] == [name for name, score in expected if score is None]
        assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
        assert all(one.score >= other.score for one, other in zip(found, found[1:], strict=False))
        assert all(hit.document == int(hit.id[1:]) for hit in found)


@given(st.integers(0, 10_000), st.integers(1, 14))
def test_a_rescored_ranking_is_by_cosine_alone(seed: int, candidates: int) -> None:
    searcher, index, queries = drawn(seed)
    first = searcher.rank(TEXTS, 12)
    for query, found in enumerate(searcher.rank(TEXTS, 12, then=Rescore(candidates))):
        head = [hit.document for hit in first[query][:candidates]]
        scores = sorted((cosine(index, queries, query, document) for document in head), reverse=True)
        assert [hit.score for hit in found[: len(head)]] == pytest.approx(scores, abs=1e-6)
        assert [hit.id for hit in found[len(head) :]] == [hit.id for hit in first[query][candidates:]]


def test_only_candidates_are_looked_at_and_tiles_bound_an_exhaustive_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    searcher, index, _ = drawn(1, n_documents=30)
    searcher.rank(TEXTS, 3, then=Hybrid(candidates=2))
    assert max(index.asked) <= 2
    whole = searcher.rank(TEXTS, 30, then=Hybrid(exhaustive=True))
    index.asked.clear()
    monkeypatch.setattr(module, "DOCUMENTS_PER_TILE", 7)
    assert searcher.rank(TEXTS, 30, then=Hybrid(exhaustive=True)) == whole
    assert index.asked[:5] == [7, 7, 7, 7, 2]


def test_what_comes_in_is_what_the_search_allows() -> None:
    searcher, _, _ = drawn(2, n_documents=20)
    among = [f"d{number}" for number in range(5)]
    everything = searcher.rank("0", 20, then=Hybrid(exhaustive=True))[0]
    assert len(everything) == 20 > len(searcher.rank("0", 20)[0])
    found = searcher.rank("0", 20, then=Hybrid(exhaustive=True), among=among, exclude=["d3"])[0]
    assert {hit.id for hit in found} == {"d0", "d1", "d2", "d4"}
    bounded = searcher.rank("0", 20, then=Hybrid(exhaustive=True), min_score=0.5)[0]
    assert {hit.id for hit in bounded} == {hit.id for hit in searcher.rank("0", 20, min_score=0.5)[0]}


def test_steps_of_a_chain_see_what_was_before() -> None:
    searcher, _, _ = drawn(3)
    steps = [Hybrid(candidates=8), Rescore(candidates=3)]
    one, other = searcher.rank(TEXTS, 5, then=steps), searcher.rank(TEXTS, 5, then=Chain(steps))
    assert one == other
    hybrid = searcher.rank(TEXTS, 12, then=Hybrid(candidates=8))
    assert [{h.id for h in hits[:3]} for hits in one] == [{h.id for h in hits[:3]} for hits in hybrid]
    assert Chain(steps).needs == {"vectors", "model"}


@pytest.mark.parametrize(
    ("strategy", "spoil", "message"),
    [
        (Hybrid(), {"side_data": frozenset()}, "needs .*, and the index keeps none. Build it again"),
        (lambda answer: Rescore()(answer), {"side_data": frozenset()}, "from_text=True"),
        (Hybrid(exhaustive=True, limit=5), {}, "12 documents, and an exhaustive .* limit=12"),
        (Hybrid(exhaustive=True, from_text=True), {}, "from_text has no place beside it"),
        (Hybrid(from_text=True), {}, "Texts of documents are not stored"),
    ],
)
def test_what_cannot_be_done_is_refused(strategy: Any, spoil: dict[str, Any], message: str) -> None:
    searcher, index, _ = drawn(4)
    vars(index).update(spoil)
    with pytest.raises(ArgumentError, match=message):
        searcher.rank(TEXTS, then=strategy)


def test_queries_without_texts_or_without_what_encodes_them_are_refused() -> None:
    import dataclasses

    searcher, _, queries = drawn(5)
    bare = dataclasses.replace(queries.encode(TEXTS), texts=None)
    with pytest.raises(ArgumentError, match="need the texts of the queries"):
        searcher.rank(bare, then=Hybrid())
    without = [lambda answer: dataclasses.replace(answer, encoder=None), Hybrid()]
    with pytest.raises(ArgumentError, match="what encodes the queries"):
        searcher.rank(TEXTS, then=without)


def test_no_query_and_no_hit_are_answered() -> None:
    searcher, _, queries = drawn(6)
    queries.rows[0] = 0
    assert searcher.rank([], then=[Hybrid(), Rescore()]) == []
    assert searcher.rank("0", then=[Hybrid(), Rescore()]) == [[]]
    assert len(searcher.rank("0", 12, then=Hybrid(exhaustive=True))[0]) == 12


def test_nothing_resembles_a_blank_query() -> None:
    """The model gives a vector of it too, and some documents are nearest to that."""
    searcher, _, queries = drawn(6)
    queries.rows[0] = 0
    queries.encode = lambda texts, **_: EncodedQueries(csr_array(queries.rows[[0] * len(texts)]), list(texts))  # type: ignore[method-assign]
    queries.dense = lambda texts: queries.vectors_of_queries[[0] * len(texts)]  # type: ignore[method-assign]
    found = searcher.rank(["", " \n", "a"], 12, then=Hybrid(exhaustive=True))
    assert [len(hits) for hits in found] == [0, 0, 12]
