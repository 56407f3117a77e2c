"""Rankings as a TREC run: the file of ``--run``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lexite.cli.output import print_json, say
from lexite.ranking.hits import Hit
from lexite.wording import counted


def write_run(ids: Sequence[str], hits: Sequence[Sequence[Hit]], path: Path) -> tuple[int, int]:
    """Writes rankings as a TREC run, on stdout when the path is ``-``; returns how many queries and hits.

    Args:
        ids: of the queries.
        hits: of each query, best first.
        path: the file.
    """
    from lexite.ranking.trec import run_from_hits, write_trec_run

    rankings = run_from_hits(ids, hits)
    if str(path) != "-":
        write_trec_run(path, rankings)
    else:
        with tempfile.TemporaryDirectory(prefix="lexite-") as folder:  # the writer puts whole files in place
            write_trec_run(Path(folder) / "run", rankings)
            sys.stdout.write((Path(folder) / "run").read_text(encoding="utf-8"))
    return len(ids), sum(map(len, hits))


def report_run(written: tuple[int, int], run: Path, as_json: bool) -> None:
    """Tells which run was written, how many queries and hits are in it."""
    n_queries, n_hits = written
    if as_json:
        print_json({"run": str(run), "queries": n_queries, "hits": n_hits})
    elif str(run) != "-":
        say(f"{counted(n_queries, 'query', 'queries')}, {counted(n_hits, 'hit')}: {run}")
