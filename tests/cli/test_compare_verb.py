from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = {"n_latents": 32, "k": 4, "tokens": 400, "epochs": 99, "batch_tokens": 64, "buffer_tokens": 256, "log_tokens": 200}


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    def write(stem: str, **changes: Any) -> Path:
        path = tmp_path / f"{stem}.yaml"
        values = {**SMALL, "model": str(tiny_model), "precision": "fp32", "overlap": 4, **changes}
        path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
        return path

    return write


def test_compare_writes_a_table_files_and_plots(
    lexite: Any, recipe: Callable[..., Path], documents: Path, collection: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [recipe("first"), recipe("second", k=2), "--collections", collection, "--text", documents, "-o", out]
    done = lexite("compare", *words, "--k", "1, 2", "--seeds", "0,1", "--json", tmp_path / "copy.json")
    assert done.status == 0, done.err
    for word in ("first", "second", "nDCG@10", "postings", "FVU", "▲"):
        assert word in done.out
    pictures = [f"{name}.{ending}" for name in ("density", "quality", "reconstruction") for ending in ("png", "svg")]
    files = ["cache", "comparison.json", "comparison.md", *pictures, "plan.json", "runs", "states"]
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    assert sorted(path.name for path in (out / "runs").iterdir()) == [
        "first-seed0",
        "first-seed1",
        "second-seed0",
        "second-seed1",
    ]
    written = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert json.loads((tmp_path / "copy.json").read_text(encoding="utf-8")) == written
    again = lexite("compare", *words, "--k", "1,2", "--seeds", "0,1", "--no-plots", "--json", "-")
    assert again.json == written
    facts = lexite("info", out / "runs" / "first-seed1", "--verify", "--json").json
    assert facts["kind"] == "vocabulary"
    svg = (out / "quality.svg").read_text(encoding="utf-8")
    assert all(word in svg for word in ("first", "second", "frontier", "postings per document"))


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "No collections were named"),
        (["--collections", "c"], "No output was named"),
        (["--collections", "c", "-o", "o", "--k", "4,0"], "--k holds 0"),
        (["--collections", "c", "-o", "o", "--k", "four"], "'four' is not a count"),
        (["--collections", "c", "-o", "o"], "No recipes were named"),
    ],
)
def test_what_is_missing_is_said(lexite: Any, words: list[str], message: str) -> None:
    assert message in lexite("compare", *words).usage


def test_an_unknown_key_names_the_file(lexite: Any, recipe: Callable[..., Path], collection: Path, tmp_path: Path) -> None:
    path = recipe("odd", latents=3)
    error = lexite("compare", path, "--collections", collection, "-o", tmp_path / "out").error
    assert error.startswith(f"{path}: unknown key 'latents'")


def test_without_matplotlib_nothing_is_trained(
    lexite: Any, recipe: Callable[..., Path], collection: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["compare", recipe("a"), "--collections", collection, "--text", documents, "-o", tmp_path / "out"]
    assert "pip install 'lexite[plots]'" in lexite(*words).error
    assert not (tmp_path / "out").exists()
    assert lexite(*words, "--no-plots").status == 0
    assert not list((tmp_path / "out").glob("*.svg"))


def test_several_words_behind_an_option(lexite: Any, recipe: Callable[..., Path], collection: Path, tmp_path: Path) -> None:
    words = ["compare", recipe("a"), "-o", tmp_path / "out"]
    for given in (["--collections", collection, "x"], [f"--collections={collection}", "x"], ["--collections", "x", collection]):
        assert lexite(*words, *given, "--text", "gone.jsonl").error.startswith(("x does not exist", "gone.jsonl"))


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on(
    lexite: Any, recipe: Callable[..., Path], documents: Path, collection: Path, tmp_path: Path
) -> None:
    paths = [recipe(name, tokens="10k", epochs=9999, checkpoint_tokens=1000, seed=number) for number, name in enumerate("ab")]
    words = ["compare", *paths, "--collections", collection, "--text", documents, "--k", "2,4", "--no-plots"]
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-m", "lexite", "-q", *map(str, words), "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and not checkpoints(out) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    rows = [lexite(*words, "-o", folder, "--json", "-").json["rows"] for folder in (out, whole)]
    for row in (*rows[0], *rows[1]):
        del row["training"]["seconds"], row["training"]["tokens_per_second"]
    assert rows[0] == rows[1]


def checkpoints(out: Path) -> set[str]:
    """Names of the checkpoints of all runs, which may vanish while they are looked for."""
    runs = out / "runs"
    folders = [runs / name / "training" for name in os.listdir(runs)] if runs.is_dir() else []
    return {
        f"{folder.parent.name}/{name}" for folder in folders if folder.is_dir() for name in os.listdir(folder) if name[0] == "c"
    }
