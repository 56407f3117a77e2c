"""Finding the text of files, within limits of time and memory.

What is as good as read already, such as Markdown, is read here. Anything else is read by one worker, a process that is started
when the first such file comes and serves all others. A file on which it hangs or breaks costs the worker, not the reading.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lexite.corpus.kinds import Extracted, Kind, is_compressed
from lexite.corpus.options import BadFile, DamagedSource, ReadOptions
from lexite.corpus.streams import DAMAGE, damaged, open_bytes
from lexite.errors import CorpusError

FILES_OF_A_WORKER = 2000
"""After so many files it is replaced, since libraries keep some memory of each."""

STARTING_SECONDS = 60.0
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lexite.corpus.worker import serve; serve()"


class Extractor:
    """Reads files as documents. Used as a context manager, it ends its worker.

    Args:
        options: ``file_seconds`` and ``file_memory``.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._seconds, self._memory = options.file_seconds, options.file_memory
        self._worker: _Worker | None = None

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def read(self, path: Path, kind: Kind, name: str) -> Iterator[Extracted]:
        """The documents of a file.

        Args:
            path: the file, which may be compressed.
            kind: what it is.
            name: how messages call it.

        Raises:
            BadFile: there is no document, or not all. The message names the file.
        """
        apart = kind.apart or is_compressed(path)
        yield from map(_encodable, self._read_apart(path, kind, name) if apart else self._read_here(path, kind, name))

    def _read_here(self, path: Path, kind: Kind, name: str) -> Iterator[Extracted]:
        try:
            with open_bytes(path, name) as stream:
                yield from kind.extract(stream.file, name)
        except BadFile as problem:
            between = ", " if str(problem).startswith("line ") else ": "
            raise BadFile(f"{name}{between}{problem}", problem.reason) from problem
        except DamagedSource as problem:
            raise BadFile(str(problem)) from problem
        except DAMAGE as error:
            raise BadFile(str(damaged(name, None, error))) from error

    def _read_apart(self, path: Path, kind: Kind, name: str) -> Iterator[Extracted]:
        if self._worker is None or not self._worker.is_usable():
            if self._worker is not None:
                self._worker.end()
            self._worker = _Worker(self._seconds, self._memory)
        yield from self._worker.read(path, kind, name)


class _Worker:
    """The process that reads files, and the clock that ends it."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._files, self._busy = seconds, 0, False
        command = [sys.executable, "-c", _START, json.dumps(sys.path), str(memory), str(seconds)]
        pipe = subprocess.PIPE
        self._process: subprocess.Popen[bytes] = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._late = False
        if self._ask(None, STARTING_SECONDS) is None:
            self.end()
            raise CorpusError("The process that reads files could not be started. Name text or Markdown files, or try again.")

    def is_usable(self) -> bool:
        """Whether it can take another file."""
        return self._process.poll() is None and not self._busy and self._files < FILES_OF_A_WORKER

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def read(self, path: Path, kind: Kind, name: str) -> Iterator[Extracted]:
        """The documents of a file; see :meth:`Extractor.read`."""
        self._files += 1
        self._busy = True  # until its last answer came: who stops listening before leaves it useless
        request = json.dumps([str(path.absolute()), kind.name, name]) + "\n"
        answer = self._ask(request.encode(), self._seconds)
        while answer is not None and "text" in answer:
            notes = tuple(str(note) for note in answer["notes"])
            yield Extracted(answer["text"], answer["title"], answer["fields"], answer["part"], notes)
            answer = self._ask(None, self._seconds)
        if answer is None:
            raise self._broken(name)
        self._busy = False
        if "bad" in answer:
            raise BadFile(answer["bad"].replace(": line ", ", line ", 1), answer["reason"])

    def _ask(self, request: bytes | None, seconds: float) -> dict[str, Any] | None:
        """Sends a request and waits for an answer, as long as it may take; None where the process broke."""
        clock = threading.Timer(seconds, self._time_is_up)
        clock.daemon = True
        clock.start()
        try:
            if request is not None and self._process.stdin is not None:
                self._process.stdin.write(request)
                self._process.stdin.flush()
            line = self._process.stdout.readline() if self._process.stdout is not None else b""
        except OSError:
            return None
        finally:
            clock.cancel()
        if not line.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(line)
        for name in found.get("dates", ()):
            found["fields"][name] = _date(found["fields"][name])
        return found

    def _time_is_up(self) -> None:
        self._late = True
        self._process.kill()

    def _broken(self, name: str) -> BadFile:
        self._process.kill()
        code = self._process.wait()
        if self._late:
            return BadFile(f"{name}: reading it takes more than {self._seconds:g} seconds (--file-seconds).", "too slow")
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return BadFile(
            f"{name}: what reads it broke down ({how}); it may take more memory than --file-memory allows.", "broken"
        )


def _encodable(found: Extracted) -> Extracted:
    """A document without halves of surrogate pairs, which headers of mail and escapes in YAML can hold."""
    fields = {_whole(name): _whole(value) for name, value in found.fields.items()}
    return replace(found, text=_whole(found.text), title=_whole(found.title), fields=fields)


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _date(written: dict[str, str]) -> datetime.date:
    """A date, or a date with a time, as the worker writes it."""
    if "datetime" in written:
        return datetime.datetime.fromisoformat(written["datetime"])
    return datetime.date.fromisoformat(written["date"])
