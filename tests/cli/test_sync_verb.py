"""lexite sync at the command line, and what goes with it: delete --from, --wait, get."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lexite.index import BM25Index


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "my notes"
    folder.mkdir()
    for name, text in {"a.md": "# Cats\n\nThe cat drinks milk.", "b.md": "Rain on the lake.", "c.txt": "The moon."}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def index(lexite, notes: Path, tiny_vocabulary: Path, tmp_path: Path) -> Path:
    assert lexite("index", notes, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary).status == 0
    return tmp_path / "i"


def test_sync_says_what_it_found_and_did(lexite, index: Path, notes: Path) -> None:
    first = lexite("sync", index, notes)
    assert first.out.splitlines() == [
        "Files: 0 new, 0 changed, 3 unchanged, 0 vanished.",
        f"Documents: 0 added, 0 replaced, 0 deleted; {index} holds 3.",
    ]
    (notes / "a.md").write_text("# Cats\n\nThe cat sleeps.")
    (notes / "b.md").unlink()
    (notes / "d.md").write_text("A ship.")
    (notes / "e.md").write_text("")
    (notes / "f.xyz").write_text("?")
    dry = lexite("sync", index, notes, "--dry-run")
    assert dry.out.splitlines() == [
        "Files: 2 new, 1 changed, 1 unchanged, 1 vanished.",
        "+ d.md",
        "+ e.md",
        "~ a.md",
        "- b.md",
        f"Nothing was changed; {index} holds 3 documents.",
    ]
    done = lexite("sync", index, notes, "--json")
    assert done.json["files"] == {"new": 2, "changed": 1, "unchanged": 1, "vanished": 1}
    assert [done.json[key] for key in ("added", "replaced", "same", "deleted", "documents")] == [1, 1, 0, 1, 3]
    assert done.json["skipped_reasons"] == {"empty": 1} and done.json["files_not_read"] == {".xyz": 1}
    assert "e.md: the text is empty." in done.err
    assert list(BM25Index.open(index).ids) == ["c.txt", "a.md", "d.md"]


def test_sync_without_sources_or_index(lexite, index: Path, notes: Path, tmp_path: Path) -> None:
    assert "lexite sync" in lexite("sync", index).usage
    assert "does not exist" in lexite("sync", index, tmp_path / "nothing").error
    assert "does not exist" in lexite("sync", tmp_path / "nowhere", notes).error


def test_delete_takes_ids_from_a_file_and_a_pipe(lexite, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.txt").write_text("a.md\r\n\nb.md\n")
    assert lexite("delete", index, "--from", tmp_path / "gone.txt").out == f"2 documents deleted; {index} holds 1.\n"
    assert "no document 'a.md'" in lexite("delete", index, "a.md").error
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a.md\nc.txt\n")))
    done = lexite("delete", index, "--from", "-", "--missing-ok", "--json")
    assert done.json == {"index": str(index), "deleted": 1, "documents": 0}
    assert "--from FILE" in lexite("delete", index).usage
    assert "cannot be read" in lexite("delete", index, "--from", tmp_path / "none.txt").error
    (tmp_path / "bad.txt").write_bytes(b"ok\n\xff\n")
    assert "bad.txt, line 2" in lexite("delete", index, "--from", tmp_path / "bad.txt").error


def test_writers_wait_for_each_other(lexite, index: Path, notes: Path) -> None:
    with BM25Index.writer(index):
        for words in (["delete", index, "a.md"], ["merge", index], ["add", index, notes], ["sync", index, notes]):
            assert "being written" in lexite(*words, "--wait", "0.2").error


def test_add_counts_what_it_replaced(lexite, index: Path, notes: Path) -> None:
    (notes / "new.md").write_text("A star.")
    done = lexite("add", index, notes, "--replace")
    assert done.out == f"1 document added, 3 replaced; {index} holds 4.\n"


def test_get_shows_documents(lexite, index: Path) -> None:
    done = lexite("get", index, "a.md", "c.txt")
    assert done.out.splitlines()[:3] == ["Cats  a.md", "", "The cat drinks milk."]
    assert [done.json["id"] for done in [lexite("get", index, "c.txt", "--json")]] == ["c.txt"]
    assert lexite("get", index, "a.md", "--json").json == {"id": "a.md", "title": "Cats", "text": "The cat drinks milk."}
    assert "no document 'x'" in lexite("get", index, "a.md", "x").error


def test_list_shows_documents(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    pytest.importorskip("sqlglot")
    rows = ["id,title,text,year", "1,Cats,The cat drinks milk.,2019", "2,,Rain on the lake.,2021", "3,Moon,The moon.,2023"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    index = tmp_path / "i"
    assert lexite("index", tmp_path / "t.csv", "-o", index, "--vocabulary", tiny_vocabulary).status == 0
    assert lexite("list", index).out.splitlines() == ["Cats  1", "2", "Moon  3"]
    shown = lexite("list", index, "--where", "year > 2020", "--sort", "year:desc", "--show", "year").out.splitlines()
    assert shown == ["Moon  3", "  year 2023", "2", "  year 2021"]
    assert lexite("list", index, "--ids", "--offset", "1", "--limit", "1").out == "2\n"
    assert lexite("list", index, "--limit", "1", "--json").json == {"id": "1", "title": "Cats", "fields": {"year": 2019}}
    assert lexite("get", index, "2", "--json").json == {
        "id": "2", "title": "", "fields": {"year": 2021}, "text": "Rain on the lake."
    }  # fmt: skip
    assert "year 2021" in lexite("get", index, "2").out
    assert "colour" in lexite("list", index, "--show", "colour").error
    assert "colour" in lexite("list", index, "--where", "colour = 1").error
    assert "--ids prints ids alone" in lexite("list", index, "--ids", "--json").usage
