"""Heaps of the best hits: an array of scores and one of documents, the worst hit first; equal scores go by document."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def _worse(score: Any, document: Any, other_score: Any, other_document: Any) -> Any:
    return score < other_score or (score == other_score and document > other_document)


@njit(cache=True, nogil=True)
def _sift_down(scores: Any, documents: Any, size: int) -> None:
    # Restores a heap whose root, the worst hit, was replaced.
    score, document = scores[0], documents[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _worse(scores[child + 1], documents[child + 1], scores[child], documents[child]):
            child += 1
        if not _worse(scores[child], documents[child], score, document):
            break
        scores[place] = scores[child]
        documents[place] = documents[child]
        place = child
    scores[place] = score
    documents[place] = document


@njit(cache=True, nogil=True)
def push(scores: Any, documents: Any, size: int, score: Any, document: Any) -> int:
    """Puts a hit into a heap. In a full heap it takes the place of the worst hit if that one is worse. Returns the new size."""
    if size == scores.shape[0]:
        if _worse(scores[0], documents[0], score, document):
            scores[0] = score
            documents[0] = document
            _sift_down(scores, documents, size)
        return size
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(score, document, scores[parent], documents[parent]):
            break
        scores[place] = scores[parent]
        documents[place] = documents[parent]
        place = parent
    scores[place] = score
    documents[place] = document
    return size + 1


@njit(cache=True, nogil=True)
def sort_heaps(top_scores: Any, top_documents: Any, sizes: Any, start: int, stop: int) -> None:
    """Turns heaps into rankings: best first, equal scores by document number; unused places hold document -1 and score 0."""
    for query in range(start, stop):
        scores, documents = top_scores[query], top_documents[query]
        size = sizes[query]
        for place in range(size, scores.shape[0]):
            scores[place] = 0.0
            documents[place] = -1
        for last in range(size - 1, 0, -1):
            scores[0], scores[last] = scores[last], scores[0]
            documents[0], documents[last] = documents[last], documents[0]
            _sift_down(scores, documents, last)
