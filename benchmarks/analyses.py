"""The analyses on real corpora: what they find, what chance gives, how long they take.

    python benchmarks/analyses.py --texts wikipedia2015.jsonl.xz wikipedia2018.jsonl.xz wikinews.jsonl.xz --cache rows \\
        --collections collections/* --plots plots --json analyses.json

Texts are compared by passages of some 30 to 60 words, encoded once into the cache. Of each collection 150 documents are divided
into clusters whose truth is the collection, beside k-means on the dense vectors of the same documents. Properties are learned
from half of a query's relevant documents, and must find the other half.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz, vstack

from lexite.analysis import Corpus, agreement, clusters, correlations, differences, property_from_examples
from lexite.analysis.corpora import presence
from lexite.analysis.properties import learned, scores_of
from lexite.labelling import LabelConfig
from lexite.labelling.run import drawn_passages
from lexite.terms import LatentTermEncoder

T = TypeVar("T")
PASSAGES, PER_COLLECTION, LARGE = 20_000, 150, 100_000


def timed(name: str, times: dict[str, float], work: Callable[[], T]) -> T:
    start = time.process_time()
    result = work()
    times[name] = round(time.process_time() - start, 1)
    print(f"{name}: {times[name]} s of one core")
    return result


def corpus_of(source: Path, encoder: LatentTermEncoder, cache: Path) -> Corpus:
    """Passages of a file of texts, encoded once."""
    name = source.name.split(".")[0]
    rows_file, texts_file = cache / f"{name}.npz", cache / f"{name}.json"
    if not rows_file.exists():
        from lexite.corpus import read_documents

        stream = drawn_passages((document.full_text for document in read_documents([source])), LabelConfig())
        texts = [text for _, text in zip(range(PASSAGES), (text for _, text in stream), strict=False)]
        save_npz(rows_file, encoder.encode_documents(texts, show_progress=True))
        texts_file.write_text(json.dumps(texts))
    texts = json.loads(texts_file.read_text())
    return Corpus(csr_array(load_npz(rows_file)), name, encoder.label, lambda place: (str(place), texts[place]))


def mixed(corpora: Sequence[Corpus], name: str) -> Corpus:
    bounds = np.cumsum([0, *(len(corpus) for corpus in corpora)])

    def show(place: int) -> tuple[str, str]:
        home = int(np.searchsorted(bounds, place, side="right")) - 1
        example = corpora[home].example(place - int(bounds[home]))
        return f"{corpora[home].name} {example.id}", example.text

    return Corpus(csr_array(vstack([corpus.rows for corpus in corpora], format="csr")), name, corpora[0].label, show)


def compare(corpora: Sequence[Corpus], plots: Path, result: dict[str, Any]) -> None:
    times: dict[str, float] = result.setdefault("seconds", {})
    for first, second in ((0, 1), (1, 2), (0, 2)):
        one, two = corpora[first], corpora[second]
        found = timed(f"differences {one.name} {two.name}", times, partial(differences, one, two, most=15, named=True))
        print("\n".join(found.lines()))
        found.plot(plots / f"differences-{one.name}-{two.name}")
        result[f"differences {one.name} {two.name}"] = found.to_json()
    whole = corpora[1]
    halves = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(whole))
        parts = whole.part(order[::2], "half"), whole.part(order[1::2], "other half")
        found = differences(*parts, splits=0, most=1)
        halves.append(found.n_over + found.n_under)
    result["random halves"] = halves
    print("discoveries in 20 random halves:", halves)
    news = timed("correlations", times, lambda: correlations(corpora[2], most=25, named=True))
    print("\n".join(news.lines()))
    news.plot(plots / "correlations")
    result["correlations"] = news.to_json()


def large(corpora: Sequence[Corpus], result: dict[str, Any]) -> None:
    """All analyses of 100,000 documents, drawn with replacement."""
    whole, times = mixed(corpora, "all"), {}
    generator = np.random.default_rng(0)
    many = whole.part(np.sort(generator.integers(0, len(whole), LARGE)), "100,000 passages")
    halves = many.part(np.arange(0, LARGE, 2), "a"), many.part(np.arange(1, LARGE, 2), "b")
    timed("differences", times, lambda: differences(*halves))
    timed("correlations", times, lambda: correlations(many))
    timed("clusters", times, lambda: clusters(many, n_clusters=10))
    examples = np.flatnonzero(generator.random(LARGE) < 0.001)
    timed("property", times, lambda: property_from_examples(many, examples.tolist()))
    result["large"] = {
        "documents": LARGE,
        "postings": int(many.rows.nnz),
        "seconds": times,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result["large"]))


def read_collection(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The texts of a collection by id, and the relevant documents of each query."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as file:
        records = [json.loads(line) for line in file]
    relevant: dict[str, list[str]] = defaultdict(list)
    for path in (folder / "qrels").glob("test*.tsv"):
        for line in path.read_text().splitlines()[1:]:
            query, document, grade = line.split("\t")
            if float(grade) > 0 and document not in relevant[query]:
                relevant[query].append(document)
    return {record["_id"]: f"{record.get('title', '')} {record['text']}".strip() for record in records}, relevant


def known_clusters(folders: Sequence[Path], encoder: LatentTermEncoder, plots: Path, result: dict[str, Any]) -> None:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    texts, truth = [], []
    for folder in folders:
        found, _ = read_collection(folder)
        ids = sorted(found)
        for place in np.random.default_rng(0).permutation(len(ids))[:PER_COLLECTION]:
            texts.append(" ".join(found[ids[place]].split()[:180]))
            truth.append(folder.name)
    rows = encoder.encode_documents(texts, show_progress=True)
    dense = encoder.backbone.dense(texts, "document")
    corpus = Corpus(rows, f"{len(folders)} collections", encoder.label, lambda place: (truth[place], texts[place]))
    measured: dict[str, Any] = {"kmeans": [], "dense kmeans": [], "hdbscan": []}
    for seed in range(5):
        own = agreement(clusters(corpus, n_clusters=len(folders), nulls=0, seed=seed), "collection", truth)
        measured["kmeans"].append(own.adjusted_rand)
        other = KMeans(len(folders), n_init=4, random_state=seed).fit_predict(dense)
        measured["dense kmeans"].append(float(adjusted_rand_score(truth, other)))
    best = agreement(clusters(corpus, n_clusters=len(folders), map_points=True), "collection", truth)
    print("\n".join(best.lines()))
    best.plot(plots / "clusters")
    density = agreement(clusters(corpus, n_clusters=len(folders), method="hdbscan", nulls=2), "collection", truth)
    measured["hdbscan"] = [density.adjusted_rand, len(density.clusters), int((density.assigned < 0).sum())]
    measured |= {"silhouette": best.silhouette, "chance": best.chance, "names": [cluster.name for cluster in best.clusters]}
    result["known clusters"] = measured
    print(json.dumps({key: value for key, value in measured.items() if key != "names"}))


def judged_properties(folder: Path, encoder: LatentTermEncoder, most: int, result: dict[str, Any]) -> None:
    """Half of the relevant documents of each query are examples; precision at 10 among all others for the other half."""
    texts, relevant = read_collection(folder)
    ids = sorted(texts)
    place = {identifier: number for number, identifier in enumerate(ids)}
    contents = [" ".join(texts[identifier].split()[:180]) for identifier in ids]
    rows = presence(encoder.encode_documents(contents, show_progress=True))
    dense = encoder.backbone.dense(contents, "document")
    generator, values = np.random.default_rng(0), defaultdict(list)
    queries = [query for query in sorted(relevant) if len(relevant[query]) >= 10][:most]
    for query in queries:
        members = generator.permutation([place[each] for each in relevant[query] if each in place])
        given, wanted = members[: len(members) // 2], set(members[len(members) // 2 :].tolist())
        others = np.setdiff1d(np.arange(len(ids)), given)
        latents, weights = learned(rows, np.sort(given), np.setdiff1d(np.arange(len(ids)), members), 32)
        middle = dense[given].mean(0)
        for name, scores in (("concepts", scores_of(rows, latents, weights)), ("dense mean", dense @ middle)):
            best = others[np.argsort(-scores[others], kind="stable")[:10]]
            values[name].append(len(wanted & set(best.tolist())) / 10)
        values["chance"].append(len(wanted) / len(others))
    means = {name: round(float(np.mean(found)), 4) for name, found in values.items()}
    result.setdefault("properties", {})[folder.name] = {"queries": len(queries), **means}
    print(folder.name, len(queries), means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs=3, type=Path)
    parser.add_argument("--collections", nargs="*", type=Path, default=[])
    parser.add_argument("--judged", nargs="*", type=Path, default=[], help="collections whose queries are properties")
    parser.add_argument("--cache", type=Path, default=Path("rows"))
    parser.add_argument("--plots", type=Path, default=Path("plots"))
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--large", action="store_true", help="time 100,000 documents too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.plots.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    encoder = LatentTermEncoder.from_pretrained(options.vocabulary)
    result: dict[str, Any] = {}
    if options.texts:
        corpora = [corpus_of(path, encoder, options.cache) for path in options.texts]
        compare(corpora, options.plots, result)
        if options.large:
            large(corpora, result)
    if options.collections:
        known_clusters(options.collections, encoder, options.plots, result)
    for folder in options.judged:
        judged_properties(folder, encoder, 60, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
