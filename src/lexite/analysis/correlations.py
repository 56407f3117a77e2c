"""Correlations: concepts that occur together more than chance, and concepts that go with the value of a field."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csc_array, csr_array

from lexite.analysis.bars import Bar, plot_bars
from lexite.analysis.corpora import Corpus, Example, presence
from lexite.errors import ArgumentError
from lexite.labelling.words import word_stem
from lexite.scoring.words import words_in_order
from lexite.wording import one_line

LEAST_TOGETHER = 5
LEAST_DOCUMENTS = 10
MOST_SHARE = 0.5  # a concept in more documents than this goes with everything
LATENTS_AT_ONCE = 256
LEVEL = 0.05
HALF = 21  # letters of a label in a plot of pairs


@dataclass(frozen=True)
class Pair:
    """Two concepts that occur together.

    Attributes:
        latents: their numbers.
        labels: words for them.
        documents: how many have both.
        expected: how many would by chance, documents being as long as they are.
        npmi: log(documents / expected) / -log(share of documents with both), from -1 to 1.
        chi2: (documents - expected)² / expected.
        p: of so many or more by chance, times the number of pairs that could be tested (Bonferroni).
        example: a document that has both.
    """

    latents: tuple[int, int]
    labels: tuple[str, str]
    documents: int
    expected: float
    npmi: float
    chi2: float
    p: float
    example: Example


@dataclass(frozen=True)
class Correlations:
    """Pairs of concepts.

    Attributes:
        name: of the corpus.
        n_documents: documents.
        pairs: the pairs with the highest NPMI.
        n_found: pairs beyond chance, of which ``pairs`` shows some.
        n_tested: pairs that the correction counts.
        chance: pairs found beyond chance after each concept was given to other documents at random, longer ones more often.
    """

    name: str
    n_documents: int
    pairs: tuple[Pair, ...]
    n_found: int
    n_tested: int
    chance: int

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The result for people."""
        head = (
            f"{self.n_found:,} pairs of concepts occur together more than chance in {self.n_documents:,} documents of "
            f"{one_line(self.name)} ({self.chance} when concepts are shuffled)."
        )
        body = [
            f"  {one_line(pair.labels[0])} ({pair.latents[0]}) + {one_line(pair.labels[1])} ({pair.latents[1]})  NPMI "
            f"{pair.npmi:.2f}, {pair.documents:,} documents, {pair.expected:.1f} by chance, p {pair.p:.1e}"
            for pair in self.pairs
        ]
        return [head, *body]

    def plot(self, path: str | Path, most: int = 25) -> list[Path]:
        """Draws the pairs with the highest NPMI, as PNG and SVG."""
        bars = [Bar(" + ".join(_short(label) for label in pair.labels), pair.npmi) for pair in self.pairs[:most]]
        return plot_bars(bars, path, x_label="normalised pointwise mutual information", title=f"Together in {self.name}")


def correlations(
    corpus: Corpus,
    *,
    most: int = 50,
    least_together: int = LEAST_TOGETHER,
    named: bool = False,
    alike: bool = False,
    seed: int = 0,
) -> Correlations:
    """Finds pairs of concepts that occur together more often than chance.

    By chance, a document has a concept with a probability in proportion to its number of concepts, so that long documents do
    not make everything go together: λ(i, j) = n_i n_j Σ len² / (Σ len)². The p-value is that of a Poisson count of mean λ,
    corrected for all pairs of concepts that were counted. Concepts in fewer than ten documents, or in more than half of them,
    are left out.

    Args:
        corpus: documents.
        most: how many pairs are given.
        least_together: documents that must have both.
        named: give only pairs of concepts that have a name; all are tested and counted.
        alike: give pairs whose labels share a word too. Two latents often answer to the same word, which tells little.
        seed: of the shuffled corpus that is the test for chance.

    Raises:
        ArgumentError: there are fewer than ten documents.
    """
    if len(corpus) < LEAST_DOCUMENTS:
        raise ArgumentError(f"{corpus.name} has {len(corpus)} documents; correlations need {LEAST_DOCUMENTS}.")
    rows = presence(corpus.rows)
    found = _pairs(rows, least_together)
    ordered = np.lexsort((found.second, found.first, -found.npmi)).tolist()
    stems = functools.cache(lambda latent: _stems(corpus.label(latent)))
    names = functools.cache(corpus.has_name)

    def wanted(place: int) -> bool:
        first, second = int(found.first[place]), int(found.second[place])
        return (not named or (names(first) and names(second))) and (alike or not stems(first) & stems(second))

    order = list(islice(filter(wanted, ordered), most))
    by_latent = rows.tocsc()
    pairs = tuple(
        Pair(
            (int(found.first[place]), int(found.second[place])),
            (corpus.label(int(found.first[place])), corpus.label(int(found.second[place]))),
            int(found.together[place]),
            float(found.expected[place]),
            float(found.npmi[place]),
            float((found.together[place] - found.expected[place]) ** 2 / found.expected[place]),
            float(found.p[place]),
            corpus.example(_with_both(by_latent, int(found.first[place]), int(found.second[place]))),
        )
        for place in order
    )
    chance = len(_pairs(shuffled(rows, seed), least_together).p)
    return Correlations(corpus.name, len(corpus), pairs, len(found.p), found.n_tested, chance)


