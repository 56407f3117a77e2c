"""Fusion of scores, against plain sums over dictionaries."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.ranking.fusion import Fusion, fuse_rankings, fused, normalised, weight_of_share
from lexite.ranking.rankings import Ranking

FUSIONS: list[Fusion] = ["minmax", "rrf", "zscore"]
SCORES = st.lists(st.one_of(st.just(math.nan), st.integers(-20, 20).map(lambda n: n / 4)), max_size=12)


def plain(scores: list[float], fusion: Fusion) -> list[float]:
    """The definition, score by score."""
    known = [score for score in scores if not math.isnan(score)]
    if not known:
        return [0.0] * len(scores)
    if fusion == "rrf":
        order = sorted((n for n, s in enumerate(scores) if not math.isnan(s)), key=lambda n: (-scores[n], n))
        return [0.0 if math.isnan(s) else 1 / (61 + order.index(n)) for n, s in enumerate(scores)]
    least, most = min(known), max(known)
    if fusion == "minmax":
        return [0.0 if math.isnan(s) else 1.0 if least == most else (s - least) / (most - least) for s in scores]
    if least == most:
        return [0.0] * len(scores)
    mean, deviation = statistics.fmean(known), statistics.pstdev(known)
    return [((least if math.isnan(s) else s) - mean) / deviation for s in scores]


@given(SCORES, st.sampled_from(FUSIONS))
def test_scales_are_their_definitions(scores: list[float], fusion: Fusion) -> None:
    assert normalised(scores, fusion).tolist() == pytest.approx(plain(scores, fusion))


@pytest.mark.parametrize("unit", [5e-324, 1e-200, 1.0, 1e200])
def test_scales_do_not_depend_on_the_unit(unit: float) -> None:
    for fusion in FUSIONS:
        assert normalised([0.0, 3 * unit, unit], fusion).tolist() == pytest.approx(plain([0.0, 3.0, 1.0], fusion))


@given(SCORES, st.data(), st.sampled_from(FUSIONS), st.floats(0, 4))
def test_two_scores_are_summed_with_a_weight(scores: list[float], data: st.DataObject, fusion: Fusion, weight: float) -> None:
    other = data.draw(st.lists(st.integers(-30, 30).map(lambda n: n / 10), min_size=len(scores), max_size=len(scores)))
    sums = [a + weight * b for a, b in zip(plain(scores, fusion), plain(other, fusion), strict=True)]
    assert fused(scores, other, weight, fusion).tolist() == pytest.approx(sums)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8, unique=True), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.randoms())
def test_a_convex_sum_ranks_as_its_weight(scores: list[float], share: float, random: object) -> None:
    other = scores.copy()
    random.shuffle(other)  # type: ignore[attr-defined]
    convex = (1 - share) * normalised(scores) + share * normalised(other)
    assert (fused(scores, other, weight_of_share(share)) * (1 - share)).tolist() == pytest.approx(convex.tolist())


RANKINGS = st.lists(st.dictionaries(st.integers(0, 9), st.integers(-8, 8).map(float), max_size=6), min_size=1, max_size=3)


@given(RANKINGS, st.sampled_from(FUSIONS), st.integers(1, 12), st.data())
def test_unions_of_rankings_give_documents_that_one_does_not_know_its_least(
    rankings: list[dict[int, float]], fusion: Fusion, top_k: int, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(rankings), max_size=len(rankings)))
    documents = sorted(set().union(*rankings))
    sums = dict.fromkeys(documents, 0.0)
    for scores, weight in zip(rankings, weights, strict=True):
        values = plain([scores.get(document, math.nan) for document in documents], fusion)
        for document, value in zip(documents, values, strict=True):
            sums[document] += weight * value
    given_rankings = []
    for scores in rankings:
        order = sorted(scores, key=lambda document: -scores[document])
        given_rankings.append(Ranking(np.array(order, np.int64), np.array([scores[d] for d in order], np.float32)))
    found = fuse_rankings(given_rankings, top_k, fusion=fusion, weights=weights)
    best = sorted(sums.values(), reverse=True)[:top_k]
    assert found.scores.tolist() == pytest.approx(best, abs=1e-6)
    assert [sums[document] for document in found.documents.tolist()] == pytest.approx(best, abs=1e-6)


def test_by_hand() -> None:
    first = Ranking(np.array([3, 1, 0]), np.array([12.0, 9.0, 8.0], np.float32))
    second = Ranking(np.array([1, 2]), np.array([0.9, 0.4], np.float32))
    found = fuse_rankings([first, second], 10)
    assert found.documents.tolist() == [1, 3, 0, 2] and found.scores.tolist() == [1.25, 1.0, 0.0, 0.0]
    assert fuse_rankings([first, second], 2, fusion="rrf").documents.tolist() == [1, 3]
    nothing = Ranking(np.empty(0, np.int64), np.empty(0, np.float32))
    assert fuse_rankings([nothing], 3).documents.tolist() == []
