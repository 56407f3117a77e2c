"""Other search engines beside lexite's own index: the same documents, the same queries, one at a time.

Each collection is encoded by the static table of the packaged vocabulary, with words; documents keep their 128 heaviest
latents. Servers are those of the tests, which
``tests/engines/servers.py`` starts; ``LEXITE_OPENSEARCH_URL`` and the like name others. Engines that need no server of
the tests are in ``engines_here.py``. A row of another engine is a line in ``ROWS`` and a function in ``MAKERS``.

    python benchmarks/engines.py --data ../shared/data/collections --json build/bench/engines.json
    python benchmarks/engines.py --data ../shared/data/collections --only Lucene Qdrant
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import engines_here
import numpy as np
from scipy.sparse import csr_array

from lexite import Document
from lexite.corpus import ReadOptions
from lexite.engines import LiveEngine
from lexite.evaluation.judged import open_collections, read_collection
from lexite.evaluation.measures import evaluate_run
from lexite.index import BM25Index, EncodedQueries, LiteralConfig, VocabularyInfo
from lexite.terms.static import load_static

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "engines"))

COLLECTIONS = ("scifact", "medline", "cranfield")
TIMED = 50
TOP = 10
LATENTS = 128
LEASE_SECONDS = 35.0
"""Until a lease moves on, which it does twice a minute, merges keep a second copy of what is out of ``_source``."""


@dataclass(frozen=True)
class Row:
    """What is measured of an engine."""

    engine: str
    route: str
    shards: int
    overlap: float
    ndcg: dict[str, float]
    ms: float
    cpu_ms_server: float | None
    cpu_ms_client: float
    documents_per_second: float
    bytes_per_posting: float | None
    overlap_after_deletes: float


@dataclass(frozen=True)
class Held:
    """A collection: its documents, an index of them, its test queries and judgements."""

    name: str
    documents: list[Document]
    rows: csr_array
    index: BM25Index
    ids: list[str]
    queries: EncodedQueries
    qrels: Any


def held(name: str, folder: Path, cache: Path) -> Held:
    """A collection of BEIR's form; its weights are kept in a file, since encoding takes longest."""
    (collection,) = open_collections([folder], "test")
    read = read_collection(collection, ReadOptions())
    documents, asked = list(read.read()), [each.id for each in read.queries]
    table, _ = load_static("default")
    kept = cache / f"{name}.npz"
    if kept.exists():
        found = np.load(kept)
        rows = csr_array((found["data"], found["indices"], found["indptr"]), shape=tuple(found["shape"]))
    else:
        rows = heaviest(csr_array(table.encode([each.full_text for each in documents])))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, data=rows.data, indices=rows.indices, indptr=rows.indptr, shape=rows.shape)
    texts = [each.text for each in read.queries]
    encoded = EncodedQueries(table.encode(texts), texts)
    return Held(name, documents, rows, indexed(documents, rows), asked, encoded, read.qrels)


def heaviest(rows: csr_array) -> csr_array:
    """The heaviest latents of each document, about as many as the model gives."""
    order = np.lexsort((-rows.data, np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))))
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    kept = np.sort(order[place < LATENTS])
    sizes = np.minimum(np.diff(rows.indptr), LATENTS)
    return csr_array((rows.data[kept], rows.indices[kept], np.concatenate([[0], np.cumsum(sizes)])), shape=rows.shape)


def indexed(documents: Sequence[Document], rows: csr_array) -> BM25Index:
    info = VocabularyInfo("f" * 64, "static", int(rows.shape[1]))
    ids, texts = [each.id for each in documents], [each.full_text for each in documents]
    return BM25Index.in_memory(rows, ids, None, info, texts=texts, literal=LiteralConfig())


def opensearch(kind: str) -> Callable[..., LiveEngine]:
    from engine_fixtures import address_of, new_name

    from lexite.engines.opensearch import OpenSearchEngine

    return lambda route, shards: OpenSearchEngine(address_of(kind), new_name(), shards=shards, route_name=route)


def elasticsearch() -> Callable[..., LiveEngine]:
    from engine_fixtures import address_of, new_name

    from lexite.engines.elasticsearch import ElasticsearchEngine

    return lambda route, shards: ElasticsearchEngine(address_of("elasticsearch8"), new_name(), shards=shards, route_name=route)


def solr() -> Callable[..., LiveEngine]:
    from engine_fixtures import address_of, new_name

    from lexite.engines.solr import SolrEngine

    return lambda route, shards: SolrEngine(address_of("solr9"), new_name(), shards=shards, route_name=route)


