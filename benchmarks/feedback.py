"""Feedback and steering on judged collections: which settings help, and how sure that is.

    python benchmarks/feedback.py COLLECTION... --vocabulary default --cache cache --json feedback.json

- Pseudo-relevance feedback over depth, terms, mixing and interpolation. The ranking that feedback starts from is the first
  stage, or with --dense the first stage fused with an exhaustive dense ranking (min-max sum).
- Explicit feedback: two judged relevant documents of each query are given, seeded. Both are removed from rankings and qrels,
  with and without feedback (residual collection); queries with no other relevant document are left out.
- Steering: latents whose muting raises nDCG@10 the most over half of the queries (seeded), measured on the other half; and a
  steering vector learned from one pair of each query of the first half, likewise.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.evaluation.measures import evaluate_run
from lexite.evaluation.significance import paired_test
from lexite.files import write_json
from lexite.index import BM25Index, EncodedQueries
from lexite.ranking import Hit
from lexite.scoring.words import LiteralConfig
from lexite.search.expansion import Mixing
from lexite.search.steering_vector import SteeringVector, learn_steering
from lexite.search.strategies.feedback import Feedback, fused_hits, judged_queries
from lexite.search.strategies.steering import Steer
from lexite.search.strategy import Answer

TOP_K = 1000
GIVEN = 2
MUTED_MOST, LATENTS_TRIED = 10, 100
Rankings = Sequence[Sequence[Hit]]
PerQuery = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Opened:
    """An indexed collection with its encoded queries."""

    collection: JudgedCollection
    index: BM25Index
    queries: EncodedQueries

    @property
    def ids(self) -> list[str]:
        return [query.id for query in self.collection.queries]

    def answer(self, rankings: Rankings | None = None) -> Answer:
        """The first stage, or another ranking, without documents that have the query's own id."""
        options = {"exclude": self.ids}
        found = self.index.search(self.queries, TOP_K, **options) if rankings is None else rankings
        return Answer(self.queries, found, TOP_K, self.index, options)


def measured(qrels: Mapping[str, Mapping[str, int]], ids: Sequence[str], rankings: Rankings) -> tuple[PerQuery, PerQuery]:
    """nDCG@10 and recall@1000 of each judged query."""
    run = {query: {hit.id: hit.score for hit in hits} for query, hits in zip(ids, rankings, strict=True)}
    best = {query: dict(list(scores.items())[:100]) for query, scores in run.items()}
    ndcg = evaluate_run(qrels, best).per_query["nDCG@10"]
    recall = {}
    for query, grades in qrels.items():
        relevant = {document for document, grade in grades.items() if grade > 0}
        recall[query] = len(relevant.intersection(run.get(query, {}))) / max(len(relevant), 1)
    return ndcg, recall


def grid() -> Iterator[tuple[str, Feedback]]:
    """The settings that are compared: one is changed at a time, around a middle."""
    middle = Feedback(interpolate="before", candidates=TOP_K)
    changes: list[dict[str, Any]] = [{}]
    changes += [{"documents": n} for n in (3, 5, 20)]
    changes += [{"terms": n} for n in (10, 60, 120)]
    changes += [{"mixing": m} for m in (0.1, 0.2, 0.5)]
    changes += [{"method": "rm3"}, {"method": "rm3", "mixing": 0.5}]
    changes += [{"over": over} for over in ("latents", "words")]
    changes += [{"document_weights": each} for each in ("softmax", "equal")]
    changes += [{"negative": n} for n in (0.25, 0.5)]
    changes += [{"interpolate": each} for each in ("none", "after", "both")]
    for change in changes:
        name = ", ".join(f"{key} {value}" for key, value in change.items()) or "middle"
        yield name, dataclasses.replace(middle, **change)


def dense_fused(opened: Opened, states: StateCache) -> Rankings:
    """The first stage plus an exhaustive dense ranking."""
    documents, queries = (states.vectors(opened.collection, kind) for kind in ("document", "query"))
    numbers = {identifier: number for number, identifier in enumerate(opened.index.ids)}
    order = [numbers[identifier] for identifier in opened.collection.document_ids]
    fused = []
    for identifier, vector, hits in zip(opened.ids, queries, opened.answer().rankings, strict=True):
        scores = documents @ vector
        best = np.argsort(-scores, kind="stable")[: TOP_K + 1].tolist()
        names = opened.collection.document_ids
        dense = [Hit(names[p], float(scores[p]), 1, order[p]) for p in best if names[p] != identifier][:TOP_K]
        fused.append(fused_hits(hits, dense, 1.0)[:TOP_K])
    return fused


