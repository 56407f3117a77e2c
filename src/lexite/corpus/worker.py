"""The process in which files of documents are read, so that none of them can stop or flood the one that builds an index.

It takes one request a line on standard input and answers in lines of JSON; :mod:`lexite.corpus.extraction` is its other end.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

GRACE_SECONDS = 5
"""After these seconds past its limit a worker ends itself, should nobody be left to end it."""


def serve() -> None:
    """Answers requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints is no answer
    memory, seconds = int(sys.argv[2]), float(sys.argv[3])
    _limit_memory(memory << 20)
    answers.write("{}\n")  # ready
    answers.flush()
    for line in sys.stdin:
        path, kind, name = json.loads(line)
        with _limited_time(seconds):
            _answer(Path(path), kind, name, answers, memory, seconds)


def _answer(path: Path, kind: str, name: str, answers: IO[str], memory: int, seconds: float) -> None:
    """Writes the documents of a file, and at the end that it ended, or why there is no more."""
    from lexite.corpus.kinds import KINDS
    from lexite.corpus.options import BadFile, DamagedSource
    from lexite.corpus.streams import DAMAGE, damaged, open_bytes
    from lexite.errors import LexiteError

    def put(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer, default=_plain) + "\n")
        answers.flush()

    try:
        with open_bytes(path, name) as stream:
            chosen = next(one for one in KINDS if one.name == kind)
            for found in chosen.extract(stream.file, name):
                fields = {str(key): value for key, value in found.fields.items()}
                dates = [name for name, value in fields.items() if isinstance(value, datetime.date)]
                answer = {"text": found.text, "title": found.title, "fields": fields, "dates": dates}
                put({**answer, "part": found.part, "notes": found.notes})
                _restart_clock(seconds)
    except BadFile as problem:
        put({"bad": f"{name}: {problem}", "reason": problem.reason})
    except DamagedSource as problem:
        put({"bad": str(problem), "reason": "unreadable"})
    except LexiteError as problem:
        put({"bad": f"{name}: {problem}", "reason": "not installed"})
    except MemoryError:
        put({"bad": f"{name}: reading it takes more than {memory:,} MiB of memory (--file-memory).", "reason": "too large"})
        os._exit(1)  # what is left of the memory is in pieces
    except DAMAGE as error:
        put({"bad": str(damaged(name, None, error)), "reason": "unreadable"})
    except RecursionError:
        put({"bad": f"{name}: it is nested too deeply.", "reason": "malformed"})
    except Exception as error:  # a library that fails on a strange file, in whatever way
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200].rstrip(".: ")
        put({"bad": f"{name}: it cannot be read ({reason}).", "reason": "malformed"})
    else:
        put({"end": True})


def _plain(value: object) -> object:
    """Dates under their type, and anything else as what it is called."""
    if isinstance(value, datetime.datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    return str(value)


def _limit_memory(allowed: int) -> None:
    """Lets this process grow by so many bytes; not on systems that have no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + allowed
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _limited_time(seconds: float) -> Any:
    _restart_clock(seconds)
    try:
        yield
    finally:
        _restart_clock(0)


def _restart_clock(seconds: float) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(seconds) + GRACE_SECONDS if seconds else 0)  # its signal ends the process
