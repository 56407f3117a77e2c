"""One writer at a time: a lock on a file. The operating system releases it when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from lexite.errors import StorageError
from lexite.files import storage_errors

LOCK_NAME = "write.lock"
ASK_AGAIN = 0.1  # seconds between two tries

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Locks one byte far behind the process number, which stays readable for others.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Busy(StorageError):
    """Another writer holds the lock."""


class WriterLock:
    """Holds the lock of a folder, such as an index, until :meth:`release`.

    Args:
        folder: it must exist.
        wait: seconds to wait for another writer.
        name: of the file.

    Raises:
        Busy: another writer holds it all the while.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, wait: float = 0.0, name: str = LOCK_NAME) -> None:
        path = folder / name
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + wait
        try:
            while True:
                try:
                    _lock(descriptor)
                    break
                except OSError:
                    if time.monotonic() >= until:
                        raise Busy(_busy(folder, _holder(descriptor), wait)) from None
                time.sleep(min(ASK_AGAIN, max(until - time.monotonic(), 0.0)))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor: int | None = descriptor
        self._process = os.getpid()
        with contextlib.suppress(OSError):  # the number serves the message alone; a full disk must not stop a writer here
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, str(os.getpid()).encode("ascii"))

    @property
    def held(self) -> bool:
        """Whether the lock has not been released yet."""
        return self._descriptor is not None

    def release(self) -> None:
        """Gives the lock back; the file stays, since removing it could let two writers in. Calling it again does nothing."""
        if self._descriptor is not None:
            if self._process == os.getpid():
                _unlock(self._descriptor)  # closing does not, while a child that was forked meanwhile has it open
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> int | None:
    """The number of the process that holds the lock; None when it could not write its number down."""
    with contextlib.suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        number = os.read(descriptor, 32).decode("ascii", errors="replace").strip()
        if number.isdigit():
            return int(number)
    return None


def _busy(folder: Path, holder: int | None, waited: float) -> str:
    """The message for somebody who finds the index locked: who holds the lock, and what to do."""
    if holder == os.getpid():
        return (
            f"{folder} is being written by another writer of this process, which was not closed. Use it in a with block, or "
            "call its rollback()."
        )
    process = "" if holder is None else f" (process {holder})"
    advice = f"It was not done in {waited:g} seconds." if waited else "Wait until it is done (--wait SECONDS)."
    return f"{folder} is being written by another process{process}. {advice}"
