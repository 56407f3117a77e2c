"""An index that is kept in step with files equals one that is built of them, whatever changed and whenever it was killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite import Document, Searcher
from lexite.corpus import ReadOptions
from lexite.errors import ArgumentError, CorpusError, IndexFormatError, StorageError
from lexite.index import BM25Index
from lexite.search import sync_plan, syncing
from lexite.terms import LatentTermEncoder

WORDS = "cat dog milk rain lake wind ship moon sun star clock date book river stone".split()
QUERIES = ["the cat drinks milk", "rain on the lake", "a ship in the wind", "moon and star", "stone"]


@pytest.fixture(scope="module")
def loaded(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary, precision="fp32")


def text(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=12)).capitalize() + "."


def empty_index(path: Path, encoder: LatentTermEncoder) -> Searcher:
    """An index with one document that no file holds."""
    return Searcher.build([Document("by hand", "A bird.")], path, vocabulary=encoder, show_progress=False)


def sync(searcher: Searcher, *sources: Path, **options: object) -> sync_plan.SyncReport:
    return searcher.sync(list(sources), show_progress=False, **options)  # type: ignore[arg-type]


def assert_equals_fresh_build(searcher: Searcher, folder: Path, *sources: Path) -> None:
    """The same documents with the same scores, up to the order in which words are added."""
    place = folder / "fresh"
    shutil.rmtree(place, ignore_errors=True)
    fresh = empty_index(place, searcher.queries.encoder)  # type: ignore[attr-defined]
    fresh.add(list(sources), show_progress=False, read=ReadOptions(skip_bad=True))
    assert sorted(searcher.index.ids) == sorted(fresh.index.ids)
    for query in QUERIES:
        ours, theirs = ({hit.id: hit.score for (hits,) in [s.rank(query, 1000)] for hit in hits} for s in (searcher, fresh))
        assert ours == pytest.approx(theirs, rel=1e-5)
    for identifier in fresh.index.ids:
        assert searcher.index.get(identifier) == fresh.index.get(identifier)


def test_new_changed_and_vanished_files(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (notes / "sub").mkdir(parents=True)
    for name in ("a.md", "b.md", "sub/c.md", "d.txt"):
        (notes / name).write_text(text(len(name)))
    searcher = empty_index(tmp_path / "i", loaded)
    first = sync(searcher, notes)
    assert (first.new, first.added, first.deleted, len(searcher)) == (4, 4, 0, 5)
    assert_equals_fresh_build(searcher, tmp_path, notes)
    generation = searcher.index.generation
    time.sleep(0.01)
    again = sync(searcher, notes)
    assert (again.new, again.changed, again.unchanged, again.added) == (0, 0, 4, 0)
    assert searcher.index.generation <= generation + 1  # young files are looked at once more

    (notes / "a.md").write_text("# Title\n\n" + text(99))
    (notes / "b.md").unlink()
    (notes / "e.md").write_text(text(7))
    (notes / "d.txt").touch()
    dry = sync(searcher, notes, dry_run=True)
    assert (dry.new, dry.changed, dry.unchanged, dry.vanished, dry.deleted, dry.added) == (1, 1, 2, 1, 1, 0)
    assert "e.md" not in searcher
    done = sync(searcher, notes)
    assert (done.new, done.changed, done.unchanged, done.vanished) == (1, 1, 2, 1)
    assert (done.added, done.replaced, done.deleted) == (1, 1, 1)
    assert searcher.index.get("a.md").title == "Title" and "by hand" in searcher  # type: ignore[union-attr]
    assert_equals_fresh_build(searcher, tmp_path, notes)


def test_old_files_are_told_apart_by_size_and_time_alone(
    loaded: LatentTermEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    file = tmp_path / "notes" / "a.md"
    file.write_text(text(1))
    os.utime(file, ns=(10**18, 10**18))
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, tmp_path / "notes")
    monkeypatch.setattr(sync_plan, "sha256_file", lambda path: pytest.fail("it was read"))
    generation = searcher.index.generation
    assert sync(searcher, tmp_path / "notes").unchanged == 1 and searcher.index.generation == generation


def test_a_change_within_the_resolution_of_the_clock_is_seen(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    file = tmp_path / "notes" / "a.md"
    file.write_text("one cat")
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, tmp_path / "notes")
    status = file.stat()
    file.write_text("two dog")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sync(searcher, tmp_path / "notes").changed == 1
    assert searcher.index.get("a.md").text == "two dog"  # type: ignore[union-attr]


def test_what_an_index_was_built_of_is_not_encoded_again(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for n in range(3):
        (tmp_path / "notes" / f"{n}.md").write_text(text(n))
    searcher = Searcher.build([tmp_path / "notes"], tmp_path / "i", vocabulary=loaded, show_progress=False)
    done = sync(searcher, tmp_path / "notes")
    assert (done.unchanged, done.new, done.same, done.added, done.replaced) == (3, 0, 0, 0, 0)
    (tmp_path / "notes" / "1.md").unlink()
    assert sync(searcher, tmp_path / "notes").deleted == 1 and list(searcher.index.ids) == ["0.md", "2.md"]


def test_sources_that_are_synced_one_by_one_leave_each_other_alone(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.md").write_text(text(len(name)))
    (tmp_path / "two" / "one.md").write_text("Another note of the same name.")
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, tmp_path / "one")
    done = sync(searcher, tmp_path / "two")
    assert done.vanished == 0 and done.read.skipped == 1
    assert "'one.md'" in done.read.messages[0] and sorted(searcher.index.ids) == ["by hand", "one.md", "two.md"]
    together = sync(searcher, tmp_path / "one", tmp_path / "two")
    assert together.deleted == 2
    assert sorted(searcher.index.ids) == ["by hand", "one/one.md", "two/one.md", "two/two.md"]


def test_tables_are_replaced_record_by_record(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    file = tmp_path / "tickets.jsonl"
    records = [{"_id": f"t{n}", "text": text(n)} for n in range(5)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    searcher = empty_index(tmp_path / "i", loaded)
    assert sync(searcher, file).added == 5
    records[1]["text"] = "Something else."
    file.write_text("".join(json.dumps(record) + "\n" for record in [*records[:4], {"_id": "t9", "text": text(9)}]))
    done = sync(searcher, file)
    assert (done.changed, done.same, done.replaced, done.added, done.deleted) == (1, 3, 1, 1, 1)
    assert sorted(searcher.index.ids) == ["by hand", "t0", "t1", "t2", "t3", "t9"]
    file.unlink()
    with pytest.raises(CorpusError, match="does not exist"):
        sync(searcher, file)


def test_records_without_ids_keep_their_numbers(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "a.csv").write_text("text\none cat\ntwo dogs\n")
    (folder / "b.csv").write_text("text\nthree ships\n")
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, folder)
    assert sorted(searcher.index.ids) == ["1", "2", "3", "by hand"]
    (folder / "a.csv").write_text("text\none cat\ntwo dogs and a bird\n")
    done = sync(searcher, folder)
    assert (done.same, done.replaced, done.added, done.deleted) == (1, 1, 0, 0)
    assert searcher.index.get("2").text == "two dogs and a bird"  # type: ignore[union-attr]


def test_a_file_that_cannot_be_read_keeps_its_documents(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(3):
        (notes / f"{n}.md").write_text(text(n))
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, notes)
    (notes / "0.md").unlink()
    (notes / "0.md").symlink_to(tmp_path / "nowhere")
    (notes / "1.md").write_text("")
    (notes / "3.md").write_text(text(3))
    done = sync(searcher, notes)
    assert done.read.reasons == {"broken link": 1, "empty": 1}
    assert sorted(searcher.index.ids) == ["0.md", "2.md", "3.md", "by hand"]
    (notes / "0.md").unlink()
    assert sync(searcher, notes).deleted == 1


def test_patterns_mean_what_they_match(loaded: LatentTermEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("a.md", "b.txt"):
        (notes / name).write_text(text(len(name)))
    monkeypatch.chdir(tmp_path)
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, Path("notes/*.md"))
    assert sync(searcher, Path("notes/*.txt")).vanished == 0 and len(searcher) == 3
    (notes / "a.md").unlink()
    (notes / "c.md").write_text(text(8))
    assert sync(searcher, Path("notes/*.md")).deleted == 1


CHANGES = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "move", "touch", "empty"]), st.integers(0, 7), st.integers(0, 99)),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(CHANGES, min_size=1, max_size=3))
def test_any_changes_equal_a_fresh_build(
    steps: list[list[tuple[str, int, int]]], loaded: LatentTermEncoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("sync")
    notes = place / "notes"
    notes.mkdir()
    (notes / "always.md").write_text("It is there.")
    searcher = empty_index(place / "i", loaded)
    for changes in steps:
        for kind, number, seed in changes:
            file = notes / f"{number}.md"
            if kind == "write":
                file.write_text(text(seed))
            elif kind == "empty":
                file.write_text("")
            elif file.exists():
                {"remove": file.unlink, "touch": file.touch}.get(kind, lambda: file.rename(notes / f"{seed % 8}.md"))()  # noqa: B023
        sync(searcher, notes)
        assert_equals_fresh_build(searcher, place, notes)
    searcher.index.verify()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="processes are not forked here")
def test_fifty_kills_at_random_moments(loaded: LatentTermEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "SECONDS_PER_COMMIT", 0.0)
    notes, dice = tmp_path / "notes", random.Random(4)
    notes.mkdir()
    searcher = empty_index(tmp_path / "i", loaded)
    killed = 0
    for _ in range(50):
        for _ in range(6):
            file = notes / f"{dice.randrange(40)}.md"
            file.write_text(text(dice.randrange(1000))) if dice.random() < 0.8 else file.unlink(missing_ok=True)
        (notes / "always.md").write_text("It is there.")
        child = os.fork()
        if child == 0:
            try:
                sync(searcher, notes)
            finally:
                os._exit(0)
        time.sleep(dice.random() * 0.15)
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        BM25Index.open(tmp_path / "i", verify=True)
    assert killed > 5
    sync(searcher, notes)
    assert_equals_fresh_build(searcher, tmp_path, notes)


def test_a_sync_waits_for_another_writer(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(text(1))
    searcher = empty_index(tmp_path / "i", loaded)
    other = BM25Index.writer(tmp_path / "i")
    with pytest.raises(StorageError, match="by another writer"):
        sync(searcher, tmp_path / "notes")
    threading.Timer(0.3, other.rollback).start()
    assert sync(searcher, tmp_path / "notes", wait=20.0).added == 1


def test_a_damaged_table_of_files_is_named(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(text(1))
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, tmp_path / "notes")
    (table,) = (tmp_path / "i" / "files").iterdir()
    data = bytearray(table.read_bytes())
    data[10] ^= 1
    table.write_bytes(bytes(data))
    for broken in (lambda: sync(searcher, tmp_path / "notes"), lambda: BM25Index.open(tmp_path / "i", verify=True)):
        with pytest.raises(IndexFormatError, match=f"{table.name} is damaged"):
            broken()


def test_a_static_searcher_cannot_sync(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    empty_index(tmp_path / "i", loaded)
    with pytest.raises(ArgumentError, match="without static"):
        sync(Searcher.open(tmp_path / "i", static=True), tmp_path)


def test_fields_that_an_index_does_not_keep_change_nothing(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"_id": "a", "text": "A cat.", "year": 2020}) + "\n")
    searcher = Searcher.build([file], tmp_path / "i", vocabulary=loaded, store_fields=False, show_progress=False)
    assert (sync(searcher, file).same, len(searcher)) == (1, 1)


def test_a_field_that_changed_replaces_its_document(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "tickets.jsonl"
    records = [{"_id": f"t{n}", "text": text(n), "year": 2020 + n, "tags": ["a", "b"]} for n in range(3)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    searcher = empty_index(tmp_path / "i", loaded)
    assert sync(searcher, file).added == 3
    records[1]["year"] = 1999
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = sync(searcher, file)
    assert (done.replaced, done.same) == (1, 2)
    assert searcher.index.get("t1").fields["year"] == 1999  # type: ignore[union-attr]


def jsonl(path: Path, **records: int) -> None:
    """A table of records: ids, and seeds of their texts."""
    path.write_text("".join(json.dumps({"_id": name, "text": text(seed)}) + "\n" for name, seed in records.items()))


def test_records_that_move_between_tables_stay(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    a, b = tables / "a.jsonl", tables / "b.jsonl"
    jsonl(a, r1=1, r2=2)
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, tables)
    a.rename(b)
    moved = sync(searcher, tables)
    assert (moved.new, moved.vanished, moved.same, moved.added, moved.deleted) == (1, 1, 2, 0, 0)
    jsonl(a, r1=1)
    jsonl(b, r2=2, r3=3)
    assert sync(searcher, tables).read.skipped == 0
    assert sorted(searcher.index.ids) == ["by hand", "r1", "r2", "r3"]
    jsonl(a, r1=1, r2=2, r3=3)
    jsonl(b, r4=4)
    sync(searcher, tables)
    assert sorted(searcher.index.ids) == ["by hand", "r1", "r2", "r3", "r4"]
    jsonl(a, r4=4)
    jsonl(b, r1=1, r2=2, r3=3)
    assert (sync(searcher, tables).deleted, len(searcher)) == (0, 5)
    time.sleep(0.01)
    assert sync(searcher, tables).unchanged == 2
    jsonl(b, r1=1)
    assert sync(searcher, tables).deleted == 2 and sorted(searcher.index.ids) == ["by hand", "r1", "r4"]


def test_records_without_ids_of_an_index_are_known_again(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text\none cat\ntwo dogs\nthree ships\n")
    searcher = Searcher.build([file], tmp_path / "i", vocabulary=loaded, show_progress=False)
    first = sync(searcher, file)
    assert (first.same, first.added, len(searcher)) == (3, 0, 3)
    file.write_text("text\none cat\nthree ships\n")
    assert sync(searcher, file).deleted == 1
    assert sorted(document.text for document in searcher.index) == ["one cat", "three ships"]


def test_files_of_one_size_and_time_that_change_places(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, content in {"a.md": "one cat", "b.md": "two dog"}.items():
        (notes / name).write_text(content)
        os.utime(notes / name, ns=(10**18, 10**18))
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, notes)
    (notes / "a.md").rename(notes / "x")
    (notes / "b.md").rename(notes / "a.md")
    (notes / "x").rename(notes / "b.md")
    assert sync(searcher, notes).changed == 2
    assert searcher.index.get("a.md").text == "two dog"  # type: ignore[union-attr]


def test_a_file_that_changes_while_it_is_read_is_read_again(
    loaded: LatentTermEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("one cat")
    searcher = empty_index(tmp_path / "i", loaded)
    plan = syncing.plan_sync

    def planned(*given: object, **options: object) -> sync_plan.SyncPlan:
        made = plan(*given, **options)  # type: ignore[arg-type]
        (notes / "a.md").write_text("two dog")
        return made

    monkeypatch.setattr(syncing, "plan_sync", planned)
    sync(searcher, notes)
    monkeypatch.setattr(syncing, "plan_sync", plan)
    (notes / "a.md").write_text("one cat")
    sync(searcher, notes)
    assert searcher.index.get("a.md").text == "one cat"  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_a_folder_is_named(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("one cat")
    os.mkfifo(notes / "b.md")
    searcher = empty_index(tmp_path / "i", loaded)
    assert sync(searcher, notes).read.reasons == {"no regular file": 1} and "a.md" in searcher


def test_a_file_whose_name_another_folder_has_is_not_deleted(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "z.md").write_text(f"The cat of {folder.name}.")
    searcher = empty_index(tmp_path / "i", loaded)
    sync(searcher, one, two)
    sync(searcher, one)
    done = sync(searcher, two)
    assert (done.deleted, done.read.skipped) == (0, 1)
    assert sorted(searcher.index.ids) == ["by hand", "two/z.md", "z.md"]


def test_what_vanished_between_a_build_and_the_first_sync_is_deleted(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(3):
        (notes / f"{n}.md").write_text(text(n))
    searcher = Searcher.build([notes], tmp_path / "i", vocabulary=loaded, show_progress=False)
    assert set(searcher.index.files()) == {"0.md", "1.md", "2.md"}
    (notes / "1.md").unlink()
    (notes / "2.md").rename(notes / "3.md")
    done = sync(searcher, notes)
    assert (done.new, done.vanished, done.deleted) == (1, 2, 2) and list(searcher.index.ids) == ["0.md", "3.md"]
    searcher.delete("0.md")
    assert sync(searcher, notes).added == 1 and "0.md" in searcher  # a folder's file belongs to its index


def test_values_are_read_as_the_index_has_them(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("---\nyear: 2020\nday: 2024-01-02\n---\nA cat.")
    read = ReadOptions(field_type=("day=datetime",))
    searcher = Searcher.build([notes], tmp_path / "i", vocabulary=loaded, read=read, show_progress=False)
    (notes / "b.md").write_text("---\nyear: MMXX\nday: 2024-01-03\n---\nA dog.")
    done = sync(searcher, notes)
    assert done.added == 1 and "year" in done.read.notes[0]
    assert set(searcher.index.get("b.md").fields) == {"day"}  # type: ignore[union-attr]
