from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexite.errors import CorpusError
from lexite.ranking.rankings import BestSoFar, Ranking, best, strict_run, strictly_decreasing, to_run

coarse = st.integers(-4, 4).map(lambda n: n / 2)  # few values, so many ties
score_rows = arrays(np.float32, st.integers(0, 40), elements=coarse)


def reference(scores: np.ndarray, top_k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda document: (-scores[document], document))[:top_k]


@given(score_rows, st.integers(1, 50))
def test_best_is_a_stable_sort_cut_at_top_k(scores, top_k):
    ranking = best(scores, top_k)
    expected = reference(scores, top_k)
    assert ranking.documents.tolist() == expected
    assert ranking.scores.tolist() == [scores[document] for document in expected]


def test_best_names_the_documents_that_it_is_given():
    assert best(np.array([1, 5], dtype=np.float32), 1, np.array([70, 80])).documents.tolist() == [80]


@given(st.data(), st.integers(1, 12))
def test_best_so_far_is_best_of_all_tiles(data, top_k):
    n_queries, widths = 3, data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    tiles = [data.draw(arrays(np.float32, (n_queries, width), elements=coarse)) for width in widths]
    kept = BestSoFar(n_queries, top_k)
    for tile in tiles:
        kept.add(tile)
    whole = np.concatenate(tiles, axis=1)
    for query in range(n_queries):
        assert kept.rankings[query].documents.tolist() == reference(whole[query], top_k)


@given(arrays(np.float32, st.integers(0, 60), elements=st.floats(-1e6, 1e6, width=32)))
def test_scores_fall_strictly_and_stay_where_they_do(scores):
    ordered = np.sort(scores)[::-1]
    strict = strictly_decreasing(ordered)
    assert strict.dtype == np.float32
    assert np.all(strict[1:] < strict[:-1])
    assert np.all(strict <= ordered)
    np.testing.assert_allclose(strict, ordered, rtol=1e-5, atol=1e-30)
    if np.all(ordered[1:] < ordered[:-1]):
        assert np.array_equal(strict, ordered)


def test_a_run_is_ordered_by_score_and_ties_by_the_mapping():
    run = strict_run({"q": {"z": 1.0, "a": 1.0, "m": 2.0}})
    assert list(run["q"]) == ["m", "z", "a"]
    assert run["q"]["z"] == 1.0 > run["q"]["a"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_run_with_a_score_that_is_no_number_is_refused(bad):
    with pytest.raises(CorpusError, match="document 'b' for query 'q'"):
        strict_run({"q": {"a": 1.0, "b": bad}})


def test_the_document_with_the_querys_id_is_dropped_before_the_cut():
    ranking = Ranking(np.array([1, 0, 2]), np.array([3, 2, 1], dtype=np.float32))
    run = to_run(["b", "other"], [ranking, ranking], ["a", "b", "c"], 2)
    assert list(run["b"]) == ["a", "c"]
    assert list(run["other"]) == ["b", "a"]


def test_a_query_without_hits_keeps_its_place():
    nothing = Ranking(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    assert to_run(["q"], [nothing], ["a"], 10) == {"q": {}}
