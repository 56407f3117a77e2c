"""Documents that are changed through a server, and commits that other processes make while it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers_server import TOKEN

from lexite import BM25Index, Document, Searcher

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

API = "/api/v1/indexes/notes"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
ClientOf = Callable[..., "TestClient"]


def test_documents_are_added_replaced_and_deleted(client_of: ClientOf, own_index: Path) -> None:
    client = client_of(own_index, static=False, writable=True, token=TOKEN)

    def send(method: str, body: dict[str, Any], status: int = 200) -> Any:
        answer = client.request(method, f"{API}/documents", json=body, headers=RIGHT)
        assert answer.status_code == status, answer.text
        return answer.json()

    new = {"id": "new", "text": "The horse drinks from the river.", "title": "Horse", "fields": {"year": 2020, "tags": ["a"]}}
    assert send("POST", {"documents": [new]}) == {"documents": 1}
    assert client.post(f"{API}/search", json={"query": "horse"}).json()["hits"][0]["id"] == "new"
    assert "has a document 'new'" in send("POST", {"documents": [new]}, 409)["error"]["message"]
    assert "twice" in send("PUT", {"documents": [new, new]}, 409)["error"]["message"]
    send("PUT", {"documents": [{**new, "text": "The goat."}]})
    assert client.get(f"{API}/documents", params={"id": "new"}).json()["text"] == "The goat."
    assert "year" in send("PUT", {"documents": [{**new, "fields": {"year": [1]}}]}, 422)["error"]["field"]
    send("PUT", {"documents": [{**new, "fields": {"year": "soon"}}]}, 400)
    send("DELETE", {"ids": ["new", "nope"]}, 404)
    send("DELETE", {"ids": ["new"]})
    assert client.get(f"{API}/documents", params={"id": "new"}).status_code == 404
    with Searcher.open(own_index, static=True) as reopened:
        assert "new" not in reopened and len(reopened) == 9


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_changes_need_the_token(client_of: ClientOf, own_index: Path, headers: dict[str, str]) -> None:
    client = client_of(own_index, writable=True, token=TOKEN)
    body = {"documents": [{"id": "new", "text": "The goat."}]}
    assert client.post(f"{API}/documents", json=body, headers=headers).status_code == 401
    assert client.request("DELETE", f"{API}/documents", json={"ids": ["d1"]}, headers=headers).status_code == 401
    assert client.get("/api/v1/indexes").json()[0]["documents"] == 9


def test_nothing_can_be_changed_unless_allowed(client: TestClient) -> None:
    body = {"documents": [{"id": "new", "text": "The goat."}]}
    assert client.post(f"{API}/documents", json=body, headers=RIGHT).status_code == 405
    assert "post" not in client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/indexes/{index}/documents"]


def test_a_writer_elsewhere_makes_changes_wait_not_fail_in_words_of_paths(
    client_of: ClientOf, own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lexite.server.routes import documents

    monkeypatch.setattr(documents, "WAIT", 0.1)
    client = client_of(own_index, static=False, writable=True, token=TOKEN)
    with BM25Index.writer(own_index):
        answer = client.post(f"{API}/documents", json={"documents": [{"id": "new", "text": "The goat."}]}, headers=RIGHT)
    assert answer.status_code == 503 and str(own_index) not in answer.text and answer.headers["retry-after"] == "1"


def test_new_commits_are_picked_up_without_a_failed_request(client_of: ClientOf, own_index: Path) -> None:
    client = client_of(own_index, refresh=0.05)
    writer = Searcher.open(own_index)
    failed: list[str] = []
    seen: set[int] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = client.post(f"{API}/search", json={"query": "milk of the cow", "marks": True, "facets": ["kind"]})
            if answer.status_code != 200 or not answer.json()["hits"]:
                failed.append(answer.text)
            seen.add(answer.json().get("generation", 0))
            client.get(f"{API}/concepts/3")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(6):
        writer.add([Document(f"more-{number}", "More milk of more cows.", fields={"kind": "note"})], show_progress=False)
        if number == 3:
            with BM25Index.writer(own_index) as merging:
                merging.merge()
                merging.commit()
        time.sleep(0.15)
    newest = BM25Index.open(own_index).generation
    deadline = time.monotonic() + 20
    while newest not in seen and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert newest in seen and len(seen) > 2
    assert 'lexite_documents{index="notes"} 15.0' in client.get("/metrics").text


def test_a_damaged_commit_leaves_the_old_one_answering(client_of: ClientOf, own_index: Path) -> None:
    from lexite.index.manifest import COMMIT_NAME

    client = client_of(own_index, refresh=0.05)
    whole = (own_index / COMMIT_NAME).read_bytes()
    (own_index / COMMIT_NAME).write_bytes(whole[: len(whole) // 2])
    deadline = time.monotonic() + 20
    while client.get("/ready").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get("/ready").status_code == 503 and str(own_index) not in client.get("/ready").text
    assert client.post(f"{API}/search", json={"query": "milk"}).json()["hits"]
    (own_index / COMMIT_NAME).write_bytes(whole)
    while client.get("/ready").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get("/ready").status_code == 200


def test_an_index_of_another_vocabulary_does_not_take_its_place(
    client_of: ClientOf, own_index: Path, other_vocabulary: Path
) -> None:
    client = client_of(own_index, refresh=0.05)
    Searcher.build(texts=["The goat."], path=own_index, vocabulary=str(other_vocabulary), overwrite=True, show_progress=False)
    deadline = time.monotonic() + 20
    while client.get("/ready").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get("/ready").status_code == 503
    assert client.get("/api/v1/indexes").json()[0]["documents"] == 9
