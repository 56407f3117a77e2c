"""Writing files so that a crash, a full disk or a kill never leaves half of one.

A file is written beside its place, flushed to the disk and renamed. A folder that belongs together is written beside its
place and swapped in. Checksums are SHA-256 in hexadecimal.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import glob
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from lexite.errors import LexiteError, ModelError, StorageError

_MESSAGES = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EISDIR: "a folder is in the way; choose another name",
    errno.EFBIG: "the file would be larger than the file system or the user limit allows",
}


@contextlib.contextmanager
def storage_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the operating system's errors while writing ``path`` into a :class:`StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = _MESSAGES.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"Cannot write {path}: {reason}.") from error


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Makes renames inside ``path`` durable. Does nothing where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Opens a file for writing that appears under ``path`` whole, or not at all.

    Args:
        path: the final place. Its folder is created when missing.
        mode: ``"wb"`` or ``"w"`` (UTF-8, newlines as written).

    Raises:
        StorageError: the file cannot be written; what was at ``path`` before is still there.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    text = {"encoding": "utf-8", "newline": "\n"} if "b" not in mode else {}
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, mode, **text) as file:  # type: ignore[call-overload]
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            fsync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_json(path: str | os.PathLike[str], error: type[LexiteError] = ModelError) -> Any:
    """Reads a JSON file; raises ``error`` with the file's name and line when it is missing or damaged."""
    return parse_json(read_text(path, error), path, error)


def parse_json(text: str, path: str | os.PathLike[str], error: type[LexiteError] = ModelError) -> Any:
    """The value of a JSON file's text; raises as :func:`read_json` does."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise error(f"{path}, line {problem.lineno}: not valid JSON ({problem.msg}). The file is damaged.") from problem


def read_text(path: str | os.PathLike[str], error: type[LexiteError] = ModelError) -> str:
    """Reads a text file in UTF-8; raises ``error`` with the file's name when it is missing or cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder, but must be a file.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} cannot be read: it is no text in UTF-8 (byte {problem.start:,}).") from problem
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem}.") from problem


def json_checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 over a JSON object, whatever its layout. Its key ``sha256``, which holds the checksum, is left out."""
    kept = {key: item for key, item in value.items() if key != "sha256"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256_stream(file)


def sha256_once(path: str | os.PathLike[str]) -> str:
    """The same, computed once in a process as long as the file keeps its place, its length and its times."""
    facts = os.stat(path)
    return _sha256_of(os.path.abspath(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _sha256_of(path: str, *_: int) -> str:
    return sha256_file(path)


def _sha256_stream(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def check_output_folder(path: str | os.PathLike[str], marker: str, *, overwrite: bool = False) -> Path:
    """Refuses an output folder that holds something else, before any work is done.

    A folder is usable when it does not exist, is empty, or (with ``overwrite``) holds the file ``marker`` that shows that
    lexite wrote it.

    Args:
        path: the folder.
        marker: name of the file that every folder of this kind holds.
        overwrite: whether one of the same kind may be replaced.

    Raises:
        StorageError: it holds something else, is a file, or cannot be written to.
    """
    folder = Path(path)
    with storage_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder} is a file, not a folder. Choose another output folder.")
        if folder.is_dir() and any(folder.iterdir()):
            if not (folder / marker).exists():
                raise StorageError(f"{folder} is not empty and was not written by this command. Choose another output folder.")
            if not overwrite:
                raise StorageError(f"{folder} exists already. Choose another output folder, or replace it with overwrite=True.")
        _check_place(folder, [folder, *folder.absolute().parents])
    return folder


def check_output_file(
    path: str | os.PathLike[str], is_kind: Callable[[Path], bool], noun: str, *, overwrite: bool = False
) -> Path:
    """Refuses an output file in whose place something else is, before any work is done.

    Args:
        path: the file.
        is_kind: whether a file that is there is of the kind that would be written.
        noun: what that is called: ``"steering vector"``.
        overwrite: whether one of the same kind may be replaced.

    Raises:
        StorageError: it holds something else, is a folder, or cannot be written to.
    """
    file = Path(path)
    with storage_errors(file):
        if file.is_dir():
            raise StorageError(f"{file} is a folder. Name a file for the output.")
        if file.exists():
            if not (file.is_file() and is_kind(file)):
                raise StorageError(f"{file} is there already, and holds no {noun}. Choose another output file.")
            if not overwrite:
                raise StorageError(f"{file} exists already. Choose another output file, or replace it with overwrite=True.")
        _check_place(file, file.absolute().parents)
    return file


def _check_place(path: Path, folders: Sequence[Path]) -> None:
    """Refuses a place below which nothing can be made; raises :class:`StorageError`.

    Args:
        path: what is to be made.
        folders: where, the innermost first; the first that exists counts.
    """
    ancestor = next(each for each in folders if each.exists())
    if not ancestor.is_dir():
        raise StorageError(f"{ancestor} is a file, so {path} cannot be made. Choose another output folder.")
    if not os.access(ancestor, os.W_OK):
        raise StorageError(f"Cannot write {path}: permission denied; choose a folder that you may write to.")


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Makes sure, before long work, that :func:`replace_folder` will be able to put a folder at ``path``.

    Raises:
        StorageError: nothing can be made beside it, or it is a mount point, which cannot be replaced.
    """
    folder = Path(path).absolute()
    if os.path.ismount(folder):
        raise StorageError(f"{folder} is a mount point, which cannot be replaced as a whole. Name a folder inside it.")
    parent = next(p for p in folder.parents if p.exists())
    with storage_errors(folder), tempfile.TemporaryDirectory(prefix=".lexite-", dir=parent):
        pass


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step where the system can (Linux's renameat2); returns whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


@contextlib.contextmanager
def replace_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder beside ``path`` that takes its place when the block ends without an error.

    Linux exchanges the two in one step. Elsewhere the old folder is moved aside first and deleted last; if that is cut short,
    the next call brings it back.
    """
    target = Path(path).absolute()
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    aside = target.with_name(f".{target.name}.old")
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_up(target, aside)
            fresh.mkdir()
            yield fresh
            if target.exists() and not _exchange(fresh, target):
                _move_aside(fresh, target, aside)
            if not target.exists():
                os.replace(fresh, target)
            fsync_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _move_aside(fresh: Path, target: Path, aside: Path) -> None:
    """Replaces ``target`` by ``fresh`` in two steps; when the second fails, the first is taken back."""
    os.replace(target, aside)
    try:
        os.replace(fresh, target)
    except BaseException:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _clear_up(target: Path, aside: Path) -> None:
    """Brings back a folder that a kill left moved aside, and removes what killed processes left half written."""
    if aside.exists():
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(aside, target)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        number = left.name.split(".")[-2]
        if number == str(os.getpid()) or (number.isdigit() and not _is_running(int(number))):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; True where the system does not tell."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
