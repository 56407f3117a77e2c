from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, Disk, assert_same_as_reference, documents_of, stack, weights_of

from lexite.errors import IndexFormatError, StorageError
from lexite.index import BM25Index, IndexWriter, VocabularyInfo, check_index_folder

FIRST, SECOND = [f"a{i}" for i in range(12)], [f"b{i}" for i in range(12)]


def build(path: Path) -> None:
    with BM25Index.create(path, VOCABULARY, segment_postings=40) as writer:
        writer.add(documents_of(FIRST), weights_of(12, 1))
        writer.commit()


def change(writer: IndexWriter) -> None:
    writer.add(documents_of(SECOND[:6]), weights_of(6, 2))
    writer.replace(documents_of(FIRST[2:4]), weights_of(2, 3))
    writer.delete([FIRST[0], SECOND[1]])
    writer.add(documents_of(SECOND[6:]), weights_of(6, 4))


def state_before() -> tuple[list[str], Any]:
    return FIRST, weights_of(12, 1)


def state_after() -> tuple[list[str], Any]:
    ids = [FIRST[1], *FIRST[4:], SECOND[0], *SECOND[2:6], *FIRST[2:4], *SECOND[6:]]
    kept = weights_of(12, 1)[[1, *range(4, 12)]]
    return ids, stack([kept, weights_of(6, 2)[[0, 2, 3, 4, 5]], weights_of(2, 3), weights_of(6, 4)])


def files_of(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_whatever_fails_the_last_commit_is_there(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with BM25Index.create(path, VOCABULARY) as writer:
        writer.add(documents_of(FIRST), weights_of(12, 1))
        writer.commit()
    shutil.copytree(path, tmp_path / "base")
    failures = commits_despite_failure = 0
    for fail_at in range(1, 500):
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "base", path)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(fail_at, patch)
            try:
                with BM25Index.writer(path, segment_postings=100) as writer:
                    change(writer)
                    writer.merge()
            except StorageError as error:
                failures += 1
                assert "disk is full" in str(error)
        index = BM25Index.open(path, verify=True)
        committed = "b0" in index
        assert_same_as_reference(index, *(state_after() if committed else state_before()), ALL_SCORINGS[:1])
        commits_despite_failure += committed and disk.left <= 0
        with BM25Index.writer(path) as writer:  # the retry
            if not committed:
                change(writer)
            writer.merge()
        index = BM25Index.open(path, verify=True)
        assert_same_as_reference(index, *state_after(), ALL_SCORINGS[:1])
        assert len([file for file in files_of(path) if file.startswith("segments")]) == 15
        if disk.left > 0:
            break
    assert failures >= 40 and commits_despite_failure >= 5 and disk.left > 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system which file a descriptor is of")
def test_files_are_on_the_disk_before_the_commit_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[str] = set()
    commits: list[int] = []
    replace = os.replace

    def checked_replace(old: Path, new: Path) -> None:
        assert Path(new).name == "index.json" and str(old) in flushed
        segments = json.loads(Path(old).read_text())["segments"]
        for segment in segments:
            folder = tmp_path / "index" / "segments" / segment["name"]
            assert {str(folder), str(folder.parent), *(str(folder / name) for name in segment["files"])} <= flushed
        commits.append(len(segments))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", checked_replace)
    build(tmp_path / "index")
    with BM25Index.writer(tmp_path / "index", segment_postings=40) as writer:
        change(writer)
        writer.merge()
    assert len(commits) >= 3 and commits[-1] == 1 and str(tmp_path / "index") in flushed


def test_a_full_disk_while_building_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with pytest.MonkeyPatch.context() as patch:
        Disk(9, patch)
        with pytest.raises(StorageError, match="disk is full"):
            build(path)
    assert files_of(path) == {"write.lock"} and check_index_folder(path) == path
    with pytest.raises(IndexFormatError, match="stopped before the first commit"):
        BM25Index.open(path)
    build(path)
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before())


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are a POSIX matter")
def test_a_real_limit_of_file_sizes(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "index"
    build(path)
    before = files_of(path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = [f"m{i}" for i in range(3000)]
    weights = weights_of(3000, 5, 0.5)
    try:
        with pytest.raises(StorageError, match="limit"), BM25Index.writer(path) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, old[1]))
            writer.add(documents_of(many), weights)
            writer.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])
    assert files_of(path) == before


def test_a_merge_without_space_leaves_the_commit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "index"
    with pytest.MonkeyPatch.context() as patch, BM25Index.create(path, VOCABULARY, segment_postings=1) as writer:
        writer.add(documents_of(FIRST), weights_of(12, 1))

        def full(*_: object, **__: object) -> None:
            raise StorageError("Cannot write x: the disk is full.")

        patch.setattr("lexite.index.growing_segments.merge_segments", full)
        writer.commit()
        assert "could not be merged. Cannot write x" in caplog.text
        with pytest.raises(StorageError, match="disk is full"):
            writer.merge()
        patch.undo()
        assert BM25Index.open(path).info()["n_segments"] == 12
        writer.commit()
    index = BM25Index.open(path, verify=True)
    assert index.info()["n_segments"] == 1
    assert_same_as_reference(index, *state_before())


def test_a_writer_that_failed_is_of_no_more_use(tmp_path: Path) -> None:
    build(tmp_path / "index")
    with BM25Index.writer(tmp_path / "index") as writer:
        with pytest.MonkeyPatch.context() as patch:
            Disk(3, patch)
            with pytest.raises(StorageError, match="disk is full"):
                change(writer)
                writer.commit()
        with pytest.raises(StorageError, match="last commit is intact"):
            writer.commit()
    assert_same_as_reference(BM25Index.open(tmp_path / "index", verify=True), *state_before(), ALL_SCORINGS[:1])


