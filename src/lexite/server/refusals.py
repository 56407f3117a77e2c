"""Errors that decide the status of an answer. They need nothing of HTTP, since agents meet them too."""

from __future__ import annotations

from collections.abc import Mapping

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
