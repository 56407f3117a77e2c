from __future__ import annotations

import urllib.parse
from pathlib import Path

import pytest
from helpers_index import weights_of
from hypothesis import given
from hypothesis import strategies as st

from lexite.corpus import read_qrels
from lexite.errors import CorpusError, StorageError
from lexite.index import BM25Index, read_trec_run, run_from_hits, write_trec_qrels, write_trec_run
from lexite.ranking.trec import quote_id
from lexite.terms import EncodedQueries

NAMES = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4).filter(
    lambda s: s.split() == [s] and "%" not in s
)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5), max_size=4))
def test_runs_come_back(tmp_path_factory: pytest.TempPathFactory, run: dict[str, dict[str, float]]) -> None:
    path = tmp_path_factory.mktemp("runs") / "run.trec"
    write_trec_run(path, run)
    back = read_trec_run(path)
    assert back == run
    assert all(list(scores.values()) == sorted(scores.values(), reverse=True) for scores in back.values())


def test_the_lines_of_a_run(tmp_path: Path) -> None:
    write_trec_run(tmp_path / "r", {"q1": {"b": 1.5, "a": 2.25, "c": 1.5}}, tag="mine")
    assert (tmp_path / "r").read_text().splitlines() == ["q1 Q0 a 1 2.25 mine", "q1 Q0 b 2 1.5 mine", "q1 Q0 c 3 1.5 mine"]


def test_a_search_as_a_run(tmp_path: Path) -> None:
    index = BM25Index.in_memory(weights_of(9, 1, 0.5), list("abcdefghi"))
    hits = index.search(EncodedQueries(weights_of(2, 2, 0.5)), 4)
    run = run_from_hits(["q1", "q2"], hits)
    write_trec_run(tmp_path / "r", run)
    assert {query: list(scores) for query, scores in read_trec_run(tmp_path / "r").items()} == {
        query: [hit.id for hit in found] for query, found in zip(["q1", "q2"], hits, strict=True)
    }


def test_qrels_are_what_readers_expect(tmp_path: Path) -> None:
    qrels = {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": 3}}
    write_trec_qrels(tmp_path / "qrels", qrels)
    assert read_qrels(tmp_path / "qrels") == qrels


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_id_is_one_column_and_comes_back(identifier: str) -> None:
    quoted = quote_id(identifier)
    assert quoted.split() == [quoted]
    assert urllib.parse.unquote(quoted) == identifier


def test_ids_with_white_space_are_quoted_alike_in_runs_and_qrels(tmp_path: Path) -> None:
    write_trec_run(tmp_path / "run", {"q 1": {"Olinda Posso": 1.0}})
    write_trec_qrels(tmp_path / "qrels", {"q 1": {"Olinda Posso": 1}})
    assert read_trec_run(tmp_path / "run") == {"q%201": {"Olinda%20Posso": 1.0}}
    assert read_qrels(tmp_path / "qrels") == {"q%201": {"Olinda%20Posso": 1}}


def test_empty_names_do_not_fit_a_column(tmp_path: Path) -> None:
    for run, tag in (({"": {"d": 1.0}}, "t"), ({"q": {"": 1.0}}, "t"), ({"q": {"d": 1.0}}, "")):
        with pytest.raises(CorpusError, match="empty id"):
            write_trec_run(tmp_path / "r", run, tag)
    with pytest.raises(CorpusError, match="empty id"):
        write_trec_qrels(tmp_path / "r", {"q": {"": 1}})
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 2.0", "not a line of a TREC run"),
        ("q Q0 d one 2.0 t", "not a line of a TREC run"),
        ("q Q0 d 1 high t", "not a line of a TREC run"),
        ("q Q0 d 1 nan t", "not a finite number"),
        ("q0 Q0 a 2 0.5 t", "'a' occurs twice for query 'q0'"),
    ],
)
def test_malformed_runs(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "r").write_text(f"q0 Q0 a 1 1.0 t\n\n{line}\n")
    with pytest.raises(CorpusError, match=rf"r, line 3: .*{message}"):
        read_trec_run(tmp_path / "r")


def test_unreadable_and_unwritable_runs(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="does not exist"):
        read_trec_run(tmp_path / "r")
    (tmp_path / "r").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_trec_run(tmp_path / "r")
    with pytest.raises(StorageError, match="Cannot write"):
        write_trec_run(tmp_path / "r" / "x", {})
