"""What an order of the documents in which neighbours are alike would bring: bytes, bounds of blocks, and time.

The documents are passages of real texts (Wikipedia and Wikinews in ../shared/data/text beside the checkout, or ``--texts``),
encoded by the static table of the default vocabulary. The queries are sentences of the same texts, one of every fortieth
article, encoded by the same table. Three orders are compared: as they are read, where passages of an article are neighbours;
shuffled; and bisected, by recursive graph bisection from the shuffled order (``bisection.py``).

For each order, on one core: bytes of the lists a posting, and what they would be if each list had its smallest form (searches
are faster with some larger ones); bits of a gap, which is log2 of the distance to the term's document before, the mean over all
postings; the time of exact and of approximate searches, timed singly, the orders in turn; and the share of blocks that a
search with bounds of blocks (block-max pruning) would have to look into. Such a bound is what the query's terms add up to if
each had its largest impact of the block. A block counts if its bound reaches the score of the tenth hit. "Bounds a posting"
says how many largest impacts a query has to add up for each posting of its lists. Scores are the same in all orders, which is
checked.

Orders, indexes and encoded texts in FOLDER are not made again.

    python benchmarks/reordering.py FOLDER [--texts FILE …] [--queries 150] [--asked FILE] [--seismic] [--json FILE]
"""

from __future__ import annotations

import os

os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["LEXITE_THREADS"] = "1"

# isort: split
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bisection import bisected
from block_bounds import bounds_of_blocks, sizes
from common import parser, report
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, load_npz, save_npz
from search_systems import TOP_K, Task, impacts_of, seismic_system, split_queries

from lexite.corpus import Document, read_documents
from lexite.corpus.passages import cut_text
from lexite.index import BM25Config, BM25Index, EncodedQueries, VocabularyInfo
from lexite.scoring.transform import drop_small
from lexite.terms.static import load_static
from search import print_table

TEXTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "text"
NAMES = ("wikipedia2018", "wikinews", "wikipedia2015")
FLOOR_DOCUMENTS, FLOOR_QUERIES = 0.015, 0.08  # the floors of the default vocabulary
TEXTS_AT_ONCE, DOCUMENTS_AT_ONCE, EVERY, WORDS = 300, 5000, 40, (10, 25)
BLOCKS, BOUND_QUERIES, ROUND, PASSES = (8, 16, 32, 64), 40, 25, 4
ORDERS = ("as read", "shuffled", "bisected")


def encode(sources: Sequence[Path], folder: Path, n_queries: int) -> tuple[csr_array, csr_array]:
    """The passages of texts and the queries, as terms; kept in the folder."""
    files = folder / "documents.npz", folder / "queries.npz"
    if all(file.exists() for file in files):
        return csr_array(load_npz(files[0])), csr_array(load_npz(files[1]))
    table, _ = load_static("default")
    parts, waiting, sentences = list[Any](), list[str](), list[str]()
    for number, document in enumerate(read_documents([str(source) for source in sources])):
        waiting += [f"{document.title}\n{document.text[cut.start : cut.end]}" for cut in cut_text(document.text)]
        if number % EVERY == 0:
            found = [part for part in document.text.replace("\n", " ").split(". ") if WORDS[0] <= len(part.split()) <= WORDS[1]]
            sentences += found[len(found) // 2 :][:1]
        if len(waiting) >= TEXTS_AT_ONCE:
            parts.append(drop_small(table.encode_rows(waiting), FLOOR_DOCUMENTS))
            waiting = []
    parts.append(drop_small(table.encode_rows(waiting), FLOOR_DOCUMENTS))
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    bounds = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    terms, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "data"))
    documents = csr_array((weights, terms, bounds), shape=(len(counts), table.n_latents))
    chosen = np.random.default_rng(1).permutation(len(sentences))[:n_queries]
    queries = csr_array(drop_small(table.encode([sentences[i] for i in chosen]), FLOOR_QUERIES))
    for file, matrix in zip(files, (documents, queries), strict=True):
        save_npz(file, matrix, compressed=False)
    return documents, queries


