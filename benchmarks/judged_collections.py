"""What benchmarks over judged collections share: their options, an index of each collection, nDCG@10 of each query."""

from __future__ import annotations

import argparse
import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from frontier import CHOSEN_ON
from numpy.typing import NDArray

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.evaluation.measures import evaluate_run
from lexite.index import BM25Index
from lexite.index.side_config import SideDataConfig
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
    """A parser with collections, ``--vocabulary``, ``--cache``, ``--indexes`` and ``--json``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("collections", nargs=collections)
    made.add_argument("--vocabulary", default="default")
    made.add_argument("--cache", help="folder for token states, as of lexite eval --cache")
    made.add_argument("--indexes", type=Path, help="folder where indexes are kept for the next benchmark")
    made.add_argument("--json", type=Path, help="file for the results")
    return made


def indexed_collections(
    encoder: LatentTermEncoder, given: argparse.Namespace, *, static: bool = False, dense: bool = False, changed: bool = False
) -> Iterator[Indexed]:
    """Indexes one collection after the other; its index is there until the next is asked for.

    Args:
        encoder: the vocabulary.
        given: the options of :func:`judged_parser`. Indexes that are kept have a static table and dense vectors in any case, so
            that all benchmarks can share them.
        static: whether a table is wanted.
        dense: whether dense vectors are.
        changed: whether the caller changes the index, which then gets a copy of one that is kept.
    """
    states, kept = None if given.cache is None else StateCache(given.cache, encoder), given.indexes
    system = LatentSystem(
        encoder,
        cache=states,
        literal=LiteralConfig(),
        static=static or kept is not None,
        passages=PassageConfig(),
        side_data=SideDataConfig(vectors="fp32") if dense or kept is not None else None,
    )
    for opened in open_collections(given.collections, "test"):
        collection = read_collection(opened, ReadOptions(skip_bad=True))
        with tempfile.TemporaryDirectory(prefix="lexite-judged-") as folder:
            path = Path(folder) / "index"
            if kept is not None:
                make = functools.partial(system.indexed, collection=collection)
                own = kept_index(kept, collection, encoder.fingerprint, make)
                path = Path(shutil.copytree(own, path)) if changed else own
            index = BM25Index.open(path) if path.exists() else system.indexed(path, collection)
            yield Indexed(collection, index, system.queries(collection))
            del index  # its files are mapped


def kept_index(folder: Path, collection: JudgedCollection, told: str, make: Callable[[Path], object]) -> Path:
    """The index of a collection in a folder of them, made where it is not there.

    Args:
        folder: of the indexes.
        collection: whose index it is.
        told: what the index depends on beside the texts; its name tells both.
        make: makes it at a place.
    """
    key = hashlib.sha256(f"{collection.digest} {told}".encode()).hexdigest()[:12]
    path = folder / f"{collection.name}-{key}"
    if not path.exists():
        part = path.with_name(f"{path.name}.part")  # what a run that was stopped left is not taken for an index
        shutil.rmtree(part, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        make(part)
        part.rename(path)
    return path


def ndcg(rankings: Sequence[Sequence[Hit]], collection: JudgedCollection) -> NDArray[np.float64]:
    """nDCG@10 of each query of a collection; the document whose id is the query's is left out."""
    own = [[hit for hit in hits if hit.id != query.id] for hits, query in zip(rankings, collection.queries, strict=True)]
    run = run_from_hits([query.id for query in collection.queries], own)
    found = evaluate_run(collection.qrels, run).per_query["nDCG@10"]
    return np.array([found[query.id] for query in collection.queries])


def halves_of(values: Mapping[str, float]) -> dict[str, float | None]:
    """Means over collections: of all, of those on which settings are chosen, and of those that confirm them."""
    parts = {
        "mean": list(values.values()),
        "chosen": [value for name, value in values.items() if name in CHOSEN_ON],
        "confirmed": [value for name, value in values.items() if name not in CHOSEN_ON],
    }
    return {name: float(np.mean(part)) if part else None for name, part in parts.items()}
