"""How a vocabulary is labelled."""

from __future__ import annotations

from dataclasses import dataclass

from lexite.config import option


@dataclass(frozen=True)
class LabelConfig:
    """How much text a vocabulary is labelled on, and what is kept of it.

    Attributes:
        label_tokens: tokens that are read. Their codes are held in memory, some 12 bytes a latent and token, and of seven of
            ten the model's state, a byte a number.
        label_words: words of a passage, about. A latent that fires says more of a short passage than of a long one.
        label_passages: passages that are drawn of each document.
        contexts: examples of its use that are kept of each latent.
        context_words: words of an example, about.
        seed: draws passages, positives and negatives.

    >>> LabelConfig().label_tokens
    4000000
    """

    label_tokens: int = option(4_000_000, "Tokens of the text to count labels on.", minimum=1, count=True)
    label_words: int = option(30, "Words of a passage, about.", minimum=10)
    label_passages: int = option(4, "Passages to draw of each document.", minimum=1)
    contexts: int = option(4, "Examples to keep of each latent.", minimum=0, maximum=20)
    context_words: int = option(12, "Words of an example, about.", minimum=3, maximum=100)
    seed: int = option(0, "Draws passages, and those that names are measured on.")
