"""What each step of a preset's chain costs a query, on one core, beyond encoding the query.

    python benchmarks/second_stages_time.py COLLECTION... --index DIR [--fill FILE...] [--documents 57000] [--words N]
                                            [--combine N] [--chains FILE] [--queries 12] [--rounds 3] [--json FILE]

The index is built for the preset where the folder holds none: all documents of the collections, and as many others as are
missing to ``--documents``: whole texts of the files ``--fill`` (JSONL with a text, .xz), or with ``--words`` pieces of so many
words. With ``--combine`` it has no others than such as are put together of N pieces, which are encoded once
(``combined_documents.py``). Queries are those of the collections.

A query is encoded once by the model, for its terms and for all second stages alike. Then the encoded query is searched with the
chain after each of its steps, without each of them, with MaxSim alone and from token states, which are random and in memory; or
with the chains of a JSON file. Words alone, the dense vectors of all documents, and two judged documents are timed beside them.

Times are processor times of the process with one thread, which other work on the machine changes less than the clock. The least
of some rounds counts, and a step takes the difference to the chain before it, query by query.
"""

from __future__ import annotations

import os

os.environ["LEXITE_THREADS"] = "1"

# isort: split
import argparse
import gc
import itertools
import json
import lzma
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from combined_documents import build_combined
from threadpoolctl import threadpool_limits
from timed_ways import FIRST, STATES, MadeStates, chains_in, chains_of, ways_of, with_states

from lexite import Document, LatentTermEncoder, Searcher
from lexite.corpus import ReadOptions
from lexite.evaluation.judged import open_collections, read_collection
from lexite.files import write_json
from lexite.index import BM25Index
from lexite.search.presets import side_data_for
from lexite.search.strategies import Chain
from lexite.search.strategy import Strategy

READ = ReadOptions(skip_bad=True)


def documents_of(collection: str) -> list[Document]:
    """All documents of a collection that have a text, under ids that no other collection has."""
    (opened,) = open_collections([collection], "test")
    read = (each for each in read_collection(opened, READ).read() if each.full_text.strip())
    return [Document(f"{opened.name} {each.id}", each.text, each.title) for each in read]


def pieces(files: Sequence[str], words: int | None) -> Iterator[Document]:
    """The texts of files: whole, or in pieces of so many words, where what is left of each is left out."""
    for path in files:
        with lzma.open(path, "rt") as lines:
            for number, line in enumerate(lines):
                read, name = json.loads(line)["text"], f"{Path(path).stem} {number}"
                if words is None:
                    yield Document(name, read)
                    continue
                text = read.split()
                for start in range(0, len(text) - words + 1, words):
                    yield Document(f"{name} {start}", " ".join(text[start : start + words]))


