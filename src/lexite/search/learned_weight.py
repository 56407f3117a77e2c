"""The weight of a hybrid ranking, chosen for a corpus: with a handful of judged queries, or without any.

Without judgements, titles or sentences of documents are asked as pseudo-queries, and the document that each came from is the
one that should be found. With judgements, the weight is chosen by nDCG@10, and cross-validation says what such a choice is
worth on queries that it has not seen.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, CorpusError
from lexite.ranking.fusion import fused, weight_of_share
from lexite.search.strategies.hybrid import Candidates, Hybrid
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.search.searcher import Searcher
    from lexite.search.strategy import Answer

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Convex weights of the dense score that are tried."""
Measure = Literal["MRR", "nDCG@10"]
Origin = Literal["titles", "sentences"]
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_LEAST_WORDS, _MOST_WORDS = 5, 40


@dataclass(frozen=True)
class Fold:
    """A part of the judged queries, measured with a weight that was chosen on the others.

    Attributes:
        weight: the weight that was chosen.
        value: the measure with it, on the queries of this part.
        first_stage: the measure without dense scores, on the same queries.
        n_queries: how many these are.
    """

    weight: float
    value: float
    first_stage: float
    n_queries: int


@dataclass(frozen=True)
class LearnedWeight:
    """A weight and what it was chosen by.

    Attributes:
        strategy: the hybrid strategy with this weight.
        measure: what was made largest, in the mean over the queries.
        values: the measure for each weight that was tried.
        n_queries: how many queries there were.
        origin: where they came from: ``titles`` or ``sentences`` of documents, or ``judgements``.
        folds: of a cross-validation; none without judgements.
    """

    strategy: Hybrid
    measure: Measure
    values: Mapping[float, float]
    n_queries: int
    origin: str
    folds: tuple[Fold, ...] = ()

    @property
    def weight(self) -> float:
        """The chosen weight."""
        return self.strategy.weight

    @property
    def cross_validated(self) -> float | None:
        """The measure over all folds, each query with a weight that was chosen without it; None without folds."""
        total = sum(fold.n_queries for fold in self.folds)
        return sum(fold.value * fold.n_queries for fold in self.folds) / total if total else None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "strategy": dataclasses.asdict(self.strategy),
            "measure": self.measure,
            "values": [{"weight": weight, "value": value} for weight, value in self.values.items()],
            "n_queries": self.n_queries,
            "origin": self.origin,
            "folds": [dataclasses.asdict(fold) for fold in self.folds],
            "cross_validated": self.cross_validated,
        }


def learn_weight(
    searcher: Searcher,
    *,
    seed: int = 0,
    n_queries: int = 200,
    origin: Origin | None = None,
    measure: Measure = "MRR",
    strategy: Hybrid = Hybrid(),  # noqa: B008  (frozen)
    shares: Sequence[float] = SHARES,
) -> LearnedWeight:
    """Chooses the weight of a hybrid ranking without judgements.

    Args:
        searcher: over an index that keeps texts and dense vectors.
        seed: of the sample of documents.
        n_queries: documents that are sampled.
        origin: what of a document is asked: its title, or a sentence of its text; None takes titles where at least half of the
            sampled documents have one.
        measure: what the weight makes largest: the mean reciprocal rank of the document that a query came from, or nDCG@10.
        strategy: its other settings stay.
        shares: the convex weights that are tried: ``share`` is the weight ``share / (1 - share)``.

    Raises:
        ArgumentError: the index keeps no texts, or what the strategy needs; or a number is out of its limits.
    """
    _check_shares(shares)
    queries = pseudo_queries(searcher, n_queries, np.random.default_rng(seed), origin)
    texts, gains = [text for text, _ in queries.texts], [{identifier: 1.0} for _, identifier in queries.texts]
    tried = _tried(searcher, texts, gains, strategy, shares, measure)
    best = _best(tried.mean(axis=0), shares)
    chosen = dataclasses.replace(strategy, weight=weight_of_share(shares[best]))
    return LearnedWeight(chosen, measure, _values(tried, shares), len(tried), queries.origin)


