"""Failures of requests as qdrant-client tells them."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable
from typing import Any

from lexite.engines.retrying import RequestFailed, no_connection, quoted


def failures() -> dict[type[BaseException], Callable[[Any], RequestFailed]]:
    """How the errors of qdrant-client are read, by their class."""
    http = importlib.import_module("qdrant_client.http.exceptions")
    common = importlib.import_module("qdrant_client.common.client_exceptions")
    found: dict[type[BaseException], Callable[[Any], RequestFailed]] = {
        http.UnexpectedResponse: lambda error: RequestFailed(error.status_code, _words(error.content)),
        http.ResponseHandlingException: _unanswered,
        common.ResourceExhaustedResponse: lambda error: RequestFailed(429, str(error)),
        json.JSONDecodeError: lambda error: RequestFailed(200, f"it sent {quoted(error.doc)} where JSON was asked for"),
        AssertionError: lambda error: RequestFailed(200, str(error)),  # of an answer without a result
    }
    with contextlib.suppress(ImportError):
        found[importlib.import_module("grpc").RpcError] = _of_grpc
    return found


def _words(content: bytes) -> str:
    """Why a server refused something."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return quoted(content.decode(errors="replace"))


def _unanswered(error: Any) -> RequestFailed:
    """No answer, or one that the client cannot read."""
    if isinstance(error.source, ValueError):  # pydantic's
        return RequestFailed(200, f"it sent what the client cannot read ({quoted(error.source)})")
    return no_connection(error.source)


def _of_grpc(error: Any) -> RequestFailed:
    """An error of gRPC, by the status that HTTP has for it."""
    name = error.code().name
    statuses = {"UNAVAILABLE": None, "DEADLINE_EXCEEDED": None, "RESOURCE_EXHAUSTED": 429}
    statuses |= {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}
    return RequestFailed(statuses.get(name, 400), f"{name.lower()}: {error.details()}")
