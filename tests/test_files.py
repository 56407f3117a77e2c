"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from lexite import files
from lexite.errors import CorpusError, ModelError, StorageError
from lexite.files import (
    atomic_write,
    check_output_folder,
    check_replaceable,
    read_json,
    replace_folder,
    sha256_file,
    sha256_once,
    storage_errors,
    write_json,
)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target, "w") as file:
        file.write("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_write_makes_the_folder_and_replaces_the_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.bin"
    for content in (b"one", b"two"):
        with atomic_write(target) as file:
            file.write(content)
        assert target.read_bytes() == content


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_errors_of_the_system_say_what_to_do(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=f"Cannot write here.*{words}"), storage_errors("here"):
        raise OSError(number, os.strerror(number))


def test_json_goes_round_and_damage_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}
    (tmp_path / "a.json").write_text('{"a": 1,\n')
    with pytest.raises(ModelError, match=r"a\.json, line 2: not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(CorpusError, match="does not exist"):
        read_json(tmp_path / "b.json", CorpusError)
    (tmp_path / "c.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"cannot be read: it is no text in UTF-8 \(byte 0\)"):
        read_json(tmp_path / "c.json")
    with pytest.raises(ModelError, match="is a folder, but must be a file"):
        read_json(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "d.json", float("nan"))
    assert not (tmp_path / "d.json").exists()


def test_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_file(tmp_path / "a") == expected
    monkeypatch.delattr(files.hashlib, "file_digest", raising=False)  # Python 3.10
    assert sha256_file(tmp_path / "a") == expected


def test_an_output_folder_may_be_new_or_empty(tmp_path: Path) -> None:
    assert check_output_folder(tmp_path / "new" / "deep", "m.json") == tmp_path / "new" / "deep"
    assert check_output_folder(tmp_path, "m.json") == tmp_path


def test_an_output_folder_must_not_hold_something_else(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(StorageError, match="overwrite=True"):
        check_output_folder(tmp_path, "m.json")
    assert check_output_folder(tmp_path, "m.json", overwrite=True)
    with pytest.raises(StorageError, match="not empty"):
        check_output_folder(tmp_path, "other.json", overwrite=True)
    with pytest.raises(StorageError, match="is a file, not a folder"):
        check_output_folder(tmp_path / "m.json", "m.json")
    with pytest.raises(StorageError, match="is a file, so"):
        check_output_folder(tmp_path / "m.json" / "deep", "m.json")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(StorageError, match="permission denied"):
        check_output_folder(tmp_path / "new", "m.json")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_swapped_in_whole(tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with replace_folder(target) as fresh:
            (fresh / content).write_text(content)
            assert not (target / content).exists()
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(RuntimeError), replace_folder(target) as fresh:
        (fresh / "three").write_text("")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_swap_that_fails_half_way_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("")
    replace, calls = os.replace, iter(range(9))

    def fail(source: Path, destination: Path) -> None:
        if next(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(StorageError), replace_folder(target) as fresh:
        (fresh / "new").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_what_a_kill_left_is_brought_back_or_removed(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (tmp_path / ".folder.old").mkdir()  # killed between the two renames
    (tmp_path / ".folder.old" / "whole").write_text("")
    for process in (2**22 + 1, os.getpid(), 1):  # gone, this one, one that runs
        (tmp_path / f".folder.{process}.new").mkdir()
    with pytest.raises(RuntimeError), replace_folder(target):
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.1.new", "folder"]
    assert (target / "whole").exists()
    (tmp_path / ".folder.old").mkdir()
    with replace_folder(target):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.1.new", "folder"]


def test_a_place_that_cannot_be_replaced_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_replaceable(tmp_path / "deep" / "new")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(files.os.path, "ismount", lambda path: True)
    with pytest.raises(StorageError, match="mount point"):
        check_replaceable(tmp_path)


def test_exchange_is_for_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.sys, "platform", "darwin")
    assert not files._exchange(tmp_path, tmp_path)


def test_a_checksum_is_computed_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "a", []

    def counted(name: str) -> str:
        read.append(name)
        return sha256_file(name)

    monkeypatch.setattr("lexite.files.sha256_file", counted)
    path.write_bytes(b"one")
    assert sha256_once(path) == sha256_once(path) == hashlib.sha256(b"one").hexdigest() and len(read) == 1
    path.write_bytes(b"other")
    assert sha256_once(path) == hashlib.sha256(b"other").hexdigest() and len(read) == 2
    replacement = tmp_path / "b"
    replacement.write_bytes(b"again")
    os.utime(replacement, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replacement.replace(path)  # of the same length and time
    assert sha256_once(path) == hashlib.sha256(b"again").hexdigest()
