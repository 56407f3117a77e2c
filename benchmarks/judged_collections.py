"""What benchmarks over judged collections share: their options, an index of each collection, nDCG@10 of each query."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.evaluation.measures import evaluate_run
from lexite.index import BM25Index
from lexite.ranking.hits import Hit
from lexite.ranking.trec import run_from_hits
from lexite.scoring.words import LiteralConfig
from lexite.terms.queries import EncodedQueries


class Indexed(NamedTuple):
    """A collection, its index as ``lexite index`` builds it, and its queries as the model encodes them."""

    collection: JudgedCollection
    index: BM25Index
    queries: EncodedQueries


def judged_parser(description: str | None, collections: str = "+") -> argparse.ArgumentParser:
    """A parser with collections, ``--vocabulary``, ``--cache`` and ``--json``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("collections", nargs=collections)
    made.add_argument("--vocabulary", default="default")
    made.add_argument("--cache", help="folder for token states, as of lexite eval --cache")
    made.add_argument("--json", type=Path, help="file for the results")
    return made


def indexed_collections(
    encoder: LatentTermEncoder, collections: Sequence[str], cache: str | None, *, static: bool = False
) -> Iterator[Indexed]:
    """Indexes one collection after the other; its index is there until the next is asked for."""
    states = None if cache is None else StateCache(cache, encoder)
    system = LatentSystem(encoder, cache=states, literal=LiteralConfig(), static=static, passages=PassageConfig())
    for opened in open_collections(collections, "test"):
        collection = read_collection(opened, ReadOptions(skip_bad=True))
        with tempfile.TemporaryDirectory(prefix="lexite-judged-") as folder:
            index = system.indexed(Path(folder) / "index", collection)
            yield Indexed(collection, index, system.queries(collection))
            del index  # its files are mapped


def ndcg(rankings: Sequence[Sequence[Hit]], collection: JudgedCollection) -> NDArray[np.float64]:
    """nDCG@10 of each query of a collection; the document whose id is the query's is left out."""
    own = [[hit for hit in hits if hit.id != query.id] for hits, query in zip(rankings, collection.queries, strict=True)]
    run = run_from_hits([query.id for query in collection.queries], own)
    found = evaluate_run(collection.qrels, run).per_query["nDCG@10"]
    return np.array([found[query.id] for query in collection.queries])
