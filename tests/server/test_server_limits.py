"""What a server does not let in: other names, large bodies, slow work, strangers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers_server import TOKEN

from lexite.errors import ConfigError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytest.importorskip("fastapi", reason="needs the extra 'server'")
API = "/api/v1/indexes/notes"
ClientOf = Callable[..., "TestClient"]


def test_answers_carry_headers_that_keep_other_pages_out(client: TestClient) -> None:
    for address in ("/", "/page/app.js", "/health", "/nope"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers


def test_only_named_origins_may_call(client: TestClient, client_of: ClientOf, served_index: Path) -> None:
    asked = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    assert client.options(f"{API}/search", headers=asked).status_code == 405
    allowed = client_of(served_index, allow_origin=("https://example.org",))
    assert allowed.options(f"{API}/search", headers=asked).headers["access-control-allow-origin"] == "https://example.org"
    stranger = {**asked, "Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in allowed.options(f"{API}/search", headers=stranger).headers


def test_a_server_answers_to_its_own_names_alone(client: TestClient, client_of: ClientOf, served_index: Path) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert client.get("/api/v1/indexes", headers={"Host": host}).status_code == 421
    for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
        assert client.get("/api/v1/indexes", headers={"Host": host}).status_code == 200
    named = client_of(served_index, public_name=("search.example.org",))
    assert named.get("/api/v1/indexes", headers={"Host": "search.example.org"}).status_code == 200


def test_a_body_has_a_limit_however_it_comes(client_of: ClientOf, served_index: Path) -> None:
    small = client_of(served_index, max_body=1000)
    assert small.post(f"{API}/search", json={"query": "milk " * 300}).status_code == 413
    pieces = (b" " * 600 for _ in range(3))  # sent in chunks, without a length
    answer = small.post(f"{API}/search", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and "at most 1,000 bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"milk"', b"\xff\xfe", b'{"query": NaN}'])
def test_broken_bodies_are_refused_in_words(client: TestClient, content: bytes) -> None:
    answer = client.post(f"{API}/search", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["error"]["message"].endswith((".", "…"))


def test_half_a_character_is_no_fault(client: TestClient) -> None:
    answer = client.post(
        f"{API}/search", content=b'{"query": "\\ud800 milk", "marks": true}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200 and answer.json()["query"] == "? milk"
    assert (
        client.post(
            f"{API}/terms", content=b'{"text": "\\ud800 milk"}', headers={"Content-Type": "application/json"}
        ).status_code
        == 200
    )


def test_work_that_takes_too_long_is_given_up(client_of: ClientOf, served_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexite.server.asking import Asker

    go_on = threading.Event()
    monkeypatch.setattr(Asker, "search", lambda *_: go_on.wait(20))
    quick = client_of(served_index, seconds=0.2, waiting=1)
    try:
        late = quick.post(f"{API}/search", json={"query": "milk"})
        assert late.status_code == 504 and "longer than 0.2 seconds" in late.json()["error"]["message"]
        full = quick.post(f"{API}/search", json={"query": "milk"})  # the first one still has its thread
        assert full.status_code == 503 and full.headers["retry-after"] == "1"
        assert quick.get("/health").status_code == 200
    finally:
        go_on.set()


def test_a_fault_of_the_server_does_not_tell_its_paths(
    client_of: ClientOf, served_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lexite.errors import IndexFormatError
    from lexite.server.asking import Asker

    def fail(*_: Any) -> None:
        raise IndexFormatError("/secret/folder is damaged.")

    monkeypatch.setattr(Asker, "search", fail)
    answer = client_of(served_index).post(f"{API}/search", json={"query": "milk"})
    assert answer.status_code == 500 and "secret" not in answer.text


@pytest.mark.parametrize(
    ("options", "token", "writable", "words"),
    [
        ({"host": "0.0.0.0"}, None, False, "other machines"),
        ({"host": "::"}, None, False, "other machines"),
        ({"host": "192.168.0.7"}, None, False, "other machines"),
        ({}, None, True, "beside --writable"),
        ({"private": True}, None, False, "there is none"),
        ({}, "short", False, "at least 16"),
        ({"allow_origin": ("*",)}, None, False, "no origin"),
    ],
)
def test_what_would_leave_documents_open_is_refused(
    options: dict[str, Any], token: str | None, writable: bool, words: str
) -> None:
    from lexite.server.config import ServerConfig

    with pytest.raises(ConfigError, match=words):
        ServerConfig(**options).check(token, writable=writable)


def test_reading_is_guarded_where_other_machines_reach_it(client_of: ClientOf, served_index: Path) -> None:
    guarded = client_of(served_index, host="0.0.0.0", token=TOKEN)
    right = {"Authorization": f"Bearer {TOKEN}"}
    for wrong in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"},
    ):
        for address in ("/api/v1/indexes", f"{API}/concepts/1", f"{API}/documents?id=d1", "/metrics"):
            answer = guarded.get(address, headers={key: value.encode("latin-1") for key, value in wrong.items()})  # type: ignore[arg-type]
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/api/v1/indexes", headers=right).status_code == 200
    assert guarded.get("/health").status_code == 200 and TOKEN not in guarded.get("/").text


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    from lexite.server.guarding import same_token

    seen = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: seen.append((a, b)) or a == b)
    assert same_token(TOKEN, TOKEN) and not same_token("é", TOKEN)
    assert len(seen) == 2
