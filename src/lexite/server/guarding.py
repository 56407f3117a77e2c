"""What every request passes: the name of the server, the size of a body and its time; headers of answers; tokens."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from lexite.server.config import ServerConfig
from lexite.server.errors import told
from lexite.server.metrics import Metrics
from lexite.server.refusals import Refused

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """Wraps an application. It runs before anything of the request is read or parsed.

    A page of another origin could reach a server on this machine under a name of its own that leads to 127.0.0.1 (DNS
    rebinding). So a server that only this machine reaches answers to its own names alone.

    Args:
        application: what answers.
        config: limits.
        metrics: counts requests.
    """

    def __init__(self, application: Application, config: ServerConfig, metrics: Metrics) -> None:
        self._application, self._config, self._metrics = application, config, metrics
        own = (*LOCAL_NAMES, config.host) if config.local else (config.host,)
        named = [*own, *config.public_name] if config.local or config.public_name else []
        self._names = frozenset(name.lower() for name in named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, with_headers)
        except Refused as refusal:
            if not status:
                await told(refusal)(scope, receive, with_headers)
        finally:
            self._metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.note(scope["method"], route, status or 500, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._names and host_of(headers.get(b"host", b"")) not in self._names:
            raise Refused(421, "The server is not called by this name. Name it with --public-name, or call it 127.0.0.1.")
        most = self._config.max_body
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > most:
            raise too_large(most)
        read = 0
        until = time.monotonic() + self._config.seconds

        async def limited() -> Message:
            nonlocal read
            try:
                message = (
                    await asyncio.wait_for(receive(), max(until - time.monotonic(), 0.01)) if read >= 0 else await receive()
                )
            except asyncio.TimeoutError:
                raise Refused(408, f"The request did not arrive within {self._config.seconds:g} seconds.") from None
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > most:
                    raise too_large(most)
                if not message.get("more_body"):
                    read = -1  # all is here: what follows is the end of the connection, which may take its time
            return message

        await self._application(scope, limited, send)


def too_large(most: int) -> Refused:
    """The refusal of a body."""
    return Refused(413, f"A request has at most {most:,} bytes. Send less at once.", {"Connection": "close"})


def host_of(header: bytes) -> str:
    """The name of a Host header, without the port.

    >>> host_of(b"localhost:8000"), host_of(b"[::1]:80"), host_of(b"Example.org")
    ('localhost', '[::1]', 'example.org')
    """
    text = header.decode("latin-1").lower()
    return text.rpartition(":")[0] if ":" in text and not text.endswith("]") else text


def same_token(given: str, wanted: str) -> bool:
    """Whether two tokens are the same. It takes as long whatever they have in common."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of an Authorization header; None where there is none."""
    given = next((value for name, value in headers if name == b"authorization"), b"").decode("latin-1")
    scheme, _, token = given.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
