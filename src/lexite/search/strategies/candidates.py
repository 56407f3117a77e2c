"""What strategies that score candidates anew share: the texts of candidates, and new scores beside the current ones."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.config import check_value
from lexite.errors import ArgumentError
from lexite.index.config import StoredDocument
from lexite.ranking.fusion import Fusion, fused
from lexite.ranking.hits import Hit
from lexite.search.strategies.rescoring import ranked_anew, scores_of
from lexite.search.strategy import Answer, Backend


def check_settings(strategy: typing.Any, name: str) -> None:
    """Checks the types and limits of a strategy's options.

    Args:
        strategy: a dataclass whose fields were declared with :func:`lexite.config.option`.
        name: of the strategy, for the message.

    Raises:
        ConfigError: a value of the wrong type, or one outside its limits.
    """
    kind: typing.Any = type(strategy)
    hints = _hints(kind)
    for field in dataclasses.fields(strategy):
        if not field.metadata.get("hidden"):
            check_value(hints[field.name], field, getattr(strategy, field.name), name)


@functools.cache
def _hints(strategy: type) -> dict[str, typing.Any]:
    """Types of the options of a strategy's class; a preset makes its strategies for each search."""
    return typing.get_type_hints(strategy)


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


def rescored(hits: Sequence[Hit], scores: NDArray[np.floating], weight: float | None, fusion: Fusion = "minmax") -> list[Hit]:
    """A ranking whose first hits have new scores; the rest stays behind them.

    With a weight w, a candidate scores ``normalised(current) + w · normalised(new)`` (:mod:`lexite.ranking.fusion`). Without
    one it scores what is new. A candidate whose new score is not finite gets the worst that is.

    Args:
        hits: best first.
        scores: of the first ``len(scores)`` of them.
        weight: w; None leaves the current scores out.
        fusion: how both are brought to one scale.

    >>> hits = [Hit("a", 9.0, 1, 0), Hit("b", 5.0, 2, 1), Hit("c", 1.0, 3, 2)]
    >>> [(hit.id, hit.score) for hit in rescored(hits, np.array([0.0, 3.0]), 2.0)]
    [('b', 2.0), ('a', 1.0), ('c', 1.0)]
    """
    candidates = hits[: len(scores)]
    known = np.where(np.isfinite(scores), scores, np.nan).astype(np.float64)
    if np.isnan(known).all():
        return list(hits)
    new = np.where(np.isnan(known), np.nanmin(known), known)
    values = new if weight is None else fused(scores_of(candidates), new, weight, fusion)
    return ranked_anew(candidates, values, hits[len(scores) :])
