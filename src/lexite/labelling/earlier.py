"""What a vocabulary knows of its latents before it is labelled anew; it stays where the new text has too little of a latent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexite.labelling.naming import MOST_WORDS, Chosen, key_of
from lexite.terms.descriptions import KINDS, Context
from lexite.terms.vocabulary import Vocabulary

_WITHOUT_NAME = ("function", "unclear", "dead")


class Earlier:
    """What was known.

    Args:
        vocabulary: as it was; None where nothing was known.
    """

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._labels = vocabulary.labels if vocabulary is not None and vocabulary.n_documents else None
        self._described = None if self._labels is None or vocabulary is None else vocabulary.described

    @property
    def n_tokens(self) -> int:
        """Tokens of the text that it was labelled on, and before; 0 where it was not."""
        made = {} if self._described is None else self._described.made
        return int(made.get("n_tokens", 0)) + int(made.get("earlier_tokens", 0))

    def words(self, latent: int) -> tuple[str, ...]:
        """The parts of a latent's trusted name, or of its words where it was not described; none where it has examples."""
        if self._labels is None or (self._described is not None and not self._described.trusted(latent)):
            return ()
        parts = [part for word in self._labels[latent] for part in word.split(", ")]
        return tuple(part for part in parts if any(key_of(part)) and len(part.split()) <= MOST_WORDS)

    def name(self, latent: int) -> Chosen | None:
        """A latent's name and its trust, where the name was trusted then. Whether it is today is for others to see."""
        if self._labels is None or self._described is None or not self._described.trusted(latent):
            return None
        trust = round(float(self._described.trust[latent]), 4)  # a float32 of .88 is a little less
        return Chosen(self._labels[latent][0], trust, kept=True)

    def contexts(self, latent: int, found: tuple[Context, ...], wanted: int) -> tuple[Context, ...]:
        """The examples that were found; earlier ones where there were more of them."""
        if self._described is None or len(found) >= wanted:
            return found
        known = self._described.contexts[latent][:wanted]
        return known if len(known) > len(found) else found

    def kind(self, latent: int, *, named: bool) -> int | None:
        """The kind that a latent had; of one that had a name and has none today, that it is unclear."""
        if self._described is None:
            return None
        known = self._described.kind(latent)
        return KINDS.index(known if named or known in _WITHOUT_NAME else "unclear")

    def related(self, found: NDArray[np.int32]) -> NDArray[np.int32]:
        """The relatives that were found, and the earlier ones of latents for which none were."""
        if self._described is None or self._described.related.shape[1] < found.shape[1]:
            return found
        none: NDArray[np.bool_] = np.all(found < 0, axis=1)
        return np.where(none[:, None], self._described.related[:, : found.shape[1]], found)


def with_earlier(candidates: tuple[str, ...], earlier: tuple[str, ...]) -> tuple[str, ...]:
    """Candidates with those that a vocabulary has already, behind the first one.

    >>> with_earlier(("bank", "river bank"), ("shore", "Bank"))
    ('bank', 'shore', 'river bank')
    """
    new = {key_of(name): name for name in reversed(earlier)}
    for name in candidates:
        new.pop(key_of(name), None)
    return (*candidates[:1], *reversed(new.values()), *candidates[1:])
