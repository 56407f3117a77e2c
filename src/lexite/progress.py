"""Progress of long work, on stderr: a bar on a terminal, a line now and then anywhere else, nothing when switched off."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from lexite.wording import one_line

logger = logging.getLogger("lexite")
LOG_EVERY_SECONDS = 30.0


class ProgressBar:
    """Counts what was done and shows it.

    Args:
        description: what is being done ("Encoding").
        total: how many units there will be, when known.
        unit: plural noun of what is counted ("documents").
    """

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = one_line(description), total, unit
        self.done = self._before = 0
        self._started = self._last_line = time.monotonic()

    @property
    def rate(self) -> float:
        """Units per second in this process."""
        return (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)

    def go_on_from(self, done: int) -> None:
        """Counts on from what an earlier process did. The rate leaves that out."""
        self.done = self._before = done

    def advance(self, amount: int, note: str = "") -> None:
        """Adds ``amount`` units; ``note`` is shown beside the bar (the current loss, say)."""
        self.done += amount
        now = time.monotonic()
        if now - self._last_line >= LOG_EVERY_SECONDS:
            self._last_line = now
            of = f" of {self.total:,}" if self.total else ""
            logger.info("%s: %s%s %s, %s/s %s", self.description, f"{self.done:,}", of, self.unit, f"{self.rate:,.0f}", note)


class _TerminalBar(ProgressBar):
    def __init__(self, description: str, total: int | None, unit: str) -> None:
        super().__init__(description, total, unit)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.live = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self.live.add_task(self.description, total=total, rate="", note="")

    def go_on_from(self, done: int) -> None:
        super().go_on_from(done)
        self.live.reset(self._task, completed=done, total=self.total, rate="", note="")

    def advance(self, amount: int, note: str = "") -> None:
        self.done += amount
        self.live.update(self._task, advance=amount, total=self.total, rate=f"{self.rate:,.0f}/s", note=one_line(note))


@contextlib.contextmanager
def progress(description: str, total: int | None = None, unit: str = "documents", show: bool = True) -> Iterator[ProgressBar]:
    """Shows the progress of the block on stderr.

    >>> with progress("Counting", total=3, show=False) as bar:
    ...     bar.advance(3)
    >>> bar.done
    3
    """
    if show and sys.stderr.isatty():
        terminal_bar = _TerminalBar(description, total, unit)
        with terminal_bar.live:
            yield terminal_bar
    else:
        bar = ProgressBar(description, total, unit)
        if not show:
            bar._last_line = float("inf")
        yield bar
