"""Escape sequences and overrides of the writing direction in other people's texts are shown, not carried out."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from lexite import Searcher
from lexite.cli.output import console, print_json, say, set_verbosity
from lexite.evaluation.report import COLUMNS, EvaluationReport
from lexite.progress import progress
from lexite.ranking.trec import read_trec_run

EVIL = "\x1b]0;mine\x07\x9b2J\u202etxt\u2066"
SHOWN = r"\x1b]0;mine\x07\x9b2J\u202etxt\u2066"


def is_safe(text: str) -> bool:
    return not any((unicodedata.category(c) == "Cc" and c not in "\n\t") or c in "\u202e\u2066" for c in text)


@pytest.fixture
def evil_index(tiny_vocabulary: Path, tmp_path: Path, lexite) -> Path:
    records = [
        {"_id": f"id {EVIL}\n1", "title": f"Milk {EVIL}\nand more", "text": f"The cow gives milk. {EVIL} Milk and bread."},
        {"_id": f"bare{EVIL}", "title": "", "text": "milk"},
    ]
    source = tmp_path / "evil.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    vocabulary = shutil.copytree(tiny_vocabulary, tmp_path / "vocabulary")
    done = lexite("index", source, "-o", tmp_path / f"evil {EVIL}", "--vocabulary", vocabulary)
    assert done.status == 0 and is_safe(done.out) and is_safe(done.err)
    return tmp_path / f"evil {EVIL}"


def test_hits_are_safe_and_json_is_exact(lexite, evil_index: Path) -> None:
    done = lexite("search", evil_index, f"milk {EVIL}")
    assert is_safe(done.out) and rf"id {SHOWN}\n1" in done.out and f"Milk {SHOWN} and more" in done.out
    assert f"bare{SHOWN}" in done.out
    more = lexite("search", evil_index, "milk", "--passages-per-hit", "2").out
    assert is_safe(more) and more.count(SHOWN) > done.out.count(SHOWN)
    hits = lexite("search", evil_index, "milk", "--json").json["hits"]
    assert {hit["id"] for hit in hits} == {f"id {EVIL}\n1", f"bare{EVIL}"}
    assert any(hit["title"] == f"Milk {EVIL}\nand more" for hit in hits)


def test_headings_and_errors_and_logs(lexite, evil_index: Path, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text(
        json.dumps({"_id": "1", "text": f"milk {EVIL}\nb"}) + "\n" + json.dumps({"_id": "2", "text": "cow"}) + "\n"
    )
    out = lexite("search", evil_index, "--queries", queries).out
    assert is_safe(out) and f"milk {SHOWN} b" in out
    for words in (["info", tmp_path / EVIL], ["delete", evil_index, EVIL], ["search", evil_index, "--terms", tmp_path / EVIL]):
        done = lexite(*words)
        assert done.status == 1 and is_safe(done.err) and SHOWN in done.err
    assert is_safe(lexite("search", "x", "--top-k", EVIL).err)
    bad = tmp_path / f"{EVIL}.jsonl"
    bad.write_text('nonsense\n{"_id": "n", "text": "sun"}\n')
    done = lexite("add", evil_index, bad, "--skip-bad")
    assert done.status == 0 and is_safe(done.err + done.out) and SHOWN in done.err


def test_info_and_explanations(lexite, evil_index: Path) -> None:
    out = lexite("info", evil_index).out
    assert is_safe(out) and SHOWN in out
    with Searcher.open(evil_index) as searcher:
        shown = str(searcher.explain("milk", f"id {EVIL}\n1"))
    assert is_safe(shown) and rf"id {SHOWN}\n1" in shown.splitlines()[0]


def test_runs_have_one_line_for_each_hit(lexite, evil_index: Path, tmp_path: Path) -> None:
    out = lexite("search", evil_index, "milk", "--run", "-").out
    assert is_safe(out) and [len(line.split()) for line in out.splitlines()] == [6, 6]
    (tmp_path / "run").write_text(out)
    assert all("%1B" in document for row in read_trec_run(tmp_path / "run").values() for document in row)


def test_printed_commands_can_be_typed(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    index = tmp_path / "my index; rm 'x'"
    out = lexite("index", documents, "-o", index, "--vocabulary", tiny_vocabulary).out
    command = out.splitlines()[-1].removeprefix("Search it: ")
    assert shlex.split(command) == ["lexite", "search", str(index)]


def test_the_console_escapes_whatever_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=f"t{EVIL}")
    table.add_column(f"c{EVIL}")
    table.add_row(f"a {EVIL}")
    for shown in (EVIL, Text(f"x{EVIL}"), table):
        console().print(shown)
        out = capsys.readouterr().out
        assert is_safe(out) and r"\x1b]0;mine" in out
    console().print("[bold]milk[/bold]\nand bread")
    assert capsys.readouterr().out == "milk\nand bread\n"


def test_tables_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    row = dict.fromkeys(COLUMNS, 0.5)
    report = EvaluationReport(f"v{EVIL}", {f"c{EVIL}": {"latent": row}}, {f"c{EVIL}": {}}, {}, {})
    console().print(report.table())
    out = capsys.readouterr().out
    assert is_safe(out) and f"v{SHOWN}" in out and f"c{SHOWN}" in out


def test_colours_of_rich_itself_stay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from io import StringIO

    from lexite.cli.safe_console import SafeConsole

    file = StringIO()
    SafeConsole(file=file, force_terminal=True, color_system="standard", no_color=False, width=60).print(
        Text(f"a{EVIL}", "bold red")
    )
    assert file.getvalue().startswith("\x1b[1;31ma\\x1b]0;mine") and file.getvalue().count("\x1b") == 2


def test_say_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a\n{EVIL}")
    print_json({"a": f"{EVIL}\n", "b": [1, 2]})
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second, json.loads(third)) == ("a", SHOWN, {"a": f"{EVIL}\n", "b": [1, 2]})


def test_log_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity()
    logger = logging.getLogger("lexite")
    logger.warning("read %s", f"{EVIL}\nnext")
    try:
        raise ValueError(EVIL)
    except ValueError:
        logger.exception("failed")
    err = capsys.readouterr().err
    assert is_safe(err) and err.startswith(rf"Warning: read {SHOWN}\nnext") and "Traceback" in err


def test_titles_of_progress(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with progress(f"Reading [bold] {EVIL}", 3) as bar:
        assert bar.description == f"Reading [bold] {SHOWN}"


def test_a_traceback_on_request_is_safe(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "lexite", "info", str(tmp_path / EVIL)]
    done = subprocess.run(
        program, capture_output=True, text=True, env={"LEXITE_TRACEBACK": "1", "PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 1 and "Traceback" in done.stderr and is_safe(done.stderr)


def test_listed_ids_are_exact_in_a_pipe_and_safe_on_a_terminal(lexite, evil_index: Path, monkeypatch) -> None:
    broken, bare = lexite("list", evil_index, "--ids").out.split("\n")[:2]
    assert broken == rf"id {SHOWN}\n1" and bare == f"bare{EVIL}"
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        shown = lexite("list", evil_index, "--ids").out
    assert is_safe(shown) and f"bare{SHOWN}" in shown
    names = evil_index.parent / "names"
    names.write_text(bare + "\n", encoding="utf-8")
    assert lexite("delete", evil_index, "--from", names).status == 0
    assert lexite("list", evil_index, "--ids").out == broken + "\n"
