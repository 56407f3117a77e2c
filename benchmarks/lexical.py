"""Lexite's index beside lexical ones of the same documents: bytes on the disk and milliseconds a query, in one run.

lexite holds latents, encoded by the default vocabulary, and words. Lucene and bm25s hold words, each as its own tokenizer cuts
them, for BM25. No index keeps texts, positions or anything else that BM25 has no need of, and those of lexite and Lucene are
merged into one segment. Ids of documents count, where a library keeps them: bm25s gives numbers, and has no file of ids.

Queries are those of the collection, asked one at a time on one core, in rounds: all of one system, then all of the next. They
are encoded before, and cut into words before where a library takes them so, since that is no part of a search. nDCG@10 says
that each works.

    python benchmarks/lexical.py [--collection scifact] [--rounds 9] [--cache DIR] [--json FILE]

Lucene needs jpype1, a Java of 21 or later and Maven, which fetches its jars (tests/engines/lucene_jars.py).
"""

from __future__ import annotations

import os

os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["LEXITE_THREADS"] = "1"

# isort: split
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from search_systems import folder_bytes
from synthetic import NAMES, Encoded, default_cache, load_collections

from lexite.corpus import Document
from lexite.evaluation.measures import evaluate_run
from lexite.index import BM25Index, EncodedQueries, LiteralConfig, VocabularyInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "engines"))

LUCENE, JAVA = "10.3.2", 21
DEPTH, WARM_ROUNDS, ADDED_AT_ONCE = 10, 3, 1000
Ranking = list[tuple[str, float]]


@dataclass(frozen=True)
class System:
    """An index, and how it is asked: the number of a query in, the ids and scores of the best documents out."""

    name: str
    bytes: int
    postings: int
    build_seconds: float
    search: Callable[[int], Ranking]


def lexite(source: Encoded, folder: Path) -> System:
    """Latents and words."""
    info = VocabularyInfo("f" * 64, "benchmark", source.documents.shape[1])
    begin = time.perf_counter()
    with BM25Index.create(folder, info, store_text=False, literal=LiteralConfig()) as writer:
        for start in range(0, len(source.texts), ADDED_AT_ONCE):
            part = slice(start, start + ADDED_AT_ONCE)
            documents = [Document(*pair) for pair in zip(source.document_ids[part], source.texts[part], strict=True)]
            writer.add(documents, source.documents[part])
        writer.commit()
        writer.merge()
    seconds = time.perf_counter() - begin
    index = BM25Index.open(folder)
    queries = list(EncodedQueries(source.queries, source.query_texts))

    def search(query: int) -> Ranking:
        return [(hit.id, hit.score) for hit in index.search(queries[query], DEPTH)[0]]

    return System("lexite: latents and words", folder_bytes(folder), index.n_postings, seconds, search)


def lucene(source: Encoded, folder: Path) -> System:
    """Words, cut by Lucene's StandardAnalyzer."""
    import jpype
    from lucene_jars import jars, libjvm

    from lexite.engines.lucene_java import java

    lucene = java(jars(LUCENE), libjvm(JAVA))
    analyzer = jpype.JClass("org.apache.lucene.analysis.standard.StandardAnalyzer")()
    kind = lucene.FieldType()
    kind.setIndexOptions(lucene.IndexOptions.DOCS_AND_FREQS)
    kind.setTokenized(True)
    kind.freeze()
    begin = time.perf_counter()
    directory = lucene.FSDirectory.open(lucene.Path.of(str(folder)))
    writer = lucene.IndexWriter(directory, lucene.IndexWriterConfig(analyzer))
    for identifier, text in zip(source.document_ids, source.texts, strict=True):
        document = lucene.Document()
        document.add(lucene.StoredField("id", identifier))
        document.add(lucene.Field("text", text, kind))
        writer.addDocument(document)
    writer.forceMerge(1)
    writer.close()
    seconds = time.perf_counter() - begin
    reader = lucene.DirectoryReader.open(directory)
    searcher = lucene.IndexSearcher(reader)
    stored = searcher.storedFields()
    terms = jpype.JClass("org.apache.lucene.index.MultiTerms").getTerms(reader, "text").iterator()
    postings = 0
    while terms.next() is not None:
        postings += int(terms.docFreq())
    builder = jpype.JClass("org.apache.lucene.util.QueryBuilder")(analyzer)
    queries = [builder.createBooleanQuery("text", text) for text in source.query_texts]

    def search(query: int) -> Ranking:
        hits = searcher.search(queries[query], DEPTH).scoreDocs
        return [(str(stored.document(hit.doc).get("id")), float(hit.score)) for hit in hits]

    return System(f"Lucene {LUCENE}: words", folder_bytes(folder), postings, seconds, search)


