"""Queries, judgements and whole collections."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lexite.corpus import (
    Document,
    Query,
    ReadOptions,
    ReadReport,
    check_qrels,
    open_collection,
    read_documents,
    read_qrels,
    read_queries,
)
from lexite.errors import CorpusError

SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data" / "collections"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no test collections at {SHARED}; set LEXITE_SHARED")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.jsonl", '{"_id": 1, "text": "first", "metadata": {}}\n{"_id": "b", "text": "second"}\n'),
        ("q.jsonl", '{"qid": 1, "query": "first"}\n{"qid": "b", "query": "second"}\n'),
        ("q.tsv", "query_id\tquestion\n1\tfirst\nb\tsecond\n"),
        ("q.tsv", "1\tfirst\nb\tsecond\n"),
        ("q.csv", 'id,text\n1,"first"\nb,second\n'),
    ],
)
def test_queries(tmp_path: Path, name: str, data: str):
    (tmp_path / name).write_text(data)
    report = ReadReport()
    assert list(read_queries(tmp_path / name, report=report)) == [Query("1", "first"), Query("b", "second")]
    assert report.read == 2


def test_plain_queries_from_a_file_and_from_standard_input(tmp_path: Path, set_stdin: Callable[..., None]):
    expected = [Query("1", "first?"), Query("2", "{second}")]
    (tmp_path / "q.txt").write_text("first?\n\n {second}\n")
    assert list(read_queries(tmp_path / "q.txt")) == expected
    set_stdin(b"first?\n{second}\n")
    assert list(read_queries("-")) == expected


def test_queries_with_chosen_fields(tmp_path: Path):
    (tmp_path / "q.jsonl").write_text('{"id": "x", "text": "no", "nr": 4, "ask": "yes"}')
    options = ReadOptions(id_field="nr", text_field="ask", title_field="does not matter")
    assert list(read_queries(tmp_path / "q.jsonl", options)) == [Query("4", "yes")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("q.jsonl", "", "q.jsonl holds no queries."),
        ("q.txt", "\n \n", "q.txt holds no queries."),
        ("q.tsv", "id\ttext\n", "q.tsv holds no queries."),
        ("q.jsonl", '{"_id": "a", "text": "a"}\n{"_id": "a", "text": "b"}', "line 2: the query id 'a' occurred before"),
        ("q.jsonl", '{"_id": "a", "text": " "}', "line 1: the query is empty."),
        ("q.jsonl", '{"_id": "a", "text": ["x"]}', "line 1: the field 'text' is a list, but must be text."),
        ("q.jsonl", "{", "line 1: not valid JSON"),
    ],
)
def test_bad_queries(tmp_path: Path, name: str, data: str, message: str):
    (tmp_path / name).write_text(data)
    with pytest.raises(CorpusError) as caught:
        list(read_queries(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)


def test_bad_queries_can_be_skipped(tmp_path: Path):
    (tmp_path / "q.jsonl").write_text('{"_id": "a", "text": "a"}\n{"_id": "a", "text": "b"}\n{"_id": 2, "text": ""}\n{\n')
    report = ReadReport()
    assert list(read_queries(tmp_path / "q.jsonl", ReadOptions(skip_bad=True), report)) == [Query("a", "a")]
    assert (report.read, report.skipped) == (1, 3)
    (tmp_path / "q.jsonl").write_text("{\n")
    with pytest.raises(CorpusError, match=r"holds no queries: all 1 records are bad\. The first: .*line 1"):
        list(read_queries(tmp_path / "q.jsonl", ReadOptions(skip_bad=True)))


def test_sources_that_hold_no_queries(tmp_path: Path):
    for source in (tmp_path, "builtin:python"):
        with pytest.raises(CorpusError, match="holds no queries. Name a file of queries, or a BEIR folder"):
            read_queries(source)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.tsv", "query-id\tcorpus-id\tscore\n1\tOlinda Posso\t2\n1\tb\t0\n2\tb\t-1\n"),
        ("q.tsv", "1\tOlinda Posso\t2\r\n1\tb\t0\r\n\r\n2\tb\t-1\r\n1\tb\t0\r\n"),
        ("q.tsv", "1\t0\tOlinda Posso\t2\n1\t0\tb\t0.0\n2\t0\tb\t-1\n"),
    ],
)
def test_qrels(tmp_path: Path, name: str, data: str):
    (tmp_path / name).write_text(data, newline="")
    assert read_qrels(tmp_path / name) == {"1": {"Olinda Posso": 2, "b": 0}, "2": {"b": -1}}


def test_trec_qrels_with_blanks(tmp_path: Path):
    (tmp_path / "q.gz").write_bytes(gzip.compress(b"301 0 FBIS3-10082 1\n301  Q0  FBIS3-10169   0\n"))
    assert read_qrels(tmp_path / "q.gz") == {"301": {"FBIS3-10082": 1, "FBIS3-10169": 0}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "holds no relevance judgements."),
        ("query-id\tcorpus-id\tscore\n", "holds no relevance judgements."),
        ("1\t2\n", "line 1: 2 columns, but a judgement has 3"),
        ("1\ta\t1\n1\tb\n", "line 2: 2 values instead of 3: '1\\tb'."),
        ("1\ta\t1\n1\t\t1\n", "line 2: 2 values instead of 3"),
        ("1\ta\thigh\n", "line 1: the grade 'high' is not a whole number."),
        ("1\ta\t1\n1\tb\t0.5\n", "line 2: the grade '0.5' is not a whole number."),
        ("1\ta\tinf\n", "line 1: the grade 'inf' is not a whole number."),
        ("1\ta\t1\n1\ta\t2\n", "line 2: document 'a' of query '1' has grade 2 here, but 1 before."),
        ("1\ta\t1\n1\tb\xe9\t1\n", "line 2: not valid UTF-8"),
    ],
)
def test_bad_qrels(tmp_path: Path, data: str, message: str):
    path = tmp_path / "test.tsv"
    path.write_text(data, encoding="latin-1")
    with pytest.raises(CorpusError) as caught:
        read_qrels(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_missing_qrels(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"gone\.tsv does not exist"):
        read_qrels(tmp_path / "gone.tsv")
    with pytest.raises(CorpusError, match="is not a file"):
        read_qrels(tmp_path)


def test_qrels_that_name_unknown_documents(tmp_path: Path):
    path = tmp_path / "test.tsv"
    path.write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n1\tx\t0\n2\ty\t1\n2\tz\t1\n2\tw\t1\n")
    qrels = read_qrels(path)
    check_qrels(qrels, ["a", "x", "y", "z", "w"], path)
    check_qrels(qrels, {"a": 0, "x": 1, "y": 2, "z": 3, "w": 4}, path)
    with pytest.raises(CorpusError) as caught:
        check_qrels(qrels, iter(["a"]), path)
    assert str(caught.value) == (
        f"{path}, line 3: the judgements name documents that the collection does not hold: 'x', 'y', 'z' and 1 more. "
        "Use the qrels of this collection."
    )
    with pytest.raises(CorpusError, match="line 6: .* does not hold: 'w'"):
        check_qrels(qrels, {"a", "x", "y", "z"}, path)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": "d1", "title": "Dog", "text": "barks"}, {"_id": "d2", "title": "", "text": ""}]
    (folder / "corpus.jsonl.xz").write_bytes(lzma.compress("\n".join(map(json.dumps, corpus)).encode()))
    queries = [{"_id": f"q{i}", "text": f"query {i}"} for i in (3, 1, 2)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq3\td2\t0\n")
    (folder / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress(b"q2\td1\t1\n"))
    return folder


def test_collection(beir: Path, monkeypatch: pytest.MonkeyPatch):
    collection = open_collection(beir)
    assert (collection.name, collection.path, collection.split) == ("pets", beir, "test")
    assert collection.qrels_path == beir / "qrels" / "test.tsv"
    assert list(collection.documents()) == [Document("d1", "barks", "Dog"), Document("d2", "")]
    assert collection.queries() == [Query("q3", "query 3"), Query("q1", "query 1")]
    assert open_collection(str(beir), "dev").qrels == {"q2": {"d1": 1}}
    monkeypatch.chdir(beir)
    assert open_collection(".").name == "pets"


def test_empty_documents_of_a_collection_are_kept_but_not_those_of_a_corpus(beir: Path):
    with pytest.raises(CorpusError, match="line 2: the text is empty"):
        list(read_documents([beir]))
    report = ReadReport()
    assert len(list(open_collection(beir).documents(ReadOptions(skip_bad=True), report))) == 2
    assert report.skipped == 0


def test_incomplete_collections(beir: Path):
    with pytest.raises(CorpusError, match=r"there is no qrels/train\.tsv\. Splits that are there: dev, test\."):
        open_collection(beir, "train")
    with pytest.raises(CorpusError, match="does not exist"):
        open_collection(beir / "gone")
    with pytest.raises(CorpusError, match="is a file, not a BEIR folder"):
        open_collection(beir / "queries.jsonl")
    (beir / "qrels" / "test.tsv").write_text("q9\td1\t1\nq1\td1\t1\n")
    with pytest.raises(CorpusError, match=r"the judgements name the query 'q9', which is not in .*queries\.jsonl"):
        open_collection(beir).queries()
    (beir / "queries.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"is not a BEIR folder: queries\.jsonl is missing"):
        open_collection(beir)


@needs_shared
@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgements"),
    [("scifact", 5183, 300, 339), ("npl", 11429, 93, 2083), ("cranfield", 1400, 225, 1837), ("limit_small", 46, 1000, 2000)],
)
def test_real_collections(name: str, documents: int, queries: int, judgements: int):
    collection = open_collection(SHARED / name)
    ids = [d.id for d in collection.documents()]
    assert len(ids) == len(set(ids)) == documents
    assert len(collection.queries()) == len(collection.qrels) == queries
    assert sum(map(len, collection.qrels.values())) == judgements
    check_qrels(collection.qrels, ids, collection.qrels_path)
