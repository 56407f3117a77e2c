"""Differences: which concepts one corpus has more often than another, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.analysis.bars import Bar, plot_bars
from lexite.analysis.chance import StratifiedTest, difference_interval, discoveries, length_strata, stratified_test
from lexite.analysis.corpora import Corpus, Example, joined, presence
from lexite.analysis.counts import STRATA, StratumCounts
from lexite.errors import ArgumentError
from lexite.wording import one_line

RATE = 0.05
LEAST_DOCUMENTS = 10
SPLITS = 20
OVERLAP = 0.5
TURNS = 4  # of leaving concepts that differ out of the length
EXAMPLES = 2


@dataclass(frozen=True)
class Difference:
    """A concept that one of two corpora has more often.

    Attributes:
        latent: its number.
        label: words for it.
        share: of the documents of the first corpus that have it.
        other_share: of those of the second.
        difference: the first less the second.
        difference_interval: 95% limits of it (Newcombe).
        odds_ratio: of documents of like length (Mantel and Haenszel); above 1 where the first corpus has it more often.
        odds_interval: 95% limits.
        p: of the Cochran-Mantel-Haenszel test.
        examples: documents of the corpus that has it more often, those with the largest weight.
    """

    latent: int
    label: str
    share: float
    other_share: float
    difference: float
    difference_interval: tuple[float, float]
    odds_ratio: float
    odds_interval: tuple[float, float]
    p: float
    examples: tuple[Example, ...] = field(default=())


@dataclass(frozen=True)
class Differences:
    """What two corpora differ in.

    Attributes:
        names: of both corpora.
        sizes: their documents.
        over: concepts that the first has more often, the largest effect first.
        under: concepts that it has less often.
        tested: concepts that were tested: those of ten documents or more.
        rate: the false discovery rate.
        n_over: how many were found, of which ``over`` shows some.
        n_under: likewise.
        chance: discoveries in random splits of all documents into parts of the same sizes and lengths: mean and most.
    """

    names: tuple[str, str]
    sizes: tuple[int, int]
    over: tuple[Difference, ...]
    under: tuple[Difference, ...]
    tested: int
    rate: float
    n_over: int
    n_under: int
    chance: tuple[float, int]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The result for people."""
        first, second = (one_line(name) for name in self.names)
        mean, largest = self.chance
        lines = [
            f"{self.sizes[0]:,} documents of {first}, {self.sizes[1]:,} of {second}; {self.tested:,} concepts tested, "
            f"{mean:.1f} found in random splits ({largest} at most)."
        ]
        for name, n, found in ((first, self.n_over, self.over), (second, self.n_under, self.under)):
            lines.append(f"{n:,} concepts are more frequent in {name}:")
            for each in found:
                low, high = (100 * limit for limit in each.difference_interval)
                lines.append(
                    f"  {one_line(each.label)} ({each.latent})  {each.share:.1%} against {each.other_share:.1%}, difference "
                    f"{100 * each.difference:+.1f} ({low:+.1f} to {high:+.1f}), odds ratio {each.odds_ratio:.2g}"
                )
                lines += [f"      {one_line(example.id)}  {one_line(example.text)}" for example in each.examples[:1]]
        return lines

    def plot(self, path: str | Path, most: int = 15) -> list[Path]:
        """Draws the largest differences of both sides, with their intervals, as PNG and SVG."""
        shown = [*self.over[:most], *reversed(self.under[:most])]
        bars = [
            Bar(each.label, 100 * each.difference, (100 * each.difference_interval[0], 100 * each.difference_interval[1]))
            for each in shown
        ]
        return plot_bars(
            bars,
            path,
            x_label=f"share of documents of {self.names[0]} less that of {self.names[1]}, percentage points, 95% intervals",
            title=f"{self.names[0]} against {self.names[1]}",
        )