def built(given: argparse.Namespace) -> None:
    """Builds the index, with one commit for each collection; or of combined pieces alone."""
    if given.combine is not None:
        each = -(-given.combine // len(given.fill))
        texts = [piece.text for file in given.fill for piece in itertools.islice(pieces([file], given.words), each)]
        encoder = LatentTermEncoder.from_pretrained(given.vocabulary)
        build_combined(given.index, encoder, texts, given.documents, given.preset, given.seed)
        return
    first, *others = given.collections
    side = side_data_for(Chain(list(itertools.chain.from_iterable(chains_given(given).values()))).needs)
    with Searcher.build(
        documents_of(first),
        given.index,
        vocabulary=given.vocabulary,
        preset=given.preset,
        vectors=side.vectors,
        token_codes=side.token_codes,
        static=False,
        store_text=False,
    ) as searcher:
        for collection in others:
            searcher.add(documents_of(collection))
            print(f"{len(searcher):,} documents with {collection}", flush=True)
        missing = given.documents - len(searcher)
        if missing > 0 and given.fill:
            searcher.add(itertools.islice(pieces(given.fill, given.words), missing))


def texts_of(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Some queries of each collection with its name, in random order."""
    rng, chosen = np.random.default_rng(given.seed), list[tuple[str, str]]()
    for opened in open_collections(given.collections, "test"):
        texts = read_collection(opened, READ).query_texts
        chosen += [(opened.name, texts[place]) for place in rng.permutation(len(texts))[: given.queries].tolist()]
    return [chosen[place] for place in rng.permutation(len(chosen)).tolist()]


def timed(given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a query of each way to search, and of encoding."""
    index = BM25Index.open(given.index)
    searcher = Searcher.open(index, vocabulary=given.vocabulary)
    encoder = searcher.queries.encoder
    chains, asked = chains_given(given), texts_of(given)
    states, texts = MadeStates(index), [text for _, text in asked]
    ways = ways_of(chains, index, states, compared=given.chains is None)
    found: dict[str, list[float]] = {name: [] for name in ("encoding", *ways)}
    gc.disable()
    for text in texts:  # reads what lies on the disk, and compiles
        for way in ways.values():
            way(searcher, searcher.encode(text))
    for text in texts:
        best = dict.fromkeys(found, np.inf)
        for _ in range(given.rounds):
            for name, way in ways.items():
                fresh = Searcher.open(index, vocabulary=encoder)  # it has encoded nothing yet
                began = time.process_time()
                query = fresh.encode(text)
                encoded = time.process_time()
                way(fresh, query)
                best[name] = min(best[name], time.process_time() - encoded)
                best["encoding"] = min(best["encoding"], encoded - began)
        for name, seconds in best.items():
            found[name].append(1000 * seconds)
        gc.collect(0)
    info, whole = index.info(), [name for name in chains if name.startswith("+") and STATES not in name]
    steps = {after: np.subtract(found[after], found[before]).tolist() for before, after in itertools.pairwise([FIRST, *whole])}
    last = found[whole[-1] if whole else FIRST]
    by_collection = {each: summary([ms for (own, _), ms in zip(asked, last, strict=True) if own == each]) for each, _ in asked}
    return {
        "n_documents": info["n_documents"],
        "n_passages": info["n_passages"],
        "n_queries": len(texts),
        "side_data": info["side_data"],
        "milliseconds": {name: summary(values) for name, values in found.items()},
        "steps": {name: summary(values) for name, values in steps.items()},
        "whole chain, by collection of the query": by_collection,
        "bytes_per_document": {
            name: bytes_of(index, with_states(chain, states)) + states.bytes_per_document
            if name.endswith(STATES)
            else bytes_of(index, chain)
            for name, chain in chains.items()
        },
    }


def chains_given(given: argparse.Namespace) -> dict[str, list[Strategy]]:
    """The chains of the preset, or those of a file beside the first stage."""
    return chains_of(given.preset) if given.chains is None else {FIRST: [], **chains_in(given.chains)}


def bytes_of(index: BM25Index, chain: Sequence[Strategy]) -> float:
    """Bytes of a document that a chain reads: posting lists, and the side files that it needs."""
    kept = index.info().get("side_data") or {}
    side = sum(facts["bytes"] for kind, facts in kept.items() if kind in Chain(chain).needs)
    return (index.bytes + side) / index.n_documents


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, mean, ninth decile and most."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "p90": float(np.quantile(values, 0.9)),
        "most": max(values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="BEIR folders")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--preset", default="best", help="whose chain is timed")
    parser.add_argument(
        "--chains", type=Path, help="JSON file of chains that are timed in its place: name to [[step, settings], ...]"
    )
    parser.add_argument("--index", required=True, type=Path, help="folder of the index; it is built where there is none")
    parser.add_argument("--fill", nargs="*", default=[], help="files of texts that fill the index up")
    parser.add_argument("--documents", type=int, default=57_000, help="documents to fill the index up to")
    parser.add_argument("--words", type=int, help="of each document that fills the index up; whole texts where it is not given")
    parser.add_argument(
        "--combine", type=int, metavar="N", help="make documents of N pieces of so many words, two to four each, and no others"
    )
    parser.add_argument("--queries", type=int, default=12, help="of each collection")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each query, of which the fastest counts")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of queries")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if not given.index.exists():
            built(given)
        results = timed(given)
    for name, values in {**results["milliseconds"], **{f"step {k}": v for k, v in results["steps"].items()}}.items():
        print(f"{name:36s} {values['median']:6.2f} ms (mean {values['mean']:.2f}, 90% {values['p90']:.2f})")
    for name in ("n_documents", "n_passages", "side_data", "bytes_per_document", "whole chain, by collection of the query"):
        print(name, results[name])
    if given.json is not None:
        write_json(given.json, results)


if __name__ == "__main__":
    main()
