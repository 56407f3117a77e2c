"""The dense baseline: what the backbone itself would return, by exhaustive search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from lexite.errors import BackboneError
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import Costs, SystemResult
from lexite.progress import progress
from lexite.ranking.rankings import BestSoFar, Matrix

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.evaluation.cache import StateCache

DOCUMENTS_PER_TILE = 2048


class DenseSystem:
    """The backbone's own scores over all documents; the best are kept while tiles of documents go by.

    A backbone with one vector per text scores by cosine. A late-interaction backbone scores by its own MaxSim; its bytes per
    document are not defined, and its scores are not cached.

    Args:
        backbone: the dense retriever.
        cache: where vectors are kept between runs; None: nowhere.
        show_progress: whether progress is shown on stderr.
    """

    def __init__(self, backbone: Backbone, cache: StateCache | None = None, show_progress: bool = False) -> None:
        self.backbone, self.cache, self.show_progress = backbone, cache, show_progress

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Ranks all documents for each query.

        Raises:
            BackboneError: the backbone cannot score texts (precomputed states).
        """
        queries = self._query_vectors(collection)
        kept = BestSoFar(len(collection.queries), top_k)
        tiles = self._score_tiles(collection) if queries is None else self._cosine_tiles(collection, queries)
        with progress(f"{collection.name}: dense", len(collection.document_ids), show=self.show_progress) as bar:
            for scores in tiles:
                kept.add(scores)
                bar.advance(scores.shape[1])
        return SystemResult(kept.rankings, Costs(0.0, 0.0, None if queries is None else 4.0 * queries.shape[1]))

    def _query_vectors(self, collection: JudgedCollection) -> Matrix | None:
        """``(n_queries, d)``, or None when the backbone has no single vector per text."""
        try:
            if self.cache is not None:
                return self.cache.vectors(collection, "query")
            return self.backbone.dense(collection.query_texts, "query")
        except BackboneError:  # dense_scores can do without single vectors, or raises the error that counts
            return None

    def _cosine_tiles(self, collection: JudgedCollection, queries: Matrix) -> Iterator[Matrix]:
        if self.cache is not None:
            vectors = self.cache.vectors(collection, "document")
            starts = range(0, len(vectors), DOCUMENTS_PER_TILE)
            yield from (queries @ vectors[start : start + DOCUMENTS_PER_TILE].T for start in starts)
        else:
            yield from (queries @ self.backbone.dense(tile, "document").T for tile in _text_tiles(collection))

    def _score_tiles(self, collection: JudgedCollection) -> Iterator[Matrix]:
        queries = collection.query_texts
        return (self.backbone.dense_scores(queries, tile) for tile in _text_tiles(collection))


def _text_tiles(collection: JudgedCollection) -> Iterator[list[str]]:
    texts = collection.texts()
    while tile := list(islice(texts, DOCUMENTS_PER_TILE)):
        yield tile
