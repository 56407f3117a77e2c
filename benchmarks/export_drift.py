"""How far rankings move in an engine whose statistics were baked when it had fewer documents.

An index is cut into a part that was exported and documents that came later. Later documents are written with the mean length of
the first ones, and the ranking is compared with that of fresh statistics: overlap@10, mean over queries. Documents come in four
ways: as they are, longest last, shortest last, and with weights doubled for those that come later.

    python benchmarks/export_drift.py INDEX QUERIES.jsonl
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from lexite.index import BM25Config, BM25Index
from lexite.scoring.formula import average_length, impacts, length_norms, query_factors, saturation_form, worth_of_terms
from lexite.scoring.transform import transform_weights
from lexite.search.queries import static_queries_of

GROWTHS = (0.1, 0.5, 1.0)
TOP = 10


@dataclass(frozen=True)
class Baked:
    """Statistics of some documents."""

    n: int
    df: NDArray[np.int64]
    average: float


def baked(rows: csr_array, lengths: NDArray[np.float32]) -> Baked:
    return Baked(rows.shape[0], np.bincount(rows.indices, minlength=rows.shape[1]), average_length(lengths))


def ranking(
    rows: csr_array,
    lengths: NDArray[np.float32],
    asked: csr_array,
    lengths_of: Baked,
    idf_of: Baked,
    n_latents: int,
    scoring: BM25Config,
) -> list[list[int]]:
    norms = np.repeat(length_norms(lengths, lengths_of.average, scoring), np.diff(rows.indptr))
    data = impacts(transform_weights(rows.data, scoring.document_transform), norms, saturation_form(scoring))
    worth = worth_of_terms(idf_of.n, idf_of.df, n_latents, scoring)
    factors = csr_array((query_factors(asked.data, worth[asked.indices], scoring), asked.indices, asked.indptr), asked.shape)
    scores = (factors @ csr_array((data, rows.indices, rows.indptr), rows.shape).T).toarray()
    return [np.argsort(-row, kind="stable")[:TOP].tolist() for row in scores]


def overlap(one: list[list[int]], other: list[list[int]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / TOP for a, b in zip(one, other, strict=True)]))


def orders(lengths: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    ascending = np.argsort(lengths, kind="stable")
    return {"as they are": np.arange(len(lengths)), "longest last": ascending, "shortest last": ascending[::-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--n-queries", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    index = BM25Index.open(arguments.index)
    scoring = index.scoring
    opened = gzip.open if arguments.queries.suffix == ".gz" else open
    with opened(arguments.queries, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(arguments.n_queries), strict=False)]
    encoded = static_queries_of(index).encode(texts)
    factors = index.query_factors(encoded)  # with words; their worth is divided out again
    worth = worth_of_terms(index.n_passages, index.document_frequency, index.n_latents, scoring)
    raw = np.power(factors.data / worth[factors.indices], 4 / 3 if scoring.query_transform == "pow0.75" else 1)
    asked = csr_array((raw.astype(np.float32), factors.indices, factors.indptr), factors.shape)
    rows = index.rows()
    lengths = np.asarray(rows.sum(axis=1), dtype=np.float32)
    found = []
    for name, order in orders(lengths).items():
        for growth in GROWTHS:
            found.append(measured(rows[order], asked, name, growth, index.n_latents, scoring))
    for growth in GROWTHS:
        first = round(rows.shape[0] / (1 + growth))
        doubled = diags_array(np.where(np.arange(rows.shape[0]) < first, 1.0, 2.0).astype(np.float32)) @ rows
        found.append(measured(csr_array(doubled), asked, "later ones twice as long", growth, index.n_latents, scoring))
    print(f"{rows.shape[0]:,} documents, {len(texts)} queries; overlap@{TOP} with fresh statistics")
    print(f"{'documents come':26} {'growth':>7} {'avgdl':>7} {'stale avgdl':>12} {'and stale idf':>14}")
    for one in found:
        head = f"{one['order']:26} {one['growth']:7.0%} {one['length']:+7.1%}"
        print(f"{head} {one['stale_length']:12.3f} {one['stale_both']:14.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measured(
    rows: csr_array, asked: csr_array, order: str, growth: float, n_latents: int, scoring: BM25Config
) -> dict[str, float | str]:
    lengths = np.asarray(rows.sum(axis=1), dtype=np.float32)
    first = round(rows.shape[0] / (1 + growth))
    then, now = baked(rows[:first], lengths[:first]), baked(rows, lengths)
    fresh = ranking(rows, lengths, asked, now, now, n_latents, scoring)
    stale_length = ranking(rows, lengths, asked, then, now, n_latents, scoring)
    stale_both = ranking(rows, lengths, asked, then, then, n_latents, scoring)
    facts = {"order": order, "growth": growth, "length": now.average / then.average - 1}
    return {**facts, "stale_length": overlap(fresh, stale_length), "stale_both": overlap(fresh, stale_both)}


if __name__ == "__main__":
    main()
