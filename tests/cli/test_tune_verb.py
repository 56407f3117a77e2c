"""``lexite tune``."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.search.learned_weight import learn_weight, learn_weight_from_judgements
from lexite.search.strategies import Hybrid


def test_a_weight_is_chosen_without_judgements(lexite, tiny_index: Path) -> None:
    found = lexite("tune", tiny_index, "--from-text", "--seed", "2", "--json").json
    strategy = Hybrid(from_text=True)
    assert found == learn_weight(Searcher.open(tiny_index), seed=2, strategy=strategy).to_json()
    shown = lexite("tune", tiny_index, "--from-text").out
    assert "5 queries: titles" in shown and "--then hybrid --hybrid-weight" in shown and "--hybrid-from-text" in shown


def test_a_weight_is_chosen_by_judgements(lexite, tiny_index: Path, collection: Path) -> None:
    words = ["--queries", collection / "queries.jsonl", "--qrels", collection / "qrels" / "test.tsv", "--from-text"]
    found = lexite("tune", tiny_index, *words, "--json").json
    queries = {"q1": "how to parse json text", "q2": "milk of the cow", "q3": "effect of the drug on cancer"}
    qrels = {"q1": {"d3": 1}, "q2": {"d1": 2}, "q3": {"d5": 1, "d6": 0}}
    searcher = Searcher.open(tiny_index)
    assert found == learn_weight_from_judgements(searcher, queries, qrels, strategy=Hybrid(from_text=True)).to_json()
    assert "Cross-validated: nDCG@10" in lexite("tune", tiny_index, *words).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--queries", "q.jsonl"], "--queries and --qrels belong together"),
        (["--queries", "q.jsonl", "--qrels", "q.tsv", "--ask", "titles"], "--ask has no effect beside --queries"),
    ],
)
def test_what_does_not_fit_is_refused(lexite, tiny_index: Path, words: list[str], message: str) -> None:
    assert message in lexite("tune", tiny_index, *words).usage


def test_an_index_without_vectors_is_named(lexite, tiny_index: Path) -> None:
    assert "dense vectors" in lexite("tune", tiny_index).error


def test_judgements_that_say_nothing_choose_nothing(lexite, tiny_index: Path, collection: Path, tmp_path: Path) -> None:
    """None of the judged documents is in the index, so each weight has the same worth: none."""
    (tmp_path / "q.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tgone\t1\nq2\tlost\t1\n")
    words = ["--queries", collection / "queries.jsonl", "--qrels", tmp_path / "q.tsv", "--from-text"]
    shown = lexite("tune", tiny_index, *words).out
    assert "All weights answer these queries alike" in shown and "Use it" not in shown
