"""Preferences: every form of JSON that is read, and what is wrong with a record, by file, line and field."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from lexite.corpus.options import ReadOptions, ReadReport
from lexite.corpus.preferences import Preference, read_preferences
from lexite.errors import CorpusError

RECORDS: list[dict[str, Any]] = [
    {"query": "the sea", "preferred": "d1", "rejected": ["d2", 3, "d2"], "note": "passed over"},
    {"query": " bread ", "preferred": [7, "d1"], "rejected": "d2"},
]
WANTED = [Preference("the sea", ("d1",), ("d2", "3")), Preference(" bread ", ("7", "d1"), ("d2",))]


def lines(records: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, records)) + "\n\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", lines(RECORDS).encode()),
        ("p.ndjson", b"\xef\xbb\xbf" + lines(RECORDS).encode()),
        ("p.jsonl.gz", gzip.compress(lines(RECORDS).encode())),
        ("p.json", json.dumps(RECORDS).encode()),
        ("p.json", json.dumps(RECORDS, indent=2).encode()),
        ("p.jsonl", "\n".join(json.dumps(record, indent=2) for record in RECORDS).encode()),
    ],
)
def test_every_form_of_json_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    report = ReadReport()
    assert list(read_preferences(tmp_path / name, report=report)) == WANTED and report.read == 2


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines(RECORDS).encode())))
    assert list(read_preferences("-")) == WANTED
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"query,preferred,rejected\nsea,d1,d2\n")))
    with pytest.raises(CorpusError, match="standard input, line 1: not valid JSON"):
        list(read_preferences("-"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"preferred": "d1", "rejected": "d2"}, "'query' is missing; there is 'preferred', 'rejected'"),
        ({"query": "sea", "prefered": "d1", "rejected": "d2"}, "'preferred' is missing; there is 'query', 'prefered'"),
        ({}, "'query' is missing; there is no field at all"),
        ({"query": 7, "preferred": "d1", "rejected": "d2"}, "'query' is a number, but must be text"),
        ({"query": " ", "preferred": "d1", "rejected": "d2"}, "'query' is empty"),
        ({"query": "sea", "preferred": "d1", "rejected": None}, "'rejected' holds null, but must be the id of a document"),
        ({"query": "sea", "preferred": ["d1", True], "rejected": "d2"}, "'preferred' holds true or false"),
        ({"query": "sea", "preferred": 1.5, "rejected": "d2"}, "'preferred' holds a number with a fraction"),
        ({"query": "sea", "preferred": [["d1"]], "rejected": "d2"}, "'preferred' holds a list"),
        ({"query": "sea", "preferred": [], "rejected": "d2"}, "'preferred' is an empty list"),
        ({"query": "sea", "preferred": "d1", "rejected": ""}, "'rejected' holds an empty id"),
        ({"query": "sea", "preferred": ["d1", "3"], "rejected": ["d2", 3]}, "'3' is both in 'preferred' and in 'rejected'"),
        ({"query": "sea", "preferred": "d1", "rejected": "d9"}, "'rejected' names the document 'd9', which the index"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_field(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path, known = tmp_path / "p.jsonl", {"d1", "d2", "3", "7"}
    path.write_text(lines([RECORDS[0], record, RECORDS[1]]))
    with pytest.raises(
        CorpusError, match=f"p.jsonl, line 2: the (field|document) {message}.*--skip-bad leaves bad records out"
    ):
        list(read_preferences(path, known=known))
    report = ReadReport()
    assert list(read_preferences(path, ReadOptions(skip_bad=True), report, known)) == WANTED
    assert report.skipped == 1 and message in report.messages[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", "", "holds no preferences."),
        ("p.jsonl", '{"query": "sea"\n', "line 1: not valid JSON"),
        ("p.jsonl", '["sea"]\n', "line 1: the line holds a list"),
        ("p.csv", "query,preferred,rejected\nsea,d1,d2\n", "Name a file of JSON lines"),
        ("p.txt", "sea\n", "Name a file of JSON lines"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(read_preferences(tmp_path / name))


def test_a_file_of_bad_records_alone_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("{}\n{}\n")
    with pytest.raises(CorpusError, match="holds no preferences: all 2 records are bad. The first: .*line 1"):
        list(read_preferences(tmp_path / "p.jsonl", ReadOptions(skip_bad=True)))
    with pytest.raises(CorpusError, match="does not exist"):
        read_preferences(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="holds no preferences"):
        read_preferences(tmp_path)
