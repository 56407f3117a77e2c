from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import CorpusError, MissingExtraError
from lexite.evaluation import MEASURES, evaluate_run


def reference(grades: dict[str, int], ranking: list[str]) -> dict[str, float]:
    """The textbook's measures, written down without any library."""
    gain = sum(max(grades.get(document, 0), 0) / math.log2(rank + 1) for rank, document in enumerate(ranking[:10], 1))
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(sorted(grades.values(), reverse=True)[:10], 1))
    relevant = {document for document, grade in grades.items() if grade > 0}
    ranks = [rank for rank, document in enumerate(ranking[:10], 1) if document in relevant]
    return {
        "nDCG@10": gain / ideal if ideal else 0.0,
        "R@100": len(relevant & set(ranking[:100])) / len(relevant) if relevant else 0.0,
        "MRR@10": 1 / ranks[0] if ranks else 0.0,
    }


def run_of(ranking: list[str]) -> dict[str, float]:
    return {document: float(len(ranking) - place) for place, document in enumerate(ranking)}


def test_graded_judgements_by_hand():
    measured = evaluate_run({"q": {"a": 2, "b": 1, "c": 0}}, {"q": run_of(["c", "a", "x", "b"])})
    expected = (2 / math.log2(3) + 1 / math.log2(5)) / (2 / math.log2(2) + 1 / math.log2(3))
    assert measured.mean == pytest.approx({"nDCG@10": expected, "R@100": 1.0, "MRR@10": 0.5})


def test_cuts_at_ten_and_at_a_hundred():
    ranking = [f"x{n}" for n in range(10)] + ["a"] + [f"y{n}" for n in range(89)] + ["b"]
    measured = evaluate_run({"q": {"a": 1, "b": 1}}, {"q": run_of(ranking)})
    assert measured.mean == pytest.approx({"nDCG@10": 0.0, "R@100": 0.5, "MRR@10": 0.0})


def test_a_query_without_results_counts_as_nothing_and_one_without_judgements_not_at_all():
    qrels = {"found": {"a": 1}, "empty": {"a": 1}, "absent": {"a": 1}, "hopeless": {"a": 0}}
    run = {"found": {"a": 1.0}, "empty": {}, "unjudged": {"a": 1.0}, "hopeless": {"a": 1.0}}
    measured = evaluate_run(qrels, run)
    assert measured.mean == dict.fromkeys(MEASURES, 0.25)
    assert list(measured.per_query["MRR@10"].items()) == [("found", 1.0), ("empty", 0.0), ("absent", 0.0), ("hopeless", 0.0)]


def test_an_empty_run_is_worth_nothing():
    assert evaluate_run({"q": {"a": 1}}, {}).mean == dict.fromkeys(MEASURES, 0.0)


@pytest.mark.parametrize("first, second", [("a", "b"), ("b", "a")])
def test_ties_are_ranked_as_they_come_whatever_the_ids(first, second):
    measured = evaluate_run({"q": {first: 1}}, {"q": {first: 1.0, second: 1.0}})
    assert measured.mean["MRR@10"] == 1.0
    assert measured.mean["nDCG@10"] == 1.0
    assert evaluate_run({"q": {first: 1}}, {"q": {second: 1.0, first: 1.0}}).mean["MRR@10"] == 0.5


documents = [f"d{n}" for n in range(15)]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["q1", "q2", "q3"]),
        st.tuples(st.dictionaries(st.sampled_from(documents), st.integers(0, 3), min_size=1), st.permutations(documents)),
        min_size=1,
    ),
    st.integers(0, 15),
)
def test_measures_are_the_textbooks(queries, length):
    qrels = {query: grades for query, (grades, _) in queries.items()}
    run = {query: dict.fromkeys(ranking[:length], 1.0) for query, (_, ranking) in queries.items()}  # all tied: order decides
    measured = evaluate_run(qrels, run)
    expected = {query: reference(grades, ranking[:length]) for query, (grades, ranking) in queries.items()}
    for measure in MEASURES:
        values = {query: row[measure] for query, row in expected.items()}
        assert measured.per_query[measure] == pytest.approx(values)
        assert measured.mean[measure] == pytest.approx(sum(values.values()) / len(values))


def test_empty_qrels_are_refused():
    with pytest.raises(CorpusError, match="qrels are empty"):
        evaluate_run({}, {"q": {"a": 1.0}})


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"lexite\[eval\]"):
        evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0}})