def learn_weight_from_judgements(
    searcher: Searcher,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    seed: int = 0,
    n_folds: int = 5,
    measure: Measure = "nDCG@10",
    strategy: Hybrid = Hybrid(),  # noqa: B008  (frozen)
    shares: Sequence[float] = SHARES,
) -> LearnedWeight:
    """Chooses the weight of a hybrid ranking by judged queries, and cross-validates the choice.

    Args:
        searcher: over an index that keeps dense vectors.
        queries: query id → text.
        qrels: query id → document id → grade. Queries without judgements are left out.
        seed: of the parts of the cross-validation.
        n_folds: how many parts; fewer where there are fewer queries.
        measure: what the weight makes largest. A document is relevant when its grade is above 0.
        strategy: its other settings stay.
        shares: the convex weights that are tried.

    Raises:
        CorpusError: fewer than two judged queries, or a judged query without a text.
        ArgumentError: the index does not keep what the strategy needs; or a number is out of its limits.
    """
    _check_shares(shares)
    if n_folds < 2:
        raise ArgumentError(f"n_folds is {n_folds}, but a cross-validation has at least 2 parts.")
    judged = [query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())]
    if missing := next((query for query in judged if query not in queries), None):
        raise CorpusError(f"The judgements name the query '{missing}', which has no text. Give the queries that were judged.")
    if len(judged) < 2:
        found = counted(len(judged), "query has", "queries have")
        raise CorpusError(f"A weight is chosen by two judged queries at least, but {found} a relevant document.")
    gains = [{document: float(max(grade, 0)) for document, grade in qrels[query].items()} for query in judged]
    tried = _tried(searcher, [queries[query] for query in judged], gains, strategy, shares, measure)
    order = np.random.default_rng(seed).permutation(len(judged))
    folds = []
    for part in np.array_split(order, min(n_folds, len(judged))):
        others = np.setdiff1d(order, part)
        best = _best(tried[others].mean(axis=0), shares)
        first = _first_stage(tried[part], shares)
        folds.append(Fold(weight_of_share(shares[best]), float(tried[part, best].mean()), first, len(part)))
    best = _best(tried.mean(axis=0), shares)
    chosen = dataclasses.replace(strategy, weight=weight_of_share(shares[best]))
    return LearnedWeight(chosen, measure, _values(tried, shares), len(tried), "judgements", tuple(folds))


@dataclass(frozen=True)
class PseudoQueries:
    """Texts of documents that are asked as queries.

    Attributes:
        texts: each with the id of its document.
        origin: what of the documents they are.
    """

    texts: list[tuple[str, str]]
    origin: Origin


def pseudo_queries(searcher: Searcher, n_queries: int, rng: np.random.Generator, origin: Origin | None = None) -> PseudoQueries:
    """Draws documents of an index, and a query out of each; documents that give none are left out.

    A sentence has 5 to 40 words; a text of no such sentence gives none.

    Raises:
        ArgumentError: no document gives a query, as where the index keeps no texts.
    """
    if n_queries < 1:
        raise ArgumentError(f"n_queries is {n_queries}, but must be at least 1.")
    index = searcher.index
    numbers = index.select()
    drawn = rng.permutation(numbers)[:n_queries].tolist()
    documents = [index.stored(number) for number in drawn]
    if origin is None:
        n_titles = sum(bool(document.title.strip()) for document in documents)
        origin = "titles" if 2 * n_titles >= max(len(documents), 1) else "sentences"
    if origin == "titles":
        texts = [(document.title.strip(), document.id) for document in documents if document.title.strip()]
    else:
        found = [(_sentences(document.text), document.id) for document in documents]
        texts = [(sentences[int(rng.integers(len(sentences)))], identifier) for sentences, identifier in found if sentences]
    if not texts:
        raise ArgumentError(
            f"No document gave a query of its {origin}. Build the index with its texts, or learn the weight from judgements."
        )
    return PseudoQueries(texts, origin)


