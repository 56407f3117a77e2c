"""``lexite search --like ID --unlike ID``, and queries that are kept and changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexite import Searcher
from lexite.errors import ArgumentError, CorpusError
from lexite.search.strategies import Feedback, Steer
from lexite.search.term_files import read_term_queries


@pytest.fixture(scope="module")
def index(tiny_vocabulary: Path, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("liked") / "i"
    Searcher.build(documents, path, vocabulary=str(tiny_vocabulary), show_progress=False).close()
    return path


def hits_of(text: str) -> list[dict]:
    found: list[dict] = json.loads(text.splitlines()[0])["hits"]
    return found


def test_more_like_a_document_needs_no_query(lexite, index: Path, tmp_path: Path) -> None:
    answer = json.loads(lexite("search", index, "--like", "d1", "--json").out)
    assert answer["like"] == ["d1"] and answer["hits"] and "d1" not in [hit["id"] for hit in answer["hits"]]
    searcher = Searcher.open(index, static=True)
    assert [hit.id for hit in searcher.more_like("d1")] == [hit["id"] for hit in answer["hits"]]
    two = searcher.more_like(["d1", "d3"], top_k=2, disliked=["d5"])
    assert len(two) == 2 and not {"d1", "d3"} & {hit.id for hit in two} and [hit.rank for hit in two] == [1, 2]
    assert [hit.id for hit in searcher.more_like("d1", top_k=2, offset=1)] == [hit["id"] for hit in answer["hits"][1:3]]
    done = lexite("search", index, "--like", "d1", "--run", tmp_path / "run")
    assert done.status == 0 and (tmp_path / "run").read_text().startswith("like Q0 ")
    shown = lexite("search", index, "--like", "d1", "--like", "d3")
    assert shown.status == 0 and shown.out


def test_liked_and_disliked_documents_change_a_search(lexite, index: Path) -> None:
    words = ("search", index, "milk", "--static", "--json")
    plain = {hit["id"]: hit["score"] for hit in hits_of(lexite(*words).out)}
    liked = hits_of(lexite(*words, "--like", "d3").out)
    disliked = {hit["id"]: hit["score"] for hit in hits_of(lexite(*words, "--unlike", "d1").out)}
    scores = {hit["id"]: hit["score"] for hit in liked}
    assert scores["d3"] > plain.get("d3", 0) and disliked.get("d1", 0) < plain["d1"]
    searcher = Searcher.open(index, static=True)
    assert [hit.id for hit in searcher.search("milk", liked=["d3"])] == [hit["id"] for hit in liked]
    hit = searcher.search("milk", liked=["d3"])[0]
    expanded = searcher.expanded("milk", liked="d3")
    assert searcher.explain(expanded, hit.id).score == pytest.approx(hit.score)


def test_queries_are_kept_changed_and_searched(lexite, index: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    found = lexite("search", index, "milk", "cow", "--static", "--like", "d3", "--save-terms", path, "--json")
    kept = hits_of(lexite("search", index, "--terms", path, "--json").out)
    assert [(hit["id"], round(hit["score"], 3)) for hit in kept] == [
        (hit["id"], round(hit["score"], 3)) for hit in hits_of(found.out)
    ]
    ids, queries = read_term_queries(path, 64)
    assert ids == ["1"] and queries.word_weights is not None and queries.texts == ("milk cow",)
    path.write_text('{"id": "1", "terms": [], "words": {"MILK": 1}}')
    assert [hit["id"] for hit in hits_of(lexite("search", index, "--terms", path, "--json").out)] == ["d1"]
    assert lexite("search", index, "--like", "d1", "--save-terms", path).status == 0
    assert read_term_queries(path, 64)[0] == ["like"]
    path.write_text(path.read_text().replace('"vocabulary": "', '"vocabulary": "0'))
    refused = lexite("search", index, "--terms", path)
    assert refused.status == 1 and "was made with the vocabulary" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--like", "d99"), "no document 'd99'"),
        (("milk", "--unlike", "d99", "--static"), "no document 'd99'"),
        (("--unlike", "d1"), "--unlike needs a query"),
        (("--save-terms", "q.json"), "--save-terms keeps queries"),
        (("milk", "--static", "--like", "d1", "--unlike", "d1"), "'d1' is among the liked and the disliked"),
        (("--terms", "q.json", "--like", "d1"), "Leave --like, --unlike and --save-terms out"),
    ],
)
def test_wrong_documents_are_explained(lexite, index: Path, words: tuple, message: str) -> None:
    done = lexite("search", index, *words)
    assert done.status != 0 and message in done.err


def test_more_like_nothing_is_refused(index: Path) -> None:
    searcher = Searcher.open(index, static=True)
    with pytest.raises(ArgumentError, match="Name one at least"):
        searcher.more_like([])
    with pytest.raises(ArgumentError, match="liked has no place"):
        searcher.more_like("d1", liked=["d2"])
    with pytest.raises(CorpusError, match="no document 'x'"):
        searcher.search("milk", liked=["x"])


def test_steering_and_feedback_are_second_stages_of_the_command_line(lexite, index: Path) -> None:
    words = ("search", index, "milk", "--static", "--json", "--then")
    muted = hits_of(lexite(*words, "steer", "--steer-mute", "word:milk", "--steer-boost", "word:cow=3").out)
    searcher = Searcher.open(index, static=True)
    wanted = searcher.search("milk", then=Steer(mute=("word:milk",), boost=("word:cow=3",)))
    assert [(hit.id, hit.score) for hit in wanted] == [(hit["id"], pytest.approx(hit["score"])) for hit in muted]
    several = lexite(*words, "steer", "--steer-boost", "word:cow=3", "--steer-boost", "word:milk=2")
    assert [hit["id"] for hit in hits_of(several.out)] == [
        hit.id for hit in searcher.search("milk", then=Steer(boost=("word:cow=3", "word:milk=2")))
    ]
    fed = hits_of(lexite(*words, "feedback", "--feedback-documents", "1", "--feedback-over", "words").out)
    assert [hit.id for hit in searcher.search("milk", then=Feedback(documents=1, over="words"))] == [hit["id"] for hit in fed]
    assert lexite(*words, "vector-feedback").status == 1
    assert lexite(*words, "feedback", "--steer-mute", "word:milk").status == 2


def test_what_is_said_of_saved_queries_is_no_result(lexite, index: Path, tmp_path: Path) -> None:
    path, kept = tmp_path / "q.json", ["--save-terms", tmp_path / "q.json"]
    (line,) = lexite("search", index, "milk", "--static", "--json", *kept).out.splitlines()
    assert json.loads(line)["query"] == "milk"
    run = lexite("search", index, "milk", "--static", "--run", "-", *kept).out.splitlines()
    assert run and all(len(row.split()) == 6 for row in run)
    told = lexite("search", index, "milk", "--preset", "fast", "--json", *kept)
    assert "These queries were asked with --literal-weight 1.0. Say so beside --terms too." in told.err
    again = lexite("search", index, "--terms", path, "--literal-weight", "1.0", "--json")
    assert [hit["score"] for hit in hits_of(again.out)] == pytest.approx([hit["score"] for hit in hits_of(told.out)], rel=1e-5)
