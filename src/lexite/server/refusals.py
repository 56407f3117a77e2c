"""Errors that decide the status of an answer. They need nothing of HTTP, since agents meet them too."""

from __future__ import annotations

from collections.abc import Mapping

from lexite.errors import CorpusError, LexiteError


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
