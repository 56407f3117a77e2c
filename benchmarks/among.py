"""Searching among some documents, against ranking all documents and keeping those that are meant.

Synthetic documents (synthetic.py says how they are made) are searched by real queries, one at a time on one core. For each
number of documents, as many are drawn at random for each query. "Among" is ``BM25Index.search_arrays(among=ids)`` with the ids
looked up in each call. "Rank all" finds all hits of the query and keeps the ten best of those meant, by document number. Both
give the same hits, which is checked. "All documents" is an ordinary search of the best ten.

    python benchmarks/among.py [--documents 57000] [--queries 20] [--cache DIR] [--json FILE]
"""

from __future__ import annotations

import os

os.environ["LEXITE_THREADS"] = "1"

# isort: split
import statistics
from typing import Any

import numpy as np
from common import interleave, parser, report
from scipy.sparse import csr_array
from synthetic import Generator, add_options, choose_queries, load_collections

from lexite.index import BM25Index, EncodedQueries

TOP_K, RUNS = 10, 3
SIZES = (10, 100, 1_000, 10_000, 50_000)


def best_of(index: BM25Index, query: EncodedQueries, documents: np.ndarray[Any, Any]) -> tuple[list[int], list[float]]:
    """The best ten of some documents, from the ranking of all."""
    (found,), (scores,) = index.search_arrays(query, len(index))
    kept = np.flatnonzero(np.isin(found, documents))[:TOP_K]
    return found[kept].tolist(), scores[kept].tolist()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=57_000, help="synthetic documents")
    options.add_argument("--queries", type=int, default=20, help="real queries")
    add_options(options)
    given = options.parse_args()
    collections = load_collections(given.cache)
    rows = Generator.of(collections, given.postings, given.seed).rows(0, given.documents)
    # Documents are rows without a text to encode, so the index is made from them as they are.
    index = BM25Index.in_memory(rows, [str(number) for number in range(given.documents)])
    raw, _ = choose_queries(collections, given.queries, seed=given.seed)
    queries = [EncodedQueries(csr_array(raw[i : i + 1])) for i in range(raw.shape[0])]
    index.search_arrays(EncodedQueries(raw), TOP_K)  # builds the lists
    random = np.random.default_rng(given.seed)
    figures, ratios, table = {}, {}, []
    for size in [size for size in SIZES if size <= given.documents]:
        all_seconds, among_seconds, ranked_seconds = [], [], []
        for query in queries:
            documents = random.choice(given.documents, size, replace=False)
            ids = [str(document) for document in documents]
            (found,), (scores,) = index.search_arrays(query, TOP_K, among=ids)
            assert best_of(index, query, documents) == (found[found >= 0].tolist(), scores[found >= 0].tolist())
            timings = interleave(
                RUNS,
                1,
                everything=lambda query=query: index.search_arrays(query, TOP_K),
                among=lambda query=query, ids=ids: index.search_arrays(query, TOP_K, among=ids),
                ranked=lambda query=query, documents=documents: best_of(index, query, documents),
            )
            all_seconds.append(timings["everything"].median)
            among_seconds.append(timings["among"].median)
            ranked_seconds.append(timings["ranked"].median)
        times = [statistics.median(seconds) * 1e3 for seconds in (among_seconds, ranked_seconds, all_seconds)]
        for name, milliseconds in zip(("among", "rank_all", "all_documents"), times, strict=True):
            figures[f"{name}_ms_{size}"] = milliseconds
        ratios[f"among_vs_rank_all_{size}"] = statistics.median(
            ranked / among for ranked, among in zip(ranked_seconds, among_seconds, strict=True)
        )
        table.append([f"{size:,}", *(f"{milliseconds:,.3f}" for milliseconds in times)])
    title = f"The best {TOP_K} among some of {given.documents:,} documents, milliseconds, one core"
    report(title, ["documents meant", "among", "rank all", "all documents"], table, ratios, figures, given.json)


if __name__ == "__main__":
    main()
