from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lexite.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The message of a command that failed as it should: nothing on stdout, one line on stderr."""
        assert self.status == 1, self
        return self._line

    @property
    def usage(self) -> str:
        """The message of a command that was called wrongly, without its last sentence, which points to the help."""
        assert self.status == 2, self
        message, hint, rest = self._line.rpartition(" See 'lexite ")
        assert hint and rest.endswith("--help'."), self.err
        return message

    @property
    def _line(self) -> str:
        assert not self.out and "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("Error: "), self.err
        return lines[0].removeprefix("Error: ")


Lexite = Callable[..., Done]


@pytest.fixture
def lexite(capsys: pytest.CaptureFixture[str]) -> Lexite:
    """Runs a command line in this process, without its log."""

    def run(*words: str | Path) -> Done:
        capsys.readouterr()
        status = main(["-q", *map(str, words)])
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return run


@pytest.fixture
def own_index(tiny_vocabulary: Path, documents: Path, tmp_path: Path, lexite: Lexite) -> Path:
    """An index of the six documents, of latent terms alone, that a test may change."""
    path = tmp_path / "own.lexite"
    assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary, "--no-literal").status == 0
    return path
