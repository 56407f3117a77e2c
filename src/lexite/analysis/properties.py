"""Properties: from a sentence or from examples to concepts, and from concepts to the documents that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.analysis.bars import Bar, plot_bars
from lexite.analysis.corpora import Corpus, Example, presence
from lexite.errors import ArgumentError
from lexite.wording import one_line

CONCEPTS = 32
FOLDS = 5
SHUFFLES = 200
LEAST_EXAMPLES = 3
SHOWN = 10
LEVEL = 0.05
PRIOR = 0.5  # documents that are added to each count


@dataclass(frozen=True)
class Concept:
    """A concept that speaks for a property.

    Attributes:
        latent: its number.
        label: words for it.
        weight: what a document gets for having it.
    """

    latent: int
    label: str
    weight: float


@dataclass(frozen=True)
class Ranked:
    """A document with its score for a property.

    Attributes:
        place: of the document in the corpus.
        score: sum of the weights of the concepts that it has.
        document: its id and beginning.
    """

    place: int
    score: float
    document: Example


@dataclass(frozen=True)
class Property:
    """A property as concepts, and the documents that have it most.

    Attributes:
        name: of the property.
        concepts: what speaks for it, the heaviest first.
        documents: the highest scores first; examples that were given are left out.
        auc: how well the concepts told held-out positive examples from negative ones, in five folds; None for a sentence.
        p: share of shuffled labels that gave an AUC as large; None for a sentence.
    """

    name: str
    concepts: tuple[Concept, ...]
    documents: tuple[Ranked, ...]
    auc: float | None = None
    p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The result for people."""
        lines = [
            f"{one_line(self.name)}: {', '.join(f'{one_line(each.label)} ({each.latent})' for each in self.concepts[:SHOWN])}"
        ]
        if self.auc is not None and self.p is not None:
            sure = "more than chance" if self.p <= LEVEL else "no more than chance"
            lines.append(f"Held-out examples are told apart with an AUC of {self.auc:.2f} (p {self.p:.3f}, {sure}).")
        lines += [
            f"  {each.score:.2f}  {one_line(each.document.id)}  {one_line(each.document.text)}" for each in self.documents
        ]
        return lines

    def plot(self, path: str | Path, most: int = 20) -> list[Path]:
        """Draws the weights of the concepts, as PNG and SVG."""
        bars = [Bar(concept.label, concept.weight) for concept in self.concepts[:most]]
        return plot_bars(bars, path, x_label="weight", title=self.name)


def property_from_sentence(corpus: Corpus, name: str, query: csr_array[np.float32], *, most: int = 20) -> Property:
    """Documents with a property that a sentence describes.

    The concepts are the latents of the sentence, each weighed by its weight there times its idf in the corpus.

    Args:
        corpus: documents.
        name: the sentence.
        query: ``(1, n_latents)`` its transformed weights.
        most: documents that are given.

    Raises:
        ArgumentError: the sentence has no latents.
    """
    if query.shape[1] < corpus.n_latents or not query.nnz:
        raise ArgumentError("The sentence has no concepts of this vocabulary.")
    latents = query.indices[query.indices < corpus.n_latents]
    frequency = np.bincount(corpus.rows.indices, minlength=corpus.n_latents)[latents]
    weights = query.data[: len(latents)] * np.log1p((len(corpus) - frequency + 0.5) / (frequency + 0.5))
    order = np.argsort(-weights, kind="stable")[:CONCEPTS]
    return _property(corpus, name, latents[order], weights[order], np.zeros(0, dtype=np.int64), most)


