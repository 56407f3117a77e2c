"""Several processes that answer at one port, since Python runs one thread at a time.

Each has a socket of its own there, and the system gives each connection to one of them. The first process answers nothing. It
starts the others, starts one again that ended by itself, and ends them when it is told to.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead

from lexite.errors import LexiteError
from lexite.server.analysing import end_with_parent
from lexite.server.app import GRACE, answer_at, run
from lexite.server.config import ServerConfig
from lexite.server.metrics import SHARED_FOLDER

logger = logging.getLogger("lexite")
MakeApp = Callable[[], FastAPI]
"""Makes the application of a process; it is pickled, so it is a function of a module, or a partial one."""
PAUSE = 1.0
"""Seconds before a process is started in place of one that ended by itself."""
AGAIN = 5.0
"""Seconds before it is tried again to start one that could not open what it should answer from."""
LONGER_THAN_GRACE = 5.0
_HANG_UP = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []  # a terminal that is closed


class _NeverReady(LexiteError):
    """A process ended before it could answer."""


def run_workers(make_app: MakeApp, config: ServerConfig, reserved: socket.socket, ready: Callable[[], None]) -> None:
    """Lets processes answer until this one is told to stop.

    Args:
        make_app: makes the application in each process.
        config: how many, and where they listen.
        reserved: a socket at their address, which keeps it for them (:func:`lexite.server.app.listen`).
        ready: called when all of them answer.

    Raises:
        LexiteError: the first process could not open what it should answer from; the message is its own.
    """
    with _told_to_stop() as stop, _shared_folder() as folder:
        workers = _Workers(make_app, config, reserved.getsockname()[:2], stop, folder)
        try:
            for _ in range(config.workers):  # one after the other: the first may build what the others open
                if not workers.start():
                    return
            ready()
            workers.keep()
        finally:
            workers.end()


class _Workers:
    """The processes.

    Args:
        make_app: makes the application in each process.
        config: how they listen.
        address: host and port.
        stop: can be read when they are to end.
        folder: of their shared counts.
    """

    def __init__(self, make_app: MakeApp, config: ServerConfig, address: tuple[str, int], stop: int, folder: str) -> None:
        self._make_app, self._config, self._address, self._stop, self._folder = make_app, config, address, stop, folder
        self._running: list[SpawnProcess] = []

    def start(self) -> bool:
        """Starts a process and waits until it answers; says whether it does. It does not where all are to end."""
        here, there = multiprocessing.Pipe(duplex=False)
        arguments = (self._make_app, self._config, self._address, there)
        process = multiprocessing.get_context("spawn").Process(target=_work, args=arguments, name="lexite-worker")
        process.start()
        there.close()
        self._running.append(process)
        with here:
            if self._stop in wait([here, self._stop]):
                return False
            with contextlib.suppress(EOFError):
                trouble = here.recv()
                if trouble is None:
                    return True
                raise _NeverReady(trouble)
        process.join()
        raise _NeverReady(f"A process of the server ended with status {process.exitcode} before it could answer.")

    def keep(self) -> None:
        """Starts processes in place of those that end by themselves, until all are to end."""
        while True:
            complete = len(self._running) == self._config.workers
            ended = wait([self._stop, *(process.sentinel for process in self._running)], None if complete else AGAIN)
            if self._stop in ended:
                return
            for process in [process for process in self._running if process.sentinel in ended]:
                process.join()
                logger.warning("A process of the server ended with status %s; another one takes its place.", process.exitcode)
                self._forget(process)
            if wait([self._stop], PAUSE):
                return
            while len(self._running) < self._config.workers:
                try:
                    if not self.start():
                        return
                except _NeverReady as error:
                    logger.warning("%s", error)
                    self._forget(self._running[-1])
                    if not self._running:
                        raise
                    break

    def end(self) -> None:
        """Ends them: requests that are under way may finish."""
        for process in self._running:
            process.terminate()
        until = time.monotonic() + GRACE + LONGER_THAN_GRACE
        for process in self._running:
            process.join(max(until - time.monotonic(), 0.1))
            if process.is_alive():
                process.kill()
                process.join()

    def _forget(self, process: SpawnProcess) -> None:
        process.join()
        mark_process_dead(process.pid, self._folder)  # type: ignore[no-untyped-call]
        self._running.remove(process)


def _work(make_app: MakeApp, config: ServerConfig, address: tuple[str, int], told: Connection) -> None:
    """What a process does: makes its application, says that it is ready, answers."""
    for number in (signal.SIGINT, *_HANG_UP):  # a terminal tells all processes; the first one ends the others
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(functools.partial(_remove, os.environ[SHARED_FOLDER]))  # a killed one leaves it to the others
    try:
        with answer_at(*address, shared=True) as listening:
            run(make_app(), listening, lambda: told.send(None))
    except LexiteError as error:
        told.send(str(error))


@contextlib.contextmanager
def _told_to_stop() -> Iterator[int]:
    """A file that can be read as soon as this process is told to stop."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before: dict[signal.Signals, Any] = {}
    try:
        not_nohup = [number for number in _HANG_UP if signal.getsignal(number) != signal.SIG_IGN]
        for number in (signal.SIGTERM, signal.SIGINT, *not_nohup):
            before[number] = signal.signal(number, lambda *_: os.write(writing, b"."))
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def _shared_folder() -> Iterator[str]:
    """A folder in which the processes keep their counts, named in their environment."""
    folder, before = tempfile.mkdtemp(prefix="lexite-metrics-"), os.environ.get(SHARED_FOLDER)
    os.environ[SHARED_FOLDER] = folder
    try:
        yield folder
    finally:
        os.environ.pop(SHARED_FOLDER)
        if before is not None:
            os.environ[SHARED_FOLDER] = before
        _remove(folder)


def _remove(folder: str) -> None:
    shutil.rmtree(Path(folder), ignore_errors=True)
