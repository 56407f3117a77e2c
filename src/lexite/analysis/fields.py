"""Concepts that go with the values of a stored field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lexite.analysis.bars import Bar, plot_bars
from lexite.analysis.chance import discoveries, length_strata, stratified_test
from lexite.analysis.corpora import Corpus, presence
from lexite.analysis.counts import STRATA, StratumCounts
from lexite.errors import ArgumentError
from lexite.wording import one_line

LEAST_DOCUMENTS = 10
MOST_VALUES = 20
RATE = 0.05
SPLITS = 5


@dataclass(frozen=True)
class FieldConcept:
    """A concept that documents with a value have more or less often than the others.

    Attributes:
        value: of the field, as text.
        latent: number of the concept.
        label: words for it.
        share: of the documents with the value that have it.
        other_share: of the others.
        odds_ratio: of documents of like length.
        npmi: normalised pointwise mutual information of value and concept, from -1 to 1.
        chi2: statistic of the Cochran-Mantel-Haenszel test.
        p: its p-value.
    """

    value: str
    latent: int
    label: str
    share: float
    other_share: float
    odds_ratio: float
    npmi: float
    chi2: float
    p: float


@dataclass(frozen=True)
class FieldCorrelations:
    """What goes with a field.

    Attributes:
        corpus: its name.
        field: name of the field.
        values: values that were tested, with their documents.
        concepts: discoveries, those with the strongest NPMI first.
        n_found: how many there are, of which ``concepts`` shows some.
        n_tested: pairs of value and concept.
        chance: discoveries after the values were shuffled among documents of like length: mean of five times.
    """

    corpus: str
    field: str
    values: dict[str, int]
    concepts: tuple[FieldConcept, ...]
    n_found: int
    n_tested: int
    chance: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The result for people."""
        head = (
            f"{self.n_found:,} concepts go with a value of {one_line(self.field)} ({self.chance:.1f} when values are shuffled)."
        )
        body = [
            f"  {one_line(each.value)}: {one_line(each.label)} ({each.latent})  {each.share:.1%} against "
            f"{each.other_share:.1%}, NPMI {each.npmi:+.2f}, p {each.p:.1e}"
            for each in self.concepts
        ]
        return [head, *body]

    def plot(self, path: str | Path, most: int = 25) -> list[Path]:
        """Draws the strongest, as PNG and SVG."""
        bars = [Bar(f"{each.value}: {each.label}", each.npmi) for each in self.concepts[:most]]
        return plot_bars(bars, path, x_label="normalised pointwise mutual information", title=f"{self.field} in {self.corpus}")


def field_correlations(
    corpus: Corpus, name: str, values: Sequence[Any], *, rate: float = RATE, most: int = 50, seed: int = 0
) -> FieldCorrelations:
    """Finds concepts that documents with a value of a field have more or less often than documents without it.

    Numbers with more than twenty values are told apart at their median. Values of fewer than ten documents are left out.
    Discoveries are made at a false discovery rate over all values and concepts (Benjamini and Hochberg).

    Args:
        corpus: documents.
        name: of the field.
        values: of the field, one for each document: text, number, a list of texts, or None.
        rate: the false discovery rate.
        most: concepts that are given.
        seed: of the shuffles.

    Raises:
        ArgumentError: no value has ten documents and leaves ten, or there is not a value for each document.
    """
    if len(values) != len(corpus):
        raise ArgumentError(f"There are {len(values)} values for {len(corpus)} documents.")
    groups = _groups(values)
    if not groups:
        raise ArgumentError(f"No value of '{name}' is in {LEAST_DOCUMENTS} documents and missing in as many.")
    rows = presence(corpus.rows)
    strata = length_strata(np.diff(rows.indptr), STRATA)
    counts = StratumCounts(rows, strata)
    tested = np.flatnonzero(counts.totals >= LEAST_DOCUMENTS)

    def tests(members: list[np.ndarray[Any, Any]]) -> list[Any]:
        return [(own, *counts.of(own)) for own in members]

    measured = tests([own for _, own in groups])
    results = [stratified_test(a[:, tested], n_a, b[:, tested], n_b) for _, a, b, n_a, n_b in measured]
    p = np.concatenate([result.p for result in results])
    found = discoveries(p, rate)
    concepts: list[FieldConcept] = []
    for place in np.flatnonzero(found).tolist():
        which, at = divmod(place, len(tested))
        own, a, b, _, _ = measured[which]
        with_it, without = float(a[:, tested[at]].sum()), float(b[:, tested[at]].sum())
        n, size = len(corpus), int(own.sum())
        joint = max(with_it, 0.5) / n
        npmi = float(np.log(joint / ((with_it + without) / n * size / n)) / -np.log(joint))
        latent = int(tested[at])
        concepts.append(
            FieldConcept(
                groups[which][0],
                latent,
                corpus.label(latent),
                with_it / size,
                without / (n - size),
                float(results[which].odds_ratio[at]),
                npmi,
                float(results[which].statistic[at]),
                float(p[place]),
            )
        )
    concepts.sort(key=lambda each: (-abs(each.npmi), each.value, each.latent))
    generator = np.random.default_rng(seed)
    by_chance = []
    for _ in range(SPLITS):
        order = np.arange(len(corpus))
        for stratum in range(STRATA):
            places = np.flatnonzero(strata == stratum)
            order[places] = generator.permutation(places)
        mixed = [
            stratified_test(a[:, tested], n_a, b[:, tested], n_b).p
            for _, a, b, n_a, n_b in tests([g[order] for _, g in groups])
        ]
        by_chance.append(int(discoveries(np.concatenate(mixed), rate).sum()))
    sizes = {value: int(own.sum()) for value, own in groups}
    return FieldCorrelations(corpus.name, name, sizes, tuple(concepts[:most]), len(concepts), len(p), float(np.mean(by_chance)))


def _groups(values: Sequence[Any]) -> list[tuple[str, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """The values that are tested, the commonest first, with the documents that have each."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    listed: list[list[str]]
    if len(set(numbers)) > MOST_VALUES:
        middle = float(np.median(numbers))
        listed = [
            [] if isinstance(value, bool) or not isinstance(value, (int, float)) else [_side(value, middle)] for value in values
        ]
    else:
        listed = [
            [] if value is None else [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]
            for value in values
        ]
    common = Counter(each for own in listed for each in set(own)).most_common(MOST_VALUES)
    kept = [value for value, n in common if n >= LEAST_DOCUMENTS and len(values) - n >= LEAST_DOCUMENTS]
    return [(value, np.array([value in own for own in listed], dtype=np.bool_)) for value in kept]


def _side(value: float, middle: float) -> str:
    return f"above {middle:g}" if value > middle else f"{middle:g} or less"
