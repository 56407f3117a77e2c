"""How well a name tells passages that hold a latent from passages that do not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from lexite.labelling.firings import Firings
from lexite.labelling.tokens import TokenVectors, mean_nearest
from lexite.labelling.words import SampleWords, plain_form, word_stem
from lexite.scoring.words import words_in_order

WORDS = 0.2  # weight of the share of the name's words that a passage has, beside the cosines of tokens
NEAR = 64  # negatives are drawn among so many passages of like length


@dataclass(frozen=True, eq=False)
class Holdings:
    """Which passages hold a latent: its weight, summed over the passage, is not below the floor of documents.

    Attributes:
        starts: ``(n_latents + 1,)`` the passages of each latent.
        passages: int32, ascending within a latent; those where it fires at all.
        weights: float32, the sum of its activations there.
        held: bool, whether an index keeps the weight.
    """

    starts: NDArray[np.int64]
    passages: NDArray[np.int32]
    weights: NDArray[np.float32]
    held: NDArray[np.bool_]

    def of(self, latent: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
        """Passages where a latent fires, its weights, and whether each is kept."""
        part = slice(int(self.starts[latent]), int(self.starts[latent + 1]))
        return self.passages[part], self.weights[part], self.held[part]


def holdings(firings: Firings, floor: float) -> Holdings:
    """Sums firings over passages.

    Args:
        firings: of a sample.
        floor: share of a passage's heaviest term below which an index drops a term.
    """
    passage = firings.passage_of()[firings.tokens]
    first = np.ones(len(passage), dtype=np.bool_)
    first[1:] = passage[1:] != passage[:-1]
    begins = firings.starts[:-1]
    first[begins[begins < len(passage)]] = True
    places = np.flatnonzero(first)
    weights = np.add.reduceat(firings.values, places) if len(places) else np.zeros(0, np.float32)
    passages = passage[places]
    heaviest = np.zeros(firings.n_passages, dtype=np.float32)
    np.maximum.at(heaviest, passages, weights)
    return Holdings(np.searchsorted(places, firings.starts), passages, weights, weights >= floor * heaviest[passages])


def matched_negatives(
    positives: NDArray[np.int32], fires: NDArray[np.int32], by_length: NDArray[np.int32], generator: np.random.Generator
) -> NDArray[np.int32]:
    """For each passage that holds a latent one of like length in which it does not fire.

    Args:
        positives: passages.
        fires: all passages in which the latent fires, ascending.
        by_length: the passages to choose from, the shortest first; it has the positives.
        generator: source of randomness.

    Returns:
        As many as there are, each at most once; fewer where the latent fires almost everywhere.
    """
    silent = np.ones(len(by_length), dtype=np.bool_)
    silent[np.isin(by_length, fires)] = False
    places = np.flatnonzero(silent)
    if not len(places):
        return np.zeros(0, dtype=np.int32)
    at = np.searchsorted(places, np.flatnonzero(np.isin(by_length, positives)))
    drawn = np.clip(at + generator.integers(-NEAR, NEAR + 1, len(at)), 0, len(places) - 1)
    return np.unique(by_length[places[drawn]])


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of the pairs in which the positive has the higher score; ties count half.

    Args:
        positive: ``(n, names)`` scores of passages that hold the latent.
        negative: ``(m, names)`` scores of those that do not.

    Returns:
        ``(names,)``.

    >>> auc(np.array([[2.0], [1.0]]), np.array([[1.0], [0.0]])).tolist()
    [0.875]
    """
    above = positive[:, None, :] > negative[None, :, :]
    equal = positive[:, None, :] == negative[None, :, :]
    return np.asarray((above + 0.5 * equal).mean(axis=(0, 1)), dtype=np.float64)


