"""Rankings and runs: the top documents of a query, in an order that no scorer can read in another way.

trec_eval, which ir-measures uses, orders a run by score (held in single precision) and breaks ties by document id. The
systems here break ties by document order, so a run is given scores that fall strictly from rank to rank before it is
measured or written: see :func:`strictly_decreasing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lexite.errors import CorpusError

Matrix = npt.NDArray[np.float32]
Run = dict[str, dict[str, float]]
"""Query id -> document id -> score. Documents of equal score rank in the order of the mapping."""


class Ranking(NamedTuple):
    """The best documents of one query, best first; ties in document order.

    Attributes:
        documents: ``(n,)`` int64 numbers of the documents, counted from 0 in the order of the corpus.
        scores: ``(n,)`` float32, never rising.
    """

    documents: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def best(scores: npt.NDArray[np.float32], top_k: int, documents: npt.NDArray[np.int64] | None = None) -> Ranking:
    """The ``top_k`` largest scores, best first; among equals, the one that comes first.

    Args:
        scores: ``(n,)``, one per document.
        top_k: how many to return at most.
        documents: ``(n,)`` numbers of the documents; None: 0 to n - 1.

    >>> best(np.array([1.0, 3.0, 2.0, 3.0], dtype=np.float32), 3).documents.tolist()
    [1, 3, 2]
    """
    if len(scores) > top_k:
        threshold = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        chosen = np.flatnonzero(scores >= threshold)
    else:
        chosen = np.arange(len(scores))
    order = chosen[np.argsort(-scores[chosen], kind="stable")][:top_k]
    numbers = order if documents is None else documents[order]
    return Ranking(numbers.astype(np.int64, copy=False), scores[order].astype(np.float32, copy=False))


def strictly_decreasing(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores that fall strictly, in single precision.

    Each is the given one or, where that is not below its predecessor, the next number below the predecessor.

    >>> strictly_decreasing(np.array([2.0, 1.0, 1.0], dtype=np.float32)).tolist()
    [2.0, 1.0, 0.9999999403953552]
    """
    strict = np.array(scores, dtype=np.float32)
    if np.all(strict[1:] < strict[:-1]):
        return strict
    below = np.float32(-np.inf)
    for rank in range(1, len(strict)):
        if strict[rank] >= strict[rank - 1]:
            strict[rank] = np.nextafter(strict[rank - 1], below)
    return strict


def strict_run(run: Mapping[str, Mapping[str, float]]) -> Run:
    """A run in rank order whose scores fall strictly within each query, so that every scorer sees the same ranking.

    Raises:
        CorpusError: a score is NaN or infinite.
    """
    strict: Run = {}
    for query, scored in run.items():
        scores = np.fromiter(scored.values(), dtype=np.float32, count=len(scored))
        if not np.all(np.isfinite(scores)):
            bad = list(scored)[int(np.flatnonzero(~np.isfinite(scores))[0])]
            raise CorpusError(f"The run's score of document '{bad}' for query '{query}' is not a finite number.")
        order = np.argsort(-scores, kind="stable")
        documents = list(scored)
        values = strictly_decreasing(scores[order]).tolist()
        strict[query] = {documents[position]: value for position, value in zip(order.tolist(), values, strict=True)}
    return strict


def to_run(query_ids: Sequence[str], rankings: Sequence[Ranking], document_ids: Sequence[str], top_k: int) -> Run:
    """Names the documents of rankings, by BEIR's rule.

    A document whose id equals the query's is dropped, then ``top_k`` are kept.

    Args:
        query_ids: id of each query.
        rankings: of each query; one document more than ``top_k``, so that enough are left after the rule.
        document_ids: ids in the order of the corpus.
        top_k: documents kept per query.

    Returns:
        A run with strictly decreasing scores. A query without any document keeps an empty mapping.
    """
    run: Run = {}
    for query, ranking in zip(query_ids, rankings, strict=True):
        named = (
            (document_ids[number], score)
            for number, score in zip(ranking.documents.tolist(), ranking.scores.tolist(), strict=True)
        )
        run[query] = dict([(document, score) for document, score in named if document != query][:top_k])
    return strict_run(run)


class BestSoFar:
    """The best documents of each query while tiles of scores go by in document order; ties keep that order.

    Args:
        n_queries: number of queries.
        top_k: documents kept per query.

    >>> kept = BestSoFar(1, 2)
    >>> kept.add(np.array([[0.1, 0.5]], dtype=np.float32)); kept.add(np.array([[0.5, 0.2]], dtype=np.float32))
    >>> kept.rankings[0].documents.tolist()
    [1, 2]
    """

    def __init__(self, n_queries: int, top_k: int) -> None:
        nothing = Ranking(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        self.rankings = [nothing] * n_queries
        self._top_k, self._n_seen = top_k, 0

    def add(self, scores: Matrix) -> None:
        """Takes the scores ``(n_queries, tile)`` of the next documents."""
        for query, row in enumerate(scores):
            ranking = self.rankings[query]
            if len(ranking.scores) < self._top_k:
                candidates = np.arange(len(row))
            else:  # a later document enters only above the last one kept
                candidates = np.flatnonzero(row > ranking.scores[-1])
            if len(candidates):
                documents = np.concatenate([ranking.documents, candidates + self._n_seen])
                self.rankings[query] = best(np.concatenate([ranking.scores, row[candidates]]), self._top_k, documents)
        self._n_seen += scores.shape[1]
