"""Cascade: quality, how many queries never see the model, and what the static part and the decision cost.

    python benchmarks/cascade.py COLLECTION... --cache cache --json cascade.json

Each collection is indexed as ``lexite index`` does it. nDCG@10 is that of ``lexite eval``. Thresholds of sureness are measured
on the same rankings. The curve has for each share of queries the largest threshold that leaves so many to the table in the mean
of the collections that choose, and what it gives there, on those that confirm, and on all. The last part chooses a threshold
for each collection on all others, for ``--share`` of their queries. Times are medians of CPU time over the queries of a
collection, one after the other; the model's are those of encoding a query, on the first ``--timed`` queries.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("LEXITE_THREADS", "1")

import numpy as np
import torch
from frontier import CHOSEN_ON
from judged_collections import indexed_collections, judged_parser, ndcg

from lexite import LatentTermEncoder
from lexite.evaluation.judged import JudgedCollection
from lexite.files import write_json
from lexite.index import BM25Index
from lexite.ranking.hits import Hit
from lexite.search.queries import static_queries_of
from lexite.search.strategies import Cascade
from lexite.search.strategy import Answer
from lexite.terms.queries import EncodedQueries

SHARES = (1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2, 0.1, 0.0)
GRID = np.round(np.arange(0.0, 3.01, 0.01), 2)
DEPTH = 100


def main() -> None:
    parser = judged_parser(__doc__)
    parser.add_argument("--share", type=float, default=0.52, help="of queries that are left to the table, for the last part")
    parser.add_argument("--timed", type=int, default=100, help="queries that are timed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    rows, sums = dict[str, dict[str, Any]](), dict[str, Any]()
    for collection, index, queries in indexed_collections(encoder, args, static=True):
        rows[collection.name] = measured(index, queries, collection, encoder, args.timed)
        print(collection.name, {name: value for name, value in rows[collection.name].items() if name != "queries"}, flush=True)
        sums = {
            "default": {half: at(of, Cascade().sureness) for half, of in halves(rows).items()},
            "curve": curve(rows),
            "left out in turn": left_out(rows, args.share),
        }
        if args.json is not None:
            write_json(args.json, {"collections": rows, **sums})
    for name, found in sums.items():
        print(name)
        for key, values in found.items():
            print("  ", key, values)


def measured(
    index: BM25Index, by_model: EncodedQueries, collection: JudgedCollection, encoder: LatentTermEncoder, n_timed: int
) -> dict[str, Any]:
    """nDCG@10 of static queries, of the model's and of the cascade; sureness of each query; times."""
    strategy, table = Cascade(), static_queries_of(index)
    static = table.encode(collection.query_texts)
    base = index.scoring

    def searched(queries: EncodedQueries, weight: float) -> list[list[Hit]]:
        return index.search(queries, DEPTH + 1, scoring=dataclasses.replace(base, literal_weight=weight))

    def cascaded(queries: EncodedQueries) -> Answer:
        return strategy(Answer(queries, [[]] * len(queries), DEPTH + 1, index, {"scoring": base}))

    rankings = searched(static, strategy.static_literal_weight)
    scoring = dataclasses.replace(base, literal_weight=strategy.static_literal_weight)
    sure = strategy.measured(Answer(static, rankings, DEPTH, index), scoring)
    ways = {
        "static": searched(static, base.literal_weight),
        "static, own weight": rankings,
        "model": searched(by_model, base.literal_weight),
        "model, own weight": searched(by_model, strategy.model_literal_weight),
        "cascade": cascaded(by_model).rankings,
    }
    values = {name: ndcg(found, collection) for name, found in ways.items()}
    texts = collection.query_texts[:n_timed]
    one = [dataclasses.replace(answer, rankings=[hits]) for answer, hits in zip(_each(static, index), rankings, strict=True)]
    times = {
        "encode, static": timed(lambda number: table.encode([texts[number]]), len(texts)),
        "search, static": timed(lambda number: index.search(static[number], 10, scoring=scoring), len(texts)),
        "decide": timed(lambda number: strategy.measured(one[number], scoring), len(texts)),
        "encode, model": timed(lambda number: encoder.encode_queries([texts[number]]), min(len(texts), 20)),
    }
    return {
        **{name: round(float(each.mean()), 4) for name, each in values.items()},
        "share": round(float((sure >= strategy.sureness).mean()), 3),
        "ms": {name: round(value, 3) for name, value in times.items()},
        "queries": {"sureness": sure.tolist(), **{name: each.tolist() for name, each in values.items()}},
    }


def _each(queries: EncodedQueries, index: BM25Index) -> list[Answer]:
    return [Answer(query, [[]], DEPTH, index) for query in queries]


def timed(call: Callable[[int], object], number: int) -> float:
    """The median of the CPU milliseconds of calls, after one that is not counted: other programs do not count."""
    call(0)
    seconds = []
    for place in range(number):
        began = time.process_time()
        call(place)
        seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds)


Rows = Mapping[str, Mapping[str, Any]]


def halves(rows: Rows) -> dict[str, Rows]:
    """The collections that choose, those that confirm, and all; what has none is left out."""
    found = {
        "chosen": {name: row for name, row in rows.items() if name in CHOSEN_ON},
        "confirmed": {name: row for name, row in rows.items() if name not in CHOSEN_ON},
        "all": rows,
    }
    return {half: of for half, of in found.items() if of}


def at(rows: Rows, threshold: float) -> dict[str, float]:
    """What a threshold gives in the mean of collections: the share of static queries, what it changes.

    ``difference`` is from the model's queries with the index's weight of words, ``own`` from those with the cascade's.
    """
    each = [_at(row["queries"], threshold) for row in rows.values()]
    difference, own, share = (round(float(np.mean(values)), 4) for values in zip(*each, strict=True))
    return {"share": share, "difference": difference, "own": own}


def threshold_for(rows: Rows, share: float) -> float:
    """The largest threshold of the grid that leaves so many queries to the table, in the mean of collections."""
    sure = [np.array(row["queries"]["sureness"]) for row in rows.values()]
    return float(max(value for value in GRID if np.mean([(each >= value).mean() for each in sure]) >= share))


def curve(rows: Rows) -> dict[str, Any]:
    """For each share of static queries the threshold that the collections that choose give, and what it gives."""
    found = {}
    parts = halves(rows)
    for share in SHARES:
        threshold = threshold_for(parts.get("chosen", rows), share)
        found[str(share)] = {"threshold": threshold, **{half: at(of, threshold) for half, of in parts.items()}}
    return found


def left_out(rows: Rows, share: float) -> dict[str, Any]:
    """A threshold for each collection, chosen on all others, and what it gives."""
    found: dict[str, Any] = {}
    if len(rows) < 2:
        return found
    for name, row in rows.items():
        threshold = threshold_for({key: other for key, other in rows.items() if key != name}, share)
        difference, own, static = _at(row["queries"], threshold)
        found[name] = {
            "threshold": threshold,
            "difference": round(difference, 4),
            "own": round(own, 4),
            "share": round(static, 3),
        }
    means = {key: round(float(np.mean([each[key] for each in found.values()])), 4) for key in ("difference", "own", "share")}
    return {**found, "mean": means}


def _at(queries: dict[str, list[float]], threshold: float) -> tuple[float, float, float]:
    values = {name: np.array(each) for name, each in queries.items()}
    sure = values["sureness"] >= threshold
    cascade = np.where(sure, values["static, own weight"], values["model, own weight"]).mean()
    return float(cascade - values["model"].mean()), float(cascade - values["model, own weight"].mean()), float(sure.mean())


if __name__ == "__main__":
    main()
