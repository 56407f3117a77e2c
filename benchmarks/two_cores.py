"""One query on one core and on all of them: where it pays, and what it does to queries that come at the same time.

The documents are those of growth.py, in indexes on the disk, without texts. Queries are timed singly, in rounds: one thread
answers the queries of a round, then all cores share the chunks of each. Hits are the same, which is checked. Then as many
clients as there are cores ask at the same time, each the queries one by one; seconds are those of all of them. Here every index
is split that has two chunks; lexite itself splits those of ``CHUNKS_TO_SPLIT`` chunks (``lexite.index.scorer``) or more.

    python benchmarks/two_cores.py [--sizes 57000 300000 1000000] [--folder DIR] [--cache DIR] [--json FILE]

Indexes in DIR are used again.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import parser, report
from growth import write_index
from synthetic import Generator, add_options, choose_queries, load_collections

import lexite.index.scorer
from lexite.index import BM25Index, EncodedQueries

SIZES, N_QUERIES, TOP_K, ROUND, PASSES = [57_000, 300_000, 1_000_000], 100, 10, 25, 6
ALL = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def alone(index: BM25Index, queries: list[EncodedQueries]) -> dict[str, float]:
    """Milliseconds of single queries with one thread and with one for each core."""
    times, found = {name: np.empty((PASSES, len(queries))) for name in ("1", ALL)}, dict[str, list[bytes]]()
    for number in range(-1, PASSES):  # the first pass only warms up
        for first in range(0, len(queries), ROUND):
            for threads, own in times.items():
                os.environ["LEXITE_THREADS"] = threads
                for place in range(first, min(first + ROUND, len(queries))):
                    start = time.perf_counter()
                    numbers, scores = index.search_arrays(queries[place], TOP_K)
                    if number < 0:
                        found.setdefault(threads, []).append(numbers.tobytes() + scores.tobytes())
                    else:
                        own[number, place] = (time.perf_counter() - start) * 1e3
    if found["1"] != found[ALL]:
        raise SystemExit("The hits differ.")
    figures = {f"ms_{name}": float(np.median(own)) for name, own in times.items()}
    figures |= {f"p99_{name}": float(np.percentile(own, 99)) for name, own in times.items()}
    return figures | {"speed_up": float(np.median(times["1"] / times[ALL]))}


def together(index: BM25Index, queries: list[EncodedQueries]) -> dict[str, float]:
    """Queries a second when as many clients as cores ask at once, with one thread a query and with as many as there are."""
    rates: dict[str, list[float]] = {"1": [], ALL: []}
    for _ in range(PASSES):
        for threads, own in rates.items():
            os.environ["LEXITE_THREADS"] = threads
            with ThreadPoolExecutor(int(ALL)) as clients:
                start = time.perf_counter()
                asked = [
                    clients.submit(lambda: [index.search_arrays(query, TOP_K) for query in queries]) for _ in range(int(ALL))
                ]
                for one in asked:
                    one.result()
                own.append(len(asked) * len(queries) / (time.perf_counter() - start))
    figures = {f"queries_a_second_{name}": float(np.median(own)) for name, own in rates.items()}
    return figures | {"together": float(np.median(np.array(rates[ALL]) / np.array(rates["1"])))}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of documents")
    options.add_argument("--folder", type=Path, metavar="DIR", help="where indexes are kept; default: a temporary one")
    add_options(options)
    given = options.parse_args()
    lexite.index.scorer.CHUNKS_TO_SPLIT = 2
    collections = load_collections(given.cache)
    generator = Generator.of(collections, given.postings, given.seed)
    queries = list(EncodedQueries(choose_queries(collections, N_QUERIES, seed=given.seed)[0]))
    rows, figures = [], dict[str, float]()
    with tempfile.TemporaryDirectory(prefix="lexite-two-cores-") as temporary:
        for size in given.sizes:
            path = (given.folder or Path(temporary)) / str(size)
            if not (path / "index.json").exists():
                write_index(path, generator, size)
            index = BM25Index.open(path)
            found = alone(index, queries) | together(index, queries)
            figures |= {f"{name}_{size}": value for name, value in found.items()}
            cells = [found[name] for name in ("ms_1", f"ms_{ALL}", "speed_up", "p99_1", f"p99_{ALL}")]
            cells += [found[name] for name in ("queries_a_second_1", f"queries_a_second_{ALL}", "together")]
            rows.append([f"{size:,}", *(f"{value:,.2f}" for value in cells)])
    columns = ["documents", "ms, one thread", f"{ALL} threads", "speed-up", "p99", f"p99, {ALL} threads"]
    columns += ["clients at once, queries a second", f"{ALL} threads", "ratio"]
    report(f"One query on {ALL} cores", columns, rows, {}, figures, given.json)


if __name__ == "__main__":
    main()
