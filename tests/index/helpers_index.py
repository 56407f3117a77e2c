"""Small collections and indexes for the tests of the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import csr_array, random_array, vstack

from lexite.corpus.records import Document
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.reference import reference_search

N_TERMS = 40
VOCABULARY = VocabularyInfo("f" * 64, "test", N_TERMS, {"k_documents": 16}, "default")
ALL_SCORINGS = [
    BM25Config(k1=k1, b=b, idf=idf, document_transform=document_transform, query_transform=query_transform)
    for k1, b, idf, document_transform, query_transform in [
        (1.5, 0.75, "lucene", "sqrt", "sqrt"),
        (8.0, 0.7, "robertson", "sqrt", "none"),
        (1.2, 0.0, "bm25+", "log1p", "log1p"),
        (0.0, 1.0, "lucene", "none", "sqrt"),
        (0.9, 1.0, "bm25+", "none", "none"),
        (2.0, 0.4, "robertson", "log1p", "sqrt"),
    ]
]


def weights_of(n: int, seed: int, density: float = 0.2) -> csr_array:
    """Random raw weights; a coarse grid makes equal scores likely."""
    generator = np.random.default_rng(seed)
    matrix = csr_array(random_array((n, N_TERMS), density=density, format="csr", rng=generator, dtype=np.float64))
    matrix.data = (np.ceil(matrix.data * 6) / 2).astype(np.float32)
    return matrix.astype(np.float32)


def documents_of(ids: Iterable[str]) -> list[Document]:
    return [Document(identifier, f"text of {identifier} ü", f"title {identifier}") for identifier in ids]


def assert_same_as_reference(
    index: BM25Index,
    ids: Sequence[str],
    weights: csr_array,
    scorings: Sequence[BM25Config] = tuple(ALL_SCORINGS),
    top_k: int = 7,
) -> None:
    """The index holds exactly these documents in this order, and finds what the reference finds, bit for bit."""
    assert list(index.document_ids()) == list(ids)
    assert index.n_documents == len(ids)
    assert index.n_postings == weights.nnz
    assert index.document_frequency.tolist() == np.bincount(weights.indices, minlength=N_TERMS).tolist()
    queries = weights_of(6, seed=len(ids) + 1000, density=0.15)
    for scoring in scorings:
        expected, scores = reference_search(weights, queries, scoring, top_k)
        hits = index.search(queries, top_k, scoring=scoring)
        wanted = [
            [(ids[d], float(s)) for d, s in zip(row, row_scores, strict=True) if d >= 0]
            for row, row_scores in zip(expected, scores, strict=True)
        ]
        assert [[(hit.id, hit.score) for hit in found] for found in hits] == wanted
        assert [hit.rank for found in hits for hit in found] == [r for found in hits for r in range(1, len(found) + 1)]


def stack(rows: Sequence[csr_array]) -> csr_array:
    """Rows of weights as one matrix, also when there are none."""
    return csr_array(vstack(rows, format="csr")) if rows else csr_array((0, N_TERMS), dtype=np.float32)