def property_from_examples(
    corpus: Corpus,
    positive: Sequence[int],
    negative: Sequence[int] = (),
    *,
    name: str = "like the examples",
    n_concepts: int = CONCEPTS,
    most: int = 20,
    seed: int = 0,
) -> Property:
    """Documents that are like positive examples and unlike negative ones.

    A concept's weight is its log-odds ratio between both, with half a document added to each count, in standard errors; the
    heaviest are kept. Without negative examples, all other documents are those.

    Args:
        corpus: documents.
        positive: places of documents that have the property.
        negative: places of documents that do not.
        name: of the property.
        n_concepts: concepts that are kept.
        most: documents that are given.
        seed: of folds and shuffles.

    Raises:
        ArgumentError: there are fewer than three examples, or one is of both kinds.
    """
    yes = np.unique(np.asarray(positive, dtype=np.int64))
    given = np.unique(np.asarray(negative, dtype=np.int64))
    if len(yes) < LEAST_EXAMPLES or (len(negative) and len(given) < LEAST_EXAMPLES):
        raise ArgumentError(f"A property needs {LEAST_EXAMPLES} examples of each kind, or of the positive kind alone.")
    if len(np.intersect1d(yes, given)):
        raise ArgumentError("A document is named as a positive and as a negative example.")
    no = given if len(given) else np.setdiff1d(np.arange(len(corpus)), yes)
    rows = presence(corpus.rows)
    latents, weights = learned(rows, yes, no, n_concepts)
    value, p = _cross_validated(rows, yes, no, n_concepts, seed)
    shown = np.concatenate([yes, given])
    found = _property(corpus, name, latents, weights, shown, most)
    return Property(found.name, found.concepts, found.documents, value, p)


def learned(
    rows: csr_array[np.float32], yes: NDArray[np.int64], no: NDArray[np.int64], n_concepts: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The concepts that speak most surely for documents, and their weights.

    Args:
        rows: ``(n, n_latents)`` of 1 where a document has a concept.
        yes: places of positive examples.
        no: places of negative ones.
        n_concepts: how many.
    """
    n_latents = rows.shape[1]
    a = np.bincount(rows[yes].indices, minlength=n_latents) + PRIOR
    b = np.bincount(rows[no].indices, minlength=n_latents) + PRIOR
    c, d = len(yes) + 2 * PRIOR - a, len(no) + 2 * PRIOR - b
    sure = (np.log(a / c) - np.log(b / d)) / np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    best = np.argsort(-sure, kind="stable")[:n_concepts]
    best = best[sure[best] > 0]
    return best, sure[best]


def scores_of(rows: csr_array[np.float32], latents: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the weights of the concepts that each document has, ``(n,)``."""
    vector = np.zeros(rows.shape[1])
    vector[latents] = weights
    return np.asarray(rows @ vector, dtype=np.float64)


def _property(
    corpus: Corpus,
    name: str,
    latents: NDArray[Any],
    weights: NDArray[Any],
    left_out: NDArray[np.int64],
    most: int,
) -> Property:
    scores = scores_of(presence(corpus.rows), latents.astype(np.int64), weights.astype(np.float64))
    scores[left_out] = -np.inf
    order = [place for place in np.argsort(-scores, kind="stable")[:most].tolist() if scores[place] > 0]
    return Property(
        name,
        tuple(
            Concept(int(each), corpus.label(int(each)), float(weight)) for each, weight in zip(latents, weights, strict=True)
        ),
        tuple(Ranked(place, float(scores[place]), corpus.example(place)) for place in order),
    )


def _cross_validated(
    rows: csr_array[np.float32], yes: NDArray[np.int64], no: NDArray[np.int64], n_concepts: int, seed: int
) -> tuple[float, float]:
    """AUC of held-out examples in folds, and the share of shuffled labels that reach it."""
    generator = np.random.default_rng(seed)
    if len(no) > 20 * len(yes):
        no = np.sort(generator.choice(no, 20 * len(yes), replace=False))
    examples = csr_array(rows[np.concatenate([yes, no])])
    truth = np.concatenate([np.ones(len(yes), dtype=np.bool_), np.zeros(len(no), dtype=np.bool_)])
    folds = min(FOLDS, len(yes), len(no))

    def measured(labels: NDArray[np.bool_]) -> float:
        of_fold = np.empty(len(labels), dtype=np.int64)
        for kind in (True, False):  # both kinds are in every fold
            places = generator.permutation(np.flatnonzero(labels == kind))
            of_fold[places] = np.arange(len(places)) % folds
        wins = pairs = 0.0
        for fold in range(folds):
            train, test = of_fold != fold, of_fold == fold
            concepts = learned(examples, np.flatnonzero(train & labels), np.flatnonzero(train & ~labels), n_concepts)
            scores = scores_of(examples, *concepts)
            one, two = scores[test & labels][:, None], scores[test & ~labels][None, :]
            wins += float((one > two).sum() + 0.5 * (one == two).sum())
            pairs += one.size * two.size
        return wins / max(pairs, 1.0)

    value = measured(truth)
    as_large = sum(measured(generator.permutation(truth)) >= value for _ in range(SHUFFLES))
    return value, (as_large + 1) / (SHUFFLES + 1)
