"""Searches with filters, sorting and limits, beside searches without, one query at a time on one core.

Synthetic documents (synthetic.py says how they are made) get five fields: ``part``, a whole number below 10,000 drawn at
random, ``year``, ``lang``, ``day`` and ``tags``. "part < 100" lets 1% of the documents pass, and so on. Real queries are
searched with each filter, in an order that is drawn anew in each round; the best of the rounds counts. Times are those of the
processor: a search waits for nothing, and other work on the machine does not count. A ratio is the median over queries of the
time with the filter by the time without. The ten hits of some queries are compared with the ranking of all documents, filtered
afterwards. "First mask" is the time from the expression to the documents that pass, with all libraries loaded; it is kept for
later searches. Sorting and limits, which go through more documents, are timed apart from the filters.

    python benchmarks/filters.py [--sizes 57000 1000000] [--queries 40] [--folder DIR] [--cache DIR] [--json FILE]
"""

from __future__ import annotations

import os

os.environ["LEXITE_THREADS"] = "1"

# isort: split
import datetime
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from common import parser, report
from scipy.sparse import csr_array
from synthetic import Generator, add_options, choose_queries, load_collections

from lexite.corpus import Document
from lexite.index import BM25Index, EncodedQueries, VocabularyInfo

SIZES, TOP_K, ROUNDS, CHECKED, CHUNK, PARTS = [57_000, 1_000_000], 10, 4, 3, 5_000, 10_000
TAGS = ("law", "art", "sea", "tax", "war", "sun", "oil", "ice")
SEARCHES: dict[str, dict[str, Any]] = {
    "no filter": {},
    "part < 1": {"where": "part < 1"},
    "part < 10": {"where": "part < 10"},
    "part < 100": {"where": "part < 100"},
    "part < 1000": {"where": "part < 1000"},
    "part < 5000": {"where": "part < 5000"},
    "part < 10000": {"where": "part < 10000"},
    "year >= 2020 and lang = 'en' and 'law' in tags": {"where": "year >= 2020 and lang = 'en' and 'law' in tags"},
    "sort day:desc": {"sort": "day:desc"},
    "sort lang": {"sort": "lang"},
    "min_coverage 0.5": {"min_coverage": 0.5},
}


def build(path: Path, generator: Generator, n_documents: int) -> None:
    """Writes the index unless it is there. Documents are rows and fields without a text to encode; the writer takes them."""
    if (path / "index.json").exists():
        return
    random, first = np.random.default_rng(1), datetime.date(2000, 1, 1)
    with BM25Index.create(
        path, VocabularyInfo("benchmark", "benchmark", generator.documents.shape[1]), store_text=False
    ) as writer:
        for start in range(0, n_documents, CHUNK):
            rows = generator.rows(start, min(start + CHUNK, n_documents))
            n = rows.shape[0]
            parts, years = random.integers(0, PARTS, n).tolist(), random.integers(1990, 2026, n).tolist()
            langs, days = random.choice(["en", "de", "fr", "da"], n).tolist(), random.integers(0, 9000, n).tolist()
            documents = [
                Document(
                    str(start + i),
                    "",
                    fields={
                        "part": parts[i],
                        "year": years[i],
                        "lang": langs[i],
                        "day": first + datetime.timedelta(days=days[i]),
                        "tags": [TAGS[parts[i] % 8], TAGS[days[i] % 8]],
                    },
                )
                for i in range(n)
            ]
            writer.add(documents, rows)
        writer.commit()


def check(index: BM25Index, query: EncodedQueries, where: str, passing: Any) -> None:
    """Compares the hits among what passes with the ranking of all, filtered afterwards."""
    (found,), (scores,) = index.search_arrays(query, TOP_K, where=where)
    (everything,), (all_scores,) = index.search_arrays(query, len(index))
    kept = np.flatnonzero((everything >= 0) & passing[everything])[:TOP_K]
    n = len(kept)
    assert found[:n].tolist() == everything[kept].tolist() and (found[n:] == -1).all(), where
    assert scores[:n].tolist() == all_scores[kept].tolist(), where


def measure(
    index: BM25Index, queries: list[EncodedQueries], figures: dict[str, float], ratios: dict[str, float]
) -> list[list[str]]:
    n, random = len(index), Random(0)
    first, passing = {}, {}
    index.check_fields(
        where="part < 3 and lang like 'e%' and 'law' in tags", sort="part"
    )  # libraries are loaded, columns checked
    for name, options in SEARCHES.items():
        start = time.perf_counter()
        index.check_fields(**{key: value for key, value in options.items() if key in ("where", "sort")})
        first[name] = time.perf_counter() - start
        if "where" in options:
            passing[name] = np.zeros(n, dtype=bool)
            passing[name][index.select(options["where"])] = True
            for query in queries[:CHECKED]:
                check(index, query, options["where"], passing[name])
    best: dict[str, list[float]] = {name: [] for name in SEARCHES}
    light = [name for name, options in SEARCHES.items() if not options or "where" in options]
    for names in (light, [name for name in SEARCHES if name not in light]):
        for query in queries:
            times: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(ROUNDS):
                for name in random.sample(names, len(names)):
                    start = time.thread_time()
                    index.search_arrays(query, TOP_K, **SEARCHES[name])
                    times[name].append(time.thread_time() - start)
            for name in names:
                best[name].append(min(times[name]))
    table = []
    for name, own in best.items():
        ratio = statistics.median(a / b for a, b in zip(own, best["no filter"], strict=True))
        share = f"{passing[name].mean():.2%}" if name in passing else ""
        mask = f"{first[name] * 1e3:,.1f}" if "where" in SEARCHES[name] or "sort" in SEARCHES[name] else ""
        table.append([f"{n:,}", name, share, mask, f"{statistics.median(own) * 1e3:,.3f}", f"{ratio:.2f}"])
        figures[f"{name}_ms_{n}"], figures[f"{name}_first_mask_ms_{n}"] = statistics.median(own) * 1e3, first[name] * 1e3
        ratios[f"{name}_vs_no_filter_{n}"] = ratio
    return table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of documents")
    options.add_argument("--queries", type=int, default=40, help="real queries")
    options.add_argument("--folder", type=Path, default=None, help="where indexes are kept for the next run")
    add_options(options)
    given = options.parse_args()
    collections = load_collections(given.cache)
    generator = Generator.of(collections, given.postings, given.seed)
    raw, _ = choose_queries(collections, given.queries, seed=given.seed)
    queries = [EncodedQueries(csr_array(raw[i : i + 1])) for i in range(raw.shape[0])]
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    table: list[list[str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in given.sizes:
            path = (given.folder or Path(temporary)) / f"filters-{size}"
            build(path, generator, size)
            index = BM25Index.open(path)
            index.search_arrays(EncodedQueries(raw), TOP_K)
            table += measure(index, queries, figures, ratios)
    columns = ["documents", "search", "pass", "first mask or order, ms", "ms a query", "times no filter"]
    report(f"The best {TOP_K} among what passes, one core", columns, table, ratios, figures, given.json)


if __name__ == "__main__":
    main()
