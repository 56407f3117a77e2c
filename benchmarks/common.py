"""What all benchmarks share: the machine, versions, peers, timing, the table, the JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the counted runs of one thing."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        return f"{min(self.seconds) * 1e3:,.1f} – {max(self.seconds) * 1e3:,.1f}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Something to compare with: its package, as pip knows it, and what builds one run of it.

    ``prepare`` imports the package, builds what a run needs and returns the function to time.
    """

    package: str
    prepare: Callable[[], Callable[[], Any]]


def interleave(
    runs: int, warmup: int, mapping: Mapping[str, Callable[[], Any]] | None = None, /, **functions: Callable[[], Any]
) -> dict[str, Timing]:
    """Times functions in turn, A B A B …, so that a machine that slows down slows all of them.

    Functions are given as a mapping, by keyword, or both; names in a mapping may have spaces.
    """
    functions = {**(mapping or {}), **functions}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(warmup + runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(values) for name, values in seconds.items()}


def ratio(numerator: Timing, denominator: Timing) -> float:
    """Median of the ratios of runs made next to each other."""
    return statistics.median(a / b for a, b in zip(numerator.seconds, denominator.seconds, strict=True))


def installed(package: str) -> str | None:
    """The version of a package, or None when it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def prepare(name: str, peer: Peer) -> Callable[[], Any] | str:
    """The function of a peer after one run of it, or, when there is none, a row's text that says why."""
    if installed(peer.package) is None:
        return f"{name}: not installed (pip install {peer.package})"
    try:
        function = peer.prepare()
        function()
    except Exception as error:  # whatever another package raises is a line in the table, not the end of the run
        lines = str(error).strip().splitlines() or [""]
        return f"{name}: does not run here ({type(error).__name__}: {lines[0][:100]})"
    return function


def machine() -> dict[str, Any]:
    """Processor, cores and system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": names[0] if names else platform.processor(), "cores": cores, "system": platform.platform()}


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, lexite and the named packages; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in ("lexite", "torch", "numba", "numpy", *packages):
        number = installed(name)
        if number is not None:
            found[name] = number
    return found


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--json FILE``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write machine, versions, ratios and figures as JSON")
    return made


def report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    ratios: dict[str, float],
    figures: dict[str, float],
    file: Path | None,
    *packages: str,
) -> None:
    """Prints the table and writes the JSON. A row of one cell is a note: it is printed under the table."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        if len(row) > 1:
            table.add_row(*row)
    console = Console(file=sys.stdout, width=120)
    console.print(table)
    for row in rows:
        if len(row) == 1:
            console.print(row[0], highlight=False, markup=False)
    facts = {"machine": machine(), "versions": versions(*packages)}
    console.print(", ".join(f"{k} {v}" for k, v in {**facts["machine"], **facts["versions"]}.items()), highlight=False)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**facts, "ratios": ratios, "figures": figures}, indent=2) + "\n")