def _sentences(text: str) -> list[str]:
    found = (match[0].strip() for match in _SENTENCE.finditer(text))
    return [sentence for sentence in found if _LEAST_WORDS <= len(sentence.split()) <= _MOST_WORDS]


def _tried(
    searcher: Searcher,
    texts: Sequence[str],
    gains: Sequence[Mapping[str, float]],
    strategy: Hybrid,
    shares: Sequence[float],
    measure: Measure,
) -> NDArray[np.float64]:
    """The measure of each query with each weight, ``(n_queries, n_shares)``. Queries are searched once."""
    kept: list[Candidates] = []

    def keep(answer: Answer) -> Answer:
        kept.extend(strategy.parts(answer))
        return answer

    keep.candidates, keep.needs = strategy.candidates, strategy.needs  # type: ignore[attr-defined]
    for start in range(0, len(texts), 64):
        searcher.rank(texts[start : start + 64], 1, then=[keep])
    values = np.zeros((len(texts), len(shares)))
    for query, (each, own) in enumerate(zip(kept, gains, strict=True)):
        grades = np.array([own.get(hit.id, 0.0) for hit in each.hits])
        rest = np.array([own.get(hit.id, 0.0) for hit in each.rest])
        for column, share in enumerate(shares):
            scores = fused(each.scores, each.dense, weight_of_share(share), strategy.fusion)
            ranked = np.concatenate([grades[np.argsort(-scores, kind="stable")], rest])
            values[query, column] = measured(ranked, list(own.values()), measure)
    return values


def measured(ranked: NDArray[np.float64], judged: Sequence[float], measure: Measure) -> float:
    """A measure of one ranking.

    Args:
        ranked: gains of the documents in their order.
        judged: gains of all judged documents.
        measure: ``MRR``: 1 / rank of the first gain above 0, 0 where there is none. ``nDCG@10``: as trec_eval has it, gains
            are the grades.

    >>> measured(np.array([0.0, 2.0]), [2.0], "MRR"), round(measured(np.array([0.0, 2.0]), [2.0], "nDCG@10"), 3)
    (0.5, 0.631)
    """
    if measure == "MRR":
        found = np.flatnonzero(ranked > 0)
        return 1.0 / (int(found[0]) + 1) if len(found) else 0.0
    ideal = np.sort(np.asarray(judged, dtype=np.float64))[::-1][:10]
    best = float((ideal / np.log2(np.arange(2, len(ideal) + 2))).sum())
    top = ranked[:10]
    return float((top / np.log2(np.arange(2, len(top) + 2))).sum()) / best if best else 0.0


def _best(means: NDArray[np.float64], shares: Sequence[float]) -> int:
    """The share with the largest mean; among equals, the one that is nearest to equal weights, then the smaller one."""
    equal = np.flatnonzero(means >= means.max() - 1e-12).tolist()
    return min(equal, key=lambda place: (round(abs(shares[place] - 0.5), 9), shares[place]))


def _first_stage(values: NDArray[np.float64], shares: Sequence[float]) -> float:
    """The mean without dense scores."""
    return float(values[:, list(shares).index(0.0)].mean())


def _values(tried: NDArray[np.float64], shares: Sequence[float]) -> dict[float, float]:
    return {weight_of_share(share): float(value) for share, value in zip(shares, tried.mean(axis=0), strict=True)}


def _check_shares(shares: Sequence[float]) -> None:
    if 0.0 not in shares or not all(0.0 <= share < 1.0 for share in shares):
        raise ArgumentError(
            f"The shares {tuple(shares)} must lie from 0 to below 1, with 0, the first stage alone, among them."
        )
