"""What strategies that score candidates anew share: the texts of candidates, and new scores beside the current ones."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.config import check_value
from lexite.errors import ArgumentError
from lexite.index.config import StoredDocument
from lexite.ranking.hits import Hit
from lexite.search.strategy import Answer, Backend


def check_settings(strategy: typing.Any, name: str) -> None:
    """Checks the types and limits of a strategy's options.

    Args:
        strategy: a dataclass whose fields were declared with :func:`lexite.config.option`.
        name: of the strategy, for the message.

    Raises:
        ConfigError: a value of the wrong type, or one outside its limits.
    """
    hints = typing.get_type_hints(type(strategy))
    for field in dataclasses.fields(strategy):
        if not field.metadata.get("hidden"):
            check_value(hints[field.name], field, getattr(strategy, field.name), name)


def texts_of_queries(answer: Answer, name: str) -> Sequence[str]:
    """The texts of the queries.

    Args:
        answer: the question.
        name: of the strategy, for the message.

    Raises:
        ArgumentError: the queries have none.
    """
    if answer.queries.texts is None:
        raise ArgumentError(f"The strategy {name} reads queries, but these have no texts. Search with texts.")
    return answer.queries.texts


def document_of(backend: Backend, hit: Hit, name: str) -> StoredDocument:
    """Title and text of a candidate.

    Args:
        backend: where it was found.
        hit: the candidate.
        name: of the strategy, for the message.

    Raises:
        ArgumentError: there is neither.
    """
    stored = backend.get(hit.id)
    if stored is None or not (stored.text or stored.title):
        raise ArgumentError(
            f"The strategy {name} reads the texts of candidates, but the index keeps none of document '{hit.id}'. "
            "Build it again without --no-text."
        )
    return stored


def rescored(hits: Sequence[Hit], scores: NDArray[np.floating], weight: float | None) -> list[Hit]:
    """A ranking whose first hits have new scores.

    With a weight w, a candidate scores ``normalised(current) + w · normalised(new)``; both are brought to 0 for the worst of
    the candidates and to 1 for the best. Without one it scores what is new. A candidate whose new score is not finite gets the
    worst that is. Hits behind the candidates stay behind them, in their order. Equal scores keep their order too.

    Args:
        hits: best first.
        scores: of the first ``len(scores)`` of them.
        weight: w; None leaves the current scores out.

    >>> hits = [Hit("a", 9.0, 1, 0), Hit("b", 5.0, 2, 1), Hit("c", 1.0, 3, 2)]
    >>> [(hit.id, hit.score) for hit in rescored(hits, np.array([0.0, 3.0]), 2.0)]
    [('b', 2.0), ('a', 1.0), ('c', -1.0)]
    """
    n = len(scores)
    new = np.asarray(scores, dtype=np.float64)
    known = np.isfinite(new)
    if not known.any():
        return list(hits)
    new = np.where(known, new, new[known].min())
    current = np.array([hit.score for hit in hits], dtype=np.float64)
    spread = current[:n].max() - current[:n].min() or 1.0
    behind = np.minimum((current[n:] - current[:n].min()) / spread, 0.0)
    fused = new if weight is None else _min_max(current[:n]) + weight * _min_max(new)
    order = np.argsort(-fused, kind="stable").tolist()
    first = [dataclasses.replace(hits[place], score=float(fused[place])) for place in order]
    rest = [dataclasses.replace(hit, score=float(fused.min() + gap)) for hit, gap in zip(hits[n:], behind, strict=True)]
    return first + rest


def _min_max(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores from 0 to 1; all 0 where they are equal."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)
