"""How building, size and search grow with the number of documents.

Each size is built and searched in fresh processes, so that memory can be told apart. Documents are synthetic; synthetic.py says
how they are made. Building counts from the first document to the commit, without the time in which documents are made; a small
index is built before, so that no compilation is counted. Memory is the peak of the building process in all, which includes the
real documents that the synthetic ones are made from, and what building added to what was used before. That of searching
includes the mapped files that were read; JSON has also what is left without them (``anonymous_search_mb``).

Warm latencies are those of single queries on one core, timed one by one after all of them ran once. Cold latency is the time
from opening the index to the first hits, with the compiled loops loaded and the index's files dropped from the system's cache;
the median of forty queries. The exponent is the slope of log latency over log documents, from 57,000
documents on where two such sizes were measured; 1 is linear growth.

Sizes that FILE has already are not measured again, so an interrupted run goes on where it stopped.

    python benchmarks/growth.py [--sizes 10000 30000 57000 100000 …] [--json FILE] [--folder DIR] [--cache DIR]
        [--collections NAME …]
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, parser, report, versions
from synthetic import NAMES, Generator, add_options, choose_queries, load_collections

from lexite.corpus import Document
from lexite.index import BM25Index, EncodedQueries, VocabularyInfo

SIZES, TOP_K, CHUNK, N_QUERIES, N_COLD = [10_000, 30_000, 57_000, 100_000], 10, 2_000, 100, 40
SLOPE_FROM = 57_000
FROM_ALL = {f"from_{name}": 1.0 for name in NAMES}  # what a file of before the option --collections does not say
MEASURED = (
    "build_seconds",
    "build_cpu_seconds",
    "generator_seconds",
    "peak_build_mb",
    "added_build_mb",
    "bytes",
    "bytes_per_posting",
    "disk_bytes_per_posting",
    "search_ms_median",
    "search_ms_p99",
    "approximate_ms_median",
    "approximate_ms_p99",
    "peak_search_mb",
    "anonymous_search_mb",
    "cold_ms",
    "cold_read_mb",
)
CURVES = {  # name of the exponent and its figure
    "latency": "search_ms_median",
    "approximate": "approximate_ms_median",
    "build": "build_cpu_seconds",
    "bytes": "bytes",
    "build_memory": "added_build_mb",
    "cold": "cold_ms",
}


def memory(field: str) -> float:
    """MB that this process uses (``VmRSS``, ``RssAnon``) or has used at most (``VmHWM``)."""
    status = Path("/proc/self/status")
    if status.exists():
        values = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(values[field].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Starts the peak of used memory anew, where the system can."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def one_core() -> None:
    os.environ["LEXITE_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


def before_all_others() -> None:
    """Lets this process go first on a machine that has other work too (Linux, as root)."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def write_index(path: Path, generator: Generator, n_documents: int) -> tuple[float, float]:
    """Builds an index chunk by chunk; returns the seconds in which documents were made, by the clock and of the processor.

    Documents are made as rows and have no text to encode, so they go to the writer itself, without a model in the process.
    """
    seconds, cpu, info = 0.0, 0.0, VocabularyInfo("benchmark", "benchmark", generator.documents.shape[1])
    with BM25Index.create(path, info, store_text=False) as writer:
        for start in range(0, n_documents, CHUNK):
            before, cpu_before = time.perf_counter(), time.process_time()
            rows = generator.rows(start, min(start + CHUNK, n_documents))
            documents = [Document(str(start + i), "") for i in range(rows.shape[0])]
            seconds, cpu = seconds + time.perf_counter() - before, cpu + time.process_time() - cpu_before
            writer.add(documents, rows)
        writer.commit()
    return seconds, cpu


