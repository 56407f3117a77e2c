"""Search, one query at a time on one core: lexite, the limit, and what people would use instead.

The documents are synthetic (synthetic.py says how they are made): real latent terms, about 500 postings a document. The queries
are real ones of the same collections, 50 to 200 weighted terms each, 100 in the mean. Every system gets the same documents and
queries, encoded or tokenised beforehand, and returns the best ten; bm25s gets the words of the same documents, crossed by the
same rule. Queries are timed singly, in rounds: each system answers the queries of a round before the next system does, so that
a machine that slows down slows all of them. "Exhaustive" is the limit without pruning: a compiled loop over uncompressed
posting lists with ready impacts. A ratio is the median over queries of a system's time by lexite's exact one;
``search_vs_scipy`` is that of scipy's sparse product, the faster of two ways to write it; ``search_vs_scipy_columns`` that of
picking the query's columns first, which saves most of the product.

The share of the exact top ten is measured against these exhaustive scores in float32; documents that tie with the tenth count.
On the real collections the same share and nDCG@10 are measured for lexite's exact and approximate search. Overlap and bytes per
posting are defined here: ``overlap_at_10`` is the share that approximate search finds, the mean over the real collections
(without them, that of the documentation of Python); bytes are those of the compressed postings and document lengths that
searches read, or of a peer's arrays or files.

    python benchmarks/search.py [--documents 57000] [--queries 300] [--cache DIR] [--json FILE]
"""

from __future__ import annotations

import os

os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

# isort: split
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csc_array, csr_array
from search_systems import TOP_K, Query, System, Task, build_systems, folder_bytes, impacts_of, scorer, split_queries
from synthetic import Encoded, Generator, add_options, choose_queries, load_collections

from lexite.evaluation import evaluate_run
from lexite.index import BM25Config, BM25Index, EncodedQueries
from lexite.ranking.rankings import Ranking, to_run

