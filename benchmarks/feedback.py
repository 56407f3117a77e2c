"""Feedback and steering on judged collections: which settings help, and how sure that is.

    python benchmarks/feedback.py COLLECTION... --queries 200 --indexes indexes --json feedback.json

- Pseudo-relevance feedback over depth, terms, mixing and interpolation, one thing changed at a time. The ranking that feedback
  starts from is the first stage, or with --dense the first stage fused with an exhaustive dense ranking (min-max sum).
- Explicit feedback: two judged relevant documents of each query are given, seeded. Both are removed from rankings and qrels,
  with and without feedback (residual collection); queries with no other relevant document are left out.
- Steering: latents whose muting raises nDCG@10 the most over half of the queries (seeded), measured on the other half; and a
  steering vector learned from one pair of each query of the first half, likewise.

Each line has the difference on every collection, the means of the collections that choose settings and of those that confirm
them, and the p-values of both halves and of all (paired randomisation, each collection weighing the same).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from frontier import CHOSEN_ON
from judged_collections import Indexed, halves_of, indexed_collections, judged_parser

from lexite import LatentTermEncoder
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.measures import evaluate_run
from lexite.evaluation.significance import paired_test
from lexite.files import write_json
from lexite.index import BM25Index, EncodedQueries
from lexite.ranking import Hit
from lexite.search.expansion import Mixing
from lexite.search.queries import ModelQueries
from lexite.search.steering_vector import SteeringVector, learn_steering
from lexite.search.strategies import Hybrid, VectorFeedback
from lexite.search.strategies.feedback import Feedback, judged_queries
from lexite.search.strategies.steering import Steer
from lexite.search.strategy import Answer, Strategy

TOP_K = 1000
QUERIES_PER_BATCH = 32  # whose fused rankings of 2,000 hits are held together
GIVEN = 2
MUTED_MOST, LATENTS_TRIED = 10, 100
Rankings = Sequence[Sequence[Hit]]
PerQuery = dict[str, float]
Pair = tuple[PerQuery, PerQuery]
"""What each query has without and with something."""


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


def measured(qrels: Mapping[str, Mapping[str, int]], ids: Sequence[str], rankings: Rankings) -> Pair:
    """nDCG@10 and recall@1000 of each judged query."""
    run = {query: {hit.id: hit.score for hit in hits} for query, hits in zip(ids, rankings, strict=True)}
    best = {query: dict(list(scores.items())[:100]) for query, scores in run.items()}
    ndcg = evaluate_run(qrels, best).per_query["nDCG@10"]
    recall = {}
    for query, grades in qrels.items():
        relevant = {document for document, grade in grades.items() if grade > 0}
        recall[query] = len(relevant.intersection(run.get(query, {}))) / max(len(relevant), 1)
    return ndcg, recall


def grid(dense: bool) -> Iterator[tuple[str, Strategy]]:
    """The settings that are compared: one or two are changed at a time, around a middle."""
    middle = Feedback(documents=10, interpolate="before", candidates=TOP_K)
    changes: list[dict[str, Any]] = [{}, {"documents": 3}, {"over": "latents"}, {"over": "words"}, {"method": "rm3"}]
    if dense:
        changes += [{"interpolate": "after"}, {"interpolate": "after", "documents": 3}]
    else:
        changes += [{"documents": 5}, {"documents": 20}]
        changes += [{"terms": n} for n in (10, 60, 120)]
        changes += [{"mixing": m} for m in (0.1, 0.2, 0.5)]
        changes += [{"method": "rm3", "mixing": 0.5}]
        changes += [{"document_weights": each} for each in ("softmax", "equal")]
        changes += [{"negative": n} for n in (0.25, 0.5)]
    changes += [{"interpolate": "both"}, {"interpolate": "both", "documents": 3}]
    for change in changes:
        name = ", ".join(f"{key} {value}" for key, value in change.items()) or "middle"
        yield name, dataclasses.replace(middle, **change)
    if dense:
        yield "vector, documents 3", VectorFeedback(weight=0.5)


def pseudo(opened: Opened, encoder: LatentTermEncoder | None) -> dict[str, Pair]:
    """nDCG@10 and recall@1000 without and with feedback.

    Args:
        opened: the collection.
        encoder: of the dense model, whose exhaustive ranking is fused with the first stage; None starts from the first stage.
    """
    fuse = Hybrid(exhaustive=True, candidates=TOP_K)
    places, starts = range(len(opened.ids)), list[Answer]()
    for start in range(0, len(opened.ids), QUERIES_PER_BATCH):
        answer = part(opened, places[start : start + QUERIES_PER_BATCH]).answer()
        if encoder is not None:
            answer = fuse(dataclasses.replace(answer, encoder=ModelQueries(encoder)))
            answer = answer.with_rankings([hits[:TOP_K] for hits in answer.rankings])
        starts.append(answer)

    def values(strategy: Strategy | None) -> Pair:
        rankings = [hits for each in starts for hits in (each if strategy is None else strategy(each)).rankings]
        return measured(opened.collection.qrels, opened.ids, rankings)

    base, found = values(None), dict[str, Pair]()
    for name, strategy in grid(encoder is not None):
        for measure, old, new in zip(("nDCG@10", "R@1000"), base, values(strategy), strict=True):
            found[f"{measure}: {name}"] = old, new
    return found


def residual(opened: Opened, seed: int, mixing: Mixing) -> Pair:
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


def steering(opened: Opened, seed: int) -> dict[str, Pair]:
    """nDCG@10 of the second half without and with what was chosen on the first."""
    first, second = (part(opened, numbers) for numbers in halves(opened.ids, seed))
    muted = muted_latents(first)
    with tempfile.TemporaryDirectory() as folder:
        learned(first).save(Path(folder) / "vector.json")
        base = ndcg_of(second, None)
        vector = ndcg_of(second, Steer(vector=str(Path(folder) / "vector.json")))
    steered = ndcg_of(second, Steer(mute=tuple(map(str, muted)))) if muted else base
    print(f"{opened.collection.name}: {len(muted)} latents are muted", flush=True)
    return {"steering, latents muted": (base, steered), "steering, vector": (base, vector)}


def explicit(opened: Opened, seed: int) -> dict[str, Pair]:
    """Two judged documents given, on the residual collection; nothing where no query has a relevant document more."""
    found = {}
    for method, mixing, terms in (("rocchio", 0.3, 50), ("rocchio", 0.5, 50), ("rocchio", 0.7, 50), ("rm3", 0.5, 50)):
        pair = residual(opened, seed, Mixing(method, terms, mixing))  # type: ignore[arg-type]
        if pair[0]:
            found[f"explicit, {method}, mixing {mixing}, terms {terms}"] = pair
    return found


def summary(pairs: Mapping[str, Pair]) -> dict[str, Any]:
    """The means without and with something over collections, the difference on each, and how sure it is."""
    before = {name: float(np.mean(list(old.values()))) for name, (old, _) in pairs.items()}
    differences = {name: np.array([new[query] - old[query] for query in old]) for name, (old, new) in pairs.items()}
    halves = {
        "mean": list(pairs),
        "chosen": [name for name in pairs if name in CHOSEN_ON],
        "confirmed": [name for name in pairs if name not in CHOSEN_ON],
    }
    tests = {half: paired_test([differences[name] for name in names]) for half, names in halves.items() if names}
    return {
        "queries": {name: len(values) for name, values in differences.items()},
        "before": {**before, **halves_of(before)},
        "difference": {name: float(values.mean()) for name, values in differences.items()},
        "halves": {half: test.mean_difference for half, test in tests.items()},
        "p": {half: test.p_randomisation for half, test in tests.items()},
    }


def shown(name: str, found: Mapping[str, Any]) -> str:
    """A line of the table."""
    each = " ".join(f"{collection} {value:+.4f}" for collection, value in found["difference"].items())
    halves = " ".join(f"{half} {value:+.4f} (p {found['p'][half]:.4f})" for half, value in found["halves"].items())
    return f"{name:44s} {found['before']['mean']:.4f} {each} | {halves}"


def opened_of(indexed: Indexed, most: int | None, seed: int) -> Opened:
    """A collection, with some of its queries where it has more than ``most``."""
    opened = Opened(*indexed)
    if most is None or len(opened.ids) <= most:
        return opened
    return part(opened, sorted(np.random.default_rng(seed).permutation(len(opened.ids))[:most].tolist()))


def main() -> None:
    parser = judged_parser(__doc__)
    parser.add_argument(
        "--queries", type=int, metavar="N", help="queries of a collection at most, drawn by the seed; all by default"
    )
    parser.add_argument("--dense", action="store_true", help="start from the first stage fused with a dense ranking")
    parser.add_argument("--skip", nargs="*", default=[], choices=["pseudo", "explicit", "steering"], help="parts to leave out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    pairs = dict[str, dict[str, Pair]]()
    for indexed in indexed_collections(encoder, args, dense=args.dense):
        opened, found = opened_of(indexed, args.queries, args.seed), dict[str, Pair]()
        if "explicit" not in args.skip:
            found.update(explicit(opened, args.seed))
        if "steering" not in args.skip:
            found.update(steering(opened, args.seed))
        if "pseudo" not in args.skip:
            found.update(pseudo(opened, encoder if args.dense else None))
        for name, pair in found.items():
            pairs.setdefault(name, {})[opened.collection.name] = pair
        print(opened.collection.name, len(opened.ids), "queries", flush=True)
        results = {name: summary(each) for name, each in pairs.items()}
        if args.json is not None:
            write_json(args.json, results)
    for name, result in results.items():
        print(shown(name, result))


if __name__ == "__main__":
    main()