class Detector:
    """Scores passages by names: by the dense model's tokens where they are known, and by the words of a name.

        score = tokens + words / 5
        tokens = mean over the tokens of the name of the largest cosine with a token of the passage
        words = Σ idf(w) over the words of the name that the passage has / Σ idf(w) over all

    A word is found in all its forms; ``meta-`` and ``-inho`` in all words that begin or end so. The tokens' part is ColBERT's
    score with the states of a dense model (Khattab and Zaharia 2020), less their mean; the sum is ours.

    Args:
        words: of the sample.
        tokens: states of the tokens of the passages; None for words alone.
    """

    def __init__(self, words: SampleWords, tokens: TokenVectors | None) -> None:
        self._words, self._tokens = words, tokens
        self._n_passages = words.in_passages.shape[0]
        plain = [plain_form(text) for text in words.form_texts]
        self._forward = _Sorted(plain)
        self._backward = _Sorted([text[::-1] for text in plain])
        self._plain = plain
        self._holders: dict[str, NDArray[np.int32]] = {}

    def scores(
        self, names: Sequence[str], vectors: Sequence[NDArray[np.float32]] | None, passages: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Scores ``(n_passages, n_names)`` of passages.

        Args:
            names: some names.
            vectors: for each name those of its tokens; None for words alone.
            passages: numbers of passages.
        """
        result = self.tokens_of(vectors, passages) if vectors is not None else np.zeros((len(passages), len(names)), np.float32)
        for column, name in enumerate(names):
            found, total = self.words_of(name, passages)
            result[:, column] += np.float32(WORDS) * found / max(total, 1e-9)
        return result

    def tokens_of(self, vectors: Sequence[NDArray[np.float32]], passages: NDArray[np.int32]) -> NDArray[np.float32]:
        """``tokens`` of the score, ``(n_passages, n_names)``; zeros where no states were kept."""
        if self._tokens is None:
            return np.zeros((len(passages), len(vectors)), dtype=np.float32)
        return mean_nearest(self._tokens, vectors, passages)

    def words_of(self, name: str, passages: NDArray[np.int32]) -> tuple[NDArray[np.float32], float]:
        """``Σ idf(w)`` over the words of a name that passages have, ``(n_passages,)``, and over all of its words."""
        parts = [(self._idf(part), self._has(part, passages)) for part in self.parts_of(name)]
        found = np.zeros(len(passages), dtype=np.float32)
        for idf, has in parts:
            found += has * np.float32(idf)
        return found, sum(idf for idf, _ in parts)

    def parts_of(self, name: str) -> list[str]:
        """The stems and affixes that a name is found by; function words only where it has nothing else."""
        parts: dict[str, bool] = {}
        for piece in name.split():
            bare = piece.strip(",;()")
            if len(bare) > 2 and (bare.startswith("-") or bare.endswith("-")):
                parts[plain_form(bare)] = True
            else:
                for word in words_in_order(bare):
                    stem = word_stem(word)
                    number = self._words.stem_numbers.get(stem, -1)
                    parts[stem] = number < 0 or not self._words.function[number]
        return [part for part, content in parts.items() if content] or list(parts)

    def _idf(self, part: str) -> float:
        frequency = len(self._holders_of(part))
        return float(np.log1p((self._n_passages - frequency + 0.5) / (frequency + 0.5)))

    def _has(self, part: str, passages: NDArray[np.int32]) -> NDArray[np.bool_]:
        holders = self._holders_of(part)
        if not len(holders):
            return np.zeros(len(passages), dtype=np.bool_)
        at = np.minimum(np.searchsorted(holders, passages), len(holders) - 1)
        return np.asarray(holders[at] == passages)

    def _holders_of(self, part: str) -> NDArray[np.int32]:
        """The passages that have a stem, or a word with an affix, ascending."""
        if part not in self._holders:
            if part.startswith("-") or part.endswith("-"):
                self._holders[part] = self._with_affix(part)
            else:
                number = self._words.stem_numbers.get(part, -1)
                self._holders[part] = _column(self._words.by_stem, number) if number > 0 else np.zeros(0, dtype=np.int32)
        return self._holders[part]

    def _with_affix(self, part: str) -> NDArray[np.int32]:
        text = part.strip("-")
        if part.startswith("-") and part.endswith("-"):
            forms = [number for number, plain in enumerate(self._plain) if text in plain]
        elif part.startswith("-"):
            forms = self._backward.with_prefix(text[::-1])
        else:
            forms = self._forward.with_prefix(text)
        columns = [_column(self._words.by_form, form) for form in forms]
        return np.unique(np.concatenate(columns)) if columns else np.zeros(0, dtype=np.int32)


class _Sorted:
    """Texts in order, to find those that begin with a prefix."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._order = sorted(range(len(texts)), key=texts.__getitem__)
        self._texts = [texts[number] for number in self._order]

    def with_prefix(self, prefix: str) -> list[int]:
        return self._order[bisect_left(self._texts, prefix) : bisect_left(self._texts, prefix + chr(0x10FFFF))]


def _column(matrix: csc_array[np.float32], number: int) -> NDArray[np.int32]:
    return np.asarray(matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]], dtype=np.int32)
