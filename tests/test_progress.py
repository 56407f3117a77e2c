"""Progress on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import sys

import pytest

from lexite import progress as module
from lexite.progress import progress


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LOG_EVERY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "lexite"), progress("Counting", 3000, "sheep") as bar:
        bar.advance(1000, "asleep soon")
    assert "Counting: 1,000 of 3,000 sheep" in caplog.text
    assert "asleep soon" in caplog.text


def test_nothing_when_switched_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LOG_EVERY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "lexite"), progress("Counting", show=False) as bar:
        bar.advance(5)
    assert caplog.text == ""
    assert bar.done == 5


@pytest.mark.parametrize("terminal", [False, True])
def test_earlier_work_does_not_count_for_the_rate(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    clock = iter(range(10**6))
    with progress("Counting", 10**6) as bar:
        monkeypatch.setattr(module.time, "monotonic", lambda: next(clock) / 1000 + bar._started + 10)
        bar.go_on_from(900_000)
        bar.advance(100, "more")
        assert bar.done == 900_100
        assert 9 < bar.rate < 10.1
