"""The static table on the disk: commits, merges, damage, killed writers, full disks, overwriting."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, Disk, assert_same_as_reference, documents_of, stack, weights_of
from helpers_static import assert_same_table, table_of

from lexite.errors import IndexFormatError, StorageError
from lexite.files import json_checksum
from lexite.index import BM25Index, IndexWriter, check_index_folder
from lexite.index.manifest import read_commit
from lexite.index.static import verify_static, write_static
from lexite.terms import EncodedQueries

IDS = [f"a{i}" for i in range(12)]
SCORINGS = ALL_SCORINGS[:1]


def build(path: Path, seed: int = 1) -> Path:
    with BM25Index.create(path, VOCABULARY, segment_postings=60) as writer:
        writer.add(documents_of(IDS), weights_of(12, 1))
        writer.set_static(table_of(seed))
        writer.commit()
    return path


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    return build(tmp_path / "index")


def static_files(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "static").iterdir())


def signed(value: dict) -> str:
    value = {key: entry for key, entry in value.items() if key != "sha256"}
    return json.dumps({**value, "sha256": json_checksum(value)})


def test_a_table_comes_back_and_finds_documents(index_path: Path) -> None:
    index = BM25Index.open(index_path, verify=True)
    assert_same_table(index.static(), table_of(1))
    assert index.static() is index.static(), "it is read once"
    assert static_files(index_path) == ["static-00000001.safetensors", "tokenizer-00000001.json"]
    table = index.static()
    rows = table.encode(["red blue red", "nothing known"])
    np.testing.assert_array_equal(rows.toarray()[0], (table_of(1).weights.toarray())[[1, 3, 1]].sum(0))
    first, second = index.search(EncodedQueries(rows))
    assert first and not second
    info = index.info()
    assert info["static_table"] is True and info["n_pieces_used"] == 5
    on_disk = {file: file.stat().st_size for file in index_path.rglob("*") if file.is_file() and file.parent != index_path}
    assert info["bytes_static"] == sum(size for file, size in on_disk.items() if file.parent.name == "static") > 0
    assert info["bytes_total"] == sum(on_disk.values())


def test_an_index_without_a_table(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        assert writer.static() is None
        writer.add(documents_of("ab"), weights_of(2, 1))
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    assert index.static() is None and not (tmp_path / "i" / "static").exists()
    info = index.info()
    assert (info["static_table"], info["bytes_static"]) == (False, 0) and "n_pieces_used" not in info
    assert BM25Index.in_memory(weights_of(2, 1), ["a", "b"]).static() is None


def test_a_commit_before_there_were_tables_is_read(index_path: Path) -> None:
    value = json.loads((index_path / "index.json").read_text())
    del value["static"]
    (index_path / "index.json").write_text(signed(value))
    assert BM25Index.open(index_path, verify=True).static() is None
    with BM25Index.writer(index_path) as writer:
        assert not (index_path / "static").exists(), "no commit names it"
        writer.set_static(table_of(2))
        writer.commit()
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(2))


def test_set_static_waits_for_the_commit(index_path: Path) -> None:
    with BM25Index.writer(index_path) as writer:
        assert_same_table(writer.static(), table_of(1))
        writer.set_static(table_of(2))
        assert_same_table(writer.static(), table_of(2))
        assert_same_table(BM25Index.open(index_path).static(), table_of(1))
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(1))
    with BM25Index.writer(index_path) as writer:
        writer.set_static(table_of(2))
        writer.commit()
        assert_same_table(writer.static(), table_of(2))
        assert static_files(index_path) == ["static-00000002.safetensors", "tokenizer-00000002.json"]
        writer.set_static(None)
        assert writer.static() is None
        assert_same_table(BM25Index.open(index_path).static(), table_of(2))
        writer.commit()
    assert BM25Index.open(index_path, verify=True).static() is None and not (index_path / "static").exists()
    with pytest.raises(StorageError, match="failed or was closed"):
        writer.set_static(None)


def test_a_table_is_written_once(index_path: Path) -> None:
    with BM25Index.writer(index_path) as writer:
        writer.set_static(table_of(2))
        writer.commit()
        written = static_files(index_path)
        writer.add(documents_of(["b"]), weights_of(1, 3))
        writer.commit()
        assert static_files(index_path) == written
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(2))


def test_what_a_failed_commit_left_is_written_over(index_path: Path) -> None:
    (index_path / "static" / "tokenizer-00000009.json").write_bytes(b"left behind")
    record = write_static(index_path, 9, table_of(2))
    verify_static(index_path, record)
    assert record.n_pieces_used == 5


def test_a_table_of_other_terms_is_refused(index_path: Path) -> None:
    with BM25Index.writer(index_path) as writer:
        with pytest.raises(IndexFormatError, match="gives 39 terms, but the index has 40 latent terms"):
            writer.set_static(table_of(1, 39))
        writer.commit()
    assert_same_table(BM25Index.open(index_path).static(), table_of(1))


def test_changes_and_merges_keep_the_table(index_path: Path) -> None:
    before = static_files(index_path)
    with BM25Index.writer(index_path) as writer:
        writer.delete(IDS[:7])
        writer.commit()
        writer.add(documents_of(["b"]), weights_of(1, 3))
        writer.merge()
    assert static_files(index_path) == before, "nothing was written anew"
    index = BM25Index.open(index_path, verify=True)
    assert index.n_segments == 1
    assert_same_table(index.static(), table_of(1))
    assert_same_as_reference(index, [*IDS[7:], "b"], stack([weights_of(12, 1)[7:], weights_of(1, 3)]), SCORINGS)
    with BM25Index.writer(index_path) as writer:
        writer.set_static(table_of(4))
        writer.merge()
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(4))


def test_readers_keep_the_table_that_they_opened(index_path: Path) -> None:
    before = BM25Index.open(index_path)
    with BM25Index.writer(index_path) as writer:
        writer.set_static(table_of(2))
        writer.commit()
    assert_same_table(before.static(), table_of(1))
    assert_same_table(BM25Index.open(index_path).static(), table_of(2))
    with pytest.raises(IndexFormatError, match="was changed since it was opened"):
        before.verify()


def test_damaged_and_missing_files_are_named(index_path: Path) -> None:
    for name in static_files(index_path):
        file = index_path / "static" / name
        content = file.read_bytes()
        for place in {0, 9, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 0x10
            file.write_bytes(changed)
            index = BM25Index.open(index_path)
            assert index.search(EncodedQueries(weights_of(1, 1))), "queries of the model need no table"
            for refused in (index.static, index.verify):
                with pytest.raises(IndexFormatError, match=rf"{name} is damaged: its checksum is wrong"):
                    refused()
            with BM25Index.writer(index_path) as writer, pytest.raises(IndexFormatError, match=name):
                writer.static()
        for change in (content[:-1], content + b"\0", b""):
            file.write_bytes(change)
            with pytest.raises(IndexFormatError, match=rf"{name} is damaged: it has"):
                BM25Index.open(index_path)
        file.unlink()
        with pytest.raises(IndexFormatError, match=rf"{name} is missing"):
            BM25Index.open(index_path)
        file.write_bytes(content)
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"\x02\0\0\0\0\0\0\0{}", "has format version None"),
        (table_of(1, 39).to_bytes(), "gives 39 terms, but the index has 40"),
        (table_of(1).to_bytes().replace(b'"format_version":"1"', b'"format_version":"7"'), "has format version 7"),
    ],
)
def test_what_was_never_a_table_of_this_index(index_path: Path, content: bytes, said: str) -> None:
    """Files whose checksums are right, but whose contents are not."""
    import hashlib

    file = index_path / "static" / "static-00000001.safetensors"
    file.write_bytes(content)
    value = json.loads((index_path / "index.json").read_text())
    value["static"]["files"][file.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (index_path / "index.json").write_text(signed(value))
    index = BM25Index.open(index_path, verify=True)
    with pytest.raises(IndexFormatError, match=said):
        index.static()


def test_a_damaged_commit_point(index_path: Path) -> None:
    original = (index_path / "index.json").read_text()
    value = json.loads(original)
    static = value["static"]
    cases = {
        signed({**value, "static": {**static, "files": {}}}): "static-00000001.safetensors is not listed by the commit point",
        signed({**value, "static": {**static, "generation": 7}}): "static-00000007.safetensors is not listed",
        signed({**value, "static": {**static, "files": {"../x.json": {"bytes": 1, "sha256": ""}}}}): "it names '../x.json'",
        signed({**value, "static": {"generation": 1}}): "is damaged",
        signed({**value, "static": {**static, "more": 1}}): "is damaged",
    }
    for text, message in cases.items():
        (index_path / "index.json").write_text(text)
        with pytest.raises(IndexFormatError, match=message):
            BM25Index.open(index_path)
    (index_path / "index.json").write_text(original)
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(1))


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[2]]
import lexite.index.writer
from helpers_static import table_of
lexite.index.writer.write_commit = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
with lexite.index.BM25Index.writer(sys.argv[1]) as writer:
    writer.set_static(table_of(2))
    writer.commit()
"""


