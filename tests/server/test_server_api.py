"""What the API answers, held against the searcher that it asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers_server import MARKUP

from lexite import Searcher

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

API = "/api/v1/indexes/notes"
Ask = Callable[..., Any]


@pytest.fixture
def ask(client: TestClient) -> Ask:
    """Posts a request and gives the answer, which has to be a success."""

    def post(path: str, **body: Any) -> Any:
        answer = client.post(f"{API}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post


def test_a_search_has_the_hits_of_the_searcher(ask: Ask, served_index: Path) -> None:
    expected = Searcher.open(served_index, static=True).search("milk of the cow", 4)
    found = ask("search", query="milk of the cow", top_k=4)["hits"]
    assert [(hit["id"], hit["rank"]) for hit in found] == [(hit.id, hit.rank) for hit in expected]
    assert [hit["score"] for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4)
    assert [(hit["passage"], hit["start"], hit["end"]) for hit in found] == [
        (hit.passage.text, hit.passage.start, hit.passage.end) for hit in expected if hit.passage
    ]
    assert found[0]["fields"] == dict(expected[0].fields)


def test_the_parts_of_a_hit_add_up_to_its_score(ask: Ask) -> None:
    for hit in ask("search", query="milk of the cow")["hits"]:
        assert sum(part["score"] for part in hit["parts"]) == pytest.approx(hit["score"], abs=1e-3)


def test_a_model_and_a_table_are_told_apart(client_of: Callable[..., TestClient], served_index: Path) -> None:
    by_model = client_of(served_index, static=False)
    expected = Searcher.open(served_index).search("milk of the cow", 3)
    found = by_model.post(f"{API}/search", json={"query": "milk of the cow", "top_k": 3}).json()
    assert found["encoded_by"] == "model" and [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
    fast = by_model.post(f"{API}/search", json={"query": "milk of the cow", "top_k": 3, "preset": "fast"}).json()
    static = Searcher.open(served_index, static=True).search("milk of the cow", 3, scoring={"literal_weight": 1.0})
    assert fast["encoded_by"] == "static" and [hit["id"] for hit in fast["hits"]] == [hit.id for hit in static]
    tokens = by_model.post(f"{API}/terms", json={"text": "the cow drinks"}).json()["tokens"]
    placed = [token for token in tokens if token["start"] is not None]
    assert [token["text"] for token in placed][:2] == ["the", "cow"] and all(token["latents"] for token in placed)
    dense = by_model.post(f"{API}/rankings", json={"query": "milk of the cow", "top_k": 9}).json()["rankings"]["dense"]["hits"]
    rescored = Searcher.open(served_index).search("milk of the cow", 9, then=[_rescore()])
    assert {hit.id for hit in rescored} <= {hit["id"] for hit in dense}
    shared = {hit.id for hit in rescored}
    assert [hit["id"] for hit in dense if hit["id"] in shared] == [hit.id for hit in rescored]


def _rescore() -> Any:
    from lexite.search.strategies import Rescore

    return Rescore()


def test_several_queries_are_answered_as_each_alone(ask: Ask) -> None:
    both = ask("search-many", queries=["milk", "how to parse json"], top_k=2)
    for reply, query in zip(both, ["milk", "how to parse json"], strict=True):
        assert [hit["id"] for hit in reply["hits"]] == [hit["id"] for hit in ask("search", query=query, top_k=2)["hits"]]


def test_filters_facets_and_pages(ask: Ask) -> None:
    found = ask("search", query="milk of the cow", where="year < 2005", facets=["kind", "year"], top_k=2, offset=1)
    assert {hit["fields"]["year"] for hit in found["hits"]} <= {2001, 2002, 2003} and found["hits"][0]["rank"] == 2
    kinds = {value["value"]: value["documents"] for value in found["facets"][0]["values"]}
    assert kinds == {"note": 2, MARKUP: 1}


def test_steering_moves_the_ranking_as_the_strategy_does(ask: Ask, served_index: Path) -> None:
    from lexite.search.strategies import Steer

    searcher = Searcher.open(served_index, static=True)
    steering = {"boost": [{"concept": "word:milk", "factor": 5}], "mute": ["word:moon"]}
    found = ask("search", query="milk moon", steering=steering)
    expected = searcher.search("milk moon", then=[Steer(boost=("word:milk=5",), mute=("word:moon",))])
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
    first = found["hits"][0]["id"]
    assert first != "d6" == ask("search", query="milk moon")["hits"][0]["id"]
    explained = ask("explain", query="milk moon", document=first, steering=steering)
    assert explained["score"] == pytest.approx(found["hits"][0]["score"], abs=1e-3)


def test_second_stages_and_presets(ask: Ask, client: TestClient) -> None:
    assert ask("search", query="milk", then=[{"name": "feedback", "settings": {"documents": 2}}])["hits"]
    assert ask("search", query="milk", preset="fast")["hits"]
    refused = client.post(f"{API}/search", json={"query": "milk", "then": [{"name": "hybrid"}]})
    assert refused.status_code == 400 and "needs the model" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["outside", "rerank", "steer"])
def test_stages_that_open_files_or_load_models_by_name_cannot_be_asked_for(client: TestClient, name: str) -> None:
    body = {"query": "milk", "then": [{"name": name, "settings": {"run": "/etc/passwd"}}]}
    assert client.post(f"{API}/search", json=body).status_code == 422


def test_an_explanation_has_every_number(ask: Ask, served_index: Path) -> None:
    searcher = Searcher.open(served_index, static=True)
    expected = searcher.explain("milk of the cow", "d1")
    found = ask("explain", query="milk of the cow", document="d1")
    assert [(term["term"], term["label"]) for term in found["terms"]] == [(term.term, term.label) for term in expected.terms]
    assert found["score"] == pytest.approx(expected.score) and 0 <= found["common_share"] <= 1


def test_marks_stand_on_words_that_matched(ask: Ask) -> None:
    hit = next(hit for hit in ask("search", query="milk", marks=True)["hits"] if hit["id"] == "d1")
    strong = {hit["passage"][start:end].lower() for start, end, level in hit["marks"] if level == 3}
    assert "milk" in strong
    ends = [0, *(end for _, end, _ in hit["marks"])]
    assert all(start >= before and start < end for (start, end, _), before in zip(hit["marks"], ends, strict=False))


def test_words_alone_rank_as_bm25_on_words(ask: Ask, served_index: Path) -> None:
    found = ask("rankings", query="milk of the cow", systems=["words"])["rankings"]["words"]["hits"]
    with_cow_or_milk = {"d1", "h1", "h2", "javascript:alert(1)"}
    assert {hit["id"] for hit in found} == with_cow_or_milk
    assert "without the dense model" in ask("rankings", query="milk", systems=["dense"])["rankings"]["dense"]["unavailable"]


def test_a_text_is_taken_apart(ask: Ask, served_index: Path) -> None:
    found = ask("terms", text="The cow gives milk.")
    assert [token["text"] for token in found["tokens"]][:2] == ["The", "cow"]
    table = Searcher.open(served_index, static=True).index.static()
    assert table is not None
    row = table.encode(["cow"]).toarray()[0]
    cow = {each["concept"]: each["activation"] for each in found["tokens"][1]["latents"]}
    assert cow == pytest.approx({concept: row[concept] for concept in cow}, abs=1e-3)
    assert max(cow.values()) == pytest.approx(max(row), abs=1e-3)


def test_a_concept_has_its_numbers_words_and_examples(client: TestClient, served_index: Path) -> None:
    searcher = Searcher.open(served_index, static=True)
    number = int(searcher.index.document_frequency[: searcher.index.n_latents].argmax())
    found = client.get(f"{API}/concepts/{number}").json()
    assert found["label"] == searcher.label(number) and found["passages"] == searcher.index.document_frequency[number]
    assert found["words"] and found["examples"] and all(each["concept"] != number for each in found["related"])
    ids = {hit["id"] for hit in found["examples"]}
    rows = searcher.index.rows(sorted(ids)).toarray()
    assert (rows[:, number] > 0).all()
    word = searcher.label(number).split(",")[0]
    named = client.get(f"{API}/concepts", params={"name": word}).json()["concepts"]
    assert number in [each["concept"] for each in named]


def test_a_document_is_read(client: TestClient) -> None:
    found = client.get(f"{API}/documents", params={"id": "javascript:alert(1)"}).json()
    assert found["text"].startswith("Milk of the cow") and found["fields"] == {"year": 2003, "kind": "note"}


def test_indexes_health_and_metrics(client: TestClient) -> None:
    (described,) = client.get("/api/v1/indexes").json()
    assert (
        described["documents"] == 9 and described["fields"]["tags"] == "list" and described["examples"] == ["milk of the cow"]
    )
    assert client.get("/health").json()["status"] == "ok" and client.get("/ready").json()["indexes"] == ["notes"]
    client.post(f"{API}/search", json={"query": "milk"})
    text = client.get("/metrics").text
    assert 'lexite_documents{index="notes"} 9.0' in text
    assert 'lexite_requests_total{method="POST",route="/indexes/{index}/search",status="200"} 1.0' in text


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("search", {"query": ""}, 400, "The text is empty"),
        ("search", {"query": "x" * 10_001}, 400, "at most 10,000"),
        ("search", {"query": "milk", "top_k": 201}, 400, "at most 200"),
        ("search", {"query": "milk", "top_k": 0}, 422, "greater than or equal to 1"),
        ("search", {"query": "milk", "where": "nope = 1"}, 400, "no field 'nope'"),
        ("search", {"query": "milk", "where": "((("}, 400, ""),
        ("search", {"query": "milk", "colour": "red"}, 422, "There is no key 'colour'"),
        ("search", {"query": "milk", "preset": "bset"}, 400, "Did you mean 'best'?"),
        ("search", {"query": "milk", "scoring": {"k1": "many"}}, 400, "k1"),
        ("search", {"query": "milk", "scoring": []}, 422, "'scoring' must be a JSON object."),
        ("search", {"query": "milk", "steering": 3}, 422, "'steering' must be a JSON object."),
        ("search", {"query": "milk", "steering": {"mute": ["1"] * 65}}, 422, "'steering.mute' must have at most 64 items"),
        ("search", [], 422, "The body is no JSON object."),
        ("search", {"query": "milk", "steering": {"mute": ["nothing-is-called-so"]}}, 400, "No latent has a label"),
        (
            "search",
            {"query": "milk", "steering": {"boost": [{"concept": "word:milk", "factor": 3}], "mute": ["word:Milk"]}},
            400,
            "'word:milk' gives it the factor 3, 'word:Milk' mutes it",
        ),
        ("search", {"query": "milk", "facets": ["nope"]}, 400, "no field 'nope'"),
        ("search-many", {"queries": ["milk"] * 65}, 400, "at most 64"),
        ("search-many", {"queries": []}, 422, "queries"),
        ("explain", {"query": "milk", "document": "nope"}, 404, "no document 'nope'"),
        ("terms", {}, 422, "'text' is missing"),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, path: str, body: Any, status: int, words: str) -> None:
    answer = client.post(f"{API}/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"] and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "address",
    ["/api/v1/indexes/nope/concepts/1", "/api/v1/nope", "/page/../app.py", "/page/%2e%2e/app.py", f"{API}/concepts/99999"],
)
def test_what_is_not_there(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