def bm25s(source: Encoded, folder: Path) -> System:
    """Words, cut by bm25s with its list of English stopwords."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)
    begin = time.perf_counter()
    words = bm25s.tokenize(source.texts, stopwords="en", show_progress=False)
    made = bm25s.BM25(backend="numba")
    made.index(words, show_progress=False)
    made.save(str(folder), show_progress=False)
    seconds = time.perf_counter() - begin
    index = bm25s.BM25.load(str(folder), mmap=True)
    index.backend = "numba"
    asked = bm25s.tokenize(source.query_texts, stopwords="en", return_ids=False, show_progress=False)
    queries = [[word for word in query if word in words.vocab] for query in asked]

    def search(query: int) -> Ranking:
        if not queries[query]:
            return []
        found = index.retrieve([queries[query]], k=DEPTH, show_progress=False, n_threads=1)
        return [(source.document_ids[n], float(s)) for n, s in zip(found.documents[0], found.scores[0], strict=True) if s > 0]

    return System("bm25s: words", folder_bytes(folder), len(index.scores["data"]), seconds, search)


def ndcg(source: Encoded, system: System) -> float:
    run = {source.query_ids[query]: dict(system.search(query)) for query in range(len(source.query_ids))}
    return float(evaluate_run(source.qrels, run).mean["nDCG@10"])


def measured(systems: list[System], n_queries: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each query, the median over rounds."""
    times: dict[str, Any] = {system.name: np.empty((rounds, n_queries)) for system in systems}
    for turn in range(-WARM_ROUNDS, rounds):
        for system in systems:
            for query in range(n_queries):
                begin = time.perf_counter()
                system.search(query)
                if turn >= 0:
                    times[system.name][turn, query] = (time.perf_counter() - begin) * 1e3
    return {name: np.median(values, axis=0).tolist() for name, values in times.items()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--collection", default="scifact", choices=NAMES)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR", help="where encoded collections are kept"
    )
    given = options.parse_args()
    (source,) = load_collections(given.cache, [given.collection])
    with tempfile.TemporaryDirectory(prefix="lexite-lexical-") as place:
        systems = [make(source, Path(place) / make.__name__) for make in (lexite, lucene, bm25s)]
        times = measured(systems, len(source.query_texts), given.rounds)
        own, rows, figures = systems[0], [], {}
        for system in systems:
            each, quality = times[system.name], ndcg(source, system)
            numbers = {
                "bytes": float(system.bytes),
                "bytes_per_document": system.bytes / len(source.texts),
                "postings_per_document": system.postings / len(source.texts),
                "bytes_per_posting": system.bytes / system.postings,
                "build_seconds": system.build_seconds,
                "ms_median": float(np.median(each)),
                "ms_p99": float(np.percentile(each, 99)),
                "ndcg": quality,
            }
            rows.append([system.name, f"{system.bytes / 1e6:.2f}", *(f"{value:,.4g}" for value in list(numbers.values())[1:])])
            figures |= {f"{system.name}, {name}": value for name, value in numbers.items()}
    figures |= {"documents": float(len(source.texts)), "queries": float(len(source.query_texts)), "load": os.getloadavg()[0]}
    columns = ["", "MB", "bytes/document", "postings/document", "bytes/posting", "build s", "ms", "p99", "nDCG@10"]
    ratios = {f"bytes: {own.name} by {other.name}": own.bytes / other.bytes for other in systems[1:]}
    ratios |= {
        f"ms: {own.name} by {other.name}": float(np.median(times[own.name])) / float(np.median(times[other.name]))
        for other in systems[1:]
    }
    title = f"{given.collection}: {len(source.texts):,} documents, {len(source.query_texts):,} queries"
    report(title, columns, rows, ratios, figures, given.json, "bm25s", "jpype1")


if __name__ == "__main__":
    main()
