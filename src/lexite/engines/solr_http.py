"""Requests to Solr over plain HTTP, with JSON answers."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from lexite.engines.retrying import RequestFailed, json_object, no_connection, quoted
from lexite.engines.security import Security
from lexite.errors import MissingExtraError

TIMEOUT = 120.0
"""Seconds that an answer may take."""


class SolrHttp:
    """Requests with JSON answers."""

    def __init__(self, url: str, security: Security, client: Any) -> None:
        try:
            self._httpx: Any = importlib.import_module("httpx")
        except ImportError:
            raise MissingExtraError("httpx", "solr", "Speaking to Solr") from None
        self.url = url.rstrip("/")
        self._client = client or self._httpx.Client(timeout=TIMEOUT, **security.httpx_verify())

    def request(self, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """Sends a JSON value, or JSON in bytes; without a body, asks. Raises RequestFailed."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {} if content is None else {"content-type": "application/json"}
        method = "GET" if content is None else "POST"
        try:
            answer = self._client.request(
                method, f"{self.url}{path}", params={**(params or {}), "wt": "json"}, content=content, headers=headers
            )
        except self._httpx.HTTPError as error:
            raise no_connection(error) from None
        if answer.status_code >= 300:
            raise RequestFailed(answer.status_code, _words(answer))
        try:
            return json_object(answer.json())
        except ValueError:
            raise RequestFailed(answer.status_code, f"it sent {quoted(answer.text)} where JSON was asked for") from None

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


def _words(answer: Any) -> str:
    try:
        error = answer.json()["error"]
        details = error.get("details") or []
        said = [error.get("msg"), *(message for each in details for message in each.get("errorMessages") or [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = []
    return "; ".join(str(each).strip() for each in said if each) or quoted(answer.text)
