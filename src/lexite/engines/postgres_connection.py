"""A connection to PostgreSQL that is made anew where it was lost, and errors for people."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from lexite.engines.retrying import Line, Patience, RequestFailed
from lexite.errors import EngineError, MissingExtraError

CONNECT_TIMEOUT = 30
"""Seconds in which a server has to take a connection, unless the address or the environment says otherwise."""
_PASSING = ("40", "53300", "57P03")  # SQLSTATE: rolled back for another's sake, too many connections, still starting
T = TypeVar("T")


class PostgresConnection:
    """A connection to one database, for one table.

    Args:
        url: ``postgresql://user:password@host/database``, or what else psycopg connects with.
        name: of the table, for messages.
        patience: how often and how long is waited where the connection was lost.

    Raises:
        EngineError: the database cannot be reached.
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, url: str, name: str, patience: Patience | None = None) -> None:
        try:
            self._psycopg: Any = importlib.import_module("psycopg")
        except ImportError:
            raise MissingExtraError("psycopg", "postgres", "PostgreSQL") from None
        try:
            self._given = self._psycopg.conninfo.conninfo_to_dict(url)
            if "PGCONNECT_TIMEOUT" not in os.environ:
                self._given.setdefault("connect_timeout", CONNECT_TIMEOUT)
            self._connection = self._connected()
        except self._psycopg.Error as error:
            raise EngineError(f"Cannot reach PostgreSQL: {_words(error)}") from None
        facts = self._connection.info
        host = quote(facts.host or "localhost", safe="")  # a socket is a path
        self.address = f"postgresql://{host}:{facts.port}/{facts.dbname}/{name}"
        self._line = Line(self.address, patience)

    def _connected(self) -> Any:
        return self._psycopg.connect(**self._given, autocommit=True)

    def transaction(
        self, verb: str, work: Callable[[], T], *, lost: Callable[[], None] | None = None, additive: bool = False
    ) -> T:
        """What some work gives, done in one transaction: all of it or nothing. Where the connection is lost, it is done again.

        Args:
            verb: for messages, as in ``ask``.
            work: asks by :meth:`run` and :meth:`rows`.
            lost: is told of each failure.
            additive: whether to do it twice would be wrong. It is not done again where the end of the first time is not known.

        Raises:
            EngineError: the database refuses it, or does not come back.
        """
        done = False

        def once() -> T:
            nonlocal done
            try:
                if self._connection.closed:
                    self._connection = self._connected()
                done = False
                with self._connection.transaction():
                    found = work()
                    done = True
                return found
            except self._psycopg.Error as error:
                if lost is not None:
                    lost()
                if self._passes(error) and not (additive and done):
                    raise RequestFailed(None, _words(error)) from None
                raise EngineError(f"Cannot {verb} {self.address}: {_words(error)}") from None

        return self._line.ask(once)

    def _passes(self, error: Any) -> bool:
        """Whether what failed may succeed when it is done again."""
        code = error.sqlstate or ""
        return bool(self._connection.closed) or (
            isinstance(error, self._psycopg.OperationalError) and code.startswith(_PASSING)
        )

    def run(self, statement: str, *values: Any) -> None:
        """Runs a statement."""
        self._connection.execute(statement, values)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        return list(self._connection.execute(statement, values).fetchall())

    def copy(self, statement: str) -> Any:
        """A block that writes rows by ``COPY``."""
        return self._connection.cursor().copy(statement)

    def close(self) -> None:
        """Ends it."""
        self._connection.close()


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