def differences(
    first: Corpus,
    second: Corpus,
    *,
    rate: float = RATE,
    most: int = 50,
    least_share: float = 0.0,
    named: bool = False,
    splits: int = SPLITS,
    seed: int = 0,
) -> Differences:
    """Finds concepts that one of two corpora has more often.

    Documents are compared with documents of like length (ten strata by the number of their terms, without those that differ),
    for a longer document has more of everything (:func:`comparable_strata`). Discoveries are made at a false discovery rate
    (Benjamini and Hochberg) and ordered by effect, Cohen's h of the two shares. As a test for chance, all documents are split
    at random within strata, and discoveries counted.

    Args:
        first: a corpus.
        second: another, of the same vocabulary.
        rate: the false discovery rate.
        most: how many of each side are given.
        least_share: a concept that fewer documents of both corpora have is not tested.
        named: give only concepts that have a name; all are tested and counted.
        splits: random splits that are made.
        seed: of the splits.

    Raises:
        ArgumentError: the vocabularies are different, or a corpus has fewer than ten documents.
    """
    if min(len(first), len(second)) < LEAST_DOCUMENTS:
        small = min((first, second), key=len)
        raise ArgumentError(f"{small.name} has {len(small)} documents; differences need {LEAST_DOCUMENTS} of each side.")
    rows = presence(joined([first, second]))
    in_first = np.zeros(rows.shape[0], dtype=np.bool_)
    in_first[: len(first)] = True
    tested = np.flatnonzero(
        np.bincount(rows.indices, minlength=rows.shape[1]) >= max(LEAST_DOCUMENTS, least_share * rows.shape[0])
    )
    counts, test = _tested(rows, in_first, tested, rate)
    found = discoveries(test.p, rate)
    a, b, _, _ = counts.of(in_first)
    total_a, total_b = a[:, tested].sum(0), b[:, tested].sum(0)
    low, high = difference_interval(total_a, len(first), total_b, len(second))
    share, other = total_a / len(first), total_b / len(second)
    effect = 2 * np.arcsin(np.sqrt(share)) - 2 * np.arcsin(np.sqrt(other))
    more = test.odds_ratio > 1
    sides: list[tuple[Difference, ...]] = []
    for side, corpus in ((found & more, first), (found & ~more, second)):
        places = np.flatnonzero(side)
        ordered = places[np.lexsort((tested[places], -np.abs(effect[places])))].tolist()
        wanted = (place for place in ordered if not named or first.has_name(int(tested[place])))
        best = np.array(list(islice(wanted, most)), dtype=np.int64)
        heaviest = _heaviest(corpus.rows, tested[best])
        sides.append(
            tuple(
                Difference(
                    int(tested[place]),
                    first.label(int(tested[place])),
                    float(share[place]),
                    float(other[place]),
                    float(share[place] - other[place]),
                    (float(low[place]), float(high[place])),
                    float(test.odds_ratio[place]),
                    (float(test.low[place]), float(test.high[place])),
                    float(test.p[place]),
                    tuple(corpus.example(document) for document in documents),
                )
                for place, documents in zip(best.tolist(), heaviest, strict=True)
            )
        )
    chance = _by_chance(counts, in_first, tested, rate, splits, seed)
    return Differences(
        (first.name, second.name),
        (len(first), len(second)),
        sides[0],
        sides[1],
        len(tested),
        rate,
        int((found & more).sum()),
        int((found & ~more).sum()),
        chance,
    )


def _tested(
    rows: csr_array[np.float32], in_first: NDArray[np.bool_], tested: NDArray[np.int64], rate: float
) -> tuple[StratumCounts, StratifiedTest]:
    """The test of all concepts in strata of length. Concepts that differ are then left out of the length, and all tested again.

    A corpus that has some concepts more often would else have all others less often at equal length. That the strongest
    differences are left out first keeps those in that only seem to differ.
    """
    left_out = np.zeros(rows.shape[1], dtype=np.bool_)
    for turn in range(TURNS):
        lengths = np.asarray(rows @ (~left_out).astype(np.float32)).astype(np.int64)
        counts = StratumCounts(rows, comparable_strata(lengths, in_first))
        a, b, n_a, n_b = counts.of(in_first)
        test = stratified_test(a[:, tested], n_a, b[:, tested], n_b)
        found = np.flatnonzero(discoveries(test.p, rate))
        n_out = -(-len(found) * (turn + 1) // TURNS)
        strongest = found[np.argsort(-test.statistic[found], kind="stable")[:n_out]]
        before = left_out.copy()
        left_out[:] = False
        left_out[tested[strongest]] = True
        if not len(found) or np.array_equal(before, left_out):
            break
    return counts, test


def comparable_strata(lengths: NDArray[np.int64], in_first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Strata of length in which both corpora have documents: ten, or fewer where their lengths hardly overlap.

    The overlap is the sum over strata of the smaller of the shares that both corpora have there; it must be a half. Where the
    documents of one are all longer than those of the other, one stratum is left, and length is not told from what differs.

    Args:
        lengths: of the documents.
        in_first: whether each is of the first corpus.

    >>> comparable_strata(np.array([1, 2, 3, 9, 8, 7]), np.array([True, True, True, False, False, False])).tolist()
    [0, 0, 0, 0, 0, 0]
    """
    for n_strata in (STRATA, STRATA // 2, STRATA // 4):
        strata = length_strata(lengths, n_strata)
        shares = [np.bincount(strata[side], minlength=n_strata) / max(int(side.sum()), 1) for side in (in_first, ~in_first)]
        if float(np.minimum(*shares).sum()) >= OVERLAP:
            return strata
    return np.zeros(len(lengths), dtype=np.int64)


def _by_chance(
    counts: StratumCounts, in_first: NDArray[np.bool_], tested: NDArray[np.int64], rate: float, splits: int, seed: int
) -> tuple[float, int]:
    """Discoveries in random splits that keep how many documents of each stratum are in each group: mean and most."""
    generator, found = np.random.default_rng(seed), []
    for _ in range(splits):
        mixed = np.zeros_like(in_first)
        for stratum in range(STRATA):
            members = np.flatnonzero(counts.strata == stratum)
            mixed[generator.permutation(members)[: int(in_first[members].sum())]] = True
        a, b, n_a, n_b = counts.of(mixed)
        found.append(int(discoveries(stratified_test(a[:, tested], n_a, b[:, tested], n_b).p, rate).sum()))
    return (float(np.mean(found)), max(found)) if found else (0.0, 0)


def _heaviest(rows: csr_array[np.float32], latents: Sequence[int] | NDArray[np.int64], n: int = EXAMPLES) -> list[list[int]]:
    """For each latent the documents with its largest weights."""
    columns = rows[:, np.asarray(latents, dtype=np.int64)].tocsc()
    result = []
    for place in range(columns.shape[1]):
        part = slice(columns.indptr[place], columns.indptr[place + 1])
        best = np.argsort(-columns.data[part], kind="stable")[:n]
        result.append(columns.indices[part][best].tolist())
    return result
