"""The formula of BM25, once: what a document scores for a query.

The score of a document is a sum over the terms that it shares with the query::

    score  = Σ factor · impact                                    added in float32, in ascending order of terms
    factor = T_q(weight in the query) · worth
    worth  = idf ** idf_power           of a latent term (0 where its idf is 0)
           = idf * literal_weight       of a literal word
    impact = tf · scale / (tf + norm) + delta
    tf     = T_d(weight in the document)
    norm   = k1 · (1 - b + b · dl / avgdl)

with T_q and T_d the transforms of ``lexite.scoring.transform``, dl the length of the document (the sum of its tf), avgdl the
mean length, N the number of documents and df the number of those with the term. All documents counted are living ones. For
counts of words, without transforms and with ``idf_power`` 1, this is BM25 as Robertson and Zaragoza give it (*The Probabilistic
Relevance Framework: BM25 and Beyond*, 2009, section 3.5).

========== ======================================== ======= ===== =============================================================
form       idf                                      scale   delta source
========== ======================================== ======= ===== =============================================================
lucene     log(1 + (N - df + 0.5) / (df + 0.5))     1       0     Lucene's BM25Similarity, version 8 and later; never negative
robertson  max(0, log((N - df + 0.5) / (df + 0.5))) 1       0     Robertson and Spärck Jones 1976, cut at 0
bm25+      log((N + 1) / df)                        k1 + 1  delta Lv and Zhai 2011
========== ======================================== ======= ===== =============================================================

Robertson and Spärck Jones: *Relevance Weighting of Search Terms*. Lv and Zhai: *Lower-Bounding Term Frequency Normalization*.

Three places compute an impact without calling :func:`impacts`, for speed or for gradients: ``lexite.kernels.impacts``, and
``BM25Similarity`` and ``BM25Scores`` of ``lexite.integrations.sentence_transformers``. ``tests/scoring/test_formula.py`` holds
each against this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.config import BM25Config, IdfForm
from lexite.scoring.transform import transform_weights


class Saturation(NamedTuple):
    """The two numbers of ``tf · scale / (tf + norm) + delta`` that depend on the form of BM25 alone.

    Attributes:
        scale: the factor.
        delta: the summand.
    """

    scale: np.float32
    delta: np.float32


def inverse_document_frequency(n_documents: int, document_frequency: NDArray[np.int64], form: IdfForm) -> NDArray[np.float64]:
    """The idf of every term; a term that no document has gets 0.

    Args:
        n_documents: number of living documents.
        document_frequency: (n_terms,) how many of them hold each term.
        form: which idf.

    Returns:
        (n_terms,) natural logarithms, 0 or more.

    >>> inverse_document_frequency(3, np.array([0, 1, 3]), "robertson").round(3).tolist()
    [0.0, 0.511, 0.0]
    """
    df = document_frequency.astype(np.float64)
    odds = (n_documents - df + 0.5) / (df + 0.5)
    if form == "lucene":
        idf = np.log(1.0 + odds)
    elif form == "robertson":
        idf = np.maximum(0.0, np.log(odds))
    else:
        idf = np.log((n_documents + 1.0) / np.maximum(df, 1.0))
    return np.where(document_frequency > 0, idf, 0.0)


def worth_of_terms(
    n_documents: int, document_frequency: NDArray[np.int64], n_latents: int, scoring: BM25Config
) -> NDArray[np.float64]:
    """What the transformed weight of each query term is multiplied by; 0 for a term that no document has.

    Args:
        n_documents: number of living documents.
        document_frequency: (n_terms,) how many of them hold each term, latents first and literal words behind them.
        n_latents: number of latent terms.
        scoring: form and power of the idf, weight of literal words.

    Returns:
        (n_terms,).

    >>> worth_of_terms(3, np.array([1, 1]), 1, BM25Config(idf_power=0.5, literal_weight=3.0)).round(3).tolist()
    [0.99, 2.942]
    """
    worth = inverse_document_frequency(n_documents, document_frequency, scoring.idf)
    if scoring.idf_power != 1.0:
        latents = worth[:n_latents]
        latents[latents > 0] **= scoring.idf_power
    worth[n_latents:] *= scoring.literal_weight
    return worth


def query_factors(weights: NDArray[np.float32], worth: NDArray[np.float64], scoring: BM25Config) -> NDArray[np.float32]:
    """What each impact is multiplied by: transformed query weight times worth, a float64 product rounded to float32.

    Args:
        weights: (n,) raw weights of a query's terms.
        worth: (n,) what each of these terms is worth.
        scoring: the transform of queries.

    Returns:
        (n,).
    """
    return (transform_weights(weights, scoring.query_transform) * worth).astype(np.float32)


def coverage(shared: NDArray[Any], asked: NDArray[Any]) -> float:
    """The share of a query that a document covers: ``sum of f over the shared terms / sum of f over the query's terms``.

    f is what a term's impact is multiplied by: the transformed weight in the query times the worth (:func:`query_factors`).
    Terms that no document has are worth nothing, so they do not count. A document that has each of the query's known terms
    covers all of it, 1, however often it has them.

    Args:
        shared: f of the terms that document and query share.
        asked: f of the query's terms.

    Returns:
        From 0 to 1; 0 where the query has no term that is worth something.

    >>> coverage(np.float32([3.0, 1.0]), np.float32([3.0, 1.0, 4.0]))
    0.5
    """
    total = float(asked.sum(dtype=np.float64))
    return min(float(shared.sum(dtype=np.float64)) / total, 1.0) if total > 0 else 0.0


def average_length(lengths: NDArray[np.float32]) -> float:
    """The mean length of documents, taken in float64; 0 when there are none.

    Args:
        lengths: (n_documents,) of the living ones, in document order.
    """
    return float(lengths.mean(dtype=np.float64)) if len(lengths) else 0.0


def length_norms(lengths: NDArray[np.float32], average: float, scoring: BM25Config) -> NDArray[np.float32]:
    """The part of the denominator that depends on the document alone; computed in float64, kept in float32.

    Args:
        lengths: (n_documents,), deleted ones included.
        average: mean length of the living ones; 0 when they are all empty.
        scoring: k1 and b.

    Returns:
        (n_documents,).
    """
    relative = lengths.astype(np.float64) / (average or 1.0)
    return (scoring.k1 * (1.0 - scoring.b + scoring.b * relative)).astype(np.float32)


def saturation_form(scoring: BM25Config) -> Saturation:
    """Scale and delta of a scoring: 1 and 0, or k1 + 1 and delta for bm25+.

    Lucene dropped the factor k1 + 1 in version 8, since it never changes a ranking. BM25+ needs it: delta is measured by it.
    """
    if scoring.idf == "bm25+":
        return Saturation(np.float32(scoring.k1 + 1.0), np.float32(scoring.delta))
    return Saturation(np.float32(1.0), np.float32(0.0))


def impacts(tf: NDArray[np.float32], norms: NDArray[np.float32] | np.float32, form: Saturation) -> NDArray[np.float32]:
    """What terms add to the score of documents for a factor of 1, in float32 throughout.

    Args:
        tf: (n,) transformed weights in the documents, above 0.
        norms: (n,) of the document of each weight, or the norm of them all.
        form: scale and delta.

    Returns:
        (n,).

    >>> impacts(np.float32([1.0, 3.0]), np.float32(1.0), saturation_form(BM25Config())).tolist()
    [0.5, 0.75]
    """
    return tf * form.scale / (tf + norms) + form.delta
