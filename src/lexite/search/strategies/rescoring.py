"""What strategies that give candidates another score have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lexite.ranking.hits import Hit


def scores_of(hits: Sequence[Hit]) -> NDArray[np.float64]:
    """The scores of hits."""
    return np.array([hit.score for hit in hits], dtype=np.float64)


def ranked_anew(hits: Sequence[Hit], scores: ArrayLike, rest: Sequence[Hit] = ()) -> list[Hit]:
    """Hits in the order of other scores; among equals, the one that came first stays first.

    Args:
        hits: the candidates.
        scores: of each.
        rest: hits that ranked below all candidates and got no other score. They follow, with all their scores moved by one
            number, so that the first of them has the score of the last candidate.

    >>> hits = [Hit("a", 9.0, 1, 0), Hit("b", 7.0, 2, 1), Hit("c", 6.5, 3, 2)]
    >>> [(hit.id, hit.score) for hit in ranked_anew(hits[:2], [0.5, 1.0], hits[2:])]
    [('b', 1.0), ('a', 0.5), ('c', 0.5)]
    """
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-values, kind="stable").tolist()
    ordered = zip(order, values[order].tolist(), strict=True)
    found = [hits[place].scored(score, rank) for rank, (place, score) in enumerate(ordered, start=1)]
    if found and rest:
        first, last = rest[0].score, found[-1].score
        found += [hit.scored(hit.score - first + last) for hit in rest]
    return found or list(rest)
