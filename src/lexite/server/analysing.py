"""Analyses of documents, each in a process of its own, one at a time.

They take seconds to a minute. In a thread they would share Python's lock with the searches, and could not be stopped; a process
is given up by ending it, and gives its memory back. It runs at a lower priority than the searches.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Literal

from lexite.errors import LexiteError
from lexite.server.refusals import Refused, status_of

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.terms.queries import EncodedQueries

logger = logging.getLogger("lexite")
Json = dict[str, Any]
Kind = Literal["differences", "correlations", "clusters", "properties"]
NICE = 10


@dataclass(frozen=True)
class Task:
    """An analysis that is to be made. Indexes are opened again where it is made, so it is of their newest commit.

    Attributes:
        kind: which analysis.
        index: the documents.
        labels: of all latents.
        where: filter of the documents; None takes all.
        options: of the analysis, by name.
        other: the index of the other documents; None where they are of the same one.
        query: the sentence of a property, encoded.
    """

    kind: Kind
    index: BM25Index
    labels: Sequence[str]
    where: str | None
    options: Mapping[str, Any]
    other: BM25Index | None = None
    query: EncodedQueries | None = None


class Analyser:
    """Makes analyses.

    Args:
        seconds: after which one is given up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._one = threading.Lock()
        self._running: SpawnProcess | None = None
        self._closed = False

    def run(self, task: Task) -> Json:
        """What an analysis finds, as JSON values.

        Raises:
            Refused: another one runs, the time is over, or the analysis cannot be made; the message says why.
        """
        if not self._one.acquire(blocking=False):
            raise Refused(429, "Another analysis runs. Try again when it is done.", {"Retry-After": "10"})
        try:
            return self._result(task)
        finally:
            self._running = None
            self._one.release()

    def give_up(self) -> None:
        """Ends the analysis that runs; nobody waits for it any more."""
        running = self._running
        if running is not None:
            running.kill()

    def close(self) -> None:
        """Ends what runs, and makes no other one."""
        self._closed = True
        self.give_up()

    def _result(self, task: Task) -> Json:
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_make, args=(task, there), daemon=True)
        process.start()
        self._running = process
        there.close()
        with here:
            try:
                answer = here.recv() if not self._closed and here.poll(self._seconds) else None
            except EOFError:
                answer = (503, "The analysis ended by itself. There may be too little memory: narrow the filter.")
            finally:
                process.kill()
                process.join()
        if answer is None:
            raise Refused(504, f"The analysis took longer than {self._seconds:g} seconds and was given up. Narrow the filter.")
        status, value = answer
        if status == 200:
            return dict(value)
        if status == 500:
            logger.error("An analysis failed.\n%s", value)
            raise RuntimeError("an analysis failed")
        raise Refused(status, value)


def _make(task: Task, told: Connection) -> None:
    """What the process does: sends a status with the result, or with words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    end_with_parent()
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what a library prints must not stand among the answers of an MCP server
    if hasattr(os, "nice"):
        os.nice(NICE)
    try:
        told.send((200, made(task)))
    except LexiteError as error:
        told.send((status_of(error), str(error)))
    except Exception:
        told.send((500, traceback.format_exc()))


def end_with_parent(first: Callable[[], None] | None = None) -> None:
    """Lets this process be told to end when the one that started it has ended, be it killed.

    Args:
        first: called before.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        if first is not None:
            first()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lexite-parent", daemon=True).start()


def made(task: Task) -> Json:
    """The result of an analysis, as JSON values."""
    found = _MAKERS[task.kind](task)
    left_out = ("assigned", "points")  # a number for each document
    values = {name: value for name, value in found.to_json().items() if name not in left_out}
    return {"generation": task.index.generation, "analysis": task.kind, **values}


def _differences(task: Task) -> Any:
    from lexite.analysis.corpora import corpus_of
    from lexite.analysis.differences import differences
    from lexite.analysis.of_index import differences_within

    label, options = task.labels.__getitem__, dict(task.options)
    against = options.pop("against")
    if task.other is None:
        return differences_within(task.index, label, task.where or "", against, **options)
    sides = (task.index, task.where), (task.other, against)
    return differences(*(corpus_of(index, label, where=where) for index, where in sides), **options)


def _correlations(task: Task) -> Any:
    from lexite.analysis.of_index import correlations_within

    return correlations_within(task.index, task.labels.__getitem__, task.where, **task.options)


def _clusters(task: Task) -> Any:
    from lexite.analysis.clusters import agreement, clusters
    from lexite.analysis.corpora import corpus_of
    from lexite.analysis.of_index import values_of

    options = dict(task.options)
    truth = options.pop("truth")
    known = None if truth is None else values_of(task.index, truth, task.where)
    found = clusters(corpus_of(task.index, task.labels.__getitem__, where=task.where), **options)
    return found if known is None else agreement(found, truth, known)


def _properties(task: Task) -> Any:
    from lexite.analysis.of_index import property_of_examples, property_of_sentence

    label, options = task.labels.__getitem__, dict(task.options)
    sentence, positive, negative = (options.pop(name) for name in ("sentence", "positive", "negative"))
    if task.query is None:
        return property_of_examples(task.index, label, positive, negative, task.where, **options)
    return property_of_sentence(task.index, label, sentence, task.query, task.where, most=options["most"])


_MAKERS = {"differences": _differences, "correlations": _correlations, "clusters": _clusters, "properties": _properties}
