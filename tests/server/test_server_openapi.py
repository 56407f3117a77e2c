"""The OpenAPI description, held against the server by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_server import TOKEN, running
from hypothesis import HealthCheck, Phase, given, settings

from lexite import Searcher

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytest.importorskip("fastapi", reason="needs the extra 'server'")
EXAMPLES = 5
SECONDS = 300
"""An analysis is a process of low priority, which waits where the machine has other work."""


@pytest.fixture
def schema(own_index: Path) -> Iterator[Any]:
    """The description of a writable server, which runs."""
    from lexite.server.app import create_app

    app = create_app({"notes": Searcher.open(own_index, static=True)}, writable=True, token=TOKEN)
    with running(app) as address:
        yield schemathesis.openapi.from_url(f"{address}api/v1/openapi.json")


@pytest.mark.slow
def test_every_answer_is_as_described(schema: Any) -> None:
    from schemathesis import GenerationMode, checks

    wanted = [
        checks.not_a_server_error,
        *(
            checks.CHECKS.get_one(name)
            for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
        ),
    ]
    negative = [*wanted, checks.CHECKS.get_one("negative_data_rejection")]
    operations = [each.ok() for each in schema.get_all_operations()]
    assert {(each.method.upper(), each.path) for each in operations} >= {
        ("POST", "/api/v1/indexes/{index}/search"),
        ("PUT", "/api/v1/indexes/{index}/documents"),
        ("GET", "/metrics"),
    }
    for operation in operations:
        _hold(operation, GenerationMode.POSITIVE, wanted)
        if list(operation.iter_parameters()) or operation.body:  # else there is nothing that could be wrong
            _hold(operation, GenerationMode.NEGATIVE, negative)


def _hold(operation: Any, mode: Any, held: list[Any]) -> None:
    quick = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @quick
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        if case.path_parameters and mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters["index"] = "notes"
        case.call_and_validate(checks=held, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=SECONDS)

    holds()
