"""Documents that a first stage missed, and which of them may come in: those that the search allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.ranking.hits import Hit

if TYPE_CHECKING:
    from lexite.search.strategy import Answer

LIMITS = ("min_score", "min_coverage")
"""What bounds BM25's own score of a hit. Documents that BM25 did not find do not reach it."""


def has_numbers(answer: Answer) -> bool:
    """Whether the back-end is an index, which numbers its documents and filters them."""
    return all(hasattr(answer.backend, name) for name in ("select", "ids", "find", "document_id"))


def allowed_documents(answer: Answer) -> list[NDArray[np.int64]]:
    """For each query, the numbers of the documents that may be its hits: those that pass ``where``, ``among`` and ``exclude``.

    Nothing may come in beside ``min_score`` and ``min_coverage``. The back-end is an index.
    """
    index, options, n = answer.backend, answer.options, len(answer.queries)
    if any(options.get(name) is not None for name in LIMITS):
        return [np.empty(0, np.int64)] * n
    passing = index.select(options.get("where"))  # type: ignore[attr-defined]
    allowed = [passing] * n
    if options.get("among") is not None:
        chosen = index.ids.allowed(options["among"], n)  # type: ignore[attr-defined]
        allowed = [np.intersect1d(passing, each) for each in chosen]
    for query, identifier in enumerate(options.get("exclude") or ()):
        number = None if identifier is None else index.find(identifier)  # type: ignore[attr-defined]
        if number is not None:
            allowed[query] = allowed[query][allowed[query] != number]
    return allowed


def newcomers(answer: Answer, hits: Sequence[Hit], numbers: Sequence[int]) -> list[Hit]:
    """Hits for documents of an index that are not among ``hits``; their scores say nothing yet."""
    known = {hit.document for hit in hits}
    return [
        Hit(answer.backend.document_id(number), 0.0, 0, number)  # type: ignore[attr-defined]
        for number in numbers
        if number not in known
    ]
