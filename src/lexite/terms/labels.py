"""Labels: the few words that say what a latent stands for, counted over a stream of text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lexite.terms.word_pieces import WordPieces

WORDS_PER_LABEL = 5
PAIRS_IN_MEMORY = 4_000_000  # (latent, word) sums kept; 16 bytes each
WORDS_IN_MEMORY = 500_000
RARE_WORD = 3.0
_SHIFT = 32


class LabelCounter:
    """Counts which words each latent answers to.

    A word is what its pieces make together (``photo``, ``##synthesis``). With A(i, w) the sum of the activations of latent i
    over all tokens of word w, N(w) the number of those tokens (pieces times occurrences), and A(i) the sum of A(i, w) over all
    words, the score of a word for a latent is

        score(i, w) = mean x share = A(i, w) / (N(w) + 3) x A(i, w) / A(i)

    The first factor is the mean activation of the latent on a token of the word. The second is the word's share in all
    activations of the latent. The 3 keeps out words that were seen once or twice. The formula is ours; none is published. A
    label holds the words with the highest scores, at most five, the best first.

    Memory is bounded: at most 500,000 different words are told apart (later ones go unlabelled), and when more than four
    million sums A(i, w) are held, each latent keeps its best and forgets the rest.

    Args:
        n_latents: number of latents.
        describe_token: the piece of a token id, as the tokenizer writes it.
        pairs_in_memory: how many sums A(i, w) are held at most between two texts.
    """

    def __init__(self, n_latents: int, describe_token: Callable[[int], str], pairs_in_memory: int = PAIRS_IN_MEMORY) -> None:
        self.n_latents = n_latents
        self.pairs_in_memory = max(pairs_in_memory, 2 * n_latents)
        self.pieces = WordPieces(describe_token)
        self.word_counts = np.zeros(1024, dtype=np.int64)  # N(w), tokens by word number
        self.totals = np.zeros(n_latents, dtype=np.float64)  # A(i)
        self._numbers: dict[int, int] = {}  # key of a word -> its number
        self._spelling: list[tuple[int, ...]] = []  # by word number
        self._keys = np.zeros(0, dtype=np.int64)  # latent << 32 | word number, ascending
        self._sums = np.zeros(0, dtype=np.float64)

    def add(
        self,
        values: NDArray[np.float32],
        indices: NDArray[np.int32],
        token_ids: NDArray[np.int32],
        offsets: NDArray[np.int64],
    ) -> None:
        """Counts the codes of some texts.

        Args:
            values: activations ``(n_tokens, k)``; 0 marks an unused slot.
            indices: their latents ``(n_tokens, k)``.
            token_ids: ``(n_tokens,)``; -1 where unknown, which counts for no word.
            offsets: ``(n_texts + 1,)`` the tokens of each text.
        """
        words = self.pieces.split(token_ids, offsets)
        numbers = self._number_words(words.keys, words.first_row, words.of_row, token_ids)
        rows, slots = np.nonzero(values > 0)
        latents, amounts = indices[rows, slots].astype(np.int64), values[rows, slots].astype(np.float64)
        self.totals += np.bincount(latents, weights=amounts, minlength=self.n_latents)
        word = numbers[words.of_row[rows]]
        known = word >= 0
        self._merge((latents[known] << _SHIFT) | word[known], amounts[known])
        if len(self._keys) > self.pairs_in_memory:
            self._forget(self.pairs_in_memory // (2 * self.n_latents))

    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The label of each latent: up to five different words, the best first; empty when it answered to none."""
        latents, words, _ = self._ranked()
        result: list[tuple[str, ...]] = [()] * self.n_latents
        starts = np.flatnonzero(np.diff(latents, prepend=-1))
        for start, end in pairwise([*starts, len(latents)]):
            result[int(latents[start])] = self._spell(words[start:end])
        return tuple(result)

    def _spell(self, ranked: NDArray[np.int64]) -> tuple[str, ...]:
        chosen: dict[str, str] = {}  # casefolded -> as written
        for number in ranked:
            text = self.pieces.text(self._spelling[int(number)])
            if text:
                chosen.setdefault(text.casefold(), text)
                if len(chosen) == WORDS_PER_LABEL:
                    break
        return tuple(chosen.values())

    def _number_words(
        self,
        keys: NDArray[np.uint64],
        first_row: NDArray[np.int64],
        of_row: NDArray[np.int64],
        token_ids: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """The number of each word of the batch, -1 for what is no word; counts them, and spells the new ones."""
        unique, example, inverse = np.unique(keys, return_index=True, return_inverse=True)
        lengths = np.bincount(of_row, minlength=len(first_row))
        numbers = np.full(len(unique), -1, dtype=np.int64)
        for place, (key, word) in enumerate(zip(unique.tolist(), example.tolist(), strict=True)):
            number = self._numbers.get(key, -1)
            if number < 0 and key and len(self._numbers) < WORDS_IN_MEMORY:
                number = self._numbers[key] = len(self._numbers)
                start = int(first_row[word])
                self._spelling.append(tuple(token_ids[start : start + int(lengths[word])].tolist()))
            numbers[place] = number
        while len(self.word_counts) < len(self._spelling):
            self.word_counts = np.concatenate([self.word_counts, np.zeros_like(self.word_counts)])
        per_word = numbers[inverse]
        known = per_word >= 0
        tokens = np.bincount(per_word[known], weights=lengths[known], minlength=len(self.word_counts))
        self.word_counts += tokens.astype(np.int64)
        return per_word

    def _merge(self, keys: NDArray[np.int64], amounts: NDArray[np.float64]) -> None:
        """Adds amounts to the sums of their pairs. Sorting is stable, so the sums depend on the order of the texts alone."""
        new, inverse = np.unique(keys, return_inverse=True)
        both = np.concatenate([self._keys, new])
        sums = np.concatenate([self._sums, np.bincount(inverse, weights=amounts, minlength=len(new))])
        order = np.argsort(both, kind="stable")
        both, sums = both[order], sums[order]
        if len(both):
            starts = np.flatnonzero(np.diff(both, prepend=-1))
            self._keys, self._sums = both[starts], np.add.reduceat(sums, starts)

    def _ranked(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Latents, words and places in ``_keys`` of all pairs, by latent, the best word first."""
        latents, words = self._keys >> _SHIFT, self._keys & ((1 << _SHIFT) - 1)
        scores = self._sums**2 / ((self.word_counts[words] + RARE_WORD) * np.maximum(self.totals[latents], 1e-30))
        order = np.lexsort((words, -scores, latents))
        return latents[order], words[order], order

    def _forget(self, keep: int) -> None:
        """Keeps the ``keep`` best pairs of each latent."""
        latents, _, places = self._ranked()
        starts = np.flatnonzero(np.diff(latents, prepend=-1))
        lengths = np.diff(np.append(starts, len(latents)))
        rank = np.arange(len(latents)) - np.repeat(starts, lengths)
        kept = np.sort(places[rank < max(keep, WORDS_PER_LABEL)])
        self._keys, self._sums = self._keys[kept], self._sums[kept]
