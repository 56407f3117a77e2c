"""Standard input for the tests."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest


class FakeInput:
    """Standard input that is a pipe with this content, or a terminal."""

    def __init__(self, data: bytes, terminal: bool) -> None:
        self.buffer, self._terminal = io.BytesIO(data), terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def set_stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Called with bytes, makes them the standard input."""

    def replace(data: bytes, terminal: bool = False) -> None:
        monkeypatch.setattr(sys, "stdin", FakeInput(data, terminal))

    return replace
