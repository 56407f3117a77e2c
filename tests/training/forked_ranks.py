"""Processes for tests of ranks, forked from one that has imported everything already: a rank starts in a moment."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

SECONDS = 120  # after which a test gives up
ONE_THREAD = {"OMP_NUM_THREADS": "1", "LEXITE_THREADS": "1"}
_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = ["lexite.cli.train", "lexite.cli.app", "lexite.recipes.from_text", "sentence_transformers"]


def _work(command: Sequence[str], variables: Mapping[str, str], outputs: Sequence[str]) -> None:
    """What a process does: a script, or the command line of lexite."""
    os.environ.update(variables)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    if command[0] != "lexite":
        runpy.run_path(command[0], run_name="__main__")
        return
    import torch

    from lexite.cli import main

    torch.set_num_threads(1)
    sys.argv = list(command)
    sys.exit(main())


class Forked:
    """A process that was started; what it prints goes to files."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, object]) -> None:
        number = len(list(folder.glob("*.stdout")))
        self._files = [folder / f"{number}.{name}" for name in ("stdout", "stderr")]
        self._files[0].touch()
        values = {**ONE_THREAD, **{name: str(value) for name, value in variables.items()}}
        with pytest.MonkeyPatch.context() as patch:  # of the server, which the first process starts
            for name, value in ONE_THREAD.items():
                patch.setenv(name, value)
            _FORKS.set_forkserver_preload(_IMPORTED)
            self._process = _FORKS.Process(target=_work, args=(list(command), values, [str(path) for path in self._files]))
            self._process.start()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """Kills it, if it is still there."""
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join()

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Waits for something while it runs."""
        until = time.monotonic() + SECONDS
        while not happened() and self._process.exitcode is None and time.monotonic() < until:
            time.sleep(0.02)
        assert happened(), self._files[1].read_text()

    def result(self) -> tuple[int, str, str]:
        """Waits for its end: exit status, stdout and stderr."""
        self._process.join(SECONDS)
        assert self._process.exitcode is not None, self._files[1].read_text()
        said, logged = (path.read_text() for path in self._files)
        return self._process.exitcode, said, logged


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class World:
    """Starts ranks, and ends those that a test leaves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Forked] = []

    def start(self, command: Sequence[str], **variables: object) -> Forked:
        """A process alone."""
        self._started.append(Forked(command, self._folder, variables))
        return self._started[-1]

    def ranks(self, n: int, command: Sequence[str], **variables: object) -> list[Forked]:
        """So many ranks without torchrun, with one command."""
        shared = {"WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), **variables}
        return [self.start(command, RANK=rank, LOCAL_RANK=rank, **shared) for rank in range(n)]

    def end(self) -> None:
        """Kills what still runs."""
        for process in self._started:
            process.end()