def build(
    folder: Path, n_documents: int, cache: Path, postings: float, seed: int, names: Sequence[str] = NAMES
) -> dict[str, float]:
    generator = Generator.of(load_collections(cache, names), postings, seed)
    write_index(folder / "small", generator, 200)
    forget_peak()
    before, start, cpu_start = memory("VmRSS"), time.perf_counter(), time.process_time()
    making, making_cpu = write_index(folder / "index", generator, n_documents)
    seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu_start, memory("VmHWM")
    index = BM25Index.open(folder / "index")
    on_disk = sum(path.stat().st_size for path in (folder / "index").rglob("*") if path.is_file())
    return {
        "build_seconds": seconds - making,
        "build_cpu_seconds": cpu - making_cpu,
        "generator_seconds": making,
        "peak_build_mb": peak,
        "added_build_mb": peak - before,
        "bytes": float(on_disk),
        "bytes_per_posting": index.bytes / index.n_postings,
        "disk_bytes_per_posting": on_disk / index.n_postings,
        "postings_per_document": index.n_postings / n_documents,
    }


def search_warm(folder: Path, queries: EncodedQueries, first: bool) -> dict[str, float]:
    one_core()
    if first:
        before_all_others()
    index, figures = BM25Index.open(folder / "index"), {}
    one_by_one = list(queries)
    for name, approximate in (("search", False), ("approximate", True)):
        for query in one_by_one:
            index.search_arrays(query, TOP_K, approximate=approximate)
        milliseconds = []
        for query in one_by_one * 2:
            start = time.perf_counter()
            index.search_arrays(query, TOP_K, approximate=approximate)
            milliseconds.append((time.perf_counter() - start) * 1e3)
        figures[f"{name}_ms_median"] = statistics.median(milliseconds)
        figures[f"{name}_ms_p99"] = float(np.percentile(milliseconds, 99))
    return figures | {"peak_search_mb": memory("VmHWM"), "anonymous_search_mb": memory("RssAnon")}


def search_cold(folder: Path, queries: EncodedQueries, first: bool, all_cores: bool) -> dict[str, float]:
    """Each query is the first of an index that is opened for it, after its files were dropped."""
    if not all_cores:
        one_core()
    BM25Index.open(folder / "small").search_arrays(queries[0], TOP_K)
    if first:
        before_all_others()
    milliseconds, megabytes = [], []
    for query in queries:
        drop_from_cache(folder / "index")
        read, start = bytes_read(), time.perf_counter()
        index = BM25Index.open(folder / "index")
        index.search_arrays(query, TOP_K)
        milliseconds.append((time.perf_counter() - start) * 1e3)
        megabytes.append((bytes_read() - read) / 1e6)
        del index  # a file that is mapped is not dropped
        gc.collect()
    return {"cold_ms": statistics.median(milliseconds), "cold_read_mb": statistics.median(megabytes)}


