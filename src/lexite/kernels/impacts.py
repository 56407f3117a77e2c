"""Compressed posting lists: building them from rows of weights, a chunk of documents at a time.

A posting is a document and its impact: what the term adds to the document's score for a query factor of 1,
``tf * scale / (tf + norm) + delta`` (``lexite.scoring.formula``). Impacts are kept in 8 bits, relative to the largest of their
list. A list covers one chunk of ``CHUNK`` documents and has the smallest of three forms. A full list may be larger than the
smallest form, since it is scored ten times as fast, as long as all lists together take no more bytes than are wanted:

- ``GAPS``: pairs of a byte for the distance to the document before and a byte of impact. A distance over 255 is bridged by
  pairs of distance 255 and impact 0, so that decoding has no branches.
- ``FULL``: a byte of impact for every document of the chunk, 0 where the term does not occur.
- ``SPARSE``: triples of a 16-bit document, little-endian, and a byte of impact.

``lexite.index.numpy_search`` reads the same lists with numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from lexite.kernels.posting_lists import FULL, GAPS, SPARSE, ImpactForm

NONE, SQRT, LOG1P = 0, 1, 2  # codes of the transforms of document weights
# How much larger a full list may be than the smallest form: the most with which a chunk keeps to the bytes wanted.
FULL_PREFERENCES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.25, 2.5, 3.0)
BYTES_WANTED = 2.15  # per posting, with the directory
DIRECTORY_BYTES = 6  # for each term: offset, kind, level
MAX_BYTES_PER_POSTING = 9  # a sparse list takes 3, a full one three times as much at most


@njit(cache=True, nogil=True)
def row_lengths(indptr: Any, values: Any, lengths: Any) -> None:
    """Document lengths under each transform.

    Args:
        indptr: (n_documents + 1,) int64, row bounds.
        values: (n,) float32, raw weights.
        lengths: (3, n_documents) float32, written: float32 transforms of weights, summed in float64 in the order of the row.
    """
    for row in range(indptr.shape[0] - 1):
        plain, root, logarithm = np.float64(0.0), np.float64(0.0), np.float64(0.0)
        for j in range(indptr[row], indptr[row + 1]):
            value = values[j]
            plain += value
            root += math.sqrt(value)
            logarithm += np.float32(math.log1p(np.float64(value)))
        lengths[NONE, row] = plain
        lengths[SQRT, row] = root
        lengths[LOG1P, row] = logarithm


@njit(cache=True, nogil=True, error_model="numpy")
def saturated(weight: Any, norm: Any, transform: int, scale: Any, delta: Any) -> Any:
    """The impact of one raw weight, float32 throughout: ``lexite.scoring.formula.impacts`` of a transformed weight."""
    tf = np.float32(weight)
    if transform == SQRT:
        tf = np.float32(math.sqrt(tf))
    elif transform == LOG1P:
        tf = np.float32(math.log1p(np.float64(tf)))
    return tf * scale / (tf + norm) + delta


@njit(cache=True, nogil=True)
def _sort_by_term(
    bounds: Any, terms: Any, weights: Any, norms: Any, form: ImpactForm, starts: Any, documents: Any, impacts: Any
) -> bool:
    # A counting sort. It leaves in starts (n_terms + 1,) where each term's postings begin. False: a term does not exist.
    n_terms = starts.shape[0] - 1
    starts[:] = 0
    for j in range(terms.shape[0]):
        if np.uint32(terms[j]) >= np.uint32(n_terms):
            return False
        starts[terms[j] + 1] += 1
    for term in range(n_terms):
        starts[term + 1] += starts[term]
    position = starts.copy()
    for row in range(norms.shape[0]):
        norm = norms[row]
        for j in range(bounds[row] - bounds[0], bounds[row + 1] - bounds[0]):
            place = position[terms[j]]
            position[terms[j]] = place + 1
            documents[place] = row
            impacts[place] = saturated(weights[j], norm, form.transform, form.scale, form.delta)
    return True


@njit(cache=True, nogil=True)
def _level(largest: Any, levels: Any) -> int:
    # The smallest level that is not below ``largest``; a binary search in falling numbers.
    low, high = 0, levels.shape[0] - 1
    while low < high:
        middle = (low + high + 1) // 2
        if levels[middle] >= largest:
            low = middle
        else:
            high = middle - 1
    return low


@njit(cache=True, nogil=True)
def _quantised(impact: Any, top: Any) -> Any:
    # 1 to 255: rounded to the nearest, but never to 0, which stands for no posting.
    return np.uint8(max(1.0, min(255.0, math.floor(np.float64(impact) / top * 255.0 + 0.5))))


@njit(cache=True, nogil=True)
def _entries(documents: Any) -> Any:
    # Pairs that a list of gaps takes.
    entries, before = np.int64(documents.shape[0]), np.int64(-1)
    for j in range(documents.shape[0]):
        entries += (np.int64(documents[j]) - before - 1) // 255
        before = np.int64(documents[j])
    return entries


@njit(cache=True, nogil=True)
def _preference(starts: Any, entries: Any, n_documents: int) -> float:
    # The largest of FULL_PREFERENCES with which all lists keep to the bytes wanted; the first if none does.
    chosen = FULL_PREFERENCES[0]
    for preference in FULL_PREFERENCES:
        size = np.int64(DIRECTORY_BYTES * entries.shape[0])
        for term in range(entries.shape[0]):
            smallest = min(2 * entries[term], 3 * (starts[term + 1] - starts[term]))
            size += n_documents if n_documents <= preference * smallest else smallest
        if size <= BYTES_WANTED * starts[entries.shape[0]]:
            chosen = preference
    return chosen


@njit(cache=True, nogil=True)
def _write_list(
    documents: Any, impacts: Any, top: Any, entries: int, n_documents: int, preference: float, out: Any
) -> tuple[int, int]:
    # Returns the form and the bytes written.
    n = documents.shape[0]
    if n_documents <= preference * min(2 * entries, 3 * n):
        out[:n_documents] = 0
        for j in range(n):
            out[documents[j]] = _quantised(impacts[j], top)
        return FULL, n_documents
    if 3 * n < 2 * entries:
        for j in range(n):
            out[3 * j] = documents[j] & 255
            out[3 * j + 1] = documents[j] >> 8
            out[3 * j + 2] = _quantised(impacts[j], top)
        return SPARSE, 3 * n
    place, before = 0, np.int64(-1)
    for j in range(n):
        gap = np.int64(documents[j]) - before
        while gap > 255:
            out[place] = 255
            out[place + 1] = 0
            place += 2
            gap -= 255
        out[place] = gap
        out[place + 1] = _quantised(impacts[j], top)
        place += 2
        before = np.int64(documents[j])
    return GAPS, 2 * entries


@njit(cache=True, nogil=True)
def encode_chunk(
    bounds: Any, terms: Any, weights: Any, norms: Any, form: ImpactForm, levels: Any, out: Any, sizes: Any, kinds: Any,
    tops: Any,
) -> int:  # fmt: skip
    """Encodes the postings of one chunk of documents, term after term.

    Args:
        bounds: (n_documents + 1,) int64, bounds of the rows; the first row begins at ``terms[0]``.
        terms: uint16 or int32, ascending within a row.
        weights: float32, raw.
        norms: (n_documents,) float32, ``k1 * (1 - b + b * length / average length)``.
        form: how raw weights become impacts.
        levels: (256,) float32, ``lexite.index.postings.impact_levels``.
        out: uint8, written; ``MAX_BYTES_PER_POSTING`` for each posting suffice.
        sizes: (n_terms,) int64, written: bytes of each list.
        kinds: (n_terms,) uint8, written: its form.
        tops: (n_terms,) uint8, written: the level of its largest impact.

    Returns:
        The bytes written, or -1 when a row names a term that does not exist.
    """
    n_terms, n_documents = sizes.shape[0], norms.shape[0]
    starts = np.empty(n_terms + 1, np.int64)
    documents = np.empty(terms.shape[0], np.uint16)
    impacts = np.empty(terms.shape[0], np.float32)
    if not _sort_by_term(bounds, terms, weights, norms, form, starts, documents, impacts):
        return -1
    entries = np.zeros(n_terms, np.int64)
    for term in range(n_terms):
        entries[term] = _entries(documents[starts[term] : starts[term + 1]])
    preference = _preference(starts, entries, n_documents)
    written = 0
    for term in range(n_terms):
        low, high = starts[term], starts[term + 1]
        kinds[term], sizes[term], tops[term] = GAPS, 0, 255
        if high > low:
            largest = np.float32(0.0)
            for j in range(low, high):
                largest = max(largest, impacts[j])
            tops[term] = _level(largest, levels)
            top = levels[tops[term]]
            kinds[term], sizes[term] = _write_list(
                documents[low:high], impacts[low:high], top, entries[term], n_documents, preference, out[written:]
            )
        written += sizes[term]
    return written


@njit(cache=True, nogil=True)
def gather_lists(source: Any, source_starts: Any, sizes: Any, out: Any, out_starts: Any) -> None:
    """Copies the lists of neighbouring terms of one chunk to their places between the lists of other chunks.

    Args:
        source: uint8, the chunk's lists of these terms, one after the other.
        source_starts: (n,) int64, where each begins in ``source``.
        sizes: (n,) int64, bytes of each.
        out: uint8, written.
        out_starts: (n,) int64, where each belongs in ``out``.
    """
    for term in range(sizes.shape[0]):
        start, target = source_starts[term], out_starts[term]
        for j in range(sizes[term]):
            out[target + j] = source[start + j]
