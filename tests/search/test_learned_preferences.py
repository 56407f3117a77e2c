"""Steering vectors from preferences: a case computed by hand, pairs that are counted in the order of the index's scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite import Searcher
from lexite.corpus.preferences import Preference
from lexite.errors import ArgumentError, CorpusError
from lexite.index import BM25Index, EncodedQueries
from lexite.scoring.config import BM25Config
from lexite.search.preferences import learn_from_preferences
from lexite.search.steering_vector import Change, SteeringVector, largest_stretch
from lexite.search.strategies import Steer

N = 4


class Rows:
    """Encodes a query as the weights that its text lists."""

    fingerprint, kind = "", "static"

    def encode(self, texts: list[str], **_: Any) -> EncodedQueries:
        return EncodedQueries(
            csr_array(np.array([[float(x) for x in text.split()] for text in texts], dtype=np.float32)), texts
        )


def searcher_over(rows: list[list[float]]) -> Searcher:
    index = BM25Index.in_memory(csr_array(np.array(rows, dtype=np.float32)), [f"d{n}" for n in range(1, len(rows) + 1)])
    return Searcher(index, Rows())  # type: ignore[arg-type]


def test_two_documents_of_one_latent_each_by_hand() -> None:
    """Of d1 and d2, each with one latent of the weight k1, the query has both latents alike.

    Lengths are equal, so impacts are k1 / (k1 + k1) = ½, and the margin without a vector is 0. Boosting the latent of d1 and
    muting that of d2 both add c = 10 · ½ · worth / (2 · worth) = 2.5 to the margin, so the penalty is a fifth of c / 2, and the
    sum y of both has σ(-c y) · c = .2 · c / 2, hence y = ln 9 / c. Both begin at 0 and have the same gradient: each is half.
    """
    k1 = BM25Config().k1
    searcher = searcher_over([[k1, 0, 0, 0], [0, k1, 0, 0]])
    learned = learn_from_preferences(searcher, [Preference("1 1 0 0", ("d1",), ("d2",))], sparsity=0.2)
    half = math.log(9) / 2.5 / 2
    assert learned.vector.changes == {
        0: Change(pytest.approx(half, abs=1e-6), 0.0),  # type: ignore[arg-type]
        1: Change(0.0, pytest.approx(half, abs=1e-6)),  # type: ignore[arg-type]
    }
    assert (learned.n_queries, learned.n_pairs, learned.before, learned.after) == (1, 1, 0, 1)
    assert (learned.vector.n_boosted, learned.vector.n_muted) == (1, 1)
    found = learned.to_json("latent {}".format)
    assert [(each["term"], each["label"]) for each in found["terms"]] == [(0, "latent 0"), (1, "latent 1")]
    assert (found["boosted"], found["muted"], found["in_order_before"], found["in_order_after"]) == (1, 1, 0, 1)


def test_lists_become_all_pairs_and_orders_are_those_of_searches() -> None:
    generator = np.random.default_rng(3)
    rows = generator.uniform(0, 5, (9, N)) * (generator.uniform(size=(9, N)) < 0.7)
    searcher = searcher_over(rows.tolist())
    given_ = [Preference("1 2 0 1", ("d1", "d2"), ("d3", "d4", "d5")), Preference("0 1 3 0", ("d6",), ("d7", "d1"))]
    learned = learn_from_preferences(searcher, given_, sparsity=0.1)
    pairs = [(each.query, one, other) for each in given_ for one in each.preferred for other in each.rejected]
    assert (learned.n_queries, learned.n_pairs) == (2, 8)

    def in_order(then: list[Any]) -> int:
        scores = {
            query: {hit.id: hit.score for hit in searcher.rank(query, 9, then=then)[0]} for query in {pair[0] for pair in pairs}
        }
        return sum(scores[query].get(one, 0) > scores[query].get(other, 0) for query, one, other in pairs)

    assert learned.before == in_order([])

    def steered(answer: Any) -> Any:
        return answer.asked_again(learned.vector.changed(searcher.index.term_space(), answer.queries))

    assert learned.after == in_order([steered]) >= learned.before


@settings(max_examples=15)
@given(st.lists(st.floats(0.125, 6, width=32) | st.just(0.0), min_size=N, max_size=N), st.integers(0, 10**6))
def test_a_vector_changes_queries_as_steering_does(
    tmp_path_factory: pytest.TempPathFactory, row: list[float], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vector = SteeringVector({t: Change(*generator.uniform(0, 1, 2).tolist()) for t in range(0, N, 2)})
    path = tmp_path_factory.mktemp("v") / "v.json"
    vector.save(path)
    searcher = searcher_over(np.eye(N).tolist())
    text = " ".join(map(str, row))
    wanted = searcher.expanded(text, then=[Steer(vector=str(path))])
    found = vector.changed(searcher.index.term_space(), searcher.encode(text))
    assert np.allclose(found.to_csr().toarray(), wanted.to_csr().toarray(), rtol=1e-6)


@settings(max_examples=25)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10**6))
def test_the_largest_stretch_is_that_of_numpy(n: int, m: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(n, m))
    assert largest_stretch(csr_array(matrix)) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-9)


def test_what_cannot_be_learned_is_said() -> None:
    searcher = searcher_over([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    with pytest.raises(ArgumentError, match="no pairs"):
        learn_from_preferences(searcher, [])
    with pytest.raises(
        ArgumentError, match="No latent tells the preferred documents from the rejected ones at the sparsity 0.2"
    ):
        learn_from_preferences(searcher, [Preference("1 1 0 0", ("d1",), ("d2",))])
    with pytest.raises(ArgumentError, match="would be empty"):
        learn_from_preferences(searcher, [Preference("1 1 0 0", ("d1",), ("d3",))], sparsity=1.0)
    with pytest.raises(ArgumentError, match="sparsity is 0"):
        learn_from_preferences(searcher, [Preference("1 1 0 0", ("d1",), ("d3",))], sparsity=0.0)
    many = tuple(f"d{number}" for number in range(200))
    with pytest.raises(ArgumentError, match="20,100 pairs of a preferred and a rejected document, but at most 20,000"):
        learn_from_preferences(searcher, [Preference("a", many, many[:100]), Preference("b", many[:100], ("d3",))])
    with pytest.raises(CorpusError, match="no document 'd9'"):
        learn_from_preferences(searcher, [Preference("1 1 0 0", ("d1",), ("d9",))])