def drop_from_cache(folder: Path) -> None:
    """Asks the system to forget what it has read of the files, where it can be asked."""
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def bytes_read() -> int:
    """Bytes that the disk delivered to this process."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        return 0
    return int(dict(line.split(":") for line in counters.read_text().splitlines())["read_bytes"])


def in_fresh_process(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(n_documents: int, folder: Path, given: Any) -> dict[str, float]:
    """All figures of one size."""
    collections = load_collections(given.cache, given.collections)
    queries = EncodedQueries(choose_queries(collections, N_QUERIES, seed=given.seed)[0])
    figures = in_fresh_process(build, folder, n_documents, given.cache, given.postings, given.seed, given.collections)
    figures |= in_fresh_process(search_warm, folder, queries, given.first)
    return figures | in_fresh_process(search_cold, folder, queries[:N_COLD], given.first, given.cold_on_all_cores)


def load_figures(file: Path | None, given: Any) -> dict[str, float]:
    """What an earlier run has measured with the same documents."""
    settings = {"postings_target": given.postings, "seed": float(given.seed)}
    settings |= {f"from_{name}": float(name in given.collections) for name in NAMES}
    if file is None or not file.exists():
        return settings
    figures: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))["figures"]
    if any(figures.get(name, FROM_ALL.get(name)) != value for name, value in settings.items()):
        raise SystemExit(f"{file} was measured with other documents. Name another file, or remove this one.")
    return figures


def sizes_in(figures: dict[str, float]) -> list[int]:
    sizes = {int(name.rpartition("_")[2]) for name in figures if name.startswith("build_seconds_")}
    return sorted(size for size in sizes if all(f"{name}_{size}" in figures for name in MEASURED))


def exponent(figures: dict[str, float], name: str) -> tuple[float, list[int]]:
    """Slope of log value over log size, and the sizes it comes from; not a number from one size alone."""
    sizes = sizes_in(figures)
    large = [size for size in sizes if size >= SLOPE_FROM]
    chosen = large if len(large) > 1 else sizes
    if len(chosen) < 2:
        return float("nan"), chosen
    values = [figures[f"{name}_{size}"] for size in chosen]
    return float(np.polyfit(np.log(chosen), np.log(values), 1)[0]), chosen


def write_figures(file: Path | None, figures: dict[str, float]) -> None:
    if file is not None:
        facts = {"machine": machine(), "versions": versions("scipy"), "ratios": {}, "figures": figures}
        file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def table(figures: dict[str, float]) -> tuple[list[str], list[list[str]]]:
    columns = ["documents", "build s", "CPU s", "peak MB", "added MB", "disk MB", "B/posting"]
    columns += ["ms", "p99", "approx.", "cold ms", "search MB"]
    rows = []
    for size in sizes_in(figures):
        value = {name: figures[f"{name}_{size}"] for name in MEASURED}
        cells = [
            f"{value['build_seconds']:,.1f}",
            f"{value['build_cpu_seconds']:,.1f}",
            f"{value['peak_build_mb']:,.0f}",
            f"{value['added_build_mb']:,.0f}",
        ]
        cells += [f"{value['bytes'] / 1e6:,.0f}", f"{value['bytes_per_posting']:.2f}"]
        cells += [f"{value[name]:,.2f}" for name in ("search_ms_median", "search_ms_p99", "approximate_ms_median")]
        rows.append([f"{size:,}", *cells, f"{value['cold_ms']:,.1f}", f"{value['peak_search_mb']:,.0f}"])
    return columns, rows


def print_growth(figures: dict[str, float]) -> None:
    """Fills in the exponents and says them."""
    for curve, name in CURVES.items():
        slope, sizes = exponent(figures, name)
        if len(sizes) < 2:
            return
        figures[f"growth_exponent_{curve}"] = slope
        print(f"{name}: grows as documents to the {slope:.2f} from {sizes[0]:,} to {sizes[-1]:,}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of documents")
    options.add_argument(
        "--folder", type=Path, metavar="DIR", help="where indexes are built and removed; default: a temporary one"
    )
    options.add_argument(
        "--first", action="store_true", help="let searches go before all other programs (Linux, as root), on a busy machine"
    )
    options.add_argument("--cold-on-all-cores", action="store_true", help="let searches from the disk use all cores")
    options.add_argument(
        "--collections",
        nargs="+",
        default=NAMES,
        choices=NAMES,
        metavar="NAME",
        help="whose documents are crossed; default: all",
    )
    add_options(options)
    given = options.parse_args()
    figures = load_figures(given.json, given)
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    for size in sorted(set(given.sizes) - set(sizes_in(figures))):
        folder = Path(tempfile.mkdtemp(prefix="lexite-growth-", dir=given.folder))
        try:
            found = measure(size, folder, given)
        finally:
            shutil.rmtree(folder)
        figures |= {f"{name}_{size}": value for name, value in found.items()}
        write_figures(given.json, figures)
        print(
            f"{size:,} documents: built in {found['build_seconds']:.1f} s, {found['search_ms_median']:.2f} ms a query",
            flush=True,
        )
    columns, rows = table(figures)
    print_growth(figures)
    report("Growth: indexes of synthetic documents", columns, rows, {}, figures, given.json, "scipy")


if __name__ == "__main__":
    main()
