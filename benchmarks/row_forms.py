"""Packed rows beside plain ones: bytes, and the time that a search takes on one core.

    python benchmarks/row_forms.py [--documents 57000] [--queries 300] [--cache DIR] [--json FILE]

The documents and queries are those of search.py. Both indexes hold the same rounded weights and posting lists, so they find the
same, bit for bit; the plain one has the rows of format 5, six bytes a posting. Queries are timed singly, in rounds: one index
answers the queries of a round, then the other. The ratio is the median over queries of the packed time by the plain one.
"""

from __future__ import annotations

import os

os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["LEXITE_THREADS"] = "1"

# isort: split
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import parser
from synthetic import Generator, add_options, choose_queries, load_collections

from lexite.corpus.records import Document
from lexite.files import write_json
from lexite.index import BM25Index, EncodedQueries, VocabularyInfo
from lexite.index.manifest import read_commit
from lexite.index.segment import row_term_type
from lexite.index.stored_rows import PlainRows

ROUND, PASSES, DOCUMENTS_AT_ONCE = 30, 6, 5000


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=57_000)
    options.add_argument("--queries", type=int, default=300)
    add_options(options)
    args = options.parse_args()
    collections = load_collections(args.cache)
    generator = Generator.of(collections, args.postings, args.seed)
    queries = list(EncodedQueries(choose_queries(collections, args.queries)[0]))
    n_terms = generator.documents.shape[1]
    with tempfile.TemporaryDirectory(prefix="lexite-rows-") as folder:
        path, seconds = Path(folder) / "index", 0.0
        with BM25Index.create(path, VocabularyInfo("f" * 64, "rows", n_terms), store_text=False) as writer:
            first = 0
            for rows in generator.chunks(args.documents, DOCUMENTS_AT_ONCE):
                documents = [Document(f"d{first + number}", "") for number in range(rows.shape[0])]
                start = time.perf_counter()
                writer.add(documents, rows)
                seconds += time.perf_counter() - start
                first += len(documents)
            start = time.perf_counter()
            writer.commit()
            seconds += time.perf_counter() - start
        packed = BM25Index.open(path)
        plain = with_plain_rows(path)
        facts = measured({"packed": packed, "plain": plain}, queries)
        files = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    each = packed.n_postings
    facts |= {
        "documents": args.documents,
        "postings_per_document": each / args.documents,
        "build_s": seconds,
        "bytes_a_posting": files / each,
        "bytes_a_posting_lists": packed.bytes / each,
        "bytes_a_posting_rows": packed.weight_bytes / each,
    }
    for name, value in facts.items():
        print(f"{name:28s} {value:,.3f}")
    if args.json is not None:
        write_json(args.json, facts)


def with_plain_rows(path: Path) -> BM25Index:
    """The same index with rows as they were before."""
    index = BM25Index.open(path)
    segments = []
    for segment in index._scorer.segments:
        bounds, terms, weights = segment.rows.span(0, segment.n_passages)
        rows = PlainRows(bounds, terms.astype(row_term_type(segment.n_terms)), weights)
        rows.protect()
        segments.append(dataclasses.replace(segment, rows=rows))
    return BM25Index(read_commit(path), segments, path)


def measured(indexes: dict[str, BM25Index], queries: list[EncodedQueries]) -> dict[str, Any]:
    """Milliseconds of queries, median and p99, with each index."""
    times = {name: np.empty((len(queries), PASSES)) for name in indexes}
    for index in indexes.values():
        for query in queries:
            index.search_arrays(query)
    for number in range(PASSES):
        for begin in range(0, len(queries), ROUND):
            found = []
            for name, index in indexes.items():
                scores = []
                for place in range(begin, min(begin + ROUND, len(queries))):
                    start = time.perf_counter_ns()
                    scores.append(index.search_arrays(queries[place])[1])
                    times[name][place, number] = (time.perf_counter_ns() - start) / 1e6
                found.append(np.concatenate(scores))
            assert all(np.array_equal(found[0], other) for other in found)
    best = {name: each.min(axis=1) for name, each in times.items()}
    facts: dict[str, Any] = {"ratio": float(np.median(times["packed"] / times["plain"]))}
    for name in indexes:
        facts |= {f"{name}_ms": float(np.median(times[name])), f"{name}_p99_ms": float(np.quantile(times[name], 0.99))}
        facts[f"{name}_best_ms"] = float(np.median(best[name]))
    return facts


if __name__ == "__main__":
    main()
