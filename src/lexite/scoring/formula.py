"""The numbers that BM25 needs, from counts and lengths of the living documents.

Formulas (N living documents, df of them with the term, dl the length of a document, avgdl the mean length of the living):

- idf, ``lucene``: log(1 + (N - df + 0.5) / (df + 0.5)), as in Lucene's BM25Similarity; never negative.
- idf, ``robertson``: max(0, log((N - df + 0.5) / (df + 0.5))), Robertson and Spärck Jones 1976, cut at 0.
- idf, ``bm25+``: log((N + 1) / df), Lv and Zhai 2011.
- what a term is worth to a query: a latent's idf to the power ``idf_power``, a literal word's idf times ``literal_weight``.
- norm of a document: k1 · (1 - b + b · dl / avgdl).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.config import BM25Config, IdfForm


def inverse_document_frequency(n_documents: int, document_frequency: NDArray[np.int64], form: IdfForm) -> NDArray[np.float64]:
    """The idf of every term; terms that no document has get 0.

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
    """What each term of a query is multiplied by, latents first and literal words behind them; 0 where no document has it."""
    worth = inverse_document_frequency(n_documents, document_frequency, scoring.idf)
    if scoring.idf_power != 1.0:
        latents = worth[:n_latents]
        latents[latents > 0] **= scoring.idf_power
    worth[n_latents:] *= scoring.literal_weight
    return worth


def length_norms(lengths: NDArray[np.float32], average: float, scoring: BM25Config) -> NDArray[np.float32]:
    """The part of the denominator that depends on the document alone; computed in float64, kept in float32.

    Args:
        lengths: of the documents, deleted ones too.
        average: mean length of the living ones; 0 when they are all empty.
        scoring: k1 and b.
    """
    relative = lengths.astype(np.float64) / (average or 1.0)
    return (scoring.k1 * (1.0 - scoring.b + scoring.b * relative)).astype(np.float32)


def saturation_form(scoring: BM25Config) -> tuple[np.float32, np.float32]:
    """Factor and summand of ``tf · scale / (tf + norm) + delta``: (1, 0), and (k1 + 1, delta) for bm25+.

    Lucene dropped the factor k1 + 1 in version 8, since it never changes a ranking. BM25+ needs it: delta is measured by it.
    """
    if scoring.idf == "bm25+":
        return np.float32(scoring.k1 + 1.0), np.float32(scoring.delta)
    return np.float32(1.0), np.float32(0.0)
