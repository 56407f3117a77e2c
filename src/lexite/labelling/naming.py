"""Names for latents: candidates out of the evidence, of which the one that tells held-out passages best is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.labelling.detection import WORDS, Detector, Holdings, auc, matched_negatives
from lexite.labelling.evidence import Evidence
from lexite.labelling.meaning import Embed
from lexite.labelling.unfinished import LATENTS_AT_ONCE, Blocks, Unfinished
from lexite.labelling.words import plain_form, word_stem
from lexite.progress import progress
from lexite.terms.descriptions import TRUSTED, in_steps

MOST_WORDS = 4
POSITIVES = 100
LEAST_POSITIVES = 4
LENGTH_COST = 0.015  # AUC that a further word must add
RANK_COST = 0.003  # AUC that a part must add to one that stands before it among the candidates
PRIOR_POSITIVES = 2.0
NAMES_AT_ONCE = 8192


def candidate_names(evidence: Evidence) -> tuple[str, ...]:
    """What names are put together from, the plainest first: words, phrases, parts of words, topics.

    >>> candidate_names(Evidence(("bank", "shore"), (1, 2), ("river bank",), ("water",), (), 0.9, 0.0, 40))
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
        kept: whether both are from an earlier labelling, since the sample has too little of the latent.
    """

    name: str
    trust: float
    kept: bool = False


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
    detector: Detector, trial: Trial, names: Sequence[str], vectors: Sequence[NDArray[np.float32]] | None
) -> NDArray[np.float64]:
    """The AUC of each name on a trial; ``vectors`` are those of its tokens, or None for words alone."""
    scores = detector.scores(names, vectors, trial.passages)
    return auc(scores[: trial.n_positive], scores[trial.n_positive :])


def shrunk(value: float, n_positive: int) -> float:
    """An AUC drawn to .5, the more so the fewer passages it was measured on."""
    return 0.5 + (value - 0.5) * n_positive / (n_positive + PRIOR_POSITIVES)


def choose_names(
    candidates: Sequence[Sequence[str]],
    trials: Sequence[tuple[Trial | None, Trial | None]],
    detector: Detector,
    embed: Embed | None,
    known: Mapping[int, Chosen],
    *,
    kept: Unfinished | None = None,
    show_progress: bool = False,
) -> list[Chosen]:
    """The name of each latent, no two alike.

    Of the candidates the best on the first trial is taken, and others are added one after the other while they help, up to four
    words; a further word must add .015. Where two latents want one name, the one that it tells better has it, and the other
    gets its next best. The trust is the AUC on the second trial.

    Args:
        candidates: for each latent what its name may be put together from, the plainest first.
        trials: two for each latent.
        detector: scores passages.
        embed: gives names the vectors of their tokens; None for words alone.
        known: names that latents have already; they stay where no name could be trusted by the second trial, since it has too
            few passages.
        kept: what an earlier run has tried, and where this one keeps it; None keeps nothing.
        show_progress: show progress on stderr.
    """
    blocks = Blocks(kept, "names", len(candidates), LATENTS_AT_ONCE)
    tried = [own for own, (first, _) in zip(candidates, trials, strict=True) if first is not None]
    vectors = None if blocks.whole else _embedded(sorted({part for own in tried for part in own}), embed, show_progress)
    with progress("Trying names", len(candidates), "latents", show_progress) as bar:

        def try_names(start: int, stop: int) -> list[list[tuple[float, str]]]:
            firsts = [first for first, _ in trials[start:stop]]
            return [_scored(*each, detector, vectors) for each in zip(candidates[start:stop], firsts, strict=True)]

        scored = [[(value, name) for value, name in own] for own in blocks.values(try_names, bar)]
    settled = {latent: name for latent, name in known.items() if _says_little(trials[latent][1])}
    for latent, name in settled.items():
        scored[latent] = [(name.trust, name.name)]
    names = _one_each(scored)
    whole = _embedded(sorted({name for name in names if name}), embed, show_progress)
    return [
        settled[latent]
        if latent in settled and name
        else Chosen(name, _trust(name, second, detector, None if whole is None or not name else [whole[name]]))
        for latent, (name, (_, second)) in enumerate(zip(names, trials, strict=True))
    ]


def _scored(
    candidates: Sequence[str], trial: Trial | None, detector: Detector, vectors: Mapping[str, NDArray[np.float32]] | None
) -> list[tuple[float, str]]:
    """The names of a latent with their values, the best first: as :func:`_grown` has them, by place without a trial."""
    if trial is None:
        return [(-float(place), name) for place, name in enumerate(candidates)]
    if not candidates:
        return []
    return _grown(candidates, trial, detector, None if vectors is None else [vectors[part] for part in candidates])


def _says_little(trial: Trial | None) -> bool:
    """Whether a trial has so few passages that even a name which told all of them would not be trusted."""
    return trial is None or shrunk(1.0, trial.n_positive) < TRUSTED


def _one_each(scored: Sequence[Sequence[tuple[float, str]]]) -> list[str]:
    """For each latent the best of its names that no latent has which it tells better; empty where there is none."""
    chosen = [""] * len(scored)
    taken: set[tuple[str, ...]] = set()
    for latent in sorted(range(len(scored)), key=lambda each: -scored[each][0][0] if scored[each] else 1.0):
        name = next((name for _, name in scored[latent] if key_of(name) not in taken), "")
        if name:
            taken.add(key_of(name))
            chosen[latent] = name
    return chosen


def _trust(name: str, trial: Trial | None, detector: Detector, vectors: Sequence[NDArray[np.float32]] | None) -> float:
    if trial is None or not name:
        return float("nan")
    return in_steps(shrunk(float(measured_names(detector, trial, [name], vectors)[0]), trial.n_positive))


def _grown(
    parts: Sequence[str], trial: Trial, detector: Detector, vectors: Sequence[NDArray[np.float32]] | None
) -> list[tuple[float, str]]:
    """Names of one part and more with their AUC less what they cost, the best first.

    From each of the two best parts on, the part is added that helps most, while one does. A name of several parts has the
    tokens of its parts.
    """
    found, totals = zip(*(detector.words_of(part, trial.passages) for part in parts), strict=True)
    words, idf = np.stack(found, axis=1), np.array(totals, dtype=np.float32)
    tokens, counts = np.zeros_like(words), np.ones(len(parts), dtype=np.float32)
    if vectors is not None:
        counts = np.array([len(own) for own in vectors], dtype=np.float32)
        tokens = detector.tokens_of(vectors, trial.passages) * counts
    lengths = [len(part.split()) for part in parts]

    def value(groups: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        scores = np.stack(
            [
                tokens[:, group].sum(1) / max(counts[list(group)].sum(), 1)
                + WORDS * words[:, group].sum(1) / max(idf[list(group)].sum(), 1e-9)
                for group in groups
            ],
            axis=1,
        )
        costs = [LENGTH_COST * (sum(lengths[place] for place in group) - 1) + RANK_COST * max(group) for group in groups]
        return np.asarray(auc(scores[: trial.n_positive], scores[trial.n_positive :]) - np.array(costs))

    singles = value([(place,) for place in range(len(parts))])
    first = np.argsort(-singles, kind="stable")
    names = {parts[place]: float(singles[place]) for place in first.tolist()}
    for start in first[:2].tolist():
        group: tuple[int, ...] = (start,)
        best = float(singles[start])
        while longer := _longer(group, parts):
            values = value(longer)
            if float(values.max()) <= best:
                break
            group, best = longer[int(np.argmax(values))], float(values.max())
            names[", ".join(parts[place] for place in group)] = best
    return sorted(((value, name) for name, value in names.items()), key=lambda pair: -pair[0])


def _longer(group: tuple[int, ...], parts: Sequence[str]) -> list[tuple[int, ...]]:
    """A group of parts with one more, of four words at most, none of which says a stem twice."""
    stems = [[word_stem(word) for word in part.split()] for part in parts]
    said = [stem for place in group for stem in stems[place]]
    return [
        (*group, place)
        for place, own in enumerate(stems)
        if place not in group and len(said) + len(own) <= MOST_WORDS and not set(said) & set(own)
    ]


def _embedded(names: Sequence[str], embed: Embed | None, show_progress: bool) -> dict[str, NDArray[np.float32]] | None:
    if embed is None:
        return None
    vectors: dict[str, NDArray[np.float32]] = {}
    with progress("Reading names", len(names), "names", show_progress) as bar:
        for start in range(0, len(names), NAMES_AT_ONCE):
            part = names[start : start + NAMES_AT_ONCE]
            vectors.update(zip(part, embed(part), strict=True))
            bar.advance(len(part))
    return vectors
