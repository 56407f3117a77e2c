"""Second stages: what each step of a preset's chain brings, on test collections, and what it costs.

    python benchmarks/second_stages.py COLLECTION... --cache cache --json second_stages.json
    python benchmarks/second_stages.py COLLECTION... --cache cache --timing --json second_stages_timing.json

Without --timing, every collection is indexed as ``lexite eval`` does it. It is measured with the first stage, with the chain
after each of its steps, without each of its steps, with MaxSim alone, and with MaxSim from token states in place of codes.
Token states and vectors come from the cache, which is filled where it lacks something.

With --timing, all collections lie in one index, as often as --copies says, and their queries are asked one after the other on
one core. The model has encoded the queries before, so that the times are those of search alone. They are processor times, which
other work on the machine changes little.
"""

from __future__ import annotations

import os
import sys

if "--timing" in sys.argv:
    os.environ["LEXITE_THREADS"] = "1"

# isort: split
import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablation import means
from numpy.typing import NDArray

from lexite import LatentTermEncoder, Searcher
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig, passages_of
from lexite.evaluation.cache import StateCache
from lexite.evaluation.evaluate import evaluate_collections
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.kept_queries import KeptQueries
from lexite.files import write_json
from lexite.index import BM25Index
from lexite.index.side_config import SideDataConfig
from lexite.scoring.config import scoring_of
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import Indexer
from lexite.search.presets import PRESETS, side_data_for
from lexite.search.queries import ModelQueries
from lexite.search.side_collection import SideCollector
from lexite.search.strategies import STRATEGIES, Chain
from lexite.search.strategies.maxsim import MaxSim
from lexite.search.strategy import Strategy

FIRST = "first stage"
READ = ReadOptions(skip_bad=True)


def chains_of(steps: Sequence[tuple[str, Strategy]]) -> dict[str, list[Strategy]]:
    """The chain after each of its steps, and without each of them."""
    names = [name for name, _ in steps]
    found = {"+".join(names[: n + 1]): [step for _, step in steps[: n + 1]] for n in range(len(steps))}
    for left_out in names[:-1]:
        found[f"without-{left_out}"] = [step for name, step in steps if name != left_out]
    return found


class CachedStates(Mapping[str, Sequence[NDArray[Any]]]):
    """Token states of a collection's passages by the id of the document, from a cache."""

    def __init__(self, cache: StateCache, collection: JudgedCollection, passages: PassageConfig | None) -> None:
        self.states: dict[str, list[NDArray[Any]]] = {}
        for documents, cut, states in cache.documents(collection, passages):
            rows = states.states.to("cpu").half().numpy()
            for document, begin, end in zip(documents, cut.bounds[:-1], cut.bounds[1:], strict=True):
                bounds = states.offsets[begin : end + 1]
                self.states[document.id] = [rows[low:high] for low, high in zip(bounds[:-1], bounds[1:], strict=True)]

    def __getitem__(self, identifier: str) -> Sequence[NDArray[Any]]:
        return self.states[identifier]

    def __iter__(self) -> Any:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)


def with_states(steps: Sequence[tuple[str, Strategy]], states: CachedStates) -> list[Strategy]:
    """The chain with MaxSim from token states."""
    return [
        dataclasses.replace(step, source="states", states=states) if isinstance(step, MaxSim) else step for _, step in steps
    ]


def measure(given: argparse.Namespace, steps: Sequence[tuple[str, Strategy]]) -> dict[str, Any]:
    """Quality, bytes and postings of each chain on each collection, one collection after the other."""
    encoder = LatentTermEncoder.from_pretrained(given.vocabulary)
    cache, preset = StateCache(given.cache, encoder), PRESETS[given.preset]
    passages = passages_of(preset.passages_over("auto"))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in given.collections:
        (collection,) = [read_collection(opened, READ) for opened in open_collections([path], "test")]
        chains: dict[str, Sequence[Strategy]] = dict(chains_of(steps))
        maxsim = next((step for _, step in steps if isinstance(step, MaxSim)), None)
        if maxsim is not None:
            states = CachedStates(cache, collection, passages)
            alone = dataclasses.replace(maxsim, alone=True)
            chains["maxsim-alone"] = [alone]
            chains["maxsim-alone,states"] = [dataclasses.replace(alone, source="states", states=states)]
            chains["whole,states"] = with_states(steps, states)
        report = evaluate_collections(
            encoder,
            [path],
            baselines=("dense", "bm25"),
            cache=given.cache,
            options=READ,
            scoring=preset.recorded_over(None),
            literal=preset.words_over(LiteralConfig()),
            passages=passages,
            chains=chains,
            side_data=SideDataConfig(vectors=given.vectors),
        )
        ((name, row),) = report.collections.items()
        for system, values in row.items():
            called = FIRST if system == "latent+words" else system.removeprefix("latent+words > ")
            found.setdefault(called, {})[name] = values
        print(name, {system: round(values[name]["nDCG@10"], 4) for system, values in found.items()}, flush=True)
    return {
        system: {
            **means({name: values["nDCG@10"] for name, values in rows.items()}),
            "R@100": statistics.fmean(values["R@100"] for values in rows.values()),
            "bytes_per_document": {name: values["bytes_per_document"] for name, values in rows.items()},
        }
        for system, rows in found.items()
    }


