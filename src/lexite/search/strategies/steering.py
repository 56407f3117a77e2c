"""Steering: concepts that a person names are boosted or muted, and the query is asked again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.errors import ArgumentError
from lexite.scoring.words import word_form
from lexite.search.concepts import WORD, latents_named
from lexite.search.expansion import term_space_of
from lexite.search.labels import numbered
from lexite.search.steering_vector import MOST_BOOST, SteeringVector, steered
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategy import Answer
from lexite.wording import one_line

if TYPE_CHECKING:
    from lexite.index.term_space import TermSpace

PURPOSE = "Steering"
_NO_FACTOR = re.compile(r".*=\s*(?:[-+]\s*[0-9.].*|[-+]?(?:nan|inf|infinity))\s*", re.DOTALL | re.IGNORECASE)
_FACTOR = re.compile(r"(.*?)=\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Steer:
    """Boosts and mutes concepts in queries, and asks again.

    With v the transformed weights of a query's terms and s the mean of those of its latents:

    - a concept with the factor f: ``f · v`` where f is below 1, else ``v + (f - 1) · max(v, s)``, so that a concept gets
      weight that the query does not have. Muting is the factor 0.
    - an example text with the transformed weights e: ``v + strength · e · Σ v / Σ e``, towards it, or
      ``max(0, v - strength · e · Σ v / Σ e)`` away from it, with the sums over latents.
    - a steering vector: :mod:`lexite.search.steering_vector`.

    Examples and the vector change a query first, and factors change what came of it.

    A concept is the number of a latent, words of its label (``solar energy``; ``energy*`` for all latents with this word), or
    a literal word (``word:solar``). Two factors for one concept are refused, whatever it is called.

    Attributes:
        boost: concepts with factors: ``solar energy=2``; 2 where there is none.
        mute: concepts.
        towards: example texts whose latents are added.
        away: example texts whose latents are taken away.
        vector: file of a steering vector; empty for none.
        strength: of example texts and vector.
        candidates: hits that it wants to see.

    >>> Steer(mute=("812",), boost=("solar energy=1.5",)).strength
    1.0
    """

    boost: tuple[str, ...] = option((), "Concept to boost, and how much: 'solar energy=2', '812=1.5', 'word:solar=3'.")
    mute: tuple[str, ...] = option((), "Concept to mute: 'solar energy', '812', 'energy*', 'word:solar'.")
    towards: tuple[str, ...] = option((), "Example text to steer towards.")
    away: tuple[str, ...] = option((), "Example text to steer away from.")
    vector: str = option("", "File of a learned steering vector.")
    strength: float = option(1.0, "Strength of example texts and of the steering vector.", minimum=0.0, maximum=1e3)
    candidates: int = option(100, "Hits that steering finds.", minimum=1)

    def __post_init__(self) -> None:
        for name in ("boost", "mute", "towards", "away"):  # one text alone is a tuple of one
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else given)
        check_settings(self, "steer")

    def __call__(self, answer: Answer) -> Answer:
        """Steers the queries, and asks again.

        Raises:
            ArgumentError: there is nothing to steer by; nothing or several things are called as a concept is; a factor is none;
                one concept has two factors; a vector is of another vocabulary; an example text has no latent, or there is
                nothing that encodes it; or the backend does not show the terms of documents.
            ConfigError: the file of a vector cannot be read.
        """
        from scipy.sparse import csr_array

        if not any((self.boost, self.mute, self.towards, self.away, self.vector)):
            raise ArgumentError(
                "Steering needs something to steer by: boost=, mute=, towards=, away= or vector= (--steer-boost, …). Give one."
            )
        space = term_space_of(answer.backend, answer.options.get("scoring"), PURPOSE)
        vectors = space.queries(answer.queries)
        factors, change = self._factors(answer, space), self._change(answer, space)
        rows = []
        for number in range(vectors.shape[0]):
            weights = vectors[[number]].toarray()[0]
            weights[: space.n_latents] = change(weights[: space.n_latents])
            rows.append(csr_array(with_factors(weights, factors, space.n_latents)[None]))
        if not rows:
            return answer
        from scipy.sparse import vstack

        queries = space.encoded(csr_array(vstack(rows, format="csr")), answer.queries)
        return answer.asked_again(queries)

    def _factors(self, answer: Answer, space: TermSpace) -> dict[int, float]:
        """The factors of terms, by their numbers; raises :class:`ArgumentError` where two of a term differ."""
        label = answer.label or numbered
        found: dict[int, tuple[str, float]] = {}
        for name, factor in [*map(_with_factor, self.boost), *((name, 0.0) for name in self.mute)]:
            for term in terms_named(name, label, space):
                first = found.setdefault(term, (name, factor))
                if first[1] != factor:
                    latent = term < space.n_latents
                    called = f"latent {term} ({one_line(label(term))})" if latent else f"word '{space.word(term)}'"
                    raise ArgumentError(_contradiction(called, first, (name, factor)))
        return {term: factor for term, (_, factor) in found.items()}

    def _change(self, answer: Answer, space: TermSpace) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """What example texts and the vector make of the weights of a query's latents."""
        toward, away = self._examples(answer, space, self.towards), self._examples(answer, space, self.away)
        boost, mute = np.zeros(space.n_latents), np.zeros(space.n_latents)
        if self.vector:
            vector = SteeringVector.load(self.vector)
            vector.check(answer.backend.vocabulary.fingerprint, space.n_latents, self.vector)
            boost, mute = vector.arrays(space.n_latents)

        def changed(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            added = self.strength * weights.sum() * (toward - away)
            new: NDArray[np.float64] = np.maximum(steered(weights, boost, mute, self.strength) + added, 0.0)
            return new

        return changed

    def _examples(self, answer: Answer, space: TermSpace, texts: tuple[str, ...]) -> NDArray[np.float64]:
        """(n_latents,) the mean over texts of their latents' transformed weights, those of each made to add up to 1."""
        if not texts:
            return np.zeros(space.n_latents)
        if answer.encoder is None:
            raise ArgumentError("Example texts need what encodes queries, which this search has not. Ask a Searcher.")
        weights = space.queries(answer.encoder.encode(list(texts)))[:, : space.n_latents].toarray()
        if len(without := np.flatnonzero(weights.sum(axis=1) <= 0)):
            raise ArgumentError(
                f"The example text '{one_line(texts[int(without[0])])[:60]}' has no latent, so it cannot steer. Give another."
            )
        shares: NDArray[np.float64] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
        mean: NDArray[np.float64] = shares.mean(axis=0)
        return mean


def _with_factor(text: str) -> tuple[str, float]:
    """The name of a concept to boost, and its factor.

    >>> _with_factor("solar energy=1.5"), _with_factor("812")
    (('solar energy', 1.5), ('812', 2.0))
    """
    match = _FACTOR.fullmatch(text)
    if match is None and _NO_FACTOR.fullmatch(text):
        raise ArgumentError(
            f"The factor of '{one_line(text)}' must be a number from 0 to {MOST_BOOST:g}, behind the last equals sign."
        )
    name, factor = (match[1], float(match[2])) if match else (text, 2.0)
    if factor > MOST_BOOST:
        raise ArgumentError(f"The factor of '{one_line(text)}' is more than {MOST_BOOST:g}, which is the largest.")
    return name, factor


def _contradiction(called: str, *given: tuple[str, float]) -> str:
    """The sentence about a term that is named twice, with two factors."""
    said = [
        f"'{one_line(name.strip())}' {f'gives it the factor {factor:g}' if factor else 'mutes it'}" for name, factor in given
    ]
    return f"The {called} is steered in two ways: {said[0]}, {said[1]}. Name it once."


def terms_named(name: str, label: Callable[[int], str], space: TermSpace) -> tuple[int, ...]:
    """The terms of a concept: latents (:func:`lexite.search.concepts.latents_named`), or a literal word.

    Raises:
        ArgumentError: no latent is called so, or several are; or no document has the word.
    """
    if not name.strip().startswith(WORD):
        return latents_named(name, label, space.n_latents)
    word = name.strip()[len(WORD) :].strip()
    if not space.has_words:
        raise ArgumentError(f"'{one_line(name)}' is a literal word, but words do not count in this search. Name a latent.")
    (term,) = space.find_words([word_form(word) or word]).tolist()
    if term < 0:
        raise ArgumentError(f"No document has the word '{one_line(word)}'.")
    return (term,)


def with_factors(weights: NDArray[np.float64], factors: dict[int, float], n_latents: int) -> NDArray[np.float64]:
    """The weights of a query's terms with factors for some; :class:`Steer` has the formula.

    >>> with_factors(np.array([2.0, 0.0, 4.0]), {0: 3.0, 1: 2.0, 2: 0.5}, 3).tolist()
    [8.0, 3.0, 2.0]
    """
    used = weights[:n_latents][weights[:n_latents] > 0]
    mean = float(used.mean()) if len(used) else 0.0
    new = weights.copy()
    for term, factor in factors.items():
        old = weights[term]
        new[term] = factor * old if factor < 1 else old + (factor - 1.0) * max(old, mean)
    return new
