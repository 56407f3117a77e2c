"""Candidates for the name of a latent: words, phrases and topics, each by how much more often it is found where it fires."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.labelling.detection import Holdings
from lexite.labelling.firings import Firings
from lexite.labelling.words import SampleWords, plain_form

PRIOR = 300.0  # words that the prior is worth
MOST_FIRINGS = 20_000  # of one latent that are looked at
TOPIC_PASSAGES = 150
LEAST = 2.0  # firings that a word needs
SURE = 3.0  # standard errors above 0
RARE = 3.0  # keeps out words that were seen once or twice
WORDS, STRONG, TOPICS = 6, 3, 6


@dataclass(frozen=True)
class Evidence:
    """What is known of a latent from the passages that names are made from.

    Attributes:
        words: the words that it fires on, each in its commonest form: those that it fires on most surely, the surest first, and
            then those that it answers to most strongly.
        word_stems: their stems.
        phrases: two neighbouring words of which it fires on one.
        topics: words of the passages that hold it.
        affixes: parts of words that it fires on, each in several words: ``meta-``, ``-inho``, ``-ola-``.
        lexical: share of its activation on the forms of the first word.
        function: share of its activation on function words and punctuation.
        seen: firings that all this was taken from.
    """

    words: tuple[str, ...]
    word_stems: tuple[int, ...]
    phrases: tuple[str, ...]
    topics: tuple[str, ...]
    affixes: tuple[str, ...]
    lexical: float
    function: float
    seen: int


def log_odds(
    here: NDArray[np.float64], total_here: float, everywhere: NDArray[np.float64], total: float, prior: float = PRIOR
) -> NDArray[np.float64]:
    """Log-odds ratio of words here against the background, in standard errors, with an informative Dirichlet prior.

    The prior has the background's proportions and is worth ``prior`` words: Monroe, Colaresi and Quinn (2008), Fightin' Words,
    equations 16, 20 and 22.

    Args:
        here: how often each word is found here.
        total_here: words here.
        everywhere: how often each is found in the background.
        total: words of the background.
        prior: words that the prior is worth.
    """
    alpha = prior * np.maximum(everywhere, 0.5) / max(total, 1.0)
    ours, theirs = here + alpha, everywhere + alpha
    odds_here = ours / np.maximum(total_here + prior - ours, 1e-9)
    odds = theirs / np.maximum(total + prior - theirs, 1e-9)
    return np.asarray((np.log(odds_here) - np.log(odds)) / np.sqrt(1 / ours + 1 / theirs))


class EvidenceReader:
    """Reads the evidence for latents from the passages of a sample that are for this.

    Args:
        firings: of the sample.
        words: of the sample.
        held: which passages hold which latent.
        usable: ``(n_passages,)`` bool, the passages that names are made from.
    """

    def __init__(self, firings: Firings, words: SampleWords, held: Holdings, usable: NDArray[np.bool_]) -> None:
        self._firings, self._words, self._held, self._usable = firings, words, held, usable
        own = usable[words.passages]
        self._background = np.bincount(words.stems[own], minlength=words.n_stems).astype(np.float64)
        self._pairs, self._pair_counts = self._all_pairs(own)
        self._in_passages = np.bincount(
            words.in_passages.indices[np.repeat(usable, np.diff(words.in_passages.indptr))], minlength=words.n_stems
        ).astype(np.float64)
        self._n_usable = float(usable.sum())
        by_count = np.argsort(np.bincount(words.forms, minlength=len(words.form_texts)), kind="stable")
        self._common_forms = np.zeros(words.n_stems, dtype=np.int64)
        self._common_forms[words.stem_of_form[by_count]] = by_count  # the last one that is written is the commonest
        self._piece_counts = np.bincount(
            np.maximum(firings.token_ids[own[words.of_token]], 0), minlength=int(firings.token_ids.max(initial=0)) + 1
        ).astype(np.float64)

    def _all_pairs(self, own: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        words = self._words
        follows = (words.passages[1:] == words.passages[:-1]) & own[1:]
        keys = words.stems[:-1].astype(np.int64) * words.n_stems + words.stems[1:]
        content = ~(words.function[words.stems[:-1]] | words.function[words.stems[1:]])
        found, counts = np.unique(keys[follows & content], return_counts=True)
        return found, counts

    def read(self, latent: int) -> Evidence:
        """The evidence for a latent; empty where it does not fire."""
        tokens, values = self._firings.of(latent)
        at = self._words.of_token[tokens]
        kept = self._usable[self._words.passages[at]]
        tokens, at, values = tokens[kept], at[kept], values[kept].astype(np.float64)
        if len(at) > MOST_FIRINGS:
            every = len(at) // MOST_FIRINGS + 1
            tokens, at, values = tokens[::every], at[::every], values[::every]
        if not len(at):
            return Evidence((), (), (), (), (), 0.0, 0.0, 0)
        share = values / values.sum()
        counted = np.minimum(values / values.mean(), 3.0)
        stems = self._words.stems[at]
        function = float(share[self._words.function[stems]].sum())
        unique, inverse = np.unique(stems, return_inverse=True)
        here = np.bincount(inverse, weights=counted).astype(np.float64)
        sure = log_odds(here, float(counted.sum()), self._background[unique], float(self._background.sum()))
        sure[self._words.function[unique]] = -np.inf
        order = np.argsort(-sure, kind="stable")
        chosen = [place for place in order[:12].tolist() if sure[place] > SURE and here[place] >= LEAST][:WORDS]
        sums = np.bincount(inverse, weights=values)
        strong = sums * sums / (self._background[unique] + RARE)
        strong[self._words.function[unique]] = 0
        best = np.argsort(-strong, kind="stable")[:STRONG]
        chosen += [place for place in best.tolist() if place not in chosen and strong[place] > 0 and here[place] > LEAST]
        words = tuple(self._commonest(at[inverse == place]) for place in chosen)
        shares = np.bincount(inverse, weights=share)
        lexical = float(shares[chosen[0]]) if chosen else 0.0
        return Evidence(
            words,
            tuple(int(unique[place]) for place in chosen),
            self._phrases(at, counted),
            self._topics(latent, set(unique[chosen].tolist())),
            self._affixes(tokens, at, counted),
            lexical,
            function,
            len(at),
        )

    def _commonest(self, at: NDArray[np.int32]) -> str:
        """The usual spelling of the form that most of some words have."""
        forms, counts = np.unique(self._words.forms[at], return_counts=True)
        return self._words.written(int(forms[np.argmax(counts)]))

    def _phrases(self, at: NDArray[np.int32], counted: NDArray[np.float64]) -> tuple[str, ...]:
        words, last = self._words, len(self._words.stems) - 1
        first = np.concatenate([np.maximum(at - 1, 0), np.minimum(at, last - 1)])
        weights = np.concatenate([counted, counted])
        left, right = words.stems[first], words.stems[first + 1]
        good = (words.passages[first] == words.passages[first + 1]) & ~(words.function[left] | words.function[right])
        if not good.any():
            return ()
        first, weights = first[good], weights[good]
        keys = left[good].astype(np.int64) * words.n_stems + right[good]
        unique, inverse = np.unique(keys, return_inverse=True)
        here = np.bincount(inverse, weights=weights).astype(np.float64)
        place = np.minimum(np.searchsorted(self._pairs, unique), max(len(self._pairs) - 1, 0))
        everywhere = self._pair_counts[place].astype(np.float64)
        sure = log_odds(here, 2 * float(counted.sum()), everywhere, float(self._pair_counts.sum()))
        order = [each for each in np.argsort(-sure)[:4].tolist() if sure[each] > SURE and here[each] >= 2 * LEAST]
        return tuple(self._phrase(first[inverse == each]) for each in order)

    def _phrase(self, first: NDArray[np.int32]) -> str:
        pairs, counts = np.unique(
            np.stack([self._words.forms[first], self._words.forms[first + 1]]), axis=1, return_counts=True
        )
        left, right = pairs[:, np.argmax(counts)]
        return f"{self._words.written(int(left))} {self._words.written(int(right))}"

    def _affixes(self, tokens: NDArray[np.int32], at: NDArray[np.int32], counted: NDArray[np.float64]) -> tuple[str, ...]:
        """The parts of words that it fires on most surely, where they are part of several words."""
        ids = self._firings.token_ids[tokens]
        unique, inverse = np.unique(ids, return_inverse=True)
        here = np.bincount(inverse, weights=counted).astype(np.float64)
        sure = log_odds(here, float(counted.sum()), self._piece_counts[unique], float(self._piece_counts.sum()))
        found = []
        for each in np.argsort(-sure)[:4].tolist():
            own = inverse == each
            parts, forms = tokens[own], np.unique(self._words.forms[at[own]])
            text = plain_form(self._words.piece_texts.get(int(unique[each]), ""))
            if sure[each] < SURE or len(forms) < 3 or len(text) < 2 or not text.isalnum():
                continue
            begins, ends = self._words.begins[parts].mean() > 0.6, self._words.ends[parts].mean() > 0.6
            if not (begins and ends) and len(text) >= (2 if begins or ends else 4):
                found.append(f"{'' if begins else '-'}{text}{'' if ends else '-'}")
        return tuple(found[:2])

    def _topics(self, latent: int, fired_on: set[int]) -> tuple[str, ...]:
        passages, weights, held = self._held.of(latent)
        kept = held & self._usable[passages]
        passages, weights = passages[kept], weights[kept]
        best = passages[np.argsort(-weights, kind="stable")[:TOPIC_PASSAGES]]
        rows = self._words.in_passages[best]
        if not rows.nnz:
            return ()
        here = np.bincount(rows.indices, minlength=self._words.n_stems).astype(np.float64)
        found = np.flatnonzero(here >= min(LEAST, len(best)))
        n = float(len(best))
        sure = log_odds(here[found], n * 40, self._in_passages[found], self._n_usable * 40, PRIOR)
        sure[self._words.function[found]] = -np.inf
        chosen = [number for number in found[np.argsort(-sure)[:8]].tolist() if number not in fired_on]
        return tuple(self._words.written(self._common_form(stem)) for stem in chosen[:TOPICS] if here[stem] >= LEAST)

    def _common_form(self, stem: int) -> int:
        return int(self._common_forms[stem])
