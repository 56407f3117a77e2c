"""What the command line writes: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from lexite.errors import ConfigError
from lexite.files import atomic_write
from lexite.wording import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

logger = logging.getLogger("lexite")
WIDEST_TABLE = 10_000
"""Characters of a line of a table in a file or a pipe."""


class WrongUsage(ConfigError):
    """The words of the command line lack something or contradict each other; it ends with status 2."""


class _LineFormatter(logging.Formatter):
    """One line per record, safe to print, with the level in front of what is more than information."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = escaped(super().formatMessage(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.capitalize()}: {text}"

    def formatException(self, ei: Any) -> str:
        return escaped(super().formatException(ei), lines=True)


def set_verbosity(verbose: bool = False, quiet: bool = False) -> None:
    """Sends the log of lexite to stderr: information by default, details with ``verbose``, warnings only with ``quiet``."""
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, show_level=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    if not verbose:
        quiet_libraries()


def quiet_libraries() -> None:
    """Keeps loading bars, advice and warnings of the libraries below off the terminal. Call it before they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # what is less than that is raised as an error, too
    warnings.simplefilter("ignore")
    for name in ("transformers", "sentence_transformers", "huggingface_hub", "bm25s", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def only_errors() -> None:
    """Logs errors alone, and shows no progress: for processes beside the one that speaks to people."""
    logger.setLevel(logging.ERROR)


def is_quiet() -> bool:
    """Whether only warnings are wanted, and so no progress bars."""
    return not logger.isEnabledFor(logging.INFO)


def console() -> Console:
    """A console on stdout as it is now. It shows control characters of texts, and writes no colours into files and pipes."""
    from lexite.cli.safe_console import SafeConsole

    width = None if sys.stdout.isatty() else 120
    return SafeConsole(file=sys.stdout, width=width, highlight=False, soft_wrap=not sys.stdout.isatty())


def print_table(table: Table) -> None:
    """Prints a table: into a file or a pipe as wide as it is, so that no number is cut, on a terminal as wide as that."""
    from rich.measure import Measurement

    out = console()
    if not sys.stdout.isatty():
        whole = Measurement.get(out, out.options.update(max_width=WIDEST_TABLE), table)
        out.width = max(out.width, whole.maximum)
    out.print(table)


def prepare_streams() -> None:
    """Makes standard input and output usable whatever they are: closed, or of an encoding that lacks a character."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  (open as long as the process)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def standard_output() -> TextIO:
    """Standard output as it is now."""
    return sys.stdout


def speaks_unicode(file: IO[str]) -> bool:
    """Whether every character can be written; JSON has escapes for where not."""
    return (getattr(file, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")


def say(text: str) -> None:
    """Prints a line or several for people on stdout; names, paths and ids in them may hold anything."""
    print(escaped(text, lines=True))


def quoted(path: str | Path) -> str:
    """A path as it can be typed in a shell."""
    return shlex.quote(str(path))


def print_json(value: Any) -> None:
    """Writes one JSON value on one line of stdout."""
    print(json.dumps(value, ensure_ascii=not speaks_unicode(sys.stdout)))


def write_json(value: Any, path: Path) -> None:
    """Writes one JSON value to a file, indented, or on one line of stdout when the path is ``-``."""
    if str(path) == "-":
        print_json(value)
        return
    with atomic_write(path, "w") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")