ROUND, PASSES, WARMUP_SECONDS = 30, 2, 1.5
PACKAGES = ("scipy", "bm25s", "splade-index", "impact-index", "pyseismic-lsr")
ALL_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps every thread of this process on one core."""
    os.environ["LEXITE_THREADS"] = "1"
    move_threads(ALL_CORES[:1])
    try:
        yield
    finally:
        all_cores()


def all_cores() -> None:
    """Lets lexite and every thread of this process use all cores."""
    os.environ["LEXITE_THREADS"] = str(len(ALL_CORES))
    move_threads(ALL_CORES)


def move_threads(cores: Sequence[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cores)


def measure(systems: Sequence[System], n_queries: int) -> tuple[dict[str, NDArray[np.float64]], dict[str, list[Any]]]:
    """Milliseconds of each query, (n_queries, passes), and the documents found, by key of the system."""
    times = {system.key: np.empty((n_queries, PASSES)) for system in systems}
    found: dict[str, list[Any]] = {system.key: [None] * n_queries for system in systems}
    for system in systems:
        start = time.perf_counter()
        for query in range(n_queries):
            system.search(query)
            if time.perf_counter() - start > WARMUP_SECONDS:
                break
    for number in range(PASSES):
        for first in range(0, n_queries, ROUND):
            for system in systems:
                for query in range(first, min(first + ROUND, n_queries)):
                    start = time.perf_counter_ns()
                    found[system.key][query] = system.search(query)
                    times[system.key][query, number] = (time.perf_counter_ns() - start) / 1e6
    return times, found


def overlap(score: Callable[[Query], NDArray[np.float32]], queries: Sequence[Query], found: Sequence[Any]) -> float:
    """Mean share of the exact top ten among the documents found."""
    shares = []
    for query, documents in zip(queries, found, strict=True):
        scores = score(query)
        possible = min(TOP_K, int(np.count_nonzero(scores)))
        if possible:
            tenth = np.partition(scores, -possible)[-possible]
            numbers = np.unique([document for document in documents if document >= 0]).astype(np.int64)
            shares.append(min(1.0, np.count_nonzero(scores[numbers] >= tenth * (1 - 1e-5)) / possible))
    return float(np.mean(shares))


def real_collection(collection: Encoded, scoring: BM25Config) -> dict[str, float]:
    """Overlap with the exact top ten and nDCG@10, of exact and approximate search.

    The index is made from the rows that the cache keeps, since the exhaustive scores are computed from the same rows.
    """
    index = BM25Index.in_memory(collection.documents, collection.document_ids)
    score, queries = scorer(csc_array(impacts_of(collection.documents, scoring))), split_queries(collection.queries)
    figures = {}
    for name, approximate in (("exact", False), ("approximate", True)):
        documents, scores = index.search_arrays(EncodedQueries(collection.queries), TOP_K + 1, approximate=approximate)
        figures[f"overlap_{name}"] = overlap(score, queries, documents[:, :TOP_K])
        rankings = [Ranking(d[d >= 0].astype(np.int64), s[d >= 0]) for d, s in zip(documents, scores, strict=True)]
        run = to_run(collection.query_ids, rankings, collection.document_ids, TOP_K)
        if collection.qrels and find_spec("ir_measures") is not None:
            figures[f"ndcg_{name}"] = evaluate_run(collection.qrels, run).mean["nDCG@10"]
    return figures


def report_real(collections: Sequence[Encoded], scoring: BM25Config, figures: dict[str, float]) -> list[list[str]]:
    rows, overlaps = [], []
    for collection in collections:
        found = real_collection(collection, scoring)
        overlaps.append(found["overlap_approximate"])
        figures[f"overlap_at_10_{collection.name}"] = found["overlap_approximate"]
        figures[f"overlap_at_10_exact_{collection.name}"] = found["overlap_exact"]
        cells = [f"{found['overlap_exact']:.4f}", f"{found['overlap_approximate']:.4f}"]
        if "ndcg_exact" in found:
            figures[f"ndcg_difference_{collection.name}"] = found["ndcg_approximate"] - found["ndcg_exact"]
            cells += [f"{found['ndcg_exact']:.4f}", f"{figures[f'ndcg_difference_{collection.name}']:+.4f}"]
        rows.append([collection.name, *cells, *["–"] * (4 - len(cells))])
    figures["overlap_at_10"], figures["overlap_at_10_smallest"] = statistics.mean(overlaps), min(overlaps)
    return rows


def throughput(index: BM25Index, queries: csr_array, approximate: bool) -> float:
    """Queries per second when they come in batches of 1,200 at least; the median of three."""
    batch = EncodedQueries(queries[np.resize(np.arange(queries.shape[0]), max(1200, queries.shape[0]))])
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        index.search_arrays(batch, TOP_K, approximate=approximate)
        seconds.append(time.perf_counter() - start)
    return len(batch) / statistics.median(seconds)


def make_task(collections: Sequence[Encoded], given: Any, folder: Path) -> tuple[Task, csr_array]:
    """Documents, queries and words as the options say; the queries as one matrix too."""
    n_documents, generator = given.documents, Generator.of(collections, given.postings, given.seed)
    raw = generator.rows(0, n_documents)
    queries, texts = choose_queries(collections, given.queries, seed=given.seed)
    words, vocabulary = None, {}
    if find_spec("bm25s") is not None:
        source, vocabulary = count_words([text for collection in collections for text in collection.texts])
        words = generator.cross(source, 0, n_documents)
    impacts = impacts_of(raw, BM25Config())
    asked, by_term = list(EncodedQueries(queries)), csc_array(impacts)
    return Task(raw, impacts, by_term, asked, split_queries(queries), words, vocabulary, texts, folder), queries


def count_words(texts: list[str]) -> tuple[csr_array, dict[str, int]]:
    """How often each text has each word, by bm25s's tokeniser, CSR int32, and the numbers of the words."""
    import bm25s

    tokens = bm25s.tokenize(texts, show_progress=False)
    indptr = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens.ids])])
    indices = np.fromiter((word for ids in tokens.ids for word in ids), dtype=np.int32, count=indptr[-1])
    ones = np.ones(len(indices), dtype=np.int32)
    counts = csr_array((ones, indices, indptr), shape=(len(texts), max(tokens.vocab.values()) + 1))
    counts.sum_duplicates()
    return counts, tokens.vocab


