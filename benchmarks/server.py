"""Load on ``lexite serve``: how long requests take at a steady rate, while documents are added and hostile requests come.

A wrk process opens connections and keeps them busy; its script waits between requests as long as the latency of a first run
leaves, so that the rate is the one asked for. wrk measures from when a request is sent, so the rate that was reached is told
beside. See docs/results/server.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lexite import BM25Index, Document, Searcher
from lexite.corpus import read_documents
from lexite.corpus.passages import cut_documents
from lexite.scoring.transform import drop_small

SEED = 20261130
TOKEN = "token-of-the-load-benchmark"
FLOOR = 0.015


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="Documents, as lexite reads them; 57,000 are taken.")
    parser.add_argument("--documents", type=int, default=57_000)
    parser.add_argument(
        "--encoded", type=int, default=60, help="Documents that the model encodes; the table encodes the others."
    )
    parser.add_argument("--work", type=Path, default=None, help="Folder that keeps the index between runs.")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--static-rate", type=int, default=200)
    parser.add_argument("--model-rate", type=int, default=20)
    parser.add_argument("--only", choices=["static", "model"], default=None)
    parser.add_argument("--workers", type=int, default=1, help="Processes that answer static queries.")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Run: apt-get install wrk")
    folder = given.work or Path(tempfile.mkdtemp(prefix="lexite-load-"))
    folder.mkdir(parents=True, exist_ok=True)
    queries = prepared(given.corpus, folder, given.documents, given.encoded)
    found: dict[str, Any] = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "seconds": given.seconds}
    for kind, rate in (("static", given.static_rate), ("model", given.model_rate)):
        if given.only in (None, kind):
            found[kind] = measured(folder, kind, rate, given.seconds, queries, given.workers if kind == "static" else 1)
            print(kind, json.dumps(found[kind], indent=1))
    found["load_after"] = os.getloadavg()[0]
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def prepared(corpus: str, folder: Path, n_documents: int, n_encoded: int) -> list[str]:
    """Builds the index where it is not there, and draws queries: six words in a row of random documents.

    The first documents are encoded by the model, which also makes the static table; the others by that table, which takes
    seconds. They have as many terms as the model gives: what is measured is the server, not the model over documents.
    """
    documents = [document for _, document in zip(range(n_documents), read_documents(corpus), strict=False)]
    rng = random.Random(SEED)
    queries = []
    while len(queries) < 2000:
        words = rng.choice(documents).text.split()
        start = rng.randrange(max(len(words) - 6, 1))
        queries.append(" ".join(words[start : start + 6]))
    path = folder / "index"
    if not path.exists():
        Searcher.build(documents[:n_encoded], path, show_progress=False).close()
        index = BM25Index.open(path)
        table = index.static()
        assert table is not None
        with BM25Index.writer(path) as writer:
            for start in range(n_encoded, len(documents), 2000):
                part = documents[start : start + 2000]
                cut = cut_documents(part, writer.passages, writer.field_weights)
                writer.add(part, drop_small(table.encode_rows(cut.encoded_texts), FLOOR), cut)
            writer.commit()
    print(f"{len(BM25Index.open(path)):,} documents in {path}", file=sys.stderr)
    return queries


def measured(folder: Path, kind: str, rate: int, seconds: int, queries: list[str], workers: int) -> dict[str, Any]:
    """Latency alone, with hostile requests beside, and with documents being added."""
    live = folder / "live"
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(folder / "index", live)
    words = [
        str(live),
        *(["--static"] if kind == "static" else ["--writable"]),
        *(["--workers", str(workers)] if workers > 1 else []),
    ]
    with serving(*words) as (address, process):
        plan = Load(address, folder, queries, rate, seconds, 0.0)
        for _ in range(2):  # what is compiled or read once is not what is measured; then how long an answer takes
            plan = replace(plan, latency=load(replace(plan, seconds=5))["p50 ms"])
        before, began = cpu_seconds(process), time.monotonic()
        alone = load(plan)
        alone["CPU ms a request"] = round(1000 * (cpu_seconds(process) - before) / alone["requests"], 2)
        alone["cores used"] = round((cpu_seconds(process) - before) / (time.monotonic() - began), 2)
        return {
            "rate": rate,
            "workers": workers,
            "alone": alone,
            "without snippets": load(replace(plan, snippets=False)),
            "hostile beside": load_beside(plan, hostile),
            "documents added": load_beside(plan, adding(live, kind)),
        }


def cpu_seconds(process: int) -> float:
    """CPU time that a process and those that it started have used, all threads together."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


