"""Files that take too long, too much memory, or break what reads them: each ends as one named failure."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lexite.corpus import ReadOptions, ReadReport, extraction, read_documents, read_queries, streams
from lexite.errors import CorpusError

pytest.importorskip("selectolax")
needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is enforced on Linux")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The workers that were started."""
    workers: list[Any] = []
    real = subprocess.Popen

    def popen(*args: Any, **options: Any) -> Any:
        workers.append(real(*args, **options))
        return workers[-1]

    monkeypatch.setattr(extraction.subprocess, "Popen", popen)
    return workers


def read(path: Path, **options: Any) -> tuple[list[str], ReadReport]:
    report = ReadReport()
    return [document.id for document in read_documents(path, ReadOptions(**options), report)], report


def test_one_worker_reads_all_files_and_ends(tmp_path: Path, started: list[Any]):
    for number in range(30):
        (tmp_path / f"{number:02}.html").write_text(f"<p>{number}")
    ids, report = read(tmp_path)
    assert len(ids) == 30 and report.skipped == 0
    (worker,) = started
    assert worker.poll() is not None


def test_no_worker_is_started_for_text_and_code(tmp_path: Path, started: list[Any]):
    for name in ("a.md", "b.txt", "c.py"):
        (tmp_path / name).write_text("x")
    assert len(read(tmp_path)[0]) == 3 and not started


def test_a_reader_who_stops_early_ends_the_worker(tmp_path: Path, started: list[Any]):
    box = "".join(f"From a b\nSubject: {number}\n\nText.\n\n" for number in range(2000))
    (tmp_path / "a.mbox").write_text(box)
    documents = read_documents(tmp_path)
    assert next(documents).title == "0"
    documents.close()  # type: ignore[attr-defined]
    assert started[0].wait(timeout=120) is not None
    assert len(read(tmp_path)[0]) == 2000


def test_a_file_that_takes_too_long(tmp_path: Path, started: list[Any]):
    pytest.importorskip("docutils")
    (tmp_path / "a.rst").write_text("fine")
    (tmp_path / "b.rst").write_text("Title\n=====\n\n*some* ``text`` here\n\n" * 40_000)
    (tmp_path / "c.html").write_text("<p>fine")
    ids, report = read(tmp_path, file_seconds=1.0)
    assert ids == ["a.rst", "c.html"]
    assert report.reasons == {"too slow": 1} and len(started) == 2
    assert report.messages == [f"{tmp_path / 'b.rst'}: reading it takes more than 1 seconds (--file-seconds)."]
    with pytest.raises(CorpusError, match=r"b\.rst: reading it takes more than 1 seconds"):
        read(tmp_path / "b.rst", file_seconds=1.0)


@needs_limits
def test_bombs(tmp_path: Path):
    (tmp_path / "a.html.gz").write_bytes(gzip.compress(b"<p>" + b"a" * 300_000_000, 1))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"a" * 300_000_000, 1))
    (tmp_path / "z.md").write_text("fine")
    pytest.importorskip("docx").Document().save(str(tmp_path / "c.docx"))
    with zipfile.ZipFile(tmp_path / "c.docx") as small, zipfile.ZipFile(tmp_path / "d.docx", "w", zipfile.ZIP_DEFLATED) as big:
        for name in small.namelist():
            data = small.read(name)
            big.writestr(name, data.replace(b"<w:body>", b"<w:body>" + b"<w:p/>" * 30_000_000) if "document" in name else data)
    (tmp_path / "c.docx").unlink()
    ids, report = read(tmp_path, file_memory=128)
    assert ids == ["z.md"]
    assert report.skipped == 3 and set(report.reasons) <= {"too large", "broken", "malformed"}
    assert {Path(message.split(":")[0]).name for message in report.messages} == {"a.html.gz", "b.txt.gz", "d.docx"}
    assert any("takes more than 128 MiB of memory (--file-memory)" in message for message in report.messages)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "txt"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_line_longer_than_any_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, before: int):
    monkeypatch.setattr(streams, "LONGEST_LINE", 40)
    path = tmp_path / f"a.{ending}"
    lines = ["text"] * (ending in ("csv", "tsv"))
    lines += [f'{{"text": "{text}"}}' if ending == "jsonl" else text for text in ["fine"] * before + ["x" * 100, "fine"]]
    path.write_text("\n".join(lines))
    with pytest.raises(CorpusError) as caught:
        list(read_queries(path) if ending == "txt" else read_documents(path))
    assert str(caught.value).startswith(f"{path}, line {len(lines) - 1}: the line is longer than 40 bytes.")


def test_a_library_that_breaks_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Any]):
    code = "import os, sys; print('{}', flush=True); sys.stdin.readline(); os.abort()"
    monkeypatch.setattr(extraction, "_START", code)
    for name in ("a.html", "b.html", "c.md"):
        (tmp_path / name).write_text("x")
    ids, report = read(tmp_path)
    assert ids == ["c.md"] and report.reasons == {"broken": 2} and len(started) == 2
    assert "a.html: what reads it broke down (" in report.messages[0]


def test_binary_and_utf_16_text_are_named_compressed_or_not(tmp_path: Path):
    for name, data in (("a", b"\x7fELF\0"), ("b", "text".encode("utf-16"))):
        (tmp_path / f"{name}.txt").write_bytes(data)
        (tmp_path / f"{name}.md.gz").write_bytes(gzip.compress(data))
    (tmp_path / "z.md").write_text("fine")
    ids, report = read(tmp_path)
    assert ids == ["z.md"] and report.reasons == {"binary": 2, "not UTF-8": 2}
    told = "\n".join(report.messages)
    assert told.count("this is a binary file, not text.") == 2 and told.count("the text is UTF-16. Save it as UTF-8") == 2


def test_a_worker_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extraction, "_START", "raise SystemExit(1)")
    (tmp_path / "a.html").write_text("x")
    with pytest.raises(CorpusError, match="could not be started"):
        read(tmp_path)


@needs_limits
def test_an_orphan_ends_itself(tmp_path: Path):
    """Whoever reads may be killed at any moment: its worker notices, for its standard input ends."""
    (tmp_path / "a.mbox").write_text("From a b\n\nx\n\n" * 3)
    code = (
        "import os, sys; from lexite.corpus import extraction, read_documents; real = extraction.subprocess.Popen\n"
        "def popen(*a, **o):\n    p = real(*a, **o); print(p.pid, flush=True); return p\n"
        "extraction.subprocess.Popen = popen; print(next(read_documents(sys.argv[1])).id, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.mbox")], capture_output=True, text=True, timeout=60)
    pid, id = done.stdout.split()
    assert id == "a.mbox#1"
    for _ in range(100):
        if not _is_running(int(pid)):
            return
        time.sleep(0.1)
    raise AssertionError("the worker goes on")


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