def build_joint_index(folder: Path, given: argparse.Namespace, encoder: LatentTermEncoder, side: SideDataConfig) -> BM25Index:
    """All collections in one index, each --copies times under ids of its own."""
    cache, preset = StateCache(given.cache, encoder), PRESETS[given.preset]
    passages = passages_of(preset.passages_over("auto"))
    indexer = Indexer.create(
        folder,
        encoder,
        scoring=scoring_of(preset.recorded_over(None), encoder.scoring),
        literal=preset.words_over(LiteralConfig()),
        passages=passages,
        side_data=side,
        static=False,
        store_text=False,
        store_fields=False,
    )
    record = indexer.writer.side_data
    assert record is not None  # side files were asked for
    with indexer:
        for opened in open_collections(given.collections, "test"):
            collection = read_collection(opened, READ)
            vectors, place = cache.passage_vectors(collection, passages), 0
            for documents, cut, states in cache.documents(collection, passages):
                sink = SideCollector(record, encoder.sae, wants_vectors=False)
                rows = encoder.encode_states(states, "document", sink=sink)
                sink.add_vectors(vectors[place : place + len(cut.texts)])
                place += len(cut.texts)
                kept = sink.collected()
                for copy in range(given.copies):
                    named = [dataclasses.replace(each, id=f"{copy} {opened.name} {each.id}") for each in documents]
                    indexer.take(named, rows, cut, side=kept)
        indexer.commit()
    return BM25Index.open(folder)


def time_chains(given: argparse.Namespace, steps: Sequence[tuple[str, Strategy]]) -> dict[str, Any]:
    """Milliseconds a query on one core, the median over the queries, and the bytes of the side files."""
    encoder = LatentTermEncoder.from_pretrained(given.vocabulary)
    chains: dict[str, list[Strategy]] = {FIRST: [], **chains_of(steps)}
    side = side_data_for(Chain([step for _, step in steps]).needs, SideDataConfig(vectors=given.vectors))
    with tempfile.TemporaryDirectory() as folder:
        index = build_joint_index(Path(folder) / "index", given, encoder, side)
        milliseconds: dict[str, list[float]] = {name: [] for name in chains}
        rng = np.random.default_rng(given.seed)
        for opened in open_collections(given.collections, "test"):
            collection = read_collection(opened, READ)
            texts = collection.query_texts
            encoded = encoder.encode_queries(texts)
            kept = KeptQueries(ModelQueries(encoder), collection, encoded, StateCache(given.cache, encoder))
            kept.prepare(Chain([step for _, step in steps]).needs)
            searcher = Searcher(index, kept, str)
            for place in rng.permutation(len(texts))[: given.queries].tolist():
                query = encoded[place]
                searcher.rank(query, 10, then=[step for _, step in steps])  # reads what lies on the disk
                for name, chain in chains.items():
                    began = time.process_time()
                    searcher.rank(query, 10, then=chain)
                    milliseconds[name].append(1000 * (time.process_time() - began))
        info = index.info()
        del index, searcher
    return {
        "n_documents": info["n_documents"],
        "side_data": info["side_data"],
        "milliseconds": {
            name: {
                "median": statistics.median(values),
                "p90": float(np.quantile(values, 0.9)),
                "least": min(values),
                "most": max(values),
            }
            for name, values in milliseconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="BEIR folders")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--preset", default="best", help="whose chain is measured")
    parser.add_argument("--vectors", default="int8", help="how the index keeps dense vectors")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--timing", action="store_true", help="time the chain in place of measuring its rankings")
    parser.add_argument("--copies", type=int, default=2, help="of each document in the index that is timed")
    parser.add_argument("--queries", type=int, default=30, help="of each collection that are timed")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of queries")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    steps = [(name, STRATEGIES[name](**settings)) for name, settings in PRESETS[given.preset].steps]
    results = time_chains(given, steps) if given.timing else measure(given, steps)
    if given.timing:
        for name, values in results["milliseconds"].items():
            print(f"{name:50s} {values['median']:.2f} ms (90%: {values['p90']:.2f})")
    else:
        for name, values in results.items():
            half = " / ".join("-" if values[key] is None else f"{values[key]:.4f}" for key in ("ndcg_chosen_on", "ndcg_rest"))
            print(f"{name:50s} {values['ndcg']:.4f} ({half})")
    if given.json is not None:
        write_json(given.json, results)


if __name__ == "__main__":
    main()
