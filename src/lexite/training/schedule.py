"""The learning rate over the course of a run."""

from __future__ import annotations

import math


def learning_rate(tokens_done: int, total_tokens: int, peak: float, warmup_tokens: int) -> float:
    """Linear warm-up, then cosine to zero.

    Args:
        tokens_done: tokens seen when the step is done, the step's own included.
        total_tokens: tokens at which the rate reaches zero.
        peak: rate at the end of the warm-up.
        warmup_tokens: tokens of the warm-up.

    >>> [round(learning_rate(done, 100, 1.0, 20), 3) for done in (10, 20, 60, 100)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if tokens_done < warmup_tokens:
        return peak * tokens_done / warmup_tokens
    progress = (tokens_done - warmup_tokens) / max(total_tokens - warmup_tokens, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