def sizes_of(task: Task) -> dict[str, float]:
    """Postings of a document; terms of a query, and postings in their lists, which exhaustive scoring adds up."""
    lists = np.diff(task.by_term.indptr)
    terms = [len(query[0]) for query in task.queries]
    met = [int(lists[query[0]].sum()) for query in task.queries]
    return {
        "postings_per_document": task.raw.nnz / task.raw.shape[0],
        "terms_per_query": float(np.mean(terms)),
        "terms_per_query_median": float(np.median(terms)),
        "terms_per_query_p99": float(np.percentile(terms, 99)),
        "postings_per_query_median": float(np.median(met)),
        "postings_per_query_p99": float(np.percentile(met, 99)),
    }


def table_rows(
    systems: Sequence[System], times: dict[str, Any], found: dict[str, list[Any]], task: Task, figures: dict[str, float]
) -> list[list[str]]:
    """A row of the table for each system; fills in the figures."""
    score, ours, rows = scorer(task.by_term), times["lexite"], []
    for system in systems:
        milliseconds = times[system.key]
        median, p99 = float(np.median(milliseconds)), float(np.percentile(milliseconds, 99))
        size = system.bytes / system.n_postings
        prefix = "search" if system.key == "lexite" else system.key
        figures |= {f"{prefix}_ms_median": median, f"{prefix}_ms_p99": p99}
        figures["bytes_per_posting" if system.key == "lexite" else f"bytes_per_posting_{system.key}"] = size
        share = "–"
        if system.comparable:
            figures[f"overlap_at_10_synthetic_{system.key}"] = overlap(score, task.queries, found[system.key])
            share = f"{figures[f'overlap_at_10_synthetic_{system.key}']:.4f}"
        slower = float(np.median(milliseconds / ours))
        cells = [f"{median:,.3f}", f"{p99:,.3f}", f"{slower:,.2f}", share, f"{system.bytes / 1e6:,.1f}", f"{size:.2f}"]
        rows.append([system.name, *cells])
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=57_000, help="synthetic documents")
    options.add_argument("--queries", type=int, default=300, help="real queries")
    add_options(options)
    given = options.parse_args()
    all_cores()
    collections = load_collections(given.cache)
    with tempfile.TemporaryDirectory(prefix="lexite-bench-") as folder:
        task, queries = make_task(collections, given, Path(folder))
        systems, absent = build_systems(task)
        with one_core():
            times, found = measure(systems, queries.shape[0])
        figures = sizes_of(task)
        rows = table_rows(systems, times, found, task, figures)
        ratios = {
            f"search_vs_{key}": float(np.median(taken / times["lexite"])) for key, taken in times.items() if key != "lexite"
        }
        products = [ratios[name] for name in ("search_vs_scipy_sparse", "search_vs_scipy_dense") if name in ratios]
        if products:
            ratios["search_vs_scipy"] = min(products)
        index = BM25Index.open(task.folder / "lexite")
        for name, approximate in (("", False), ("_approximate", True)):
            rate = throughput(index, queries, approximate)
            figures[f"queries_per_second_all_cores{name}"] = rate
        figures["bytes_on_disk_per_posting"] = folder_bytes(task.folder / "lexite") / task.raw.nnz
    rows += [[package, why, *["–"] * 5] for package, why in absent.items()]
    columns = ["", "ms (median)", "ms (p99)", "times lexite's", "exact 10", "MB", "bytes a posting"]
    title = f"Search, top {TOP_K}, {given.documents:,} documents of {figures['postings_per_document']:.0f} postings, "
    title += f"{queries.shape[0]} queries of {figures['terms_per_query']:.0f} terms, one core"
    real = report_real(collections, BM25Config(), figures)
    print_table("Real collections, top 10", ["", "overlap, exact", "overlap, approximate", "nDCG@10", "approximate"], real)
    report(title, columns, rows, ratios, figures, given.json, *PACKAGES)
    print(
        f"Terms of a query: median {figures['terms_per_query_median']:.0f}, p99 {figures['terms_per_query_p99']:.0f}; postings "
        f"in their lists: {figures['postings_per_query_median']:,.0f} and {figures['postings_per_query_p99']:,.0f}."
    )
    print(
        f"Batches on {len(ALL_CORES)} cores: {figures['queries_per_second_all_cores']:,.0f} queries a second, approximate "
        f"{figures['queries_per_second_all_cores_approximate']:,.0f}. On disk in all: "
        f"{figures['bytes_on_disk_per_posting']:.2f} bytes a posting."
    )


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
