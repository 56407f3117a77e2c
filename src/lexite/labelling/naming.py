"""Names for latents: candidates out of the evidence, of which the one that tells held-out passages best is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.labelling.detection import MEANING, Detector, Holdings, auc, matched_negatives
from lexite.labelling.evidence import Evidence
from lexite.labelling.words import plain_form, word_stem
from lexite.progress import progress
from lexite.terms.descriptions import in_steps

MOST_WORDS = 4
POSITIVES = 100
LEAST_POSITIVES = 4
LENGTH_COST = 0.015  # AUC that a further word must add
RANK_COST = 0.003  # AUC that a part must add to one that stands before it among the candidates
PRIOR_POSITIVES = 2.0
TRIED = 3  # names whose own dense vectors are asked for
NAMES_AT_ONCE = 8192

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def candidate_names(evidence: Evidence) -> tuple[str, ...]:
    """What names are put together from, the plainest first: words, phrases, parts of words, topics.

    >>> candidate_names(Evidence(("bank", "shore"), (1, 2), ("river bank",), ("water",), (), 0.9, 0.0))
    ('bank', 'river bank', 'shore', 'water')
    """
    words, phrases = evidence.words, evidence.phrases
    ordered = (
        *words[:1],
        *phrases[:1],
        *evidence.affixes[:1],
        *words[1:],
        *evidence.topics,
        *phrases[1:],
        *evidence.affixes[1:],
    )
    names: dict[tuple[str, ...], str] = {}
    for name in ordered:
        names.setdefault(key_of(name), name)
    return tuple(name for name in names.values() if len(name.split()) <= MOST_WORDS)


def key_of(name: str) -> tuple[str, ...]:
    """Equal for names of the same words, in whatever order and case."""
    return tuple(sorted(plain_form(word.strip(",;()")) for word in name.split()))


@dataclass(frozen=True)
class Chosen:
    """A name and how well it predicts.

    Attributes:
        name: the name; empty where there is none.
        trust: AUC on passages that neither made nor chose the name, drawn to .5 as by two more pairs that say nothing; NaN
            where there were too few.
    """

    name: str
    trust: float


@dataclass(frozen=True, eq=False)
class Trial:
    """Passages on which names are tried.

    Attributes:
        passages: numbers of the passages.
        n_positive: how many of them, the first ones, hold the latent.
    """

    passages: NDArray[np.int32]
    n_positive: int


def draw_trial(
    held: Holdings, latent: int, usable: NDArray[np.bool_], by_length: NDArray[np.int32], generator: np.random.Generator
) -> Trial | None:
    """Draws passages that hold a latent and as many of like length in which it does not fire; None where there are too few.

    Args:
        held: which passages hold what.
        latent: the latent.
        usable: ``(n_passages,)`` bool, those to draw from.
        by_length: the usable ones, the shortest first.
        generator: source of randomness.
    """
    passages, _, kept = held.of(latent)
    positives = passages[kept & usable[passages]]
    if len(positives) > POSITIVES:
        positives = np.sort(generator.choice(positives, POSITIVES, replace=False))
    if len(positives) < LEAST_POSITIVES:
        return None
    negatives = matched_negatives(positives, passages, by_length, generator)
    if len(negatives) < LEAST_POSITIVES:
        return None
    return Trial(np.concatenate([positives, negatives]), len(positives))


def measured_names(
    detector: Detector, trial: Trial, names: Sequence[str], vectors: Mapping[str, NDArray[np.float32]] | None
) -> NDArray[np.float64]:
    """The AUC of each name on a trial."""
    stacked = None if vectors is None else np.stack([vectors[name] for name in names])
    scores = detector.scores(names, stacked, trial.passages)
    return auc(scores[: trial.n_positive], scores[trial.n_positive :])


def shrunk(value: float, n_positive: int) -> float:
    """An AUC drawn to .5, the more so the fewer passages it was measured on."""
    return 0.5 + (value - 0.5) * n_positive / (n_positive + PRIOR_POSITIVES)


def choose_names(
    candidates: Sequence[Sequence[str]],
    trials: Sequence[tuple[Trial | None, Trial | None]],
    detector: Detector,
    embed: Embed | None,
    evidence: NDArray[np.bool_],
    *,
    show_progress: bool = False,
) -> list[Chosen]:
    """The name of each latent, no two alike.

    Of the candidates the best on the first trial is taken, and others are added one after the other while they help, up to four
    words. The best names on this way are tried again, with their own dense vectors; a further word must add .015. Where two
    latents want one name, the one that it tells better has it, and the other gets its next best. The trust is the AUC on the
    second trial.

    Args:
        candidates: for each latent what its name may be put together from, the plainest first.
        trials: two for each latent.
        detector: scores passages.
        embed: gives dense vectors of names; None for words alone.
        evidence: ``(n_passages,)`` bool, the passages whose means stand for words, none of which is in a trial.
        show_progress: show progress on stderr.
    """
    grown = [
        tuple(own[:TRIED]) if first is None else _grown(own, first, detector, evidence, meaning=embed is not None)
        for own, (first, _) in zip(candidates, trials, strict=True)
    ]
    vectors = _embedded(grown, embed, show_progress)
    scored = [_scored(own, first, detector, vectors) for own, (first, _) in zip(grown, trials, strict=True)]
    chosen: list[Chosen] = [Chosen("", float("nan"))] * len(candidates)
    taken: set[tuple[str, ...]] = set()
    for latent in sorted(range(len(candidates)), key=lambda each: -scored[each][0][0] if scored[each] else 1.0):
        name = next((name for _, name in scored[latent] if key_of(name) not in taken), "")
        if not name:
            continue
        taken.add(key_of(name))
        second = trials[latent][1]
        trust = float("nan")
        if second is not None:
            measured = float(measured_names(detector, second, [name], vectors)[0])
            trust = in_steps(shrunk(measured, second.n_positive))
        chosen[latent] = Chosen(name, trust)
    return chosen


def _scored(
    names: Sequence[str], trial: Trial | None, detector: Detector, vectors: Mapping[str, NDArray[np.float32]] | None
) -> list[tuple[float, str]]:
    """Names with their AUC less what their length costs, the best first; in their order where there is no trial."""
    if not names or trial is None:
        return [(-float(place), name) for place, name in enumerate(names)]
    values = measured_names(detector, trial, names, vectors)
    costs = [LENGTH_COST * (len(name.split()) - 1) for name in names]
    return sorted(zip((values - costs).tolist(), names, strict=True), key=lambda pair: -pair[0])


def _grown(
    parts: Sequence[str], trial: Trial, detector: Detector, evidence: NDArray[np.bool_], *, meaning: bool
) -> tuple[str, ...]:
    """Names of one part and more: from each of the two best parts on, the part is added that helps most, while one does.

    The vector of a part is taken from the passages that have it, that of several parts to be the sum of theirs.
    """
    if not parts:
        return ()
    found, totals = zip(*(detector.words_of(part, trial.passages) for part in parts), strict=True)
    words, idf = np.stack(found, axis=1), np.array(totals, dtype=np.float32)
    cosines = np.zeros_like(words)
    inner = np.eye(len(parts), dtype=np.float32)
    own = detector.centroids(parts, evidence) if meaning else None
    if own is not None:
        cosines, inner = detector.cosines(own, trial.passages), own @ own.T

    def value(groups: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        scores = np.stack(
            [
                words[:, group].sum(1) / max(idf[list(group)].sum(), 1e-9)
                + MEANING * cosines[:, group].sum(1) / np.sqrt(max(inner[np.ix_(group, group)].sum(), 1e-9))
                for group in groups
            ],
            axis=1,
        )
        return auc(scores[: trial.n_positive], scores[trial.n_positive :])

    ranks = RANK_COST * np.arange(len(parts))
    singles = value([(place,) for place in range(len(parts))]) - ranks
    first = np.argsort(-singles, kind="stable")
    names = {parts[int(place)]: float(singles[place]) for place in first[:2]}
    for start in first[:2].tolist():
        group: tuple[int, ...] = (start,)
        best = float(singles[start])
        while longer := _longer(group, parts):
            values = value(longer) - ranks[[each[-1] for each in longer]]
            if float(values.max()) <= best + LENGTH_COST:
                break
            group, best = longer[int(np.argmax(values))], float(values.max())
            names[", ".join(parts[place] for place in group)] = best
    unlike = {key_of(name): name for name in sorted(names, key=names.__getitem__)}
    return tuple(reversed(unlike.values()))[:TRIED]


def _longer(group: tuple[int, ...], parts: Sequence[str]) -> list[tuple[int, ...]]:
    """A group of parts with one more, of four words at most, none of which says a stem twice."""
    stems = [[word_stem(word) for word in part.split()] for part in parts]
    said = [stem for place in group for stem in stems[place]]
    return [
        (*group, place)
        for place, own in enumerate(stems)
        if place not in group and len(said) + len(own) <= MOST_WORDS and not set(said) & set(own)
    ]


def _embedded(
    candidates: Sequence[Sequence[str]], embed: Embed | None, show_progress: bool
) -> dict[str, NDArray[np.float32]] | None:
    if embed is None:
        return None
    names = sorted({name for own in candidates for name in own})
    vectors: dict[str, NDArray[np.float32]] = {}
    with progress("Trying names", len(names), "names", show_progress) as bar:
        for start in range(0, len(names), NAMES_AT_ONCE):
            part = names[start : start + NAMES_AT_ONCE]
            vectors.update(zip(part, embed(part), strict=True))
            bar.advance(len(part))
    return vectors
