"""Trying again what an engine could not do at once: it is busy, it starts, or the connection was cut."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lexite.errors import EngineError

logger = logging.getLogger(__name__)
PASSING = frozenset({429, 502, 503, 504})
"""Statuses that pass: too many requests, and servers that are not ready."""
T = TypeVar("T")


class RequestFailed(Exception):
    """A request that an engine did not answer as it should.

    Args:
        status: of the answer; None where there was none.
        reason: in words.
    """

    def __init__(self, status: int | None, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    @property
    def passing(self) -> bool:
        """Whether it may succeed when it is tried again."""
        return self.status is None or self.status in PASSING


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


def retried(call: Callable[[], T], where: str, patience: Patience) -> T:
    """The result of a request that is tried again as long as its failure may pass.

    Args:
        call: sends the request; raises :class:`RequestFailed`.
        where: what is asked, for messages.
        patience: how often and how long is waited.

    Raises:
        EngineError: it failed for good, or too often.
    """
    for attempt in range(patience.tries):
        try:
            return call()
        except RequestFailed as failed:
            if not failed.passing:
                raise EngineError(f"{where} refused a request ({failed.status}): {failed.reason}") from None
            if attempt + 1 == patience.tries:
                raise EngineError(f"{where} did not answer in {patience.tries} attempts: {failed.reason}") from None
            logger.info("%s: %s. Trying again.", where, failed.reason)
            patience.wait(attempt)
    raise EngineError(f"{where} was given no attempt. Set tries to at least 1.")
