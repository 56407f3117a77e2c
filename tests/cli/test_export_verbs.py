"""``lexite export`` and ``lexite export-query`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexite.cli import main


def test_an_export_and_a_request_for_it(tiny_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["-q", "export", str(tiny_index), "--to", "opensearch-bulk", "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["documents"] == 6 and said["route"] == "saturation" and said["setup"] == ["index.json"]
    assert (out / "index.json").exists() and (out / said["parts"][0]).exists()
    words = ["milk", "of", "the", "cow", "--static", "--json"]
    assert main(["export-query", str(tiny_index), *words, "--export", str(out)]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert asked["request"].startswith("POST /lexite/_search") and asked["cut"] == 0
    assert len(asked["body"]["query"]["bool"]["should"]) == asked["terms"] > 0
    assert main(["export-query", str(tiny_index), *words, "--export", str(out), "--most-terms", "1"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["terms"] == 1 and "lightest were cut" in captured.err
    assert main(["export", str(tiny_index), "--check", str(out)]) == 0
    assert "hardly moved" in capsys.readouterr().out
    assert main(["export", str(tiny_index), "--to", "opensearch-bulk", "-o", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_static_table(tiny_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tiny_index), "--to", "static-table", "-o", str(tmp_path / "t"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["files"]) == {"table.safetensors", "tokenizer.json"} and said["words"] == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["export", "INDEX"], 2, "No format was named"),
        (["export", "INDEX", "--to", "solr"], 2, "No output was named"),
        (["export", "INDEX", "--to", "solr", "-o", "x", "--check", "y"], 2, "--check writes nothing"),
        (["export", "INDEX", "--to", "static-table", "-o", "x", "--route", "impacts"], 2, "--route has no effect"),
        (["export", "INDEX", "--to", "solr", "-o", "x", "--vocabulary", "y"], 2, "for static-table alone"),
        (["export-query", "INDEX", "milk"], 2, "Give the format with --to"),
        (["export-query", "INDEX", "milk", "--to", "static-table"], 2, "takes no requests"),
        (["export-query", "INDEX", "milk", "--export", "x", "--route", "impacts"], 2, "--export says route"),
        (["export-query", "INDEX", "milk", "--to", "solr", "--where", "a > 1"], 1, "Filters are not translated"),
        (["export-query", "INDEX", "milk -cow", "--to", "solr", "--static"], 1, "requires or excludes words"),
    ],
)
def test_what_is_refused(
    words: list[str], status: int, message: str, tiny_index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_index) if word == "INDEX" else word for word in words]) == status
    assert message in capsys.readouterr().err
