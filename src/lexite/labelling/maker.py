"""What suggests names for a latent from examples of its use: the place of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lexite.terms.descriptions import Context


class LabelMaker(Protocol):
    """Suggests names."""

    @property
    def name(self) -> str:
        """What it is called, for the record."""
        ...

    def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
        """Names for a latent, the best first; none where it knows none.

        Args:
            examples: the latent's use, the strongest first.
            words: words that it fires on, the surest first.
        """
        ...
