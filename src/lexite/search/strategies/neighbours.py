"""Neighbours: candidates that resemble other good candidates rise.

Documents that answer the same question resemble each other (the cluster hypothesis). So the score of a candidate is mixed with
the scores of the candidates that its dense vector is nearest to: Diaz 2007, "Regularizing query-based retrieval scores",
Information Retrieval 10(6), whose smoothing is done here with one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.index.side_data import PassageVectors
from lexite.ranking.fusion import Fusion, normalised
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategies.dense_scores import FROM_TEXT_HELP, kept_vectors, needs_of, query_vectors, vectors_from_texts
from lexite.search.strategies.rescoring import ranked_anew, scores_of

if TYPE_CHECKING:
    from lexite.search.strategy import Answer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """Mixes the score of each candidate with those of its nearest neighbours among the candidates.

    ``(1 - share) · normalised(score) + share · normalised(mean score of the neighbours)``, with the mean weighted by
    ``cosine ** power``. The passage that is nearest to the query stands for its document. Candidates without a passage have no
    neighbours, and get the worst mean. Hits beyond the candidates follow as they were.
    """

    share: float = option(0.3, "Share of the neighbours in the new score.", minimum=0.0, maximum=1.0)
    neighbours: int = option(10, "Neighbours of each candidate.", minimum=1)
    power: float = option(4.0, "Power of the cosine that weighs a neighbour.", minimum=0.0)
    candidates: int = option(100, "Hits of each query whose scores are mixed.", minimum=1)
    fusion: Fusion = option("zscore", "How both are brought to one scale: least to greatest, reciprocal ranks, deviations.")
    from_text: bool = option(False, FROM_TEXT_HELP)

    def __post_init__(self) -> None:
        check_settings(self, "neighbours")

    @property
    def needs(self) -> frozenset[str]:
        """The model for queries, and vectors unless they are made from texts."""
        return needs_of(self.from_text)

    def __call__(self, answer: Answer) -> Answer:
        """Ranks anew.

        Raises:
            ArgumentError: there are no vectors, or no texts of documents or queries, or no model.
        """
        heads = [list(hits[: self.candidates]) for hits in answer.rankings]
        queries = query_vectors(answer)
        vectors_of = vectors_from_texts(answer, heads) if self.from_text else kept_vectors(answer.backend)
        rankings = []
        for head, query, hits in zip(heads, queries, answer.rankings, strict=True):
            scores = scores_of(head)
            if len(head) > 1:
                scores = self.mixed(scores, nearest_passages(vectors_of(head), query))
            rankings.append(ranked_anew(head, scores, hits[len(head) :]))
        return answer.with_rankings(rankings)

    def mixed(self, scores: Floats, vectors: NDArray[np.float32]) -> Floats:
        """New scores of the candidates of one query.

        Args:
            scores: ``(n,)``.
            vectors: ``(n, d)``, of length 1; zeros for a document without a passage.
        """
        own = normalised(scores, self.fusion)
        weights = self._weights(vectors)
        total = weights.sum(axis=1)
        near = np.full(len(own), np.nan)
        np.divide(weights @ own, total, out=near, where=total > 0.0)
        return (1.0 - self.share) * own + self.share * normalised(near, self.fusion)

    def _weights(self, vectors: NDArray[np.float32]) -> Floats:
        """What each candidate (row) gives to the scores of the others, ``(n, n)``; 0 for all but its neighbours."""
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -np.inf)  # a document is no neighbour of itself
        count = min(self.neighbours, len(cosines) - 1)
        chosen = largest_of_rows(cosines, count) & (cosines > 0.0)  # others weigh nothing
        weights = np.zeros(cosines.shape)
        weights[chosen] = cosines[chosen].astype(np.float64) ** self.power
        return weights


def largest_of_rows(values: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Which numbers are among the ``count`` largest of their row; among equals, those that come first.

    A partial sort and a comparison take a fifth of the time of sorted rows.

    >>> largest_of_rows(np.array([[3.0, 1.0, 3.0, 2.0], [1.0, 1.0, 0.0, 1.0]]), 2).tolist()
    [[True, False, True, False], [True, True, False, False]]
    """
    width = values.shape[1]
    least = np.partition(values, width - count, axis=1)[:, width - count, None]
    found: NDArray[np.bool_] = values >= least
    if int(found.sum()) > count * len(values):
        equal = values == least
        missing = count - (values > least).sum(axis=1, keepdims=True)
        found &= ~equal | (equal.cumsum(axis=1) <= missing)
    return found


def nearest_passages(passages: PassageVectors, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each document the vector of the passage that is nearest to the query, ``(n_documents, d)``; zeros where it has none.

    >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    >>> nearest_passages(PassageVectors(np.array([0, 2, 2]), vectors), np.array([0.0, 1.0], dtype=np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    sizes = np.diff(passages.bounds)
    if (sizes == 1).all():
        return passages.vectors
    found = np.zeros((len(sizes), len(query)), dtype=np.float32)
    if not len(passages.vectors):
        return found
    documents = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-(passages.vectors @ query), documents))  # stable: of equal ones the first stays first
    filled = np.flatnonzero(sizes)
    found[filled] = passages.vectors[order[passages.bounds[:-1][filled]]]
    return found
