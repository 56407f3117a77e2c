"""Encoders in the workers that people have: pools of processes, data loaders, preloaded web servers, threads."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_processes import LIMIT, EncodedTexts, encoded, encoded_by_own, keep

from lexite.index import BM25Index
from lexite.terms import LatentTermEncoder

BATCHES = [
    ["the cat drinks milk", "rain and snow on the lake"],
    ["how to parse a json file"],
    ["a drug trial", "sort the rows"],
]
STARTED_LIMIT = 300.0  # seconds until a spawned process, which imports torch, has answered


def expected(encoder: LatentTermEncoder) -> list[Any]:
    return [encoded(encoder, batch) for batch in BATCHES]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes(method: str, loaded: LatentTermEncoder, forked: object) -> None:
    here = expected(loaded)
    with multiprocessing.get_context(method).Pool(2, keep, (loaded,)) as pool:
        assert pool.map_async(encoded_by_own, BATCHES, chunksize=1).get(timeout=STARTED_LIMIT) == approximately(here)


def approximately(answers: list[Any]) -> list[Any]:
    """The same terms; torch adds up its own sum in another order with another number of threads."""
    return [(terms, weights, pytest.approx(total)) for terms, weights, total in answers]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_executor_of_processes(method: str, loaded: LatentTermEncoder, forked: object) -> None:
    here = expected(loaded)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:  # each task brings the encoder along
        tasks = [executor.submit(encoded, loaded, batch) for batch in BATCHES]
        assert [task.result(timeout=STARTED_LIMIT) for task in tasks] == approximately(here)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_with_workers(method: str, loaded: LatentTermEncoder, forked: object) -> None:
    texts = [text for batch in BATCHES for text in batch]
    here = [loaded.encode_documents([text]).toarray() for text in texts]
    loader = torch.utils.data.DataLoader(
        EncodedTexts(loaded, texts), num_workers=2, multiprocessing_context=method, timeout=STARTED_LIMIT
    )
    assert np.array_equal(np.concatenate([batch.numpy() for batch in loader]), np.concatenate(here))


APP = """
import json, os, time
from urllib.parse import unquote
from lexite.search import Searcher

searcher = Searcher.open({index!r})
searcher.search("milk of the cow")

def app(environ, start_response):
    query = unquote(environ["QUERY_STRING"])
    hits = [[hit.id, hit.score] for hit in searcher.search(query)]
    time.sleep(0.5)  # so that the next question goes to the other worker
    body = json.dumps([os.getpid(), hits]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


@contextlib.contextmanager
def served(app_folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn with two preloaded workers, ended with them."""
    options = ["--preload", "--workers", "2", "--bind", f"unix:{address}", "--timeout", "200", "--graceful-timeout", "5"]
    log = open(app_folder / "log", "wb")  # noqa: SIM115
    command = [sys.executable, "-m", "gunicorn", *options, "app:app"]
    server = subprocess.Popen(command, cwd=app_folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)  # the group of this server alone
            server.wait()
        log.close()


def asked(address: str, query: str) -> Any:
    connection = http.client.HTTPConnection("localhost", timeout=LIMIT)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(LIMIT)
    connection.sock.connect(address)
    with contextlib.closing(connection):
        connection.request("GET", f"/?{query}")
        return json.loads(connection.getresponse().read())


@pytest.mark.slow
def test_gunicorn_with_a_preloaded_searcher(tiny_index: Path, tmp_path: Path, forked: object) -> None:
    pytest.importorskip("gunicorn")
    from lexite.search import Searcher

    (tmp_path / "app.py").write_text(APP.format(index=str(tiny_index)))
    with Searcher.open(tiny_index) as searcher:
        here = [[hit.id, pytest.approx(hit.score)] for hit in searcher.search("milk of the cow")]
    with tempfile.TemporaryDirectory() as short:  # the name of a socket has at most about 100 characters
        address = str(Path(short) / "socket")
        with served(tmp_path, address) as server:
            end = time.monotonic() + STARTED_LIMIT
            while not Path(address).exists():
                assert server.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.1)
            workers: set[int] = set()
            while len(workers) < 2 and time.monotonic() < end:
                with ThreadPoolExecutor(2) as askers:
                    answers = list(askers.map(lambda _: asked(address, "milk%20of%20the%20cow"), range(2)))
                assert [hits for _, hits in answers] == [here, here]
                workers |= {worker for worker, _ in answers}
            assert len(workers) == 2 and server.pid not in workers
        assert server.returncode == 0, (tmp_path / "log").read_text()


def test_eight_threads_share_an_encoder_and_an_index(loaded: LatentTermEncoder, tiny_index: Path) -> None:
    index, texts = BM25Index.open(tiny_index), [text for batch in BATCHES for text in batch]

    def answer(text: str) -> tuple[np.ndarray, Any]:
        return loaded.encode_documents([text]).toarray(), index.search(loaded.encode_queries([text]))

    alone = [answer(text) for text in texts]
    together, begin = threading.Barrier(8), time.monotonic()

    def ask(number: int) -> list[tuple[Any, Any]]:
        together.wait()
        order = [(number + i) % len(texts) for i in range(len(texts))]
        found = {i: answer(texts[i]) for i in order}
        return [found[i] for i in range(len(texts))]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8), timeout=LIMIT))
    assert time.monotonic() - begin < LIMIT
    for given in answers:
        for (row, hits), (row_alone, hits_alone) in zip(given, alone, strict=True):
            assert np.array_equal(row, row_alone) and hits == hits_alone
