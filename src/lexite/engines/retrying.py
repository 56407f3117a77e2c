"""Trying again what an engine could not do at once: it is busy, it starts, or the connection was cut."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lexite.errors import EngineError

logger = logging.getLogger(__name__)
PASSING = frozenset({429, 502, 503, 504})
"""Statuses that pass: too many requests, and servers that are not ready."""
FIRST_TRIES = 4
"""Attempts to reach a server that has never answered: more likely than a pause, nothing listens there."""
T = TypeVar("T")
_SHOWN = 300  # characters of what a server said
_ADVICE: Mapping[int, str] = {
    401: " It wants to know who asks: put USER:PASSWORD@ before the host of the address, or a key where the engine has keys.",
    403: " Whoever asks may not do that there.",
    413: " The request is too large for it, or for what stands before it: send smaller batches.",
}


class RequestFailed(Exception):
    """A request that an engine did not answer as it should.

    Args:
        status: of the answer; None where there was none.
        reason: in words.
        lasting: whether it fails in the same way again, whatever its status is.
    """

    def __init__(self, status: int | None, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self._lasting = status, reason, lasting

    @property
    def passing(self) -> bool:
        """Whether it may succeed when it is tried again."""
        return not self._lasting and (self.status is None or self.status in PASSING)

    def final(self, where: str) -> EngineError:
        """The error for people, where it did not pass."""
        if self.status is None:
            return EngineError(f"{where} cannot be reached: {self.reason}")
        if self.status < 400:
            return EngineError(
                f"{where} does not answer as such an engine does: {self.reason}. Look at the engine, the host and the port of "
                "the address."
            )
        reason = f": {self.reason}" if self.reason else ""
        advice = _ADVICE.get(self.status, "")
        stop = "." if advice and not reason.endswith(".") else ""
        return EngineError(f"{where} refused a request ({self.status}){reason}{stop}{advice}")


@dataclass(frozen=True)
class Patience:
    """How often and how long is waited.

    Attributes:
        tries: attempts at most.
        first_wait: seconds before the second one; each wait is twice as long as the one before.
        longest_wait: seconds at most.
        sleep: waits.
    """

    tries: int = 8
    first_wait: float = 0.5
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int) -> None:
        """Waits after an attempt, which are counted from 0."""
        self.sleep(min(self.first_wait * 2**attempt, self.longest_wait))


class Line:
    """The line to one server, on which requests are tried again as long as their failure may pass.

    Args:
        where: what is asked, for messages.
        patience: how often and how long is waited.
    """

    def __init__(self, where: str, patience: Patience | None = None) -> None:
        self.where, self.patience = where, patience or Patience()
        self._answered = False

    def ask(self, call: Callable[[], T]) -> T:
        """The result of a request.

        Args:
            call: sends the request; raises :class:`RequestFailed`.

        Raises:
            EngineError: it failed for good, or too often. A server that never answered is given up after fewer attempts.
        """
        patience = self.patience
        for attempt in range(patience.tries):
            try:
                result = call()
            except RequestFailed as failed:
                self._answered = self._answered or failed.status is not None
                if not failed.passing:
                    raise failed.final(self.where) from None
                tries = patience.tries if self._answered else min(patience.tries, FIRST_TRIES)
                if attempt + 1 >= tries:
                    raise EngineError(f"{self.where} did not answer in {tries} attempts: {failed.reason}") from None
                logger.info("%s: %s. Trying again.", self.where, failed.reason)
                patience.wait(attempt)
            else:
                self._answered = True
                return result
        raise EngineError(f"{self.where} was given no attempt. Set tries to at least 1.")


def json_object(answer: Any, status: int = 200) -> Any:
    """An answer, if it is a JSON object.

    Args:
        answer: what a client made of it; text where it was no JSON.
        status: of the answer.

    Raises:
        RequestFailed: it is something else, such as the page of a server for people.
    """
    if not isinstance(answer, Mapping):
        raise RequestFailed(status, f"it sent {quoted(answer)} where a JSON object was asked for")
    return answer


def quoted(answer: Any) -> str:
    r"""The beginning of what a server said, on one line.

    >>> quoted("<html>\n  Hello"), quoted(None)
    ("'<html> Hello'", 'nothing')
    """
    said = " ".join(str("" if answer is None else answer).split())
    if not said:
        return "nothing"
    return f"'{said[:_SHOWN]}{'…' if len(said) > _SHOWN else ''}'"


def no_connection(error: BaseException) -> RequestFailed:
    """The failure of a request that was not answered, in the words of the system where a client has wrapped them.

    A certificate that is not believed, or a server without HTTPS, stays what it is.
    """
    causes = list(_causes(error))
    by_system = next((each for each in causes if isinstance(each, OSError) and each.strerror), None)
    said = by_system.strerror if isinstance(by_system, OSError) else str(causes[-1])
    reason = f"no connection ({' '.join(str(said or type(error).__name__).split())[:_SHOWN]})"
    return RequestFailed(None, reason, lasting=any(isinstance(each, ssl.SSLError) for each in causes))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it, the nearest first; clients keep them in several places."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, *each.args, *getattr(each, "errors", ()), getattr(each, "reason", None)]
        waiting += [one for one in inner if isinstance(one, BaseException)]
