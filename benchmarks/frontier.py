"""Ranking quality against postings per document and terms per query: one vocabulary, many ways to encode and to score.

Every token of every collection is encoded once. Each way then chooses among the codes, and is measured with the index and the
measures of ``lexite eval``.

    python benchmarks/frontier.py COLLECTION... --vocabulary default --cache cache --json frontier.json --plot frontier
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from lexite import BM25Config, BM25Index, LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import to_ranking
from lexite.evaluation.measures import evaluate_run
from lexite.index import EncodedQueries
from lexite.ranking.rankings import to_run
from lexite.sae import SparseCodes
from lexite.scoring.words import LiteralConfig, literal_words
from lexite.search.indexing import Indexer, chunks
from lexite.terms.config import TermsConfig, with_profile
from lexite.terms.encoding import rows_of_codes

TOP_K = 100
WORDS = (180, 220)  # documents of about 200 words
CHOSEN_ON = ("scifact", "cisi", "wikiqa", "nfcorpus_pre", "tatqa")  # the half on which defaults are chosen


@dataclass(frozen=True)
class Way:
    """A way to make terms and to score them."""

    family: str
    label: str
    terms: TermsConfig
    scoring: BM25Config
    literal: LiteralConfig | None = None


@dataclass(frozen=True)
class Encoded:
    """Codes of all tokens of a kind of text, (tokens, largest k), and where texts begin."""

    values: np.ndarray
    indices: np.ndarray
    offsets: np.ndarray

    def rows(self, k: int, floor: float, n_latents: int) -> csr_array:
        parts = []
        for first in range(0, len(self.offsets) - 1, 1024):
            bounds = self.offsets[first : first + 1025]
            some = slice(bounds[0], bounds[-1])
            codes = SparseCodes(torch.from_numpy(self.values[some]), torch.from_numpy(self.indices[some]), n_latents)
            parts.append(rows_of_codes(codes, bounds - bounds[0], k=k, floor=floor))
        return vstack(parts, format="csr")


def encode(encoder: LatentTermEncoder, cache: StateCache, collection: JudgedCollection, kind: Any, k: int) -> Encoded:
    values, indices, offsets = [], [], [np.zeros(1, np.int64)]
    for states in cache.states(collection, kind):
        codes = encoder.codes(states, k)
        values.append(codes.values.numpy())
        indices.append(codes.indices.numpy())
        offsets.append(np.asarray(states.offsets[1:], np.int64) + offsets[-1][-1])
    return Encoded(np.concatenate(values), np.concatenate(indices), np.concatenate(offsets))


def index_rows(
    folder: Path,
    encoder: LatentTermEncoder,
    collection: JudgedCollection,
    rows: csr_array,
    literal: LiteralConfig | None = None,
) -> BM25Index:
    """The index that ``lexite eval`` makes of a collection, from rows that are pooled already; replaces one in the folder."""
    words, start = literal or LiteralConfig(literal=False), 0
    with Indexer.create(folder, encoder, literal=words, store_text=False, static=False, overwrite=True) as indexer:
        for documents in chunks(collection.read()):
            indexer.take(documents, rows[start : start + len(documents)])
            start += len(documents)
        indexer.commit()
    return BM25Index.open(folder)


def ways(own: TermsConfig, scoring: BM25Config, largest: int) -> list[Way]:
    """All that is measured; the first is what the vocabulary says."""
    full, small = with_profile(own, "full", largest), with_profile(own, "small", largest)
    found = [Way("default", "default", own, scoring), Way("default", "full", full, scoring)]
    found.append(Way("default", "small", small, scoring))
    for k in (1, 2, 3, 4, 6, largest):
        found.append(Way("fewer latents per token", f"k {k}", replace(full, k_documents=k, k_queries=k), scoring))
    for floor in (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06):
        found.append(Way("a floor for documents", f"floor {floor:g}", replace(full, floor_documents=floor), scoring))
    for k in (2, 3, 4, 6, largest):
        for floor in (0.0, 0.05, 0.08, 0.12):
            terms = replace(own, k_queries=k, floor_queries=floor)
            found.append(Way("queries", f"k {k}, floor {floor:g}", terms, scoring))
    for name, terms in (("default", own), ("full", full), ("small", small)):
        found.append(Way("words", f"{name}, words", terms, scoring, LiteralConfig(literal=True)))
    for weight in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0):
        changed = replace(scoring, literal_weight=weight)
        found.append(Way("weight of words", f"weight {weight:g}", own, changed, LiteralConfig(literal=True)))
    for name, values in scorings().items():
        found.append(Way("scoring", name, own, replace(scoring, **values)))
    return found


def scorings() -> dict[str, dict[str, Any]]:
    """Other ways to score, by what differs from the default."""
    roots = {"document_transform": "sqrt", "query_transform": "sqrt"}
    found: dict[str, dict[str, Any]] = {
        "square roots, k1 1.5, idf": {**roots, "k1": 1.5, "idf_power": 1.0},
        "square roots, k1 8, b 0.7, robertson (the paper)": {
            **roots,
            "k1": 8.0,
            "b": 0.7,
            "idf_power": 1.0,
            "idf": "robertson",
        },
        "log1p": {"document_transform": "log1p", "query_transform": "log1p"},
        "square roots": roots,
        "documents sqrt": {"document_transform": "sqrt"},
    }
    found |= {f"queries {t}": {"query_transform": t} for t in ("sqrt", "none", "log1p")}
    found |= {f"idf_power {p:g}": {"idf_power": p} for p in (0.25, 0.75, 1.0)}
    found |= {f"k1 {k1:g}": {"k1": k1} for k1 in (1.0, 1.5, 4.0, 8.0)}
    found |= {f"b {b:g}": {"b": b} for b in (0.0, 0.4, 0.6, 0.9)}
    return found | {"idf robertson": {"idf": "robertson"}, "idf bm25+": {"idf": "bm25+"}}


class Bench:
    """One collection, encoded."""

    def __init__(self, encoder: LatentTermEncoder, cache: StateCache, path: str, largest: int) -> None:
        self.encoder = encoder
        self.collection = read_collection(open_collections([path], "test")[0], ReadOptions())
        self.texts = list(self.collection.texts())
        self.codes = {kind: encode(encoder, cache, self.collection, kind, largest) for kind in ("document", "query")}
        lengths = np.array([len(text.split()) for text in self.texts])
        self.of_200_words = (lengths >= WORDS[0]) & (lengths <= WORDS[1])
        both = {"document": self.texts, "query": self.collection.query_texts}
        self.words = {kind: np.array([len(literal_words(text)) for text in texts]) for kind, texts in both.items()}
        self._rows: dict[Any, csr_array] = {}
        self._index: tuple[Any, BM25Index] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lexite-bench-", ignore_cleanup_errors=True)

    def rows(self, kind: str, k: int, floor: float) -> csr_array:
        if (kind, k, floor) not in self._rows:
            if len(self._rows) > 3:
                self._rows.clear()
            self._rows[kind, k, floor] = self.codes[kind].rows(k, floor, self.encoder.n_latents)
        return self._rows[kind, k, floor]

    def measure(self, way: Way) -> dict[str, float]:
        terms, ids = way.terms, self.collection.document_ids
        documents = self.rows("document", terms.k_documents or 0, terms.floor_documents)
        queries = self.rows("query", terms.k_queries or 0, terms.floor_queries)
        key = (terms.k_documents, terms.floor_documents, way.literal)
        if self._index is None or self._index[0] != key:
            own = self.encoder.replaced(terms=terms)
            self._index = key, index_rows(Path(self._folder.name) / "index", own, self.collection, documents, way.literal)
        index = self._index[1]
        asked = EncodedQueries(queries, self.collection.query_texts)
        found, scores = index.search_arrays(asked, TOP_K + 1, scoring=way.scoring)
        rankings = [to_ranking(row, values) for row, values in zip(found, scores, strict=True)]
        run = to_run([query.id for query in self.collection.queries], rankings, ids, TOP_K)
        lengths = {"document": np.diff(documents.indptr), "query": np.diff(queries.indptr)}
        if way.literal:
            lengths = {kind: counts + self.words[kind] for kind, counts in lengths.items()}
        return {
            **evaluate_run(self.collection.qrels, run).mean,
            "postings_per_document": index.n_postings / len(ids),
            "terms_per_query": float(lengths["query"].mean()),
            "postings_200_words": float(lengths["document"][self.of_200_words].sum()),
            "documents_200_words": float(self.of_200_words.sum()),
        }


def summary(way: Way, by_name: dict[str, dict[str, float]]) -> dict[str, Any]:
    def mean(names: Sequence[str], key: str) -> float:
        return float(np.mean([by_name[name][key] for name in names])) if names else float("nan")

    names = [name for name in by_name if not name.startswith("limit")]
    chosen = [name for name in names if name in CHOSEN_ON]
    rest = [name for name in names if name not in CHOSEN_ON]
    count = sum(by_name[name]["documents_200_words"] for name in names)
    return {
        "family": way.family,
        "label": way.label,
        "ndcg": mean(names, "nDCG@10"),
        "ndcg_chosen_on": mean(chosen, "nDCG@10"),
        "ndcg_rest": mean(rest, "nDCG@10"),
        "recall": mean(names, "R@100"),
        "postings_per_document": mean(names, "postings_per_document"),
        "postings_200_words": sum(by_name[name]["postings_200_words"] for name in names) / max(count, 1),
        "terms_per_query": mean(names, "terms_per_query"),
        "terms_per_query_scifact": by_name.get("scifact", {}).get("terms_per_query"),
        "collections": by_name,
    }


def plot(rows: list[dict[str, Any]], stem: str) -> None:
    """Quality against postings, and against terms of queries."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
    colours = {
        "fewer latents per token": "#0072B2",
        "a floor for documents": "#D55E00",
        "queries": "#009E73",
        "words": "#CC79A7",
    }
    for axis, key, families in (
        (axes[0], "postings_per_document", ("fewer latents per token", "a floor for documents", "words")),
        (axes[1], "terms_per_query", ("fewer latents per token", "queries")),
    ):
        for family in families:
            points = sorted((row[key], row["ndcg"], row["label"]) for row in rows if row["family"] == family)
            line = "" if family in ("queries", "words") else "-"
            axis.plot(*list(zip(*points, strict=True))[:2], "o" + line, color=colours[family], label=family, markersize=5)
        for row in (row for row in rows if row["family"] == "default"):
            axis.plot(row[key], row["ndcg"], "*", color="black", markersize=11, zorder=5)
            axis.annotate(row["label"], (row[key], row["ndcg"]), xytext=(7, 6), textcoords="offset points", fontweight="bold")
        axis.set_xlabel({"postings_per_document": "postings per document", "terms_per_query": "terms per query"}[key])
        axis.grid(True, color="#e4e4e4")
        axis.legend(frameon=False, loc="lower right")
    axes[0].set_ylabel("mean nDCG@10")
    figure.suptitle("Quality against the size of documents and of queries", x=0.01, ha="left", fontsize=12)
    figure.tight_layout()
    for suffix in ("png", "svg"):
        figure.savefig(f"{stem}.{suffix}", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--plot", help="path of the plot, without .png")
    parser.add_argument("--families", help="comma-separated; all by default")
    options = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(options.vocabulary)
    cache = StateCache(options.cache, encoder)
    largest = max(encoder.k_for("document"), encoder.k_for("query"))
    wanted = None if options.families is None else options.families.split(",")
    listed = [way for way in ways(encoder.terms, encoder.scoring, largest) if wanted is None or way.family in wanted]
    measured: list[dict[str, dict[str, float]]] = [{} for _ in listed]
    for path in options.collections:
        bench = Bench(encoder, cache, path, largest)
        for way, results in zip(listed, measured, strict=True):
            results[bench.collection.name] = bench.measure(way)
        print(bench.collection.name, flush=True)
    rows = [summary(way, results) for way, results in zip(listed, measured, strict=True)]
    report: Callable[[dict[str, Any]], str] = lambda row: (  # noqa: E731
        f"{row['family']:24s} {row['label']:50s} {row['ndcg']:.4f} ({row['ndcg_chosen_on']:.4f} / {row['ndcg_rest']:.4f}) "
        f"{row['postings_per_document']:6.0f} {row['postings_200_words']:6.0f} {row['terms_per_query']:6.1f}"
    )
    print("\n".join(map(report, rows)))
    if options.json:
        Path(options.json).write_text(json.dumps({"vocabulary": encoder.name, "rows": rows}, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
