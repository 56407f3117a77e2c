"""Documents, hostile ones among them, and a server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lexite import Document
from tiny_collection import DOCUMENTS as PLAIN

TOKEN = "a-token-that-nobody-guesses"
MARKUP = "<img src=x onerror=\"document.title='owned'\">milk"
SCRIPT = "</script><script>document.title='owned'</script> the cow"
BIDI = "milk \u202egnp.exe\u202c \u2066cow\u2069\x07"
HOSTILE = [
    Document(
        "h1",
        "The cow gives milk. <b>bold</b> <script>document.title='owned'</script> milk",
        MARKUP,
        fields={"year": 2001, "kind": MARKUP},
    ),
    Document(
        "h2", "Milk of the cow: javascript:alert(1) and more milk of cows.", SCRIPT, fields={"year": 2002, "kind": "note"}
    ),
    Document("javascript:alert(1)", "Milk of the cow, the milk. \u202eevil\u202c", BIDI, fields={"year": 2003, "kind": "note"}),
]
DOCUMENTS = [
    *[
        Document(
            identifier,
            text,
            title,
            fields={"year": 2010 + place, "kind": "note" if place % 2 else "letter", "tags": ["a", f"t{place}"]},
        )
        for place, (identifier, title, text) in enumerate(PLAIN)
    ],
    *HOSTILE,
]


@contextlib.contextmanager
def serving(*words: str, token: str | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Runs ``lexite serve`` in a process of its own; gives its address, and the process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    environment |= {"LEXITE_TOKEN": token} if token else {}
    command = [sys.executable, "-m", "lexite", "serve", *words, "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith('{"address"'), line + process.stderr.read()
            yield json.loads(line)["address"], process
        finally:
            process.terminate()
            process.wait(timeout=120)


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """Runs an application under uvicorn in a thread; gives its address."""
    import uvicorn

    from lexite.server.app import address_of, listen
    from lexite.server.config import ServerConfig

    with listen(ServerConfig(port=0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        try:
            yield address_of(listening)
        finally:
            server.should_exit = True
            thread.join(timeout=120)
