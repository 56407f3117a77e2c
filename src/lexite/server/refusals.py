"""Errors that decide the status of an answer. They need nothing of HTTP, since agents meet them too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lexite.errors import (
    ArgumentError,
    ConfigError,
    CorpusError,
    FilterError,
    LexiteError,
    MissingExtraError,
    QueryError,
    StorageError,
)
from lexite.wording import one_line


class NotFound(CorpusError):
    """What a request names is not there."""


class Conflict(CorpusError):
    """What a request would make is there already."""


class Refused(LexiteError):
    """A request that is not worked on.

    Args:
        status: of the answer.
        message: why, and what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


_NO_OBJECT = ("model_attributes_type", "model_type", "dict_type")
"""Types of pydantic's errors."""
_SHOULD = re.compile("(Input|String|List|Dictionary) should")
_STATUSES: tuple[tuple[type[LexiteError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (MissingExtraError, 501),
    (StorageError, 503),
    (ArgumentError, 400),
    (ConfigError, 400),
    (CorpusError, 400),
    (FilterError, 400),
    (QueryError, 400),
)


def status_of(error: Exception) -> int:
    """The status of the answer for an error.

    >>> status_of(NotFound("")), status_of(StorageError("")), status_of(ValueError())
    (404, 503, 500)
    """
    if isinstance(error, Refused):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def invalid_in_words(error: Mapping[str, Any], place: str) -> str:
    """What is wrong with a value of a request, in a sentence.

    Args:
        error: one of pydantic's.
        place: where the value is: ``top_k``; ``body`` for all of the request.

    >>> invalid_in_words({"type": "float_type", "msg": "Input should be a valid number"}, "factors.812")
    "'factors.812' must be a valid number."
    """
    kind, context = str(error["type"]), error.get("ctx", {})
    place = one_line(place)[:100]
    if kind == "missing":
        return f"'{place}' is missing."
    if kind == "extra_forbidden":
        return f"There is no key '{place}' in this request. Leave it out."
    if kind == "json_invalid" or (kind in _NO_OBJECT and place == "body"):
        return "The body is no JSON object. Send one, with Content-Type: application/json."
    if kind in _NO_OBJECT:
        return f"'{place}' must be a JSON object."
    words = _SHOULD.sub("must", str(error["msg"]).removeprefix("Value error, ")).replace(" after validation", "")
    expected = f" It is one of {context['expected']}." if kind in ("literal_error", "enum") and "expected" in context else ""
    return f"'{place}' {words[0].lower()}{words[1:]}.{expected}" if not expected else f"'{place}' has no such value.{expected}"
