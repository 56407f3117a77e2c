"""Runs what takes long beside the event loop: a few at a time, some waiting, none for ever.

Searches, other looks and changes have threads of their own, so that a search does not wait for a concept page or for a document
that is encoded. Python runs one thread at a time: where queries are static, a second thread for searches makes both slower.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lexite.server.refusals import Refused

T = TypeVar("T")


class Work:
    """Threads for requests.

    Args:
        threads: searches that are worked on at the same time. Other looks have one thread, and so have changes.
        waiting: requests that are worked on or wait; one more is refused.
        seconds: after which a request is given up. Its thread goes on to the end, and counts until then.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._searches = ThreadPoolExecutor(threads, "lexite-search")
        self._looks = ThreadPoolExecutor(1, "lexite-look")
        self._changes = ThreadPoolExecutor(1, "lexite-change")
        self._waiting, self._seconds = waiting, seconds
        self._now = 0

    async def search(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives that searches.

        Raises:
            Refused: too many requests wait, or the time is over.
        """
        return await self._run(self._searches, function, *arguments)

    async def look(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives that looks at something else; raises as :meth:`search`."""
        return await self._run(self._looks, function, *arguments)

    async def change(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives that changes documents; such functions run one after the other."""
        return await self._run(self._changes, function, *arguments)

    async def _run(self, threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
        if self._now >= self._waiting:
            raise Refused(503, "Too many requests wait already. Try again in a moment.", {"Retry-After": "1"})
        self._now += 1
        running = asyncio.get_running_loop().run_in_executor(threads, functools.partial(function, *arguments))
        running.add_done_callback(self._done)
        done, _ = await asyncio.wait({running}, timeout=self._seconds)
        if not done:
            raise Refused(504, f"The request took longer than {self._seconds:g} seconds and was given up.")
        return running.result()

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._now -= 1
        if not future.cancelled():
            future.exception()  # one that was given up is asked for its error by nobody else

    def close(self) -> None:
        """Waits for what is worked on, and ends the threads."""
        self._searches.shutdown(wait=True, cancel_futures=True)
        self._looks.shutdown(wait=True, cancel_futures=True)
        self._changes.shutdown(wait=True, cancel_futures=False)