def orders_of(documents: csr_array, folder: Path, figures: dict[str, float]) -> dict[str, NDArray[np.int64]]:
    """The documents in each order."""
    n = documents.shape[0]
    shuffled, file = np.random.default_rng(0).permutation(n), folder / "bisected.npy"
    if not file.exists():
        few = documents[:100]
        bisected(few.indptr.astype(np.int64), few.indices, documents.shape[1], np.arange(100))  # compiles it
        start = time.perf_counter()
        np.save(file, bisected(documents.indptr.astype(np.int64), documents.indices, documents.shape[1], shuffled))
        figures["bisection_seconds"] = time.perf_counter() - start
    return dict(zip(ORDERS, (np.arange(n), shuffled, np.load(file)), strict=True))


def built(documents: csr_array, order: NDArray[np.int64], path: Path) -> BM25Index:
    """An index of the documents in an order; an id is the number that a document was read with."""
    if not (path / "index.json").exists():
        with BM25Index.create(path, VocabularyInfo("orders", "orders", documents.shape[1]), store_text=False) as writer:
            for start in range(0, len(order), DOCUMENTS_AT_ONCE):
                part = order[start : start + DOCUMENTS_AT_ONCE]
                writer.add([Document(str(number), "") for number in part.tolist()], documents[part])
            writer.commit()
    return BM25Index.open(path)


def measure(indexes: dict[str, BM25Index], orders: dict[str, NDArray[np.int64]], queries: csr_array) -> dict[str, float]:
    """Milliseconds of searches, and what approximate ones find."""
    asked, figures = list(EncodedQueries(queries)), dict[str, float]()
    kinds = [(name, approximate) for approximate in (False, True) for name in indexes]
    times = {kind: np.empty((PASSES, len(asked))) for kind in kinds}
    found: dict[tuple[str, bool], list[Any]] = {kind: [None] * len(asked) for kind in kinds}
    for query in asked:
        for name, approximate in kinds:
            indexes[name].search_arrays(query, TOP_K, approximate=approximate)
    for number in range(PASSES):
        for first in range(0, len(asked), ROUND):
            for name, approximate in kinds:
                for place in range(first, min(first + ROUND, len(asked))):
                    start = time.perf_counter()
                    numbers, scores = indexes[name].search_arrays(asked[place], TOP_K, approximate=approximate)
                    times[name, approximate][number, place] = (time.perf_counter() - start) * 1e3
                    found[name, approximate][place] = orders[name][numbers[0]], scores[0]
    base = times[ORDERS[1], False]
    for name, approximate in kinds:
        key = f"{name.replace(' ', '_')}{'_approximate' if approximate else ''}"
        figures[f"ms_{key}"] = float(np.median(times[name, approximate]))
        figures[f"p99_{key}"] = float(np.percentile(times[name, approximate], 99))
        figures[f"times_shuffled_{key}"] = float(np.median(times[name, approximate] / base))
        exact = found[ORDERS[0], False]
        shares = [np.isin(a[0], b[0]).mean() for a, b in zip(found[name, approximate], exact, strict=True)]
        figures[f"found_{key}"] = float(np.mean(shares))
        if not approximate and any((a[1] != b[1]).any() for a, b in zip(found[name, approximate], exact, strict=True)):
            raise SystemExit(f"Searches of the order '{name}' have other scores.")
    return figures


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path, help="where encoded texts, orders and indexes are kept")
    options.add_argument("--texts", type=Path, nargs="+", metavar="FILE", help="texts in place of those of ../shared/data/text")
    options.add_argument("--queries", type=int, default=150, help="sentences to ask for")
    options.add_argument("--asked", type=Path, metavar="FILE", help="queries in place of the sentences: scipy's npz, CSR")
    options.add_argument("--seismic", action="store_true", help="measure seismic on the shuffled documents as well")
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    documents, queries = encode(given.texts or [TEXTS / f"{name}.jsonl.xz" for name in NAMES], given.folder, given.queries)
    if given.asked is not None:
        queries = csr_array(load_npz(given.asked))
    figures: dict[str, float] = {"documents": documents.shape[0], "postings_per_document": documents.nnz / documents.shape[0]}
    figures["terms_per_query"] = queries.nnz / queries.shape[0]
    orders = orders_of(documents, given.folder, figures)
    indexes = {name: built(documents, order, given.folder / name.replace(" ", "-")) for name, order in orders.items()}
    figures |= measure(indexes, orders, queries)
    impacts, asked, bounds = impacts_of(documents, BM25Config()), split_queries(queries), dict[str, list[str]]()
    for name, size, share, entries in bounds_of_blocks(csc_array(impacts), asked[:BOUND_QUERIES], orders, BLOCKS):
        figures[f"blocks_of_{size}_{name.replace(' ', '_')}"] = share
        figures[f"bounds_of_{size}_{name.replace(' ', '_')}"] = entries
        bounds.setdefault(name, [name]).extend([f"{share:.3f}", f"{entries:.2f}"])
    rows = []
    for name, index in indexes.items():
        key, (smallest, bits) = name.replace(" ", "_"), sizes(documents, orders[name])
        figures |= {f"bytes_per_posting_{key}": index.bytes / index.n_postings, f"bits_of_a_gap_{key}": bits}
        figures[f"least_bytes_{key}"] = smallest
        times = [figures[f"{kind}_{key}{end}"] for end in ("", "_approximate") for kind in ("ms", "p99", "times_shuffled")]
        cells = [
            f"{index.bytes / index.n_postings:.3f}",
            f"{smallest:.3f}",
            f"{bits:.2f}",
            *(f"{value:.2f}" for value in times),
        ]
        rows.append([name, *cells, f"{figures[f'found_{key}_approximate']:.4f}"])
    if given.seismic:
        task = Task(documents, impacts, csc_array((0, 0)), [], asked, None, {}, [], given.folder)
        rows.append(with_seismic(task, indexes[ORDERS[1]], queries, figures))
    title = f"{documents.shape[0]:,} passages of {figures['postings_per_document']:.0f} postings, "
    title += f"{queries.shape[0]} queries of {figures['terms_per_query']:.0f} terms"
    reach = ["share of blocks that reach the tenth hit"]
    reach += [name for size in BLOCKS for name in (f"blocks of {size}", "bounds a posting")]
    print_table(title, reach, list(bounds.values()))
    columns = ["", "bytes a posting", "smallest lists", "bits of a gap", "ms", "p99", "times shuffled"]
    columns += ["approximate", "p99", "times", "found"]
    report(title, columns, rows, {}, figures, given.json, "pyseismic-lsr")


