"""Neighbours against plain sums over lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_fakes import VectorIndex, VectorQueries, cosine, drawn

from lexite.errors import ArgumentError, ConfigError
from lexite.index import Hit
from lexite.search.strategies import Neighbours
from lexite.search.strategies.neighbours import largest_of_rows

TEXTS = ["0", "1", "2"]


def plain(hits: list[Hit], index: VectorIndex, queries: VectorQueries, query: int, strategy: Neighbours) -> dict[str, float]:
    """The new scores of the candidates by their definition."""
    question = queries.vectors_of_queries[query]
    nearest = {hit.id: max(index.passages[hit.document], key=lambda passage: float(passage @ question)) for hit in hits}
    own = dict(zip(nearest, scaled([hit.score for hit in hits]), strict=True))
    means = []
    for name in nearest:
        others = [other for other in nearest if other != name]
        likeness = {other: max(float(nearest[name] @ nearest[other]), 0.0) for other in others}
        chosen = sorted(others, key=lambda other: -likeness[other])[: strategy.neighbours]
        weights = [likeness[other] ** strategy.power if likeness[other] > 0 else 0.0 for other in chosen]
        total = sum(weights)
        means.append(sum(w * own[other] for w, other in zip(weights, chosen, strict=True)) / total if total else None)
    known = [mean for mean in means if mean is not None]
    filled = [min(known, default=0.0) if mean is None else mean for mean in means]
    near = scaled(filled, known)
    return {n: (1 - strategy.share) * own[n] + strategy.share * x for n, x in zip(nearest, near, strict=True)}


def scaled(scores: list[float], known: list[float] | None = None) -> list[float]:
    known = scores if known is None else known
    deviation = float(np.std(known)) if known else 0.0
    equal = not known or max(known) - min(known) <= 1e-9 * max(map(abs, known))
    return [0.0 if equal else (s - float(np.mean(known))) / deviation for s in scores]


@settings(max_examples=80)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(1, 14),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.integers(1, 14),
)
def test_scores_are_their_definition(seed: int, share: float, neighbours: int, power: float, candidates: int) -> None:
    searcher, index, queries = drawn(seed)
    strategy = Neighbours(share, neighbours, power, candidates)
    first = searcher.rank(TEXTS, 12)
    for query, found in enumerate(searcher.rank(TEXTS, 12, then=strategy)):
        head, rest = first[query][:candidates], first[query][candidates:]
        if len(head) < 2:
            assert [hit.id for hit in found] == [hit.id for hit in first[query]]
            continue
        expected = plain(head, index, queries, query, strategy)
        assert {hit.id: hit.score for hit in found[: len(head)]} == pytest.approx(expected, abs=1e-4)
        assert [hit.id for hit in found[len(head) :]] == [hit.id for hit in rest]
        assert all(one.score >= other.score for one, other in zip(found, found[1:], strict=False))


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12))
def test_the_largest_of_a_row_are_the_first_of_a_stable_sort(seed: int, width: int, count: int) -> None:
    values = np.random.default_rng(seed).integers(0, 4, (5, width)).astype(np.float32)  # many are equal
    count = min(count, width)
    expected = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(expected, np.argsort(-values, axis=1, kind="stable")[:, :count], True, axis=1)
    np.testing.assert_array_equal(largest_of_rows(values, count), expected)


def test_a_candidate_among_good_ones_rises() -> None:
    searcher, index, queries = drawn(5, n_documents=8)
    first = searcher.rank("0", 8)[0]
    best, second, last = (hit.document for hit in (first[0], first[1], first[-1]))
    away = -index.passages[best][:1]
    for document in range(8):
        index.passages[document] = away
    index.passages[best] = index.passages[second] = index.passages[last] = -away
    found = searcher.rank("0", 8, then=Neighbours(share=0.7, neighbours=2))[0]
    assert {hit.document for hit in found[:3]} == {best, second, last}
    assert cosine(index, queries, 0, best) == pytest.approx(cosine(index, queries, 0, last))


def test_wrong_settings_and_missing_vectors_are_refused() -> None:
    with pytest.raises(ConfigError, match="share"):
        Neighbours(share=1.5)
    searcher, index, _ = drawn(1)
    assert Neighbours().needs == {"model", "vectors"} and Neighbours(from_text=True).needs == {"model"}
    index.side_data = frozenset()
    with pytest.raises(ArgumentError, match="vectors"):
        searcher.rank("0", then=Neighbours())
