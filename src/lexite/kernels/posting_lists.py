"""The arrays of an index as compiled code takes them: posting lists, rows, queries. Numba is not imported here.

Posting lists cover ``CHUNK`` documents each and have one of three forms, which ``lexite.kernels.impacts`` describes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GAPS, FULL, SPARSE = 0, 1, 2  # forms of a list
CHUNK = 16384  # documents: their sums are 64 KB, which stay in the second cache
HEAD_BYTES = 6  # of a packed row
FIRST_LONG = 224  # bytes from here on add to the distance between two terms without ending it
LONG_STEP, LONGEST_STEP = FIRST_LONG, FIRST_LONG * 17
# What each byte adds to the term: 1 to 224, then 1 to 16 long steps, then 1 to 16 of the longest.
STEPS = np.concatenate([np.arange(FIRST_LONG) + 1, (np.arange(16) + 1) * LONG_STEP, (np.arange(16) + 1) * LONGEST_STEP])


class ImpactForm(NamedTuple):
    """How a raw weight becomes an impact: ``tf · scale / (tf + norm) + delta``.

    Attributes:
        transform: from raw weight to tf; ``NONE``, ``SQRT`` or ``LOG1P`` of ``lexite.kernels.impacts``.
        scale: the factor.
        delta: the summand.
    """

    transform: int
    scale: np.float32
    delta: np.float32


class PostingLists(NamedTuple):
    """The lists of a segment.

    Attributes:
        lists: uint8, all lists.
        offsets: (n_terms * n_chunks + 1,) unsigned; the list of term t and chunk c begins at ``offsets[t * n_chunks + c]``.
        kinds: (n_terms * n_chunks,) uint8, the form of each list.
        tops: (n_terms * n_chunks,) uint8, the level of each list's largest impact.
        levels: (256,) float32, the impacts that levels stand for.
    """

    lists: NDArray[np.uint8]
    offsets: NDArray[Any]
    kinds: NDArray[np.uint8]
    tops: NDArray[np.uint8]
    levels: NDArray[np.float32]


class SegmentRows(NamedTuple):
    """The rows of raw weights of a segment, and what exact scores need beside them.

    Attributes:
        bounds: (n_documents + 1,) int64, where rows begin in ``packed``, or in ``terms`` where they are not packed.
        packed: uint8, the rows as ``lexite.kernels.packed_rows`` describes them; empty where they are not packed.
        drop: bits of the mantissa that packed weights lack.
        terms: uint16 or int32, ascending within a row; empty where rows are packed.
        weights: float32, raw; likewise.
        norms: (n_documents,) float32.
        live: (n_documents,) uint8, 0 for deleted documents; empty when there are none.
        first: number of the segment's first document in the index.
    """

    bounds: NDArray[np.int64]
    packed: NDArray[np.uint8]
    drop: int
    terms: NDArray[Any]
    weights: NDArray[np.float32]
    norms: NDArray[np.float32]
    live: NDArray[np.uint8]
    first: int


class Among(NamedTuple):
    """The documents that may be hits of each query, numbered through all segments. Queries may share them.

    Attributes:
        starts: (n_queries,) int64, where the documents of each query begin; empty when all documents may be hits.
        stops: (n_queries,) int64, where they end.
        documents: int64, ascending for each query, each once.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    documents: NDArray[np.int64]


class Queries(NamedTuple):
    """Queries as a segment takes them.

    Attributes:
        bounds: (n_queries + 1,) int64.
        terms: int32, each once within a query. They are added up in their order.
        factors: float32, transformed query weight times what the term is worth.
        n_terms: number of terms that the segment knows.
        excluded: (n_queries,) int64, a document of the index that is no hit, or -1.
    """

    bounds: NDArray[np.int64]
    terms: NDArray[np.int32]
    factors: NDArray[np.float32]
    n_terms: int
    excluded: NDArray[np.int64]


class Turns(NamedTuple):
    """How the threads that search a segment share its chunks, and what each tells the others.

    Attributes:
        taken: (n_queries,) int64, how many chunks of the segment were taken for each query.
        step: by how much a thread goes on: 1 where ``taken`` is of all threads.
        needed: (n_queries,) float32, a score that k hits have reached, of any segment: others need not be looked for.
    """

    taken: NDArray[np.int64]
    step: int
    needed: NDArray[np.float32]


class Heaps(NamedTuple):
    """The best hits of each query so far, the worst of them first.

    Attributes:
        scores: (n_queries, k) float32.
        documents: (n_queries, k) int32.
        sizes: (n_queries,) int64, hits in each heap.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int32]
    sizes: NDArray[np.int64]