MAKERS: dict[str, Callable[[], Callable[..., LiveEngine]]] = {
    "OpenSearch 2.19.6": lambda: opensearch("opensearch2"),
    "OpenSearch 3.3.2": lambda: opensearch("opensearch3"),
    "Elasticsearch 8.19.0": elasticsearch,
    "Solr 9.10.1": solr,
}
KINDS = {
    "OpenSearch 2.19.6": "opensearch2",
    "OpenSearch 3.3.2": "opensearch3",
    "Elasticsearch 8.19.0": "elasticsearch8",
    "Solr 9.10.1": "solr9",
}
ROWS = [
    ("OpenSearch 2.19.6", "saturation", 1),
    ("OpenSearch 3.3.2", "saturation", 1),
    ("OpenSearch 3.3.2", "saturation", 5),
    ("OpenSearch 3.3.2", "frequencies", 1),
    ("OpenSearch 3.3.2", "frequencies", 5),
    ("Elasticsearch 8.19.0", "impacts", 1),
    ("Elasticsearch 8.19.0", "impacts", 5),
    ("Solr 9.10.1", "frequencies", 1),
    ("Solr 9.10.1", "frequencies", 5),
    *engines_here.ROWS,
]


def stored_bytes(engine: LiveEngine) -> int:
    """Bytes of the collection on the disk, merged into one segment a shard where the engine has segments."""
    driver: Any = engine.driver
    if driver.engine in ("OpenSearch", "Elasticsearch"):
        driver._ask("POST", f"{driver._path}/_flush", {"force": "true"})
        time.sleep(LEASE_SECONDS)
        driver._ask("POST", f"{driver._path}/_forcemerge", {"max_num_segments": "1", "flush": "true"})
        driver._ask("POST", f"{driver._path}/_refresh")
        time.sleep(1.0)
        found = driver._ask("GET", f"{driver._path}/_stats/store")
        return int(found["_all"]["primaries"]["store"]["size_in_bytes"])
    if driver.engine == "Solr":
        driver._ask(f"{driver._path}/update", {"optimize": "true"}, {})
        cores = driver._ask("/admin/cores", {"action": "STATUS"})["status"]
        sizes = [each["index"]["sizeInBytes"] for name, each in cores.items() if name.startswith(driver.name)]
        return int(sum(sizes))
    return engines_here.bytes_of(engine)


def overlap(found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]]) -> float:
    pairs = [({hit.id for hit in a}, {hit.id for hit in b}) for a, b in zip(found, expected, strict=True) if b]
    return float(np.mean([len(a & b) / len(b) for a, b in pairs]))


@dataclass(frozen=True)
class Spent:
    """What a query takes in the middle: milliseconds by the clock, and those of processors."""

    ms: float
    client: float
    server: float | None


def one_by_one(search: Callable[[EncodedQueries], Any], queries: EncodedQueries, server: int | None = None) -> Spent:
    """Asks queries one after the other; each is asked twice before.

    Args:
        search: asks.
        queries: of which some are taken.
        server: its process, where it is one of this machine.
    """
    some = [queries[number] for number in range(min(TIMED, len(queries)))]
    for _ in range(2):
        for each in some:
            search(each)
    seconds, before, own = [], processor_seconds(server), time.process_time()
    for each in some:
        began = time.perf_counter()
        search(each)
        seconds.append(time.perf_counter() - began)
    own, after = time.process_time() - own, processor_seconds(server)
    there = None if before is None or after is None else 1e3 * (after - before) / len(some)
    return Spent(1e3 * statistics.median(seconds), 1e3 * own / len(some), there)


def processor_seconds(process: int | None) -> float | None:
    """What a process of Linux has spent."""
    if process is None:
        return None
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_of(name: str, engine: LiveEngine) -> int | None:
    """The process of a server that was started here."""
    if name not in KINDS:
        return engines_here.server_of(engine)
    from engine_fixtures import servers

    running = servers().running.get(KINDS[name])
    return None if running is None else running.process.pid


def measured(name: str, route: str, shards: int, make: Callable[..., LiveEngine], collections: Sequence[Held]) -> Row:
    ndcg: dict[str, float] = {}
    first: dict[str, Any] = {}
    for number, each in enumerate(collections):
        engine = make(route, shards)
        try:
            began = time.perf_counter()
            engine.load(each.index)
            seconds = time.perf_counter() - began
            size = None if number or shards > 1 else stored_bytes(engine)
            found = engine.search(each.queries, TOP)
            ndcg[each.name] = quality(each, found)
            if number:
                continue
            first["overlap"] = overlap(found, each.index.search(each.queries, TOP))
            spent = one_by_one(lambda query, asked=engine: asked.search(query, TOP), each.queries, process_of(name, engine))
            first |= {"ms": spent.ms, "cpu_ms_server": spent.server, "cpu_ms_client": spent.client}
            first["documents_per_second"] = len(each.documents) / seconds
            first["bytes_per_posting"] = None if size is None else size / each.index.n_postings
            gone = [place for place in range(len(each.documents)) if place % 3 == 0]
            engine.delete([each.documents[place].id for place in gone])
            left = [place for place in range(len(each.documents)) if place % 3]
            fresh = indexed([each.documents[place] for place in left], csr_array(each.rows[left]))
            first["overlap_after_deletes"] = overlap(engine.search(each.queries, TOP), fresh.search(each.queries, TOP))
        finally:
            engine.drop()
            engine.close()
            gc.collect()
    return Row(name, route, shards, ndcg=ndcg, **first)