@pytest.mark.skipif(os.name == "nt", reason="kills as Unix does")
def test_a_killed_writer_leaves_the_old_table(index_path: Path) -> None:
    before = static_files(index_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(index_path), str(Path(__file__).parent)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(static_files(index_path)) == 4, "it was killed between the table and the commit"
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(1))
    with BM25Index.writer(index_path) as writer:
        assert static_files(index_path) == before
        writer.set_static(table_of(3))
        writer.commit()
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(3))


def test_whatever_fails_the_last_commit_is_there(index_path: Path, tmp_path: Path) -> None:
    shutil.copytree(index_path, tmp_path / "base")

    def change(writer: IndexWriter) -> None:
        writer.replace(documents_of(["b"]), weights_of(1, 3))
        writer.set_static(table_of(2))
        writer.commit()

    failures = 0
    for fail_at in range(1, 200):
        shutil.rmtree(index_path)
        shutil.copytree(tmp_path / "base", index_path)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(fail_at, patch)
            try:
                with BM25Index.writer(index_path) as writer:
                    change(writer)
            except StorageError as error:
                failures += 1
                assert "disk is full" in str(error)
        index = BM25Index.open(index_path, verify=True)
        assert_same_table(index.static(), table_of(2 if "b" in index else 1))
        with BM25Index.writer(index_path) as writer:  # the retry
            change(writer)
        assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(2))
        assert len(static_files(index_path)) == 2
        if disk.left > 0:
            break
    assert failures >= 10 and disk.left > 0


