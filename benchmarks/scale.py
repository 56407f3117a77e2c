"""Shards on several cores, building from shards, and merging: seconds, and bytes a second.

``shards`` encodes a corpus with one process and with two at once, each with one thread and its own core, and gives the
throughput of two over that of one. A shard process does what ``lexite encode --shard`` does; loading the model is not counted,
and both processes of a pair begin at the same moment. Runs alternate: one, two, one, two …; the median counts. Where other work
runs on the machine, its share of the cores goes into the numbers, so the cores that the processes got (their CPU seconds by
seconds) are given beside them.

``merge`` builds indexes of synthetic documents (no model, random terms by Zipf's law, with words, texts and a field), merges
them with the function of ``lexite merge``, compares scores with one build of all documents, and gives megabytes a second: bytes
of the merged index by seconds, and by CPU seconds.

    python benchmarks/scale.py shards CORPUS [--vocabulary default] [--documents 2000] [--runs 3] [--json FILE]
    python benchmarks/scale.py merge [--documents 57000] [--parts 8] [--postings 130] [--json FILE]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
N_LATENTS, N_WORDS, SEED = 16_384, 200_000, 7


def encode(corpus: str, out: str, shard: str, vocabulary: str, core: int) -> None:
    """One shard process: says when the model is loaded, waits for a line, encodes, and prints what it took."""
    os.sched_setaffinity(0, {core})
    from lexite.cluster import Shard, encode_shard
    from lexite.corpus.passages import PassageConfig
    from lexite.search.queries import load_encoder

    encoder = load_encoder(vocabulary)
    encoder.encode_documents(["a text, so that nothing is compiled later"])
    print("ready", flush=True)
    sys.stdin.readline()
    wall, cpu = time.monotonic(), time.process_time()
    report = encode_shard([corpus], out, Shard.parse(shard), encoder, passages=PassageConfig())
    taken = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**taken, "documents": report.documents, "postings": report.postings}), flush=True)


def together(corpus: Path, folder: Path, shards: list[str], vocabulary: str) -> dict[str, Any]:
    """Runs shard processes at once; gives documents, seconds from the common start to the last end, and CPU seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "one-shard", str(corpus), str(folder), shard, vocabulary, str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD | {"TOKENIZERS_PARALLELISM": "false"},
        )
        for core, shard in enumerate(shards)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in processes:
        assert process.stdout is not None
        found.append(json.loads(process.stdout.readline()))
        process.wait()
    seconds = max(each["seconds"] for each in found)
    return {
        "documents": sum(each["documents"] for each in found),
        "seconds": seconds,
        "cpu_seconds": sum(each["cpu_seconds"] for each in found),
        "cores_got": sum(each["cpu_seconds"] for each in found) / seconds,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def shards(options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        from lexite.corpus import read_documents

        with open(corpus, "w", encoding="utf-8") as file:
            for number, document in enumerate(read_documents([options.corpus])):
                if number == options.documents:
                    break
                file.write(json.dumps({"_id": document.id, "title": document.title, "text": document.text}) + "\n")
        runs: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
        for _ in range(options.runs):
            runs["one"].append(together(corpus, Path(folder) / "one", ["0/1"], options.vocabulary))
            runs["two"].append(together(corpus, Path(folder) / "two", ["0/2", "1/2"], options.vocabulary))
    rates = {name: [run["documents"] / run["seconds"] for run in some] for name, some in runs.items()}
    per_cpu = {name: [run["documents"] / run["cpu_seconds"] for run in some] for name, some in runs.items()}
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "runs": runs,
        "documents_per_second": middle,
        "documents_per_cpu_second": {name: statistics.median(values) for name, values in per_cpu.items()},
        "speedup": middle["two"] / middle["one"],
        "speedup_per_cpu_second": 2 * statistics.median(per_cpu["two"]) / statistics.median(per_cpu["one"]),
    }


def synthetic(folder: Path, first: int, count: int, postings: int) -> None:
    """An index of random documents; the same ones wherever the cut is."""
    from scipy.sparse import csr_array

    from lexite.corpus import Document
    from lexite.index import BM25Index, LiteralConfig, VocabularyInfo

    info = VocabularyInfo("f" * 64, "synthetic", N_LATENTS)
    with BM25Index.create(folder, info, literal=LiteralConfig()) as writer:
        for start in range(first, first + count, 500):
            numbers = range(start, min(start + 500, first + count))
            documents, rows = [], []
            for number in numbers:
                generator = np.random.default_rng([SEED, number])
                words = (generator.pareto(0.9, size=90) * 20).astype(np.int64) % N_WORDS
                text = " ".join(f"w{word:x}" for word in words)
                documents.append(Document(f"d{number:08d}", text, fields={"year": 1950 + number % 70}))
                latents = np.unique((generator.pareto(0.6, size=postings) * 30).astype(np.int64) % N_LATENTS)
                rows.append((latents, (generator.random(len(latents)) * 9 + 0.1).astype(np.float32)))
            bounds = np.concatenate([[0], np.cumsum([len(terms) for terms, _ in rows])])
            terms, weights = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
            writer.add(documents, csr_array((weights, terms, bounds), shape=(len(rows), N_LATENTS)))
        writer.commit()


def merge(options: Any) -> dict[str, Any]:
    import resource

    from scipy.sparse import csr_array

    from lexite.index import BM25Index, EncodedQueries
    from lexite.index.joining import join_indexes

    root = Path(tempfile.mkdtemp(prefix="lexite-scale-"))
    try:
        bounds = [options.documents * part // options.parts for part in range(options.parts + 1)]
        paths = [root / f"part{part}" for part in range(options.parts)]
        for path, first, last in zip(paths, bounds[:-1], bounds[1:], strict=True):
            synthetic(path, first, last - first, options.postings)
        synthetic(root / "whole", 0, options.documents, options.postings)
        join_indexes(paths[:1], root / "warm")  # compiles
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.monotonic(), time.process_time()
        join_indexes(paths, root / "all")
        seconds, cpu_seconds = time.monotonic() - wall, time.process_time() - cpu
        size = sum(file.stat().st_size for file in (root / "all").rglob("*") if file.is_file())
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        generator = np.random.default_rng(SEED)
        asked = [np.unique((generator.pareto(0.6, size=60) * 30).astype(np.int64) % N_LATENTS) for _ in range(200)]
        starts = np.concatenate([[0], np.cumsum([len(terms) for terms in asked])])
        rows = csr_array(
            (generator.random(starts[-1]).astype(np.float32) + 0.1, np.concatenate(asked), starts), shape=(200, N_LATENTS)
        )
        texts = [
            " ".join(f"w{word:x}" for word in (generator.pareto(0.9, size=6) * 20).astype(np.int64) % N_WORDS) for _ in asked
        ]
        queries = EncodedQueries(rows, texts)
        merged, whole = BM25Index.open(root / "all"), BM25Index.open(root / "whole")
        started = time.monotonic()
        several = BM25Index.open_several(paths)
        opened = time.monotonic() - started
        answers = [index.search_arrays(queries, 100) for index in (merged, whole, several)]
        same = [all(np.array_equal(a, b) for a, b in zip(answers[1], other, strict=True)) for other in (answers[0], answers[2])]
        return {
            "documents": len(merged),
            "postings": merged.n_postings,
            "words": merged.n_terms - N_LATENTS,
            "bytes": size,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "megabytes_per_second": size / seconds / 1e6,
            "megabytes_per_cpu_second": size / cpu_seconds / 1e6,
            "peak_memory_mb": after / 1024,
            "peak_memory_before_mb": before / 1024,
            "merged_scores_equal": same[0],
            "open_several_seconds": opened,
            "several_scores_equal": same[1],
        }
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    if sys.argv[1:2] == ["one-shard"]:
        encode(*sys.argv[2:6], core=int(sys.argv[6]))
        return
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("shards")
    one.add_argument("corpus")
    one.add_argument("--vocabulary", default="default")
    one.add_argument("--documents", type=int, default=2000)
    one.add_argument("--runs", type=int, default=3)
    other = verbs.add_parser("merge")
    other.add_argument("--documents", type=int, default=57_000)
    other.add_argument("--parts", type=int, default=8)
    other.add_argument("--postings", type=int, default=130)
    for verb in (one, other):
        verb.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = (shards if options.verb == "shards" else merge)(options)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
