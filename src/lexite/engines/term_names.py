"""What terms are called in engines whose terms are text: ``t17`` is a latent, ``w_income`` a literal word."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_WRITTEN = str.maketrans(" .", "_,")  # a word of lexite has neither of the two on the right


def word_name(word: str) -> str:
    """The name of a literal word.

    Engines divide texts at blanks, and some take a point for a path of fields. A word may have both: a pair of words has a
    blank, a number a point. Underscores and commas are in no word, so they take their places, and each word keeps a name of
    its own.

    >>> word_name("net income"), word_name("1.5")
    ('w_net_income', 'w_1,5')
    """
    return f"w_{word.translate(_WRITTEN)}"


class TermNames:
    """Names of the terms of an index. Those that were asked for are kept.

    Args:
        n_latents: number of latent terms; words come behind them.
        word: gives the word of a term.

    >>> TermNames(2, {2: "net income"}.__getitem__).of([1, 2])
    ['t1', 'w_net_income']
    """

    def __init__(self, n_latents: int, word: Callable[[int], str]) -> None:
        self._n_latents, self._word = n_latents, word
        self._names: dict[int, str] = {}

    def of(self, terms: Iterable[int]) -> list[str]:
        """The names of terms."""
        names, found = self._names, []
        for term in terms:
            name = names.get(term)
            if name is None:
                name = names[term] = f"t{term}" if term < self._n_latents else word_name(self._word(term))
            found.append(name)
        return found