def test_overwriting_with_and_without_a_table(index_path: Path) -> None:
    with BM25Index.create(index_path, VOCABULARY, overwrite=True) as writer:
        assert writer.static() is None
        writer.add(documents_of("ab"), weights_of(2, 1))
        assert_same_table(BM25Index.open(index_path).static(), table_of(1))
        writer.commit()
    assert BM25Index.open(index_path, verify=True).static() is None and not (index_path / "static").exists()
    with BM25Index.create(index_path, VOCABULARY, overwrite=True) as writer:
        writer.set_static(table_of(5))
        writer.commit()
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(5))


def test_a_damaged_index_is_not_touched_before_its_successor_is_there(index_path: Path) -> None:
    commit = (index_path / "index.json").read_bytes()
    (index_path / "index.json").write_bytes(b"{")
    with BM25Index.create(index_path, VOCABULARY, overwrite=True) as writer:
        writer.set_static(table_of(2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lexite.index.writer.write_commit", lambda *args: (_ for _ in ()).throw(StorageError("full")))
            with pytest.raises(StorageError, match="full"):
                writer.commit()
    (index_path / "index.json").write_bytes(commit)  # somebody mends it
    assert_same_table(BM25Index.open(index_path, verify=True).static(), table_of(1))


def test_a_build_that_was_stopped_may_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with BM25Index.create(path, VOCABULARY) as writer:
        writer.set_static(table_of(1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lexite.index.writer.write_commit", lambda *args: (_ for _ in ()).throw(StorageError("full")))
            with pytest.raises(StorageError, match="full"):
                writer.commit()
    (path / "static").mkdir(exist_ok=True)
    (path / "static" / "static-00000001.safetensors").write_bytes(b"left behind")
    assert check_index_folder(path) == path
    build(path)
    assert read_commit(path).static is not None
    assert_same_table(BM25Index.open(path, verify=True).static(), table_of(1))


def test_a_table_of_largest_values_comes_back(tmp_path: Path) -> None:
    table = dataclasses.replace(table_of(1), pooling="max", window=3, special_tokens=True)
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.set_static(table)
        writer.commit()
    stored = BM25Index.open(tmp_path / "i").static()
    assert_same_table(stored, table)
    assert stored.encode([]).shape == (0, N_TERMS)


def test_describing_an_index_with_a_table_loads_no_scipy(index_path: Path) -> None:
    code = (
        "import sys\nfrom lexite.index import BM25Index\n"
        f"assert BM25Index.open({str(index_path)!r}, verify=True).info()['n_pieces_used'] == 5\n"
        "assert not {'scipy', 'torch', 'tokenizers', 'safetensors'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
