"""Checks of what callers give: weights, queries and documents, before they reach compiled code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, IndexFormatError, ModelError
from lexite.index.config import VocabularyInfo
from lexite.kernels.posting_lists import Among
from lexite.scoring.rounding import FULL_MANTISSA
from lexite.scoring.rows import MAX_WEIGHT, Rows, SparseRows, as_rows
from lexite.terms.queries import EncodedQueries


def check_weights(matrix: SparseRows, n_terms: int, name_of_row: Callable[[int], str]) -> Rows:
    """Checks a matrix of raw weights and brings its rows into one form.

    Args:
        matrix: ``(n, n_terms)``, CSR or anything with a ``tocsr`` method. It is left as it is.
        n_terms: columns it must have.
        name_of_row: names a row in error messages.

    Returns:
        Rows with ascending terms, duplicates added up, zeros left out, weights in float32.

    Raises:
        IndexFormatError: another number of columns than the index has terms.
        ArgumentError: it is no sparse matrix.
        ModelError: a weight that is NaN, infinite, negative or above 1e18, or broken arrays.
    """
    matrix = as_rows(matrix, "Weights")
    if len(matrix.shape) != 2 or matrix.shape[1] != n_terms:
        raise IndexFormatError(
            f"Weights of the shape {tuple(matrix.shape)} do not fit an index of {n_terms} terms. "
            "Encode with the vocabulary that the index was made with."
        )
    indptr = np.asarray(matrix.indptr, dtype=np.int64)
    terms, given = np.asarray(matrix.indices), np.asarray(matrix.data)
    broken = len(indptr) != matrix.shape[0] + 1 or indptr[0] != 0 or indptr[-1] > min(len(terms), len(given))
    if broken or np.any(np.diff(indptr) < 0):
        raise ModelError("The row bounds of the weights are broken: they must rise from 0 to the number of entries.")
    terms, given = terms[: indptr[-1]], given[: indptr[-1]]
    if len(terms) and (terms.min() < 0 or terms.max() >= n_terms):
        raise ModelError(f"Weights name a term outside 0 … {n_terms - 1}.")
    bad = ~((given >= 0) & (given <= MAX_WEIGHT))  # NaN compares false
    if bad.any():
        place = int(np.argmax(bad))
        row = int(np.searchsorted(indptr, place, side="right")) - 1
        raise ModelError(
            f"The weight of term {terms[place]} of {name_of_row(row)} is {given[place]}, but weights must be finite and "
            "not negative."
        )
    return _canonical(indptr, terms.astype(np.int32, copy=False), given)


def check_queries(where: object, made_with: VocabularyInfo, queries: EncodedQueries) -> None:
    """Refuses queries that do not fit an index: of another vocabulary, or encoded in another way than it recorded.

    Only what both sides know is compared. Settings that the caller chose on purpose are left alone.

    Raises:
        ArgumentError: they are no :class:`EncodedQueries`.
        IndexFormatError: they do not fit.
    """
    found: object = queries
    if not isinstance(found, EncodedQueries):
        given = "text" if isinstance(found, str) else f"a {type(found).__name__}"
        raise ArgumentError(
            f"An index is searched with EncodedQueries, not with {given}. LatentTermEncoder.encode_queries(texts) makes them; "
            "raw weights from elsewhere are wrapped: EncodedQueries(rows). lexite.Searcher takes plain text."
        )
    if made_with.fingerprint:  # else the index was made from weights whose vocabulary nobody named
        check_vocabulary(where, made_with, queries.fingerprint or None)
    if different := differing_settings(made_with, queries):
        raise IndexFormatError(
            f"{where} expects queries that were encoded as it recorded: {different}. lexite.Searcher.open does that. "
            "If the difference is meant, name it when you encode: encode_queries(texts, k=..., floor=...)."
        )


def differing_settings(made_with: VocabularyInfo, queries: EncodedQueries) -> str:
    """What is other in queries than an index recorded, in words; empty when all is as recorded."""
    recorded = made_with.terms_config
    if "k_queries" not in recorded:  # made by hand, with nothing recorded
        return ""
    names = [name for name in queries.settings if name not in queries.deliberate]
    pairs = [(name, recorded.get(name), queries.settings[name]) for name in names]
    return ", ".join(f"{name} {wanted!r} instead of {given!r}" for name, wanted, given in pairs if wanted != given)


def check_among(among: Sequence[NDArray[np.int64]], n_queries: int, n_documents: int) -> Among:
    """Checks which documents may be hits, and brings them into the form that searches take.

    Args:
        among: for each query numbers of documents, in any order; a number that occurs twice counts once. An array that
            several queries share is kept once.
        n_queries: number of queries.
        n_documents: documents of the index, deleted ones included.

    Raises:
        ArgumentError: there is not one array for each query, or an array holds something else than whole numbers.
        IndexError: a document does not exist.
    """
    listed = list(among)  # which also keeps the arrays, so that their identities stay their own
    if len(listed) != n_queries:
        raise ArgumentError(f"There are {n_queries} queries, but documents to search among for {len(listed)}.")
    places: dict[int, tuple[int, int]] = {}
    parts = [np.empty(0, dtype=np.int64)]
    end = 0
    for number, given in enumerate(listed):
        if id(given) in places:
            continue
        documents = np.asarray(given)
        if documents.ndim != 1 or (documents.size and documents.dtype.kind not in "iu"):
            raise ArgumentError(
                f"The documents to search among for query number {number + 1} are of the type {documents.dtype} and the shape "
                f"{documents.shape}. Give one array of document numbers for each query."
            )
        if np.any(documents[1:] <= documents[:-1]):
            documents = np.unique(documents)
        if len(documents) and (documents[0] < 0 or documents[-1] >= n_documents):
            wrong = documents[0] if documents[0] < 0 else documents[-1]
            raise IndexError(
                f"There is no document number {wrong} to search among for query number {number + 1}; "
                f"the index has {n_documents}."
            )
        places[id(given)] = end, end + len(documents)
        parts.append(documents.astype(np.int64, copy=False))
        end += len(documents)
    bounds = np.array([places[id(given)] for given in listed], dtype=np.int64).reshape(n_queries, 2)
    return Among(bounds[:, 0].copy(), bounds[:, 1].copy(), np.concatenate(parts))


def check_top_k(top_k: object) -> None:
    """Refuses a number of hits that is none; raises :class:`ArgumentError`."""
    if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 0:
        raise ArgumentError(f"top_k is {top_k!r}, but must be a whole number and not negative.")


def check_mantissa(mantissa: object) -> None:
    """Refuses bits of a mantissa that float32 cannot have; raises :class:`ArgumentError`."""
    if isinstance(mantissa, bool) or not isinstance(mantissa, int) or not 1 <= mantissa <= FULL_MANTISSA:
        raise ArgumentError(f"mantissa is {mantissa!r}, but must be a whole number from 1 to {FULL_MANTISSA}.")


def check_vocabulary(where: object, made_with: VocabularyInfo, fingerprint: str | None) -> None:
    """Refuses terms of another vocabulary; None is not checked.

    Raises:
        IndexFormatError: the fingerprints differ.
    """
    if fingerprint is not None and fingerprint != made_with.fingerprint:
        raise IndexFormatError(
            f"{where} was made with the vocabulary '{made_with.name}' ({made_with.fingerprint[:12]}), not with the one given "
            f"({fingerprint[:12]}). Use that vocabulary, or index the documents again."
        )


def _canonical(indptr: NDArray[np.int64], terms: NDArray[np.int32], given: NDArray[Any]) -> Rows:
    """Sorts rows, adds up duplicates and drops zeros, where there is need."""
    rises = np.diff(terms) > 0
    bounds = indptr[1:-1]
    inner = bounds[(bounds > 0) & (bounds < len(terms))]
    rises[inner - 1] = True  # between two rows anything goes
    if not rises.all():
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        order = np.lexsort((terms, rows))
        rows, terms, given = rows[order], terms[order], given[order]
        first = np.r_[True, (np.diff(terms) != 0) | (np.diff(rows) != 0)]
        starts = np.flatnonzero(first)
        given = np.add.reduceat(given.astype(np.float64), starts)
        terms = terms[starts]
        indptr = np.searchsorted(rows[starts], np.arange(len(indptr)), side="left").astype(np.int64)
    values = given.astype(np.float32, copy=False)
    kept = values > 0
    if not kept.all():
        indptr = np.r_[0, np.cumsum(kept, dtype=np.int64)][indptr]
        terms, values = terms[kept], values[kept]
    return Rows(indptr, np.ascontiguousarray(terms), np.ascontiguousarray(values))