def residual(opened: Opened, seed: int, mixing: Mixing) -> tuple[PerQuery, PerQuery]:
    """nDCG@10 of the rest without and with two judged documents, for each query that has a relevant document more."""
    generator, collection = np.random.default_rng(seed), opened.collection
    before, after = dict[str, float](), dict[str, float]()
    for number, query in enumerate(opened.ids):
        grades = collection.qrels[query]
        relevant = sorted(document for document, grade in grades.items() if grade > 0)
        if len(relevant) <= GIVEN:
            continue
        given = generator.choice(relevant, GIVEN, replace=False).tolist()
        rest = {query: {document: grade for document, grade in grades.items() if document not in given}}
        one = dataclasses.replace(opened.answer([[]] * len(opened.ids)), queries=opened.queries[number], rankings=[[]])
        one = dataclasses.replace(one, options={"exclude": [query]})
        for queries, into in ((one.queries, before), (judged_queries(one, given, (), mixing), after)):
            hits = [hit for hit in one.asked_again(queries, 100).rankings[0] if hit.id not in given]
            into[query] = measured(rest, [query], [hits])[0][query]
    return before, after


def halves(ids: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """The numbers of two random halves of the queries."""
    order = np.random.default_rng(seed).permutation(len(ids)).tolist()
    return sorted(order[: len(ids) // 2]), sorted(order[len(ids) // 2 :])


def part(opened: Opened, numbers: Sequence[int]) -> Opened:
    """Some of the queries."""
    rows = opened.queries.to_csr()[numbers]
    texts = [opened.queries.texts[number] for number in numbers] if opened.queries.texts else None
    queries = [opened.collection.queries[number] for number in numbers]
    qrels = {query.id: opened.collection.qrels[query.id] for query in queries}
    collection = dataclasses.replace(opened.collection, queries=queries, qrels=qrels)
    return dataclasses.replace(
        opened, collection=collection, queries=dataclasses.replace(opened.queries, rows=rows, texts=texts)
    )


def ndcg_of(opened: Opened, steer: Callable[[Answer], Answer] | None) -> PerQuery:
    answer = dataclasses.replace(opened.answer([[]] * len(opened.ids)), top_k=10)
    found = answer.asked_again(opened.queries) if steer is None else steer(answer)
    return measured(opened.collection.qrels, opened.ids, found.rankings)[0]


def muted_latents(opened: Opened) -> list[int]:
    """Latents whose muting raises the mean nDCG@10, one after the other: the most frequent of the queries are tried alone."""
    base = np.mean(list(ndcg_of(opened, None).values()))
    counts = np.bincount(opened.queries.rows.indices, minlength=opened.index.n_latents)
    tried = np.argsort(-counts, kind="stable")[:LATENTS_TRIED]
    gains = {}
    for latent in tried[counts[tried] > 0].tolist():
        gains[latent] = float(np.mean(list(ndcg_of(opened, Steer(mute=(str(latent),))).values())) - base)
    return [latent for latent, gain in sorted(gains.items(), key=lambda pair: -pair[1]) if gain > 0][:MUTED_MOST]


def learned(opened: Opened) -> SteeringVector:
    """A vector from one pair of each query: its lowest relevant hit above its best hit that is not judged relevant."""
    numbers, preferred, rejected = [], [], []
    for number, (query, hits) in enumerate(zip(opened.ids, opened.answer().rankings, strict=True)):
        good = [hit.id for hit in hits[:100] if opened.collection.qrels[query].get(hit.id, 0) > 0]
        bad = [hit.id for hit in hits[:100] if opened.collection.qrels[query].get(hit.id, 0) <= 0]
        if good and bad:
            numbers.append(number)
            preferred.append(good[-1])
            rejected.append(bad[0])
    return learn_steering(opened.index.term_space(), part(opened, numbers).queries, preferred, rejected)


def steering(opened: Opened, seed: int) -> dict[str, tuple[PerQuery, PerQuery]]:
    """nDCG@10 of the second half without and with what was chosen on the first."""
    first, second = (part(opened, numbers) for numbers in halves(opened.ids, seed))
    muted = muted_latents(first)
    with tempfile.TemporaryDirectory() as folder:
        learned(first).save(Path(folder) / "vector.json")
        base = ndcg_of(second, None)
        vector = ndcg_of(second, Steer(vector=str(Path(folder) / "vector.json")))
    steered = ndcg_of(second, Steer(mute=tuple(map(str, muted)))) if muted else base
    return {f"mute {len(muted)} latents": (base, steered), "vector": (base, vector)}


def line(name: str, pairs: Sequence[tuple[PerQuery, PerQuery]]) -> dict[str, Any]:
    """Prints and returns the means before and after, and how sure their difference is."""
    differences = [[new[query] - old[query] for query in old] for old, new in pairs if old]
    old, new = (float(np.mean([np.mean(list(pair[side].values())) for pair in pairs if pair[0]])) for side in (0, 1))
    tested = paired_test(differences)
    print(f"{name:44s} {old:.4f} -> {new:.4f}  {new - old:+.4f}  p {tested.p_randomisation:.4f}", flush=True)
    return {"name": name, "before": old, "after": new, "p": tested.p_randomisation, "queries": tested.n_queries}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--dense", action="store_true", help="start from the first stage fused with a dense ranking")
    parser.add_argument("--skip", nargs="*", default=[], choices=["pseudo", "explicit", "steering"], help="parts to leave out")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad records out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    states = StateCache(args.cache, encoder)
    system = LatentSystem(encoder, cache=states, literal=LiteralConfig(), passages=PassageConfig())
    with tempfile.TemporaryDirectory() as folder:
        opened = []
        for each in open_collections(args.collections, "test"):
            collection = read_collection(each, ReadOptions(skip_bad=args.skip_bad))
            index = system.indexed(Path(folder) / collection.name, collection)
            opened.append(Opened(collection, index, system.queries(collection)))
            print(collection.name, len(collection.queries), "queries", flush=True)
        results = {}
        if "explicit" not in args.skip:
            results["explicit"] = explicit(opened, args.seed)
        if "steering" not in args.skip:
            found = [steering(each, args.seed) for each in opened]
            results["steering"] = [
                line(f"steering, {each.collection.name}, {name}", [pair])
                for each, pairs in zip(opened, found, strict=True)
                for name, pair in pairs.items()
            ]
        if "pseudo" not in args.skip:
            results["pseudo"] = pseudo(opened, states if args.dense else None)
    if args.json is not None:
        write_json(args.json, results)


def pseudo(opened: Sequence[Opened], states: StateCache | None) -> list[dict[str, Any]]:
    """The table of pseudo-relevance feedback: mean nDCG@10 and recall@1000 over the collections."""
    starts = [each.answer(None if states is None else dense_fused(each, states)) for each in opened]
    base = [measured(each.collection.qrels, each.ids, start.rankings) for each, start in zip(opened, starts, strict=True)]
    rows = []
    for name, feedback in grid():
        found = [
            measured(each.collection.qrels, each.ids, feedback(start).rankings)
            for each, start in zip(opened, starts, strict=True)
        ]
        for place, measure in enumerate(("nDCG@10", "R@1000")):
            pairs = [(old[place], new[place]) for old, new in zip(base, found, strict=True)]
            rows.append({"measure": measure, **line(f"{measure:8s} {name}", pairs)})
    return rows


def explicit(opened: Sequence[Opened], seed: int) -> list[dict[str, Any]]:
    """Two judged documents given, on the residual collections."""
    rows = []
    for method, mixing, terms in (("rocchio", 0.3, 50), ("rocchio", 0.5, 50), ("rocchio", 0.7, 50), ("rm3", 0.5, 50)):
        how = Mixing(method, terms, mixing)  # type: ignore[arg-type]
        found = [residual(each, seed, how) for each in opened]
        rows.append(line(f"explicit {method}, mixing {mixing}, terms {terms}", found))
        if mixing == 0.5 and method == "rocchio":
            rows += [line(f"explicit, {each.collection.name}", [pair]) for each, pair in zip(opened, found, strict=True)]
    return rows


if __name__ == "__main__":
    main()
