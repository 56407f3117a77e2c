"""Vector feedback: the dense vector of a query is moved towards its best documents, and scores the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.index.side_data import PassageVectors
from lexite.ranking.fusion import Fusion, fused
from lexite.ranking.hits import Hit
from lexite.search.expansion import DocumentWeights, weights_of_scores
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategies.dense_scores import query_vectors
from lexite.search.strategies.rescoring import ranked_anew, scores_of
from lexite.search.strategy import Answer


@dataclass(frozen=True)
class VectorFeedback:
    """Pseudo-relevance feedback over dense vectors, for the candidates alone.

    The vector-based Rocchio of Li et al., *Pseudo-Relevance Feedback with Deep Language Models and Dense Retrievers* (arXiv
    2108.11044)::

        q' = (1 - mixing) · q + mixing · (Σ w · d - negative · mean of the last documents)
        score = normalised(score so far) + weight · normalised(cosine of q' and the document)

    q and d are vectors of length 1. A document has the vector of its best passage for q. A candidate scores what its best
    passage scores.

    Attributes:
        documents: how many of the best are taken for good.
        mixing: part of the moved vector that comes from documents.
        document_weights: what each good document weighs.
        negative: how strongly the last documents are moved away from; 0: not.
        tail: how many of the last documents are taken for bad.
        weight: of the new scores beside those so far.
        fusion: how both are brought to one scale.
        candidates: hits that are scored.
        needs: vectors of documents, and of queries.
    """

    documents: int = option(3, "Best documents that vector feedback takes for good ones.", minimum=1)
    mixing: float = option(0.3, "Part of the moved vector that comes from documents.", minimum=0.0, maximum=1.0)
    document_weights: DocumentWeights = option("equal", "What each good document weighs in vector feedback.")
    negative: float = option(0.0, "How strongly the vector is moved away from the last documents.", minimum=0.0, maximum=100.0)
    tail: int = option(10, "Last candidates that are taken for bad, with a negative share.", minimum=1)
    weight: float = option(1.0, "Weight of the scores of the moved vector beside those so far.", minimum=0.0, maximum=1e6)
    fusion: Fusion = option("minmax", "How both are brought to one scale: least to greatest, reciprocal ranks, deviations.")
    candidates: int = option(100, "Candidates that vector feedback scores.", minimum=1)
    needs: ClassVar[tuple[str, ...]] = ("vectors", "model")

    def __post_init__(self) -> None:
        check_settings(self, "vector-feedback")

    def __call__(self, answer: Answer) -> Answer:
        """Scores the candidates anew; hits behind them keep their order, below.

        Raises:
            ArgumentError: the queries have no texts, or nothing gives vectors of them or of the documents.
        """
        dense = query_vectors(answer)
        ranked = []
        for query, hits in zip(dense, answer.rankings, strict=True):
            ranked.append(self._rescored(answer, np.asarray(query, dtype=np.float64), hits) if hits else [])
        return answer.with_rankings(ranked)

    def _rescored(self, answer: Answer, query: NDArray[np.float64], hits: Sequence[Hit]) -> list[Hit]:
        """The hits of one query; those behind the candidates follow, moved to begin at the score of the last candidate."""
        head = list(hits[: self.candidates])
        vectors = answer.backend.vectors(head)
        moved = self.moved(query, vectors, np.array([hit.score for hit in head]))
        scores = fused(scores_of(head), best_passages(vectors, moved)[1], self.weight, self.fusion)
        return ranked_anew(head, scores, hits[len(head) :])

    def moved(self, query: NDArray[np.float64], vectors: PassageVectors, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The vector of a query, moved, of length 1.

        Args:
            query: (d,) of length 1.
            vectors: of the candidates, best first.
            scores: of the candidates so far.
        """
        rows, _ = best_passages(vectors, query)
        known = np.flatnonzero(rows >= 0)
        good, behind = known[: self.documents], known[self.documents :]
        if not len(good):
            return query
        weights = weights_of_scores(scores[good].tolist(), self.document_weights)
        centre = weights @ vectors.vectors[rows[good]].astype(np.float64)
        if self.negative and len(behind):
            centre = centre - self.negative * vectors.vectors[rows[behind[-self.tail :]]].mean(axis=0, dtype=np.float64)
        moved = (1.0 - self.mixing) * query + self.mixing * centre
        length = float(np.linalg.norm(moved))
        return moved / length if length else query


def best_passages(vectors: PassageVectors, query: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each document its best passage for a query, as a row of the vectors, and its score; -1 and NaN where it has none."""
    products = vectors.vectors.astype(np.float64) @ query
    rows, scores = np.full(len(vectors.bounds) - 1, -1, dtype=np.int64), np.full(len(vectors.bounds) - 1, np.nan)
    for number, (start, stop) in enumerate(pairwise(vectors.bounds.tolist())):
        if stop > start:
            rows[number] = start + int(np.argmax(products[start:stop]))
            scores[number] = products[rows[number]]
    return rows, scores
