"""Fusion with rankings from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vector_fakes import drawn

from lexite.errors import ArgumentError, CorpusError
from lexite.ranking import write_trec_run
from lexite.search.strategies import Outside

RANKINGS = st.dictionaries(st.integers(0, 15).map("d{}".format), st.integers(-9, 9).map(float), max_size=10)


@given(st.integers(0, 1000), RANKINGS, st.sampled_from([0.5, 2.0]))
def test_the_union_is_ranked_by_the_sum(seed: int, outside: dict[str, float], weight: float) -> None:
    searcher, _, _ = drawn(seed)
    first = {hit.id: hit.score for hit in searcher.rank("0", 12)[0]}
    known = {name: score for name, score in outside.items() if int(name[1:]) < 12}

    def part(scores: dict[str, float], name: str) -> float:
        if name not in scores:
            return 0.0
        least, most = min(scores.values()), max(scores.values())
        return 1.0 if least == most else (scores[name] - least) / (most - least)

    sums = {name: part(first, name) + weight * part(known, name) for name in {**first, **known}}
    (found,) = searcher.rank("0", 12, then=Outside(source=lambda text: outside, weight=weight))
    assert {hit.id: hit.score for hit in found} == pytest.approx(sums)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert all(hit.document == int(hit.id[1:]) for hit in found)


def test_runs_are_read_by_query_id_and_by_text(tmp_path: Path) -> None:
    searcher, _, _ = drawn(7)
    ranking = {"d3": 4.0, "d9": 1.0, "unknown": 9.0}
    write_trec_run(tmp_path / "by-id.run", {"q7": ranking})
    write_trec_run(tmp_path / "by-text.run", {"0": ranking})
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q7", "text": "0"}) + "\n", encoding="utf-8")
    by_id = Outside(run=str(tmp_path / "by-id.run"), queries=str(tmp_path / "queries.jsonl"))
    ways = [
        by_id,
        Outside(run=str(tmp_path / "by-id.run"), query_ids={"0": "q7"}),
        Outside(run=str(tmp_path / "by-text.run")),
        Outside(source={"0": ranking}),
        Outside(source=lambda text: list(ranking.items()) if text == "0" else {}),
    ]
    found = [searcher.rank(["0", "1"], 12, then=way) for way in ways]
    assert all(each == found[0] for each in found) and {"d3", "d9"} <= {hit.id for hit in found[0][0]}
    assert [hit.id for hit in found[0][1]] == [hit.id for hit in searcher.rank("1", 12)[0]]


def test_another_searcher_is_a_source() -> None:
    searcher, _, _ = drawn(8)
    (found,) = searcher.rank("1", 12, then=Outside(source=lambda text: searcher.search(text, 12, passages=False)))
    assert [hit.id for hit in found] == [hit.id for hit in searcher.rank("1", 12)[0]]
    assert found[0].score == pytest.approx(2.0)


def test_what_comes_in_is_what_the_search_allows() -> None:
    searcher, _, _ = drawn(9)
    outside = Outside(source=lambda text: {f"d{n}": 20.0 - n for n in range(12)})
    (found,) = searcher.rank("0", 12, then=outside, among=["d0", "d1", "d2"], exclude=["d1"])
    assert {hit.id for hit in found} == {"d0", "d2"}


@pytest.mark.parametrize(
    ("outside", "error", "message"),
    [
        (Outside(run="/nowhere.run"), CorpusError, "does not exist"),
        (Outside(source=lambda text: 3), ArgumentError, "not a int"),
        (Outside(source=lambda text: ["d1"]), ArgumentError, "ids with scores"),
        (Outside(source=lambda text: {"d1": float("nan")}), ArgumentError, "finite; look at 'd1'"),
    ],
)
def test_what_is_no_ranking_is_refused(outside: Outside, error: type[Exception], message: str) -> None:
    searcher, _, _ = drawn(10)
    with pytest.raises(error, match=message):
        searcher.rank("0", then=outside)


@pytest.mark.parametrize("given", [{}, {"run": "x", "source": {}}])
def test_an_outside_ranking_has_one_origin(given: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=r"Give one of them: run= \(--outside-run\) or source="):
        Outside(**given)  # type: ignore[arg-type]


def test_the_rank_of_another_searcher_is_a_source() -> None:
    """It gives a list of rankings, of which there is one for a text; also where nothing is found."""
    searcher, _, _ = drawn(11)
    (found,) = searcher.rank("0", 12, then=Outside(source=searcher.rank))
    by_search = searcher.rank("0", 12, then=Outside(source=lambda text: searcher.search(text, passages=False)))
    assert found and [found] == by_search
    assert searcher.rank("0", 12, then=Outside(source=lambda text: [[]])) == searcher.rank("0", 12, then=Outside(source={}))


def test_reciprocal_ranks_are_those_of_the_run_where_scores_are_equal(tmp_path: Path) -> None:
    searcher, _, _ = drawn(12)
    first = [hit.id for hit in searcher.rank("0", 12)[0]]
    order = [*reversed(first), "elsewhere"]
    lines = [f"0 Q0 {name} {rank} 1.0 engine" for rank, name in enumerate(order, start=1)]
    (tmp_path / "equal.run").write_text("\n".join(lines), encoding="utf-8")
    (found,) = searcher.rank("0", 12, then=Outside(run=str(tmp_path / "equal.run"), fusion="rrf", weight=3.0))
    expected = {name: 1 / (61 + first.index(name)) + 3 / (61 + order.index(name)) for name in first}
    assert {hit.id: hit.score for hit in found} == pytest.approx(expected)


def test_a_ranking_of_other_queries_or_documents_is_told(caplog: pytest.LogCaptureFixture) -> None:
    searcher, _, _ = drawn(13)
    plain = [hit.id for hit in searcher.rank("0", 12)[0]]
    wrong = [
        (Outside(source={"q7": {"d3": 1.0}}), "none of the queries asked.*'q7'.*--outside-queries"),
        (Outside(source={}), "Its queries: none"),
        (Outside(source=lambda text: {"doc 1": 2.0}), "No document of the outside ranking is in the index"),
    ]
    for outside, message in wrong:
        caplog.clear()
        assert [hit.id for hit in searcher.rank("0", 12, then=outside)[0]] == plain
        [record] = caplog.records
        assert record.levelname == "WARNING" and re.search(message, record.getMessage())
    caplog.clear()
    right = Outside(source={"0": {"d3": 1.0, "gone": 2.0}})
    searcher.rank(["0", "1"], then=right)
    searcher.rank(["0"], then=right, among=["d1"])
    searcher.rank(["0"], then=Outside(source=lambda text: {}))
    searcher.rank([], then=right)
    assert not caplog.records
