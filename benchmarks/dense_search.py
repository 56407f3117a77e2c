"""An exhaustive search of dense vectors, one query after the other: the peer that a search over latent terms does without.

    python benchmarks/dense_search.py [--documents 57000] [--width 384] [--queries 200] [--runs 5] [--json FILE]

The vectors are random, in fp32, of unit length; their time depends on their number and width alone. "vectors" is numpy's
product with one query and the ten best of it, "product alone" the same without choosing the best, which is the limit. Both run
on one core. ``search.py`` times searches over latent terms of as many documents.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common import interleave, parser, ratio, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

TOP_K = 10


def best(vectors: NDArray[np.float32], query: NDArray[np.float32], top_k: int = TOP_K) -> NDArray[np.int64]:
    """The documents with the largest products, best first; equal ones by number."""
    scores = vectors @ query
    chosen = np.sort(np.argpartition(-scores, min(top_k, len(scores)) - 1)[:top_k])
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=57_000)
    options.add_argument("--width", type=int, default=384)
    options.add_argument("--queries", type=int, default=200)
    options.add_argument("--runs", type=int, default=5, help="counted runs of each")
    given = options.parse_args()
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((given.documents + given.queries, given.width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents, queries = vectors[: given.documents], vectors[given.documents :]

    def each(search: Callable[[NDArray[np.float32]], object]) -> Callable[[], None]:
        def run() -> None:
            for query in queries:
                search(query)

        return run

    with threadpool_limits(1):
        ways = {"vectors": each(lambda query: best(documents, query)), "product alone": each(lambda query: documents @ query)}
        timings = interleave(given.runs, 1, ways)
    rows = [[name, f"{1e3 * timing.median / len(queries):.2f}", timing.spread] for name, timing in timings.items()]
    figures = {f"{name.replace(' ', '_')}_ms": 1e3 * timing.median / len(queries) for name, timing in timings.items()}
    ratios = {"vectors_vs_product": ratio(timings["product alone"], timings["vectors"])}
    title = f"{given.documents:,} vectors of {given.width} numbers, {len(queries)} queries one by one"
    report(title, ["", "ms a query (median)", f"ms for all {len(queries)} (min – max)"], rows, ratios, figures, given.json)


if __name__ == "__main__":
    main()