def with_seismic(task: Task, index: BM25Index, queries: csr_array, figures: dict[str, float]) -> list[str]:
    """A row of the table for seismic, timed in turn with lexite."""
    (system,), asked = seismic_system(task), list(EncodedQueries(queries))
    times, shares = np.empty((2, PASSES, len(asked))), []
    for number in range(PASSES):
        for first in range(0, len(asked), ROUND):
            for place in range(first, min(first + ROUND, len(asked))):
                start = time.perf_counter()
                hits = index.search(asked[place], TOP_K)[0]
                times[0, number, place] = time.perf_counter() - start
                start = time.perf_counter()
                found = system.search(place)
                times[1, number, place] = time.perf_counter() - start
                if number == 0:
                    shares.append(np.isin([int(hit.id) for hit in hits], found).mean())
    figures["ms_seismic"], figures["p99_seismic"] = (float(f) * 1e3 for f in (np.median(times[1]), np.percentile(times[1], 99)))
    figures["seismic_times_lexite"], figures["found_seismic"] = float(np.median(times[1] / times[0])), float(np.mean(shares))
    figures["bytes_per_posting_seismic"] = system.bytes / system.n_postings
    cells = [
        figures["bytes_per_posting_seismic"],
        figures["ms_seismic"],
        figures["p99_seismic"],
        figures["seismic_times_lexite"],
    ]
    shown = [f"{value:.2f}" for value in cells]
    return ["seismic", shown[0], "–", "–", "–", "–", "–", *shown[1:], f"{figures['found_seismic']:.4f}"]


if __name__ == "__main__":
    main()
