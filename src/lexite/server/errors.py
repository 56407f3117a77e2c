"""What a client is told when something is wrong: one JSON object, in lexite's words."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lexite.errors import LexiteError
from lexite.server.refusals import Refused, invalid_in_words, status_of

logger = logging.getLogger("lexite")
LONGEST_MESSAGE = 1000
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected",
    422: "invalid",
    429: "busy",
    500: "internal",
    501: "not_installed",
    503: "busy",
    504: "timeout",
}


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as a JSON answer; a lone surrogate, which has no UTF-8, becomes a question mark."""
    try:
        content = orjson.dumps(value)
    except TypeError:  # it knows neither lone surrogates nor whole numbers of more than 64 bits
        content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status, dict(headers or {}), media_type="application/json")


def problem(status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says what was wrong."""
    told = {"code": _CODES.get(status, "error"), "message": message[:LONGEST_MESSAGE]}
    return reply({"error": told | ({"field": field} if field else {})}, status, headers)


def told(error: Exception) -> Response:
    """The answer for an error. Errors of the server itself are logged, and their words, which may hold paths, stay here."""
    if isinstance(error, Refused):
        return problem(error.status, str(error), headers=error.headers)
    status = status_of(error)
    if status == 503:
        logger.warning("%s", error)
        return problem(
            503, "The index cannot be written now, or somebody else writes it. Try again.", headers={"Retry-After": "1"}
        )
    if status == 500:
        logger.error("A request failed.", exc_info=error)
        return problem(500, "The server failed at this request. Its log says why.")
    return problem(status, str(error))


def install_handlers(app: FastAPI) -> None:
    """Lets an application answer errors with :func:`problem`."""

    async def of_lexite(request: Request, error: Exception) -> Response:
        return told(error)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, Refused):  # while the body was read
            return told(error.__cause__)
        words = {404: "There is no such address.", 405: "This address does not take this method."}
        return problem(error.status_code, words.get(error.status_code, str(error.detail)), headers=error.headers)

    async def of_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return problem(422, invalid_in_words(first, place), place)

    app.add_exception_handler(LexiteError, of_lexite)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