@contextmanager
def serving(*words: str) -> Iterator[tuple[str, int]]:
    environment = {**os.environ, "LEXITE_TOKEN": TOKEN}
    command = [sys.executable, "-m", "lexite", "-q", "serve", *words, "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield json.loads(line)["address"], process.pid
        finally:
            process.terminate()


LUA = """
-- Each of the {connections} connections waits {pause} ms in the mean before a request, and half of that before its first.
local bodies = {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
local headers = {{["Content-Type"] = "application/json"}}
local at = {offset}
function request()
  at = at % #bodies + 1
  return wrk.format("POST", "{path}", headers, bodies[at])
end
local waits = 0
function delay()
  waits = waits + 1
  if waits <= {connections} then return math.random(0, {pause}) end
  return math.random({half}, {pause} + {half})
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True)
class Load:
    """Requests at a steady rate.

    Attributes:
        address: of the server.
        folder: for wrk's script.
        queries: that are sent.
        rate: requests a second that are wanted.
        seconds: how long.
        latency: milliseconds that an answer takes, by an earlier run; connections wait as much less.
        snippets: whether answers have the best snippets.
    """

    address: str
    folder: Path
    queries: list[str]
    rate: int
    seconds: int
    latency: float
    snippets: bool = True


def load(plan: Load) -> dict[str, Any]:
    """Sends requests over 32 connections, and gives percentiles in milliseconds."""
    connections, folder = 32, plan.folder
    bodies = folder / "bodies.jsonl"
    lines = [json.dumps({"query": query, "snippets": plan.snippets}) + "\n" for query in plan.queries]
    bodies.write_text("".join(lines), encoding="utf-8")
    script = folder / "load.lua"
    path = "/api/v1/indexes/live/search"
    pause = max(1000 * connections / plan.rate - plan.latency, 2.0)
    text = LUA.format(
        connections=connections,
        pause=round(pause),
        half=round(pause / 2),
        bodies=bodies,
        offset=random.Random(SEED).randrange(1000),
        path=path,
    )
    script.write_text(text, encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{plan.seconds}s", "--timeout", "10s", "-s", str(script), plan.address]
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    own = os.times()
    used = own.children_user + own.children_system - before.children_user - before.children_system
    numbers = re.search(r"RESULT (.*)", done.stdout)
    assert numbers, done.stdout + done.stderr
    requests, duration, refused, broken, p50, p95, p99, most = map(int, numbers[1].split())
    return {
        "requests": requests,
        "per second": round(requests / (duration / 1e6), 1),
        "failed": refused + broken,
        "p50 ms": p50 / 1000,
        "p95 ms": p95 / 1000,
        "p99 ms": p99 / 1000,
        "max ms": most / 1000,
        "cores of wrk": round(used / (duration / 1e6), 3),
    }


def load_beside(plan: Load, other: Any) -> dict[str, Any]:
    """The same while something else goes on in a thread: ``other`` takes the address, and events that begin and end it."""
    stop, began, told = threading.Event(), threading.Event(), {}
    thread = threading.Thread(target=lambda: told.update(other(plan.address, began, stop)))
    thread.start()
    began.wait()
    found = load(plan)
    stop.set()
    thread.join()
    return found | told


def hostile(address: str, began: threading.Event, stop: threading.Event) -> dict[str, Any]:
    """Wrong and hostile requests, 20 a second: broken JSON, unknown keys, bodies that are too large, wrong tokens and hosts."""
    search = "api/v1/indexes/live/search"
    kinds = [
        (search, b"{", {}),
        (search, b'{"query": ""}', {}),
        (search, b'{"query": "x", "where": "((("}', {}),
        (search, b'{"query": "x", "top_k": 100000}', {}),
        (search, json.dumps({"query": "x" * 100_000}).encode(), {}),
        (search, b" " * 2_100_000, {}),
        (search, b'{"query": "x"}', {"Host": "evil.example"}),
        ("api/v1/indexes/../../../etc/passwd", None, {}),
        ("api/v1/indexes/live/concepts/999999999999", None, {}),
        ("api/v1/indexes/live/documents?id=" + "a" * 4000, None, {}),
    ]
    sent = 0
    began.set()
    while not stop.wait(0.05):
        path, body, headers = kinds[sent % len(kinds)]
        request = urllib.request.Request(address + path, body, {"Content-Type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                raise AssertionError(f"{path} was answered with {answer.status}")
        except urllib.error.HTTPError as error:
            assert 400 <= error.code < 500, error.code
        except (urllib.error.URLError, OSError):
            pass  # a refused body ends the connection
        sent += 1
    return {"hostile requests": sent}


def adding(path: Path, kind: str) -> Any:
    """Adds documents: a commit of 50 by another process each two seconds, or one document a second through the API."""

    def by_another_process(address: str, began: threading.Event, stop: threading.Event) -> dict[str, Any]:
        code = (
            "import sys, time\nfrom lexite import BM25Index, Document\n"
            "from lexite.corpus.passages import cut_documents\n"
            "path, n = sys.argv[1], 0\ntable = BM25Index.open(path).static()\n"
            "while True:\n"
            "    with BM25Index.writer(path, wait=10) as writer:\n"
            "        text = 'A new document about tides, bread and light.'\n"
            "        new = [Document(f'new-{time.time_ns()}-{i}', text) for i in range(50)]\n"
            "        cut = cut_documents(new, writer.passages, writer.field_weights)\n"
            "        writer.add(new, table.encode_rows(cut.encoded_texts), cut)\n        writer.commit()\n"
            "    print(n, flush=True)\n    time.sleep(2)\n"
        )
        before = BM25Index.open(path)
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # its start and first commit are not what is measured
        began.set()
        stop.wait()
        process.terminate()
        process.wait()
        after = BM25Index.open(path)
        return {"documents added": len(after) - len(before), "commits": after.generation - before.generation}

    def by_the_api(address: str, began: threading.Event, stop: threading.Event) -> dict[str, Any]:
        added = 0
        began.set()
        while not stop.wait(1.0):
            new = Document(f"new-{time.time_ns()}", "A new document about tides, bread and light.")
            body = json.dumps({"documents": [{"id": new.id, "text": new.text}]}).encode()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
            request = urllib.request.Request(f"{address}api/v1/indexes/live/documents", body, headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                added += json.load(answer)["documents"]
        return {"documents added": added}

    return by_another_process if kind == "static" else by_the_api


if __name__ == "__main__":
    main()
