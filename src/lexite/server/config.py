"""How a server listens, and what it allows."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from lexite.config import option
from lexite.errors import ConfigError

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServerConfig:
    """Options of a server; see ``docs/server.md``.

    Attributes:
        host: address that it listens on.
        port: port that it listens on; 0 takes a free one.
        public_name: further names by which browsers may call it, such as that of a proxy in front of it.
        allow_origin: pages of other origins that may call it from a browser.
        private: whether reading needs the token too. It always does where the server listens for other machines.
        max_body: bytes of a request.
        max_text: characters of a query, or of a text that is taken apart.
        max_top_k: hits that one request may ask for, those that are passed over included.
        max_queries: queries of one request.
        seconds: after which a request is given up.
        waiting: requests that are worked on or wait at the same time; further ones are refused.
        threads: searches that are worked on at the same time.
        workers: processes that answer. Limits, but for those of one request, are of each.
        refresh: seconds between two looks for a newer commit of an index.
        analysis_seconds: after which an analysis is given up.
        analysis_documents: documents of one analysis.
    """

    host: str = option("127.0.0.1", "Address to listen on. Any but this machine's own needs --token.")
    port: int = option(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    public_name: tuple[str, ...] = option((), "Name by which browsers may call the server too, such as that of a proxy.")
    allow_origin: tuple[str, ...] = option((), "Origin of other pages that may call the server: https://example.org.")
    private: bool = option(False, "Ask for the token for reading too.")
    max_body: int = option(2_000_000, "Bytes of a request.", minimum=1000, count=True)
    max_text: int = option(10_000, "Characters of a query.", minimum=1, count=True)
    max_top_k: int = option(200, "Hits that a request may ask for.", minimum=1)
    max_queries: int = option(64, "Queries of one request.", minimum=1)
    seconds: float = option(30.0, "Seconds after which a request is given up.", minimum=0.1, maximum=3600.0)
    waiting: int = option(64, "Requests that are worked on or wait at the same time.", minimum=1)
    threads: int = option(1, "Searches that are worked on at the same time.", minimum=1, maximum=64)
    workers: int = option(1, "Processes that answer, each with the indexes open.", minimum=1, maximum=64)
    refresh: float = option(1.0, "Seconds between two looks for a newer commit of an index.", minimum=0.05, maximum=3600.0)
    analysis_seconds: float = option(60.0, "Seconds after which an analysis is given up.", minimum=0.1, maximum=3600.0)
    analysis_documents: int = option(50_000, "Documents of an analysis.", minimum=1, count=True)

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def guards_reading(self, token: str | None) -> bool:
        """Whether reading needs the token."""
        return token is not None and (self.private or not self.local)

    def check(self, token: str | None, *, writable: bool) -> None:
        """Refuses what would leave documents open to strangers.

        Args:
            token: that requests have to bring; None: there is none.
            writable: whether documents can be changed.

        Raises:
            ConfigError: there is no token where one is needed, or it is easy to guess; an origin is a pattern; or there cannot
                be several processes.
        """
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                f"A token has at least {SHORTEST_TOKEN} printable ASCII characters, so that nobody guesses it. "
                "This prints one: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if token is None and not self.local:
            raise ConfigError(
                f"At {self.host}, other machines reach the server, so requests must bring a token. Give one with --token, or "
                "set LEXITE_TOKEN, or leave --host out."
            )
        if writable and self.workers > 1:
            raise ConfigError(
                "One process changes documents and shows them from the next request on; others would show them later. Leave "
                "--workers or --writable out."
            )
        if self.workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("This system lets one process alone listen at a port. Leave --workers out.")
        if token is None and writable:
            raise ConfigError("Documents are changed by whoever brings a token. Give one with --token beside --writable.")
        if token is None and self.private:
            raise ConfigError("--private asks for the token, but there is none. Give one with --token.")
        strange = next((origin for origin in self.allow_origin if not origin.startswith(("http://", "https://"))), None)
        if strange is not None:
            raise ConfigError(f"'{strange}' is no origin. Write scheme and name in full: https://example.org.")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
