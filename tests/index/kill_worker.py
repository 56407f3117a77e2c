"""Builds an index in a child process that is killed at random moments, again and again, until the work is done.

Run as a program: ``python kill_worker.py FOLDER SEED``. After every kill the index must hold exactly what some commit held, no
older than the last one that the child reported. Prints how often it killed, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from helpers_index import N_TERMS, VOCABULARY, assert_same_as_reference, documents_of, stack, weights_of
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.index import BM25Config, BM25Index
from lexite.terms import EncodedQueries

STEPS = 8
BUDGET = 150  # postings: several segments in a step
SCORINGS = [BM25Config(), BM25Config(idf="bm25+", document_transform="log1p", query_transform="none")]


def apply(step: int, writer: object, rows: dict[str, csr_array]) -> None:
    """The changes of one step, to a writer (unless None) and to the documents it should then hold."""

    def insert(act: str, ids: list[str], weights: csr_array, documents: list[Document]) -> None:
        if writer is not None:
            getattr(writer, act)(documents, weights)
        for i, identifier in enumerate(ids):
            rows.pop(identifier, None)
            rows[identifier] = weights[[i]]

    n = 120 if step == 1 else 15
    ids = [f"{step}-{i}" for i in range(n)]
    for part in range(0, n, 10):
        insert(
            "add",
            ids[part : part + 10],
            weights_of(len(ids[part : part + 10]), 100 * step + part),
            documents_of(ids[part : part + 10]),
        )
    old = [f"{step - 1}-{i}" for i in range(0, 6) if f"{step - 1}-{i}" in rows]
    insert("replace", old, weights_of(len(old), step), documents_of(old))
    gone = [identifier for identifier in rows if identifier.endswith(("-7", "-13"))]
    if writer is not None:
        writer.delete(gone)  # type: ignore[attr-defined]
    for identifier in gone:
        del rows[identifier]
    insert("replace", ["marker"], csr_array(np.ones((1, N_TERMS), dtype=np.float32)), [Document("marker", str(step))])


def steps_done(path: Path) -> int:
    if not (path / "index.json").exists():
        return 0
    index = BM25Index.open(path)
    marker = index.find("marker")
    assert marker is not None
    return int(index.stored(marker).text)


def work(path: Path, report: int) -> None:
    """What the child does: goes on from the last commit."""
    done = steps_done(path)
    budget = {"segment_postings": BUDGET}
    with BM25Index.writer(path, **budget) if done else BM25Index.create(path, VOCABULARY, **budget) as writer:
        for step in range(done + 1, STEPS + 1):
            apply(step, writer, expected(step - 1))
            writer.commit()
            os.write(report, bytes([step]))
            if step % 5 == 0:
                writer.merge()


def expected(step: int) -> dict[str, csr_array]:
    """The documents that the index holds after a step."""
    rows: dict[str, csr_array] = {}
    for number in range(1, step + 1):
        apply(number, None, rows)
    return rows


def start(path: Path) -> tuple[int, int]:
    """Forks a child that works; returns its number and the end of a pipe where it reports each step it has committed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(path, writing)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return child, reading


def main(path: Path, seed: int) -> None:
    """Starts, kills and checks until a child gets to the end."""
    chance, kills, before_first, last, stuck = random.Random(seed), 0, 0, 0, 0
    os.environ["LEXITE_THREADS"] = "1"
    index = BM25Index.in_memory(weights_of(3, 1), list("abc"))
    index.search(EncodedQueries(weights_of(20, 1)))  # load the kernels before forking; a few queries would do without them
    started = time.monotonic()
    child, reading = start(path.with_name("undisturbed"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child failed"
    whole = time.monotonic() - started
    os.close(reading)
    while True:
        child, reading = start(path)
        time.sleep(chance.random() * whole / 4 * (1 + stuck / 4))  # on a busy machine a step must get its chance
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        reported = max(os.read(reading, 1000), default=last)
        os.close(reading)
        kills += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the child failed"
        done = steps_done(path)
        assert reported <= done, f"step {reported} was committed, but the index is at {done}"
        before_first += not done
        if done:
            rows = expected(done)
            assert_same_as_reference(BM25Index.open(path, verify=True), list(rows), stack(list(rows.values())), SCORINGS)
        if not os.WIFSIGNALED(status) or done == STEPS:
            break
        stuck, last = (stuck + 1 if done == last else 0), done
    print(json.dumps({"kills": kills, "before_first": before_first, "done": done}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
