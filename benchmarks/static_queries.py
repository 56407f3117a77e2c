"""One query after the other: encoded by the static table of a vocabulary and by the model.

    python benchmarks/static_queries.py [--queries 200] [--runs 5] [--json FILE]

The queries are sentences of 4 to 20 words from real texts. A static query is what a search makes with the table: it drops small
terms. The tokenizer alone is what a table costs at least.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from common import interleave, parser, ratio, report
from encode import read_texts
from tokenizers import Tokenizer

from lexite import LatentTermEncoder
from lexite.search.queries import StaticQueries
from lexite.terms import load_static

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def queries_of(texts: list[str], n: int) -> list[str]:
    """The first sentences of so many words, one of each text."""
    found = (next((s for s in SENTENCE_END.split(text) if 4 <= len(s.split()) <= 20), None) for text in texts)
    return [sentence for sentence in found if sentence][:n]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--queries", type=int, default=200)
    options.add_argument("--runs", type=int, default=5, help="counted runs of each")
    given = options.parse_args()
    texts, source = read_texts(4 * given.queries)
    queries = queries_of(texts, given.queries)
    table, manifest = load_static("default")
    tokenizer = Tokenizer.from_str(table.tokenizer)
    encoder = LatentTermEncoder.from_pretrained("default")
    static = StaticQueries(table, manifest["fingerprint"], encoder.floor_for("query"))

    def one_by_one(encode: Callable[[list[str]], Any]) -> Callable[[], None]:
        def run() -> None:
            for query in queries:
                encode([query])

        return run

    ways = {
        "static table": one_by_one(table.encode),
        "static query": one_by_one(static.encode),
        "model": one_by_one(encoder.encode_queries),
        "tokenizer alone": one_by_one(lambda query: tokenizer.encode(query[0])),
    }
    timings = interleave(given.runs, 1, ways)
    figures = {f"{name.replace(' ', '_')}_ms": 1e3 * timing.median / len(queries) for name, timing in timings.items()}
    rows = [[name, f"{1e3 * timing.median / len(queries):.3f}", timing.spread] for name, timing in timings.items()]
    ratios = {
        "static_vs_model": ratio(timings["model"], timings["static table"]),
        "static_vs_tokenizer": ratio(timings["tokenizer alone"], timings["static table"]),
    }
    words = sum(len(query.split()) for query in queries) / len(queries)
    title = f"{len(queries)} queries of {words:.0f} words in the mean, from {source}, one by one"
    report(title, ["", "ms a query (median)", f"ms for all {len(queries)} (min – max)"], rows, ratios, figures, given.json)


if __name__ == "__main__":
    main()
