"""Which latents fire together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from lexite.labelling.detection import Holdings

LEAST_TOGETHER = 3
LATENTS_AT_ONCE = 512


def related_latents(
    held: Holdings, n_passages: int, n_related: int, ignored: NDArray[np.bool_], most_passages: int = 60_000
) -> NDArray[np.int32]:
    """The latents that each latent shares most passages with: |A ∩ B| / √(|A| |B|) over the passages that hold them.

    Args:
        held: which passages hold which latent.
        n_passages: number of passages.
        n_related: how many for each.
        ignored: ``(n_latents,)`` bool, latents that are nobody's relatives.
        most_passages: passages that are looked at, spread over all.

    Returns:
        ``(n_latents, n_related)`` int32, the nearest first; -1 where there are no more.
    """
    n_latents = len(held.starts) - 1
    step = max(n_passages // most_passages, 1)
    used = held.held & (held.passages % step == 0)
    latents = np.repeat(np.arange(n_latents, dtype=np.int32), np.diff(held.starts))[used]
    shape = (n_passages // step + 1, n_latents)
    holds = csc_array((np.ones(len(latents), dtype=np.float32), (held.passages[used] // step, latents)), shape=shape)
    counts = np.maximum(np.diff(holds.indptr), 1).astype(np.float32)
    by_passage = holds.T.tocsc()  # the columns are passages
    result = np.full((n_latents, n_related), -1, dtype=np.int32)
    for start in range(0, n_latents, LATENTS_AT_ONCE):
        block = holds[:, start : start + LATENTS_AT_ONCE]
        together = (by_passage @ block).tocsc()
        for column in range(block.shape[1]):
            part = slice(together.indptr[column], together.indptr[column + 1])
            others, n = together.indices[part], together.data[part]
            good = (n >= LEAST_TOGETHER) & (others != start + column) & ~ignored[others]
            others, n = others[good], n[good]
            likeness = n / np.sqrt(counts[others] * counts[start + column])
            best = np.lexsort((others, -likeness))[:n_related]
            result[start + column, : len(best)] = others[best]
    return result
