"""Chains of second stages on judged collections: nDCG@10 of each, through an index that is built for a preset.

    python benchmarks/chain_quality.py COLLECTION... --chains benchmarks/chains.json --indexes DIR [--preset best] [--json FILE]

The index of each collection is kept in the folder for the next run. Queries are encoded once. ``--steps`` adds the preset's
chain after each of its steps, without each of them, and with MaxSim alone; ``--only`` picks chains of the file whose names have
these words. ``second_stages_time.py`` measures what the same chains cost.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from judged_collections import halves_of, kept_index, ndcg
from second_stages import chains_of
from timed_ways import FIRST, chains_in

from lexite import LatentTermEncoder, Searcher
from lexite.corpus import ReadOptions
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.files import write_json
from lexite.kernels import hardware
from lexite.search.presets import PRESETS
from lexite.search.strategies.maxsim import MaxSim
from lexite.search.strategy import Strategy

READ = ReadOptions(skip_bad=True)
PRESET = "the preset"


def index_of(collection: JudgedCollection, folder: Path, encoder: LatentTermEncoder, preset: str) -> Path:
    """The index of a collection for a preset; built where the folder lacks it."""

    def build(place: Path) -> None:
        documents = (document for document in collection.read() if document.full_text.strip())
        Searcher.build(documents, place, vocabulary=encoder, preset=preset, static=False, store_text=False).close()

    return kept_index(folder, collection, f"{encoder.fingerprint} {preset}", build)


def measured(given: argparse.Namespace, chains: Mapping[str, Sequence[Strategy]]) -> dict[str, dict[str, float]]:
    """nDCG@10 of each chain, by the name of the collection."""
    encoder = LatentTermEncoder.from_pretrained(given.vocabulary)
    found: dict[str, dict[str, float]] = {name: {} for name in chains}
    for opened in open_collections(given.collections, "test"):
        collection = read_collection(opened, READ)
        with Searcher.open(index_of(collection, given.indexes, encoder, given.preset), vocabulary=encoder) as searcher:
            queries = searcher.encode(collection.query_texts)
            for name, chain in chains.items():
                rankings = searcher.rank(queries, top_k=100, then=list(chain))
                found[name][collection.name] = float(np.mean(ndcg(rankings, collection)))
        print(collection.name, {name: round(values[collection.name], 4) for name, values in found.items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="BEIR folders")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--preset", default="best", help="for which indexes are built; its chain is measured first")
    parser.add_argument("--steps", action="store_true", help="measure parts of the preset's chain too")
    parser.add_argument("--chains", type=Path, help="JSON file of chains: name to [[step, settings], ...]")
    parser.add_argument("--only", nargs="*", default=[""], help="words, one of which the name of a chain must have")
    parser.add_argument("--without-int8", action="store_true", help="let MaxSim multiply in bf16, or fp32, on any machine")
    parser.add_argument("--indexes", type=Path, required=True, help="folder where indexes are kept")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    listed = {} if given.chains is None else chains_in(given.chains)
    if given.without_int8:
        hardware.fast_int8 = lambda: False
    chain = PRESETS[given.preset].chain()
    chains: dict[str, Sequence[Strategy]] = {FIRST: [], PRESET: chain}
    if given.steps:
        names = [name for name, _ in PRESETS[given.preset].steps]
        chains |= chains_of(list(zip(names, chain, strict=True)))
        chains["maxsim-alone"] = [dataclasses.replace(step, alone=True) for step in chain if isinstance(step, MaxSim)]
    chains |= {name: chain for name, chain in listed.items() if any(words in name for words in given.only)}
    found = measured(given, chains)
    for name, values in found.items():
        print(f"{name:50s}", {key: None if value is None else round(value, 4) for key, value in halves_of(values).items()})
    if given.json is not None:
        write_json(given.json, {name: {**halves_of(values), "collections": values} for name, values in found.items()})


if __name__ == "__main__":
    main()
