"""Fusion: several scores of the same candidates as one score.

Scores of different rankings have different units, so each is brought to one scale first:

- ``minmax``: ``(s - min) / (max - min)``, the best 1 and the worst 0 (Fox and Shaw 1994, CombSUM). Where all scores are equal,
  each is the best.
- ``zscore``: ``(s - mean) / deviation``, with the deviation of the candidates themselves; 0 where all are equal.
- ``rrf``: ``1 / (60 + rank)``, reciprocal ranks (Cormack, Clarke and Büttcher 2009).

A score that is NaN is not known: its ranking does not have the document. It counts as the least of its scale: the minimum of
the known ones, or nothing by reciprocal ranks, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lexite.ranking.rankings import Ranking, best

Fusion = Literal["minmax", "rrf", "zscore"]
Scores = NDArray[np.float64]
SAME = 1e-9
"""Share of the largest score up to which scores differ by rounding alone, and are all equal."""
RRF_K = 60
"""What reciprocal ranks add to the rank, so that the first few do not decide alone."""


def minmax(scores: ArrayLike) -> Scores:
    """Scores from 0 to 1.

    >>> minmax([12.0, 9.0, float("nan"), 8.0]).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """
    given = np.asarray(scores, dtype=np.float64)
    known = ~np.isnan(given)
    if not known.any():
        return np.zeros_like(given)
    least, greatest = given[known].min(), given[known].max()
    share: Scores = np.ones_like(given) if _all_equal(given[known]) else (given - least) / (greatest - least)
    share[~known] = 0.0
    return share


def zscores(scores: ArrayLike) -> Scores:
    """Scores as distances from their mean, in standard deviations.

    >>> zscores([3.0, 1.0, float("nan")]).tolist()
    [1.0, -1.0, -1.0]
    """
    given = np.asarray(scores, dtype=np.float64)
    known = ~np.isnan(given)
    values = given if known.all() else given[known]
    distance = np.zeros_like(given)
    if not len(values) or _all_equal(values):
        return distance
    share = (values - values.min()) / (values.max() - values.min())  # so that squares of tiny scores are not 0
    share -= share.mean()
    share /= math.sqrt(np.dot(share, share) / len(share))
    distance[known] = share
    distance[~known] = share.min()
    return distance


def _all_equal(scores: Scores) -> bool:
    """Whether scores differ by no more than rounding."""
    least, greatest = float(scores.min()), float(scores.max())
    return greatest - least <= SAME * max(abs(least), abs(greatest))


def reciprocal_ranks(scores: ArrayLike, k: float = RRF_K) -> Scores:
    """``1 / (k + rank)``, with ranks from 1; among equals the first is the better.

    >>> [round(1 / value) if value else None for value in reciprocal_ranks([5.0, 9.0, float("nan"), 5.0])]
    [62, 61, None, 63]
    """
    given = np.asarray(scores, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    found = np.zeros_like(given)
    found[known[np.argsort(-given[known], kind="stable")]] = 1.0 / (k + np.arange(1, len(known) + 1))
    return found


def normalised(scores: ArrayLike, fusion: Fusion = "minmax") -> Scores:
    """Scores on the scale of a fusion."""
    if fusion == "rrf":
        return reciprocal_ranks(scores)
    return zscores(scores) if fusion == "zscore" else minmax(scores)


def fused(scores: ArrayLike, other: ArrayLike, weight: float = 1.0, fusion: Fusion = "minmax") -> Scores:
    """Two scores of the same candidates as one: the first, and ``weight`` times the second, each normalised.

    >>> fused([12.0, 9.0, 8.0], [0.1, 0.9, 0.5], 2.0).tolist()
    [1.0, 2.25, 1.0]
    """
    return normalised(scores, fusion) + weight * normalised(other, fusion)


def weight_of_share(share: float) -> float:
    """The weight with which :func:`fused` ranks as the convex sum ``(1 - share) · first + share · second``.

    >>> weight_of_share(0.0), weight_of_share(0.5), weight_of_share(0.75)
    (0.0, 1.0, 3.0)
    """
    return share / (1.0 - share)


def fuse_rankings(
    rankings: Sequence[Ranking], top_k: int, *, fusion: Fusion = "minmax", weights: Sequence[float] | None = None
) -> Ranking:
    """The union of rankings that have documents of their own, by the sum of their normalised scores.

    Args:
        rankings: of one query.
        top_k: documents that are kept.
        fusion: how scores are normalised, each over the documents of its ranking.
        weights: one for each ranking; None weighs all alike.

    Returns:
        The best documents; among equals, the one with the lowest number.
    """
    factors = [1.0] * len(rankings) if weights is None else list(weights)
    documents = np.unique(np.concatenate([np.empty(0, np.int64), *(ranking.documents for ranking in rankings)]))
    sums = np.zeros(len(documents))
    for ranking, factor in zip(rankings, factors, strict=True):
        scores = np.full(len(documents), np.nan)
        scores[np.searchsorted(documents, ranking.documents)] = ranking.scores
        sums += factor * normalised(scores, fusion)
    return best(sums.astype(np.float32), top_k, documents)
