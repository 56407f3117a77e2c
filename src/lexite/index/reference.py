"""What searching must return, in plain scipy and numpy, without segments, threads or compiled code.

The kernels add the same float32 numbers in the same order, so that documents, order and scores are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.config import BM25Config
from lexite.scoring.formula import average_length, impacts, length_norms, query_factors, saturation_form, worth_of_terms
from lexite.scoring.transform import transform_weights
from lexite.scoring.words import StopWords, literal_words

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def reference_search(
    documents: csr_array[np.float32],
    queries: csr_array[np.float32],
    scoring: BM25Config,
    top_k: int,
    n_latents: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Scores all documents of a collection for each query, and sorts them.

    Args:
        documents: raw weights, ``(n_documents, n_terms)``.
        queries: raw weights, ``(n_queries, n_terms)``.
        scoring: how to score.
        top_k: how many hits to return for each query.
        n_latents: terms from this one on are literal words; None when there are none.

    Returns:
        Row numbers of documents and their scores, both ``(n_queries, min(top_k, n_documents))``, best first; -1 and 0 where
        there are no more hits.
    """
    from scipy.sparse import csc_array, csr_array

    n_documents = documents.shape[0]
    rows = documents.astype(np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    tf = transform_weights(rows.data, scoring.document_transform)
    row_numbers = np.repeat(np.arange(n_documents), np.diff(rows.indptr))
    lengths = np.bincount(row_numbers, weights=tf, minlength=n_documents).astype(np.float32)
    norms = length_norms(lengths, average_length(lengths), scoring)
    n_latents = rows.shape[1] if n_latents is None else n_latents
    frequency = np.bincount(rows.indices, minlength=rows.shape[1])
    worth = worth_of_terms(n_documents, frequency, n_latents, scoring)
    columns: Any = csc_array(csr_array((tf, rows.indices, rows.indptr), shape=rows.shape))
    top_k = min(top_k, n_documents)
    found = np.full((queries.shape[0], top_k), -1, dtype=np.int32)
    scores = np.zeros((queries.shape[0], top_k), dtype=np.float32)
    for number in range(queries.shape[0]):
        query = queries[[number]].astype(np.float32)
        query.sum_duplicates()
        total, matched = np.zeros(n_documents, dtype=np.float32), np.zeros(n_documents, dtype=bool)
        factors = query_factors(query.data, worth[query.indices], scoring)
        for term, raw, factor in zip(query.indices, query.data, factors, strict=True):
            if raw > 0 and (term < n_latents or scoring.literal_weight > 0):
                postings = slice(columns.indptr[term], columns.indptr[term + 1])
                docs, weights = columns.indices[postings], columns.data[postings]
                total[docs] += factor * impacts(weights, norms[docs], saturation_form(scoring))
                matched[docs] = True
        hits = np.flatnonzero(matched)
        best = hits[np.lexsort((hits, -total[hits]))][:top_k]
        found[number, : len(best)], scores[number, : len(best)] = best, total[best]
    return found, scores


def reference_rows(
    weights: csr_array[np.float32],
    texts: Sequence[str],
    words: Sequence[str],
    factor: float,
    stop_words: StopWords,
    word_weights: Sequence[Mapping[str, float] | None] | None = None,
) -> csr_array[np.float32]:
    """Rows of latent terms with a column more for each word of a dictionary.

    Args:
        weights: raw weights of latent terms, ``(n, n_latents)``.
        texts: of the documents or queries.
        words: the dictionary, in the order of its numbers; other words are dropped.
        factor: raw weight of each occurrence of a word: ``literal_weight_documents`` for documents, 1 for queries.
        stop_words: which words are left out.
        word_weights: for each query its words with their weights, in place of those of its text where they are not None.
    """
    from scipy.sparse import csr_array, hstack

    counts: list[Mapping[str, float]] = [literal_words(text, stop_words) for text in texts]
    if word_weights is not None:
        counts = [count if own is None else own for count, own in zip(counts, word_weights, strict=True)]
    dense = np.array([[count.get(word, 0) * factor for word in words] for count in counts], dtype=np.float32)
    return csr_array(hstack([weights, csr_array(dense.reshape(len(texts), len(words)))], format="csr"))
