"""Analyses over the API: what they find is what the functions find, and they are kept within limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lexite import Searcher
from lexite.analysis import corpus_of, correlations, differences, property_from_examples

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytest.importorskip("fastapi", reason="needs the extra 'server'")
pytest.importorskip("pyarrow", reason="needs the extra 'fields'")
API = "/api/v1/indexes/notes/analyses"
ClientOf = Callable[..., "TestClient"]


def post(client: TestClient, kind: str, status: int = 200, **body: Any) -> Any:
    answer = client.post(f"{API}/{kind}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.slow
def test_results_are_those_of_the_functions(client_of: ClientOf, sixty: Path) -> None:
    client = client_of(sixty)
    searcher = Searcher.open(sixty, static=True)
    everything = corpus_of(searcher.index, searcher.label)
    animals, code = everything.part(range(1, 60, 2), "kind = 'b'"), everything.part(range(0, 60, 2), "kind = 'a'")

    expected = differences(code, animals, most=3)
    for against in (None, "kind = 'b'"):
        found = post(client, "differences", where="kind = 'a'", against=against, most=3)
        assert (found["index"], found["generation"], found["analysis"]) == ("notes", searcher.index.generation, "differences")
        assert found["n_over"] == expected.n_over > 0 and found["chance"] == list(expected.chance)
        for mine, theirs in zip(found["over"], expected.over, strict=True):
            assert (mine["latent"], mine["label"], mine["share"]) == (theirs.latent, theirs.label, theirs.share)
            assert mine["examples"][0] == {"id": theirs.examples[0].id, "text": theirs.examples[0].text}

    pairs = post(client, "correlations", where="kind = 'b'", most=5)
    wanted = correlations(animals, most=5)
    assert (pairs["n_documents"], pairs["n_found"]) == (30, wanted.n_found)
    assert [pair["latents"] for pair in pairs["pairs"]] == [list(pair.latents) for pair in wanted.pairs]
    assert post(client, "correlations", field="kind")["values"] == {"a": 30, "b": 30}

    ids = [f"d{i}" for i in range(1, 9, 2)], [f"d{i}" for i in range(0, 8, 2)]
    like = post(client, "properties", positive=ids[0], negative=ids[1], most=4)
    known = property_from_examples(everything, range(1, 9, 2), range(0, 8, 2), most=4)
    assert [each["document"]["id"] for each in like["documents"]] == [each.document.id for each in known.documents]
    assert (like["auc"], like["p"]) == (known.auc, known.p)
    said = post(client, "properties", sentence="the dog drank milk", most=3)
    assert said["auc"] is None and len(said["documents"]) == 3 and said["name"] == "the dog drank milk"


@pytest.mark.slow
def test_clusters_and_two_indexes(sixty: Path, client_of: ClientOf) -> None:
    pytest.importorskip("sklearn", reason="needs the extra 'analysis'")
    from fastapi.testclient import TestClient

    from lexite.server.app import create_app

    found = post(client_of(sixty), "clusters", n_clusters=2, truth="kind")
    assert found["adjusted_rand"] == pytest.approx(1.0, abs=0.2) and "assigned" not in found and "points" not in found
    app = create_app({"notes": Searcher.open(sixty, static=True), "twice": Searcher.open(sixty, static=True)})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        same = post(client, "differences", other="twice")
        assert same["n_over"] == same["n_under"] == 0 and same["sizes"] == [60, 60]
        assert post(client, "differences", 404, other="thrice")["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("differences", {}, 400, "Differences need where"),
        ("differences", {"where": "nope = 1"}, 400, "no field 'nope'"),
        ("differences", {"where": "kind = 'a'", "against": "((("}, 400, ""),
        ("differences", {"where": "kind = 'a'", "rate": 0}, 422, "rate"),
        ("correlations", {"most": 201}, 422, "most"),
        ("clusters", {"n_clusters": 1}, 422, "n_clusters"),
        ("properties", {}, 400, "Give one of them"),
        ("properties", {"sentence": "milk", "positive": ["d1"]}, 400, "Give one of them"),
        ("properties", {"sentence": "milk", "negative": ["d1"]}, 400, "negative goes with positive"),
        ("properties", {"sentence": "x" * 10_001}, 400, "at most 10,000"),
        ("nothing", {}, 404, "no such address"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    client: TestClient, kind: str, body: dict[str, Any], status: int, words: str
) -> None:
    assert words in post(client, kind, status, **body)["error"]["message"]


@pytest.mark.slow
def test_what_the_data_do_not_give_is_said(client: TestClient) -> None:
    assert "need 10" in post(client, "differences", 400, where="year < 2005")["error"]["message"]
    assert "no field 'nope'" in post(client, "correlations", 400, field="nope")["error"]["message"]
    assert "No document 'none'" in post(client, "properties", 400, positive=["none"])["error"]["message"]


def test_too_many_documents_are_refused(client_of: ClientOf, sixty: Path) -> None:
    client = client_of(sixty, analysis_documents=40)
    for kind, body in (
        ("differences", {"where": "kind = 'a'"}),
        ("correlations", {}),
        ("properties", {"sentence": "milk"}),
    ):
        assert "at most 40 are taken" in post(client, kind, 400, **body)["error"]["message"]


@pytest.mark.slow
def test_one_runs_at_a_time_and_none_for_ever(client_of: ClientOf, sixty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(sixty, analysis_seconds=0.1)
    late = post(client, "differences", 504, where="kind = 'a'")
    assert "longer than 0.1 seconds" in late["error"]["message"]

    client = client_of(sixty)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(client.post(f"{API}/differences", json={"where": "kind = 'a'"}))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    assert client.post("/api/v1/indexes/notes/search", json={"query": "milk"}).status_code == 200
    assert time.perf_counter() - began < 20
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 429]
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert "Another analysis runs" in busy.json()["error"]["message"] and busy.headers["retry-after"] == "10"
    assert post(client, "differences", where="kind = 'a'")["n_over"]
