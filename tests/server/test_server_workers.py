"""Several processes that answer at one port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_server import serving

from lexite import Document, Searcher
from lexite.errors import ConfigError, StorageError
from lexite.server.config import ServerConfig

pytest.importorskip("fastapi", reason="needs the extra 'server'")
pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT") or not Path("/proc/self/task").exists(), reason="needs Linux"
)
SOURCES = str(Path(__file__).parents[2] / "src")


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> str:
    """An answer over a connection of its own, so that any of the processes may give it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json", "Connection": "close"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        text: str = answer.read().decode()
    return text


def workers_of(process: int) -> set[int]:
    """The processes that answer."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return {child for child, command in commands.items() if b"spawn_main" in command}


def until(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def gone(process: int) -> bool:
    """Whether a process has ended; one whose parent has not looked yet counts as ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.slow
def test_processes_answer_alike_count_together_and_are_replaced(own_index: Path) -> None:
    with serving(str(own_index), "--static", "--workers", "2", "--refresh", "0.1") as (address, process):
        first = workers_of(process.pid)
        assert len(first) == 2
        search = "api/v1/indexes/notes/search"
        wanted = json.loads(ask(address, search, {"query": "milk of the cow"}))["hits"]
        for _ in range(20):
            assert json.loads(ask(address, search, {"query": "milk of the cow"}))["hits"] == wanted
        asked = [
            line
            for line in ask(address, "metrics").splitlines()
            if line.startswith("lexite_requests_total") and "search" in line
        ]
        assert len(asked) == 1 and asked[0].endswith(" 21.0"), asked
        assert until(lambda: "lexite_requests_in_flight 1.0" in ask(address, "metrics"))  # the one that asks

        with Searcher.open(own_index) as writer:
            writer.add([Document("new", "The horse drinks from the river.", "Horse")], show_progress=False)

        def all_new() -> bool:
            found = [json.loads(ask(address, search, {"query": "horse river"}))["hits"][:1] for _ in range(10)]
            return all(hits and hits[0]["id"] == "new" for hits in found)

        assert until(all_new)
        assert until(lambda: 'lexite_reloads_total{index="notes"} 2.0' in ask(address, "metrics"))

        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        assert until(lambda: len(workers_of(process.pid) - {killed}) == 2 and gone(killed))
        assert until(all_new)
        last = workers_of(process.pid)
    assert process.returncode == 0
    assert all(map(gone, last))


def shared_folder(worker: int) -> Path:
    """Where the processes keep their counts."""
    variables = Path(f"/proc/{worker}/environ").read_text(encoding="utf-8").split("\0")
    (folder,) = (each.partition("=")[2] for each in variables if each.startswith("PROMETHEUS_MULTIPROC_DIR="))
    return Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_outlives_the_first_process(served_index: Path, how: signal.Signals) -> None:
    with serving(str(served_index), "--static", "--workers", "2") as (_, process):
        workers = workers_of(process.pid)
        folder = shared_folder(min(workers))
        assert folder.is_dir()
        for each in (process.pid, *(workers if how == signal.SIGHUP else ())):  # a terminal tells all
            os.kill(each, how)
        assert until(lambda: all(map(gone, workers)) and not folder.exists())
        assert process.wait(timeout=120) == (0 if how == signal.SIGHUP else -how)


@pytest.mark.slow
def test_a_process_that_could_not_be_replaced_is_tried_again(own_index: Path, tmp_path: Path) -> None:
    with serving(str(own_index), "--static", "--workers", "2") as (_, process):
        os.rename(own_index, tmp_path / "hidden")
        killed = min(workers_of(process.pid))
        os.kill(killed, signal.SIGKILL)
        assert until(lambda: len(workers_of(process.pid) - {killed}) == 2)
        assert until(lambda: len(workers_of(process.pid) - {killed}) == 1)  # the new one found no index
        os.rename(tmp_path / "hidden", own_index)
        assert until(lambda: len(workers_of(process.pid)) == 2)
    assert process.returncode == 0


@pytest.mark.slow
def test_an_analysis_does_not_outlive_a_server_that_is_killed() -> None:
    script, environment = Path(__file__).with_name("endless_analysis.py"), {**os.environ, "PYTHONPATH": SOURCES}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stderr.readline() == "begun\n"
        (analysis,) = workers_of(process.pid)
        process.kill()
        assert until(lambda: gone(analysis), 20.0)


@pytest.mark.slow
def test_what_the_first_process_cannot_open_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lexite", "serve", str(tmp_path / "nowhere"), "--static", "--workers", "2", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "nowhere does not exist" in done.stderr and done.stderr.count("\n") == 1


def test_a_port_is_kept_for_the_processes_and_for_nobody_else() -> None:
    from lexite.server.app import answer_at, listen

    with listen(ServerConfig(port=0, workers=2)) as reserved:
        host, port = reserved.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), timeout=5)
        with answer_at(host, port, shared=True) as one, answer_at(host, port, shared=True) as other:
            assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in (one, other))
            for workers in (1, 2):
                with pytest.raises(StorageError, match="Choose another --port"):
                    listen(ServerConfig(port=port, workers=workers))
            socket.create_connection((host, port), timeout=5).close()


def test_answers_are_sent_at_once() -> None:
    from lexite.server.app import listen

    with listen(ServerConfig(port=0)) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_system_that_shares_no_ports_has_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    ServerConfig().check(None, writable=False)
    with pytest.raises(ConfigError, match="Leave --workers out"):
        ServerConfig(workers=2).check(None, writable=False)
