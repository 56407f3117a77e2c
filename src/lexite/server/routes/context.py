"""What all routes need of their application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from lexite.server.analysing import Analyser
from lexite.server.asking import Asker
from lexite.server.guarding import bearer, same_token
from lexite.server.indexes import Indexes, ServedIndex
from lexite.server.metrics import Metrics
from lexite.server.refusals import NotFound, Refused
from lexite.server.schemas import ErrorReply
from lexite.server.working import Work

SCHEME = HTTPBearer(auto_error=False, description="The token that the server was started with.")
IndexName = Annotated[str, Path(min_length=1, max_length=200, description="Name of an index.")]


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside success, for the OpenAPI description."""
    return {status: {"model": ErrorReply} for status in (400, 401, 408, 413, 421, 422, 503, 504, *statuses)}


@dataclass(frozen=True)
class Context:
    """An application's parts.

    Attributes:
        indexes: by name.
        asker: answers questions within limits.
        work: threads.
        analyser: makes analyses.
        metrics: counts.
        token: that changes, and reading where it is guarded, need; None: there is none.
        writable: whether documents can be changed.
        guards_reading: whether reading needs the token.
        examples: questions to begin with, by the name of the index.
    """

    indexes: Indexes
    asker: Asker
    work: Work
    analyser: Analyser
    metrics: Metrics
    token: str | None
    writable: bool
    guards_reading: bool
    examples: Mapping[str, Sequence[str]]

    def served(self, name: str) -> ServedIndex:
        """An index by its name.

        Raises:
            NotFound: there is none.
        """
        found = self.indexes.get(name)
        if found is None:
            raise NotFound(f"There is no index '{name[:100]}'. There are: {', '.join(self.indexes)}.")
        return found

    async def searched(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a search gives for the snapshot of an index that is the newest now."""
        return await self.work.search(function, self.served(name).snapshot, *arguments)

    async def asked(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The same of anything else that is asked."""
        return await self.work.look(function, self.served(name).snapshot, *arguments)

    @property
    def reading(self) -> list[Any]:
        """What a request needs to read: nothing, or the token."""
        return self.changing if self.guards_reading else []

    @property
    def changing(self) -> list[Any]:
        """What a request needs to change documents: the token."""

        async def has_token(request: Request, _: Annotated[Any, Depends(SCHEME)]) -> None:
            self._check_token(request)

        return [Depends(has_token)]

    def _check_token(self, request: Request) -> None:
        given = bearer(request.scope["headers"])
        if self.token is None or given is None or not same_token(given, self.token):
            words = "Bring the token of the server: Authorization: Bearer …" if given is None else "The token is a wrong one."
            raise Refused(401, words, {"WWW-Authenticate": "Bearer"})
