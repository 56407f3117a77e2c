"""Sums of rankings: what the dense model and BM25 reach together, beside latent terms in one index.

    python benchmarks/fusion.py COLLECTION... --vocabulary default --cache cache --json fusion.json

Each system ranks its best documents for a query; its scores are brought to 0 to 1 by the least and the greatest of them,
documents that it does not rank get 0, and the sums rank anew.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ablation import means, measure

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.evaluation.baselines.dense import DenseSystem
from lexite.evaluation.baselines.lexical import LexicalSystem
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.files import write_json
from lexite.ranking.fusion import fuse_rankings
from lexite.scoring.words import LiteralConfig

DEPTH = 1000
SUMS = (("dense", "BM25"), ("dense", "latent"), ("dense", "latent, words"), ("latent", "BM25"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    states = StateCache(args.cache, encoder)
    systems: dict[str, Any] = {
        "dense": DenseSystem(encoder.backbone, states),
        "BM25": LexicalSystem(),
        "latent": LatentSystem(encoder, cache=states),
        "latent, words": LatentSystem(encoder, cache=states, literal=LiteralConfig(literal=True)),
    }
    found: dict[str, dict[str, float]] = {}
    for opened in open_collections(args.collections, "test"):
        collection = read_collection(opened, ReadOptions())
        alone = {name: system.run(collection, DEPTH).rankings for name, system in systems.items()}
        sums = {
            " + ".join(names): [fuse_rankings(each, DEPTH) for each in zip(*(alone[name] for name in names), strict=True)]
            for names in SUMS
        }
        for name, rankings in {**alone, **sums}.items():
            found.setdefault(name, {})[collection.name] = measure(collection, rankings)
        print(collection.name, flush=True)
    results = {name: means(by_name) for name, by_name in found.items()}
    for name, result in results.items():
        half = " / ".join("-" if result[key] is None else f"{result[key]:.4f}" for key in ("ndcg_chosen_on", "ndcg_rest"))
        print(f"{name:24s} {result['ndcg']:.4f} ({half})  {json.dumps(result['collections'])}")
    if args.json is not None:
        write_json(args.json, results)


if __name__ == "__main__":
    main()