@dataclass(frozen=True, eq=False)
class _Found:
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    together: NDArray[np.float64]
    expected: NDArray[np.float64]
    npmi: NDArray[np.float64]
    p: NDArray[np.float64]
    n_tested: int


def _pairs(rows: csr_array[np.float32], least_together: int) -> _Found:
    n = rows.shape[0]
    counts = np.bincount(rows.indices, minlength=rows.shape[1])
    used = np.flatnonzero((counts >= LEAST_DOCUMENTS) & (counts <= MOST_SHARE * n))
    columns = rows.tocsc()[:, used]
    counts = counts[used].astype(np.float64)
    lengths = np.diff(rows.indptr).astype(np.float64)
    inflation = float((lengths**2).sum() / max(lengths.sum() ** 2, 1.0))
    n_tested = len(used) * (len(used) - 1) // 2
    parts: list[tuple[NDArray[Any], ...]] = []
    by_document = columns.T.tocsr()
    for start in range(0, len(used), LATENTS_AT_ONCE):
        block = (by_document[start : start + LATENTS_AT_ONCE] @ columns).tocoo()  # documents with both
        first, second = block.row + start, block.col
        keep = (second > first) & (block.data >= least_together)
        first, second, together = first[keep], second[keep], block.data[keep].astype(np.float64)
        expected = counts[first] * counts[second] * inflation
        above = together > expected
        first, second, together, expected = first[above], second[above], together[above], expected[above]
        p = np.asarray(stats.poisson.sf(together - 1, expected)) * n_tested
        sure = p <= LEVEL
        first, second, together, expected, p = first[sure], second[sure], together[sure], expected[sure], p[sure]
        parts.append((used[first], used[second], together, expected, p))
    if not parts:
        nothing = np.zeros(0)
        return _Found(nothing.astype(np.int64), nothing.astype(np.int64), nothing, nothing, nothing, nothing, n_tested)
    first, second, together, expected, p = (np.concatenate(each) for each in zip(*parts, strict=True))
    share = together / n
    npmi = np.where(share < 1, np.log(together / expected) / -np.log(np.minimum(share, 1 - 1e-12)), 1.0)
    numbers = first.astype(np.int64), second.astype(np.int64)
    return _Found(*numbers, together, expected.astype(np.float64), npmi, p, n_tested)


def shuffled(rows: csr_array[np.float32], seed: int) -> csr_array[np.float32]:
    """Rows in which each term is given to as many documents as before, but to others, longer ones more often.

    Args:
        rows: ``(n, n_latents)`` of 1 where a document has a term.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    ends = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))  # a place for each term that a document has
    generator.shuffle(ends)
    mixed = csr_array((np.ones(rows.nnz, np.float32), (ends, rows.indices)), shape=rows.shape)
    mixed.sum_duplicates()  # a document that drew a term twice has it once
    mixed.data[:] = 1
    return mixed


def _with_both(columns: csc_array[np.float32], first: int, second: int) -> int:
    one = columns.indices[columns.indptr[first] : columns.indptr[first + 1]]
    two = columns.indices[columns.indptr[second] : columns.indptr[second + 1]]
    return int(np.intersect1d(one, two)[0])


def _stems(label: str) -> frozenset[str]:
    """The stems of the words of a label that say something: those of two letters or more."""
    return frozenset(word_stem(word) for word in words_in_order(label) if len(word) > 1)


def _short(label: str) -> str:
    return label if len(label) <= HALF else f"{label[: HALF - 1]}…"
