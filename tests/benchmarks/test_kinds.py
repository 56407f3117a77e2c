"""A hundred real files of every kind, none of which ends a build."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from kinds import collect, drawn, machine_folders, made, paragraphs_of, read_all

from lexite.cli import main
from lexite.corpus import Document, ReadReport, read_documents
from lexite.corpus.kinds import KINDS
from lexite.index import BM25Index

EXPECTED = {"empty", "not UTF-8", "no text", "binary", "unreadable"}  # what real files are guilty of

LARGEST_BUILT = {".docx": 38_000, ".pptx": 32_000}  # bytes of a file that is put into an index; others 4,000


def test_files_are_drawn_from_all_groups(tmp_path: Path) -> None:
    for group, n in (("a", 50), ("b", 2)):
        for number in range(n):
            path = tmp_path / "1" / "2" / group / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    (tmp_path / "1" / "2" / "b" / "empty.txt").write_text("")
    paths = sorted(tmp_path.rglob("*.txt"))
    assert len(drawn(paths, 10)) == 10 and drawn(paths, 10) == drawn(paths, 10)
    assert {path.stat().st_size for path in drawn(paths, 100)} == {1} and len(drawn(paths, 100)) == 52


def test_files_that_are_made_can_be_read(tmp_path: Path) -> None:
    texts = list(paragraphs_of([Document("1", "First.\n\n## Part\n\nSecond.", "Title")]))
    for kind, paths in made(tmp_path, texts, 1).items():
        documents, told, _ = read_all(paths)
        assert documents and not told.skipped, kind
        assert all("First." in document.text or "Second." in document.text or "Part" in document.text for document in documents)


@pytest.mark.slow
def test_a_hundred_real_files_of_every_kind(tmp_path: Path, tiny_vocabulary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if any(not kind.is_available() for kind in KINDS):
        pytest.skip("the extra 'documents' is not installed")
    work, everything, small = tmp_path / "work", tmp_path / "everything", tmp_path / "small"
    work.mkdir()
    files: Counter[str] = Counter()
    for name, paths in collect(machine_folders(), 100, work).items():
        for number, path in enumerate(paths):
            for folder in (everything, small):
                target = folder / name / f"{number:03}{path.suffix.lower()}"
                target.parent.mkdir(parents=True, exist_ok=True)
                if folder is everything or path.stat().st_size < LARGEST_BUILT.get(path.suffix, 4_000):
                    shutil.copyfile(path, target)
            files[name] += 1
    told = ReadReport()
    read = Counter(document.id.partition("/")[0] for document in read_documents(everything, report=told))
    assert set(told.reasons) <= EXPECTED and not told.unread
    assert told.skipped <= 0.1 * files.total()
    assert set(read) == set(files) and read["mbox"] == 3 * files["mbox"]

    words = ["-q", "index", small, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--no-literal", "--json"]
    assert main([str(word) for word in words]) == 0
    assert set(json.loads(capsys.readouterr().out)["skipped_reasons"]) <= EXPECTED
    assert {id.partition("/")[0] for id in BM25Index.open(tmp_path / "i").ids} == set(files)
