"""The sample of text on which a recipe measures the terms of a new vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

from lexite.backbone import TokenStates

SAMPLE_TOKENS = 1_000_000
"""Tokens of the text over which frequencies and labels of the terms are measured."""
SAMPLE_CHUNK = 64
"""Texts per chunk of the sample: few, so that little more than the sample is read."""


def limited(chunks: Iterator[TokenStates], n_tokens: int = SAMPLE_TOKENS) -> Iterator[TokenStates]:
    """Chunks of a stream until there were ``n_tokens`` tokens."""
    while n_tokens > 0 and (chunk := next(chunks, None)) is not None:
        n_tokens -= chunk.n_tokens
        yield chunk