def quality(each: Held, found: Sequence[Sequence[Any]]) -> float:
    run = {identifier: {hit.id: hit.score for hit in hits} for identifier, hits in zip(each.ids, found, strict=True)}
    return float(evaluate_run(each.qrels, run).mean["nDCG@10"])


def faster(make: Callable[..., LiveEngine], each: Held) -> list[dict[str, Any]]:
    """What a client can do about time: fewer terms, and a first phase of the heaviest terms with a rescore by all."""
    engine = make("saturation", 1)
    driver: Any = engine.driver
    server = process_of("OpenSearch 3.3.2", engine)
    expected = each.index.search(each.queries, TOP)
    rows = []
    try:
        engine.load(each.index)
        driver._ask("POST", f"{driver._path}/_forcemerge", {"max_num_segments": "1"})
        driver.settle()
        for most in (None, 64, 32, 16, 8):
            engine._most_terms = most or driver.form.most_terms
            spent = one_by_one(lambda query: engine.search(query, TOP), each.queries, server)
            rows.append(
                {"terms": most, "rescored": 0, **asdict(spent), "overlap": overlap(engine.search(each.queries, TOP), expected)}
            )
        engine._most_terms = driver.form.most_terms
        for most, window in ((32, 100), (16, 100), (16, 300), (8, 300)):

            def search(queries: EncodedQueries, most: int = most, window: int = window) -> list[list[Any]]:
                return rescored(engine, queries, most, window)

            spent = one_by_one(search, each.queries, server)
            rows.append(
                {"terms": most, "rescored": window, **asdict(spent), "overlap": overlap(search(each.queries), expected)}
            )
    finally:
        engine.drop()
        engine.close()
    return rows


def rescored(engine: LiveEngine, queries: EncodedQueries, most: int, window: int) -> list[list[Any]]:
    """Hits of the heaviest terms, of which the best are scored again by all terms."""
    from lexite.index import Hit

    driver: Any = engine.driver
    asked, numbers = engine._asked(queries, engine.scoring)
    collection = engine._collection(numbers)
    lines = []
    for query in asked:
        whole, heavy = (
            driver.form.query(part.for_engine(collection.route, engine.counts.n_filled, engine.scoring), collection)
            for part in (query, query.heaviest(most))
        )
        again = {"rescore_query": whole, "query_weight": 0.0, "rescore_query_weight": 1.0}
        body = {"size": TOP, "query": heavy, "rescore": {"window_size": window, "query": again}, "_source": False}
        lines += [{}, {**body, "docvalue_fields": ["doc"], "track_total_hits": False}]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    answers = driver._ask("POST", f"{driver._path}/_msearch", {}, data)["responses"]
    return [
        [Hit(hit["fields"]["doc"][0], hit["_score"], rank, -1) for rank, hit in enumerate(each["hits"]["hits"], start=1)]
        for each in answers
    ]


def in_another_process(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of an engine that cannot be with others in a process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        options = {"--data": arguments.data, "--cache": arguments.cache, "--only": name, "--json": out}
        command = [sys.executable, __file__, *(str(part) for option in options.items() for part in option)]
        subprocess.run(command, check=True)
        rows: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["rows"]
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the collections")
    parser.add_argument("--cache", type=Path, default=Path("build/bench/engine-weights"))
    parser.add_argument("--only", nargs="*", help="engines to measure, by the beginning of their names")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    collections = [held(name, arguments.data / name, arguments.cache) for name in COLLECTIONS]
    first = collections[0]
    ours = {each.name: quality(each, each.index.search(each.queries, TOP)) for each in collections}
    spent = one_by_one(lambda query: first.index.search(query, TOP), first.queries)
    per_posting = first.index.bytes / first.index.n_postings
    terms = float(np.mean(np.diff(first.index.query_factors(first.queries).indptr)))
    result: dict[str, Any] = {
        "documents": {each.name: len(each.documents) for each in collections},
        "postings_per_document": first.index.n_postings / len(first.documents),
        "terms_per_query": terms,
        "lexite": {"ndcg": ours, **asdict(spent), "bytes_per_posting": per_posting},
        "rows": [],
    }
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}), flush=True)
    chosen = [row for row in ROWS if not arguments.only or row[0].startswith(tuple(arguments.only))]
    names = list(dict.fromkeys(name for name, _, _ in chosen))
    apart = [name for name in names if name in engines_here.LUCENES and len(names) > 1]
    with tempfile.TemporaryDirectory() as place, ExitStack() as ends:
        makers = {**MAKERS, **engines_here.makers(Path(place), ends)}
        for name, route, shards in chosen:
            if name not in apart:
                row = measured(name, route, shards, makers[name](), collections)
                result["rows"].append(asdict(row))
                print(json.dumps(asdict(row)), flush=True)
    for name in apart:
        result["rows"] += in_another_process(name, arguments)
    if not arguments.only or "OpenSearch 3.3.2".startswith(tuple(arguments.only)):
        result["faster"] = faster(MAKERS["OpenSearch 3.3.2"](), first)
        print(json.dumps(result["faster"]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
