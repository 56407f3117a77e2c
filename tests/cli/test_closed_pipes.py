"""A reader that has seen enough is no error, whichever verb writes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}
STATIC = ["search", "--static", "INDEX"]  # starts without torch; one search and one encoding start with it


def statuses(*words: object, reader: str = "head -n 1", both: bool = False) -> tuple[int, str, str]:
    """Status, output behind the pipe, and stderr of a command whose reader goes away."""
    command = shlex.join([sys.executable, "-m", "lexite", *map(str, words)])
    script = f"{command} {'2>&1' if both else ''} | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    *lines, status = done.stdout.splitlines()
    return int(status), "\n".join(lines), done.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["search", "--help"], ["info"], ["info", "--json"], ["info", "INDEX"]]
    + [["search", "INDEX", "milk"], [*STATIC, "milk", "--json"], [*STATIC, "milk", "--run", "-"]]
    + [["encode", "DOCUMENTS", "--vocabulary", "VOCABULARY"]],
    ids=lambda words: " ".join(words),
)
def test_no_verb_minds(words: list[str], tiny_index: Path, documents: Path, tiny_vocabulary: Path) -> None:
    places = {"INDEX": tiny_index, "DOCUMENTS": documents, "VOCABULARY": tiny_vocabulary}
    status, _, err = statuses(*(places.get(word, word) for word in words), reader="true")
    assert (status, [line for line in err.splitlines() if not line.startswith("Model ")]) == (0, [])


def test_much_output_into_head(tiny_index: Path, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text("".join(json.dumps({"_id": str(n), "text": "milk of the cow"}) + "\n" for n in range(500)))
    for more in ([], ["--json"], ["--run", "-"]):
        status, out, err = statuses("-q", "search", "--static", tiny_index, "--queries", queries, *more)
        assert (status, err) == (0, "") and out.count("\n") == 0


def test_stderr_may_be_in_the_same_pipe(tiny_index: Path, tmp_path: Path) -> None:
    assert statuses("search", tiny_index, "milk", reader="true", both=True)[0] == 0
    assert statuses("info", tmp_path / "nothing", reader="true", both=True)[0] == 1
    assert statuses("search", reader="true", both=True)[0] == 2