def test_leaving_without_a_commit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    before = files_of(path)
    with BM25Index.writer(path, segment_postings=40) as writer:
        change(writer)
    with pytest.raises(RuntimeError, match="mine"), BM25Index.writer(path, segment_postings=40) as writer:
        change(writer)
        raise RuntimeError("mine")
    assert files_of(path) == before
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])


def test_a_build_killed_in_its_first_commit_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    (path / "index.json").rename(path / ".index.json.4242.tmp")
    build(path)
    assert not list(path.glob(".index*"))
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])


def test_an_index_is_replaced_by_the_first_commit_only(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    with pytest.raises(StorageError, match="overwrite=True"):
        BM25Index.create(path, VOCABULARY)
    other = VocabularyInfo("e" * 64, "other", VOCABULARY.n_terms)
    with BM25Index.create(path, other, overwrite=True, segment_postings=40) as writer:
        writer.add(documents_of(SECOND), weights_of(12, 8))
        assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])
    with BM25Index.create(path, other, overwrite=True, segment_postings=40) as writer:
        writer.add(documents_of(SECOND), weights_of(12, 8))
        writer.commit()
    index = BM25Index.open(path, verify=True)
    assert_same_as_reference(index, SECOND, weights_of(12, 8), ALL_SCORINGS[:1])
    assert index.vocabulary == other and index.info()["generation"] == 2
    assert len({Path(file).parts[1] for file in files_of(path) if file.startswith("segments")}) == index.info()["n_segments"]


def test_a_damaged_index_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    (path / "index.json").write_text("{")
    before = files_of(path)
    with BM25Index.create(path, VOCABULARY, overwrite=True):
        pass
    assert files_of(path) == before
    with BM25Index.create(path, VOCABULARY, overwrite=True) as writer:
        writer.add(documents_of(FIRST), weights_of(12, 1))
        writer.commit()
    assert_same_as_reference(BM25Index.open(path, verify=True), *state_before(), ALL_SCORINGS[:1])


def test_folders_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="not written by this command"):
        BM25Index.create(tmp_path, VOCABULARY, overwrite=True)
    with pytest.raises(StorageError, match="is a file"):
        BM25Index.create(tmp_path / "notes.txt", VOCABULARY)
    with pytest.raises(IndexFormatError, match="no index.json"):
        BM25Index.writer(tmp_path)
    with pytest.raises(IndexFormatError, match="does not exist"):
        BM25Index.open(tmp_path / "nowhere")
    assert files_of(tmp_path) == {"notes.txt"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        BM25Index.create(tmp_path / "index", VOCABULARY)
    tmp_path.chmod(0o700)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    with BM25Index.writer(path):
        with pytest.raises(StorageError, match="written by another writer of this process, which was not closed"):
            BM25Index.writer(path)
        with pytest.raises(StorageError, match="another writer"):
            BM25Index.create(path, VOCABULARY, overwrite=True)
        assert len(BM25Index.open(path)) == 12
    with BM25Index.writer(path, vocabulary=VOCABULARY.fingerprint):
        pass


def test_the_message_names_the_process_that_writes(tmp_path: Path) -> None:
    build(tmp_path / "index")
    program = (
        "import sys; from lexite.index import BM25Index; w = BM25Index.writer(sys.argv[1]); print('ready', flush=True); input()"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "index")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(StorageError, match=rf"written by another process \(process {other.pid}\)"):
            BM25Index.writer(tmp_path / "index")
        other.communicate("\n", timeout=60)
    with BM25Index.writer(tmp_path / "index"):
        pass


def test_the_lock_is_given_back_when_opening_fails(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build(path)
    with pytest.raises(IndexFormatError, match="vocabulary 'test'"):
        BM25Index.writer(path, vocabulary="d" * 64)
    lengths = next(path.rglob("lengths.npy"))
    content = lengths.read_bytes()
    lengths.write_bytes(content[:-1])
    with pytest.raises(IndexFormatError, match=r"lengths\.npy is damaged"):
        BM25Index.writer(path)
    lengths.write_bytes(content)
    with BM25Index.writer(path) as writer:
        writer.delete(FIRST[:1])


@contextmanager
def committed_while_opening(path: Path) -> Iterator[None]:
    """A writer that commits, and removes old segments, between a reader's two steps."""
    import lexite.index.opening as module

    with pytest.MonkeyPatch.context() as patch:
        original, calls = module.read_commit, []

        def read_then_change(folder: Path) -> Any:
            commit = original(folder)
            if not calls:
                calls.append(1)
                with BM25Index.writer(path) as writer:
                    change(writer)
                    writer.merge()
            return commit

        patch.setattr(module, "read_commit", read_then_change)
        yield


def test_opening_while_another_process_commits(tmp_path: Path) -> None:
    build(tmp_path / "index")
    with committed_while_opening(tmp_path / "index"):
        index = BM25Index.open(tmp_path / "index", verify=True)
    assert_same_as_reference(index, *state_after(), ALL_SCORINGS[:1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killing_the_writer_at_random_moments_loses_no_commit(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_worker.py")
    done = subprocess.run([sys.executable, str(program), str(tmp_path / "index"), "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["done"] == 8 and result["kills"] >= 3
