"""Dense scores of candidates: the cosine of a query and the best passage of each document.

The vectors come from the index, or where it keeps none from the model, which then encodes the stored texts of the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import cut_documents
from lexite.errors import ArgumentError
from lexite.index.side_data import VECTORS, PassageVectors, how_to_keep
from lexite.ranking.hits import Hit
from lexite.ranking.rankings import BestSoFar, Matrix, Ranking

if TYPE_CHECKING:
    from lexite.search.strategy import Answer, Backend

DOCUMENTS_PER_TILE = 2048
FROM_TEXT_HELP = "Let the model encode the stored texts of the candidates, where the index keeps no vectors."
VectorsOf = Callable[[Sequence[Hit]], PassageVectors]


def query_vectors(answer: Answer) -> Matrix:
    """The dense vectors of the queries, ``(n_queries, d)``.

    Raises:
        ArgumentError: the queries have no texts, or nothing encodes them by the model.
    """
    if answer.encoder is None:
        raise ArgumentError("Dense scores need what encodes the queries. Search through a Searcher, which hands it on.")
    if answer.queries.texts is None:
        raise ArgumentError(
            "Dense scores need the texts of the queries. Encoded queries may have none, and documents to be like have none."
        )
    if not len(answer.queries):
        return np.empty((0, 0), np.float32)
    return answer.encoder.dense(list(answer.queries.texts))


def document_scores(vectors: PassageVectors, query: Matrix) -> Matrix:
    """Scores of documents: of the best passage of each.

    Args:
        vectors: of their passages.
        query: ``(d,)``, or ``(n_queries, d)``.

    Returns:
        ``(n_documents,)`` or ``(n_queries, n_documents)``; NaN for a document without a passage.
    """
    begins, ends = vectors.bounds[:-1], vectors.bounds[1:]
    scores = np.full((*query.shape[:-1], len(begins)), np.nan, dtype=np.float32)
    filled = np.flatnonzero(ends > begins)
    if len(filled):
        scores[..., filled] = np.maximum.reduceat(query @ vectors.vectors.T, begins[filled], axis=-1)
    return scores


def candidate_scores(answer: Answer, candidates: Sequence[Sequence[Hit]], from_text: bool) -> list[NDArray[np.float64]]:
    """The dense scores of the candidates of each query.

    Args:
        answer: the question.
        candidates: of each of its queries.
        from_text: whether the model encodes the stored texts of the candidates, in place of vectors of the index.

    Raises:
        ArgumentError: there are no vectors, or no texts of documents or queries, or no model.
    """
    queries = query_vectors(answer)
    vectors_of = vectors_from_texts(answer, candidates) if from_text else kept_vectors(answer.backend)
    return [
        document_scores(vectors_of(hits), query).astype(np.float64) if hits else np.empty(0)
        for hits, query in zip(candidates, queries, strict=True)
    ]


def kept_vectors(backend: Backend) -> VectorsOf:
    """What gives the vectors that an index keeps.

    Raises:
        ArgumentError: it keeps none.
    """
    if VECTORS not in getattr(backend, "side_data", ()):
        raise ArgumentError(
            f"{type(backend).__name__} keeps no dense vectors. {how_to_keep(VECTORS)} Or let the model encode the texts of the "
            "candidates: from_text=True."
        )
    return backend.vectors


def vectors_from_texts(answer: Answer, candidates: Sequence[Sequence[Hit]]) -> VectorsOf:
    """Encodes the stored texts of candidates, each document once, cut into passages as the index cuts them.

    Raises:
        ArgumentError: a text is not stored, or queries are encoded without the model.
    """
    encoder, backend = answer.encoder, answer.backend
    ids = list(dict.fromkeys(hit.id for hits in candidates for hit in hits))
    documents = [backend.get(identifier) for identifier in ids]
    stored = [each for each in documents if each is not None and (each.text or each.title)]
    if len(stored) < len(ids):
        raise ArgumentError(
            "Texts of documents are not stored, so from_text has nothing to encode. Build the index with texts."
        )
    cut = cut_documents(stored, getattr(backend, "passages_config", None))
    vectors = encoder.dense_passages(cut.texts) if ids and encoder is not None else np.empty((0, 0), np.float32)
    places = {identifier: place for place, identifier in enumerate(ids)}

    def of(hits: Sequence[Hit]) -> PassageVectors:
        chosen = [places[hit.id] for hit in hits]
        rows = [np.arange(cut.bounds[place], cut.bounds[place + 1]) for place in chosen]
        bounds = np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64)
        return PassageVectors(bounds, vectors[np.concatenate(rows)])

    return of


def exhaustive_rankings(answer: Answer, allowed: Sequence[NDArray[np.int64]], top_k: int) -> list[Ranking]:
    """The best documents of an index by their dense scores, from all its vectors; some are in memory at a time.

    Args:
        answer: the question.
        allowed: for each query, the numbers of the documents that may be hits, ascending.
        top_k: documents of each ranking.
    """
    vectors_of, queries = kept_vectors(answer.backend), query_vectors(answer)
    different = {id(each): each for each in allowed}  # all queries share one array where nothing tells them apart
    numbers = np.unique(np.concatenate([np.empty(0, np.int64), *different.values()]))
    kept = BestSoFar(len(queries), top_k)
    own = {key: np.isin(numbers, each, assume_unique=True) for key, each in different.items()}
    masks = [own[id(each)] for each in allowed]
    for start in range(0, len(numbers), DOCUMENTS_PER_TILE):
        tile = numbers[start : start + DOCUMENTS_PER_TILE]
        scores = document_scores(vectors_of([Hit("", 0.0, 0, number) for number in tile.tolist()]), queries)
        for row, mask in zip(scores, masks, strict=True):
            row[~mask[start : start + len(tile)] | np.isnan(row)] = -np.inf
        kept.add(scores)
    found = []
    for ranking in kept.rankings:
        known = np.isfinite(ranking.scores)
        found.append(Ranking(numbers[ranking.documents[known]], ranking.scores[known]))
    return found


def needs_of(from_text: bool) -> frozenset[str]:
    """What dense scores need."""
    return frozenset({"model"}) if from_text else frozenset({"model", "vectors"})
