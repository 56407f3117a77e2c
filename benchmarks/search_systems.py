"""What search.py compares: lexite, the limit, and the packages that people would use instead, each built on the same task.

A package that is not installed, or that fails, is left out with the reason; nothing here is measured.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from lexite.corpus import Document
from lexite.index import BM25Config, BM25Index, EncodedQueries, VocabularyInfo
from lexite.scoring.transform import transform_weights

TOP_K, CHUNK = 10, 10_000
Query = tuple[NDArray[np.int32], NDArray[np.float32]]  # terms, and weights as the scoring transforms them


@dataclass(frozen=True)
class Task:
    """What all systems index and answer: impacts (documents, terms), the same by term, queries, and the words of both."""

    raw: csr_array
    impacts: csr_array
    by_term: csc_array
    raw_queries: list[EncodedQueries]
    queries: list[Query]
    words: csr_array | None
    vocabulary: dict[str, int]
    query_texts: list[str]
    folder: Path


@dataclass(frozen=True)
class System:
    """Something that can be searched: the number of a query in, the numbers of the best documents out."""

    key: str
    name: str
    search: Callable[[int], Any]
    bytes: int
    n_postings: int
    comparable: bool = True


def impacts_of(raw: csr_array, scoring: BM25Config) -> csr_array:
    """BM25 of every posting without the query's weight: worth · tf / (tf + k1 · (1 - b + b · dl / avgdl))."""
    n_documents, n_terms = raw.shape
    tf = transform_weights(raw.data, scoring.document_transform)
    df = np.bincount(raw.indices, minlength=n_terms)
    idf = np.log1p((n_documents - df + 0.5) / (df + 0.5)) ** scoring.idf_power
    rows = np.repeat(np.arange(n_documents), np.diff(raw.indptr))
    lengths = np.bincount(rows, weights=tf, minlength=n_documents)
    norms = scoring.k1 * (1 - scoring.b + scoring.b * lengths / lengths.mean())
    values = (idf[raw.indices] * (tf / (tf + norms[rows]))).astype(np.float32)
    return csr_array((values, raw.indices, raw.indptr), shape=raw.shape)


def split_queries(queries: csr_array) -> list[Query]:
    bounds = queries.indptr
    return [
        (queries.indices[i:j].astype(np.int32), transform_weights(queries.data[i:j], BM25Config().query_transform))
        for i, j in zip(bounds[:-1], bounds[1:], strict=True)
    ]


@njit(cache=True, nogil=True)
def add_scores(bounds: Any, documents: Any, impacts: Any, terms: Any, weights: Any, scores: Any) -> None:
    """Scores of all documents for one query."""
    scores[:] = 0
    for i in range(len(terms)):
        weight = weights[i]
        for j in range(bounds[terms[i]], bounds[terms[i] + 1]):
            scores[documents[j]] += weight * impacts[j]


@njit(cache=True, nogil=True)
def best_of(scores: Any, k: int) -> Any:
    """The documents of the k largest scores, best first."""
    best, found = np.full(k, np.float32(0)), np.full(k, -1, np.int32)
    for document in range(len(scores)):
        score = scores[document]
        if score > best[k - 1]:
            place = k - 1
            while place > 0 and score > best[place - 1]:
                best[place], found[place] = best[place - 1], found[place - 1]
                place -= 1
            best[place], found[place] = score, document
    return found


def scorer(by_term: csc_array) -> Callable[[Query], NDArray[np.float32]]:
    """The exhaustive scores of a query; the array is used again by the next call."""
    arrays = by_term.indptr.astype(np.int64), by_term.indices.astype(np.uint32), by_term.data
    scores = np.empty(by_term.shape[0], dtype=np.float32)

    def score(query: Query) -> NDArray[np.float32]:
        add_scores(*arrays, *query, scores)
        return scores

    return score


def lexite_systems(task: Task) -> list[System]:
    """Exact and approximate search. The documents are rows without a text to encode, so the index's writer takes them."""
    info = VocabularyInfo("benchmark", "benchmark", task.raw.shape[1])
    with BM25Index.create(task.folder / "lexite", info, store_text=False) as writer:
        for start in range(0, task.raw.shape[0], CHUNK):
            rows = task.raw[start : start + CHUNK]
            writer.add([Document(str(start + i), "") for i in range(rows.shape[0])], rows)
        writer.commit()
    index = BM25Index.open(task.folder / "lexite")
    queries, size = task.raw_queries, (index.bytes, index.n_postings)
    return [
        System("lexite", "lexite, exact", lambda q: index.search_arrays(queries[q], TOP_K)[0][0], *size),
        System(
            "approximate",
            "lexite, approximate",
            lambda q: index.search_arrays(queries[q], TOP_K, approximate=True)[0][0],
            *size,
        ),
    ]


def exhaustive_system(task: Task) -> list[System]:
    score = scorer(task.by_term)
    size = task.by_term.data.nbytes + task.by_term.indices.nbytes + task.by_term.indptr.nbytes
    return [System("exhaustive", "exhaustive", lambda q: best_of(score(task.queries[q]), TOP_K), size, task.impacts.nnz)]


def scipy_systems(task: Task) -> list[System]:
    """Three ways to write it."""
    n_terms, by_row, by_term = task.impacts.shape[1], task.impacts, task.by_term
    transposed = csr_array(by_term.T)

    def top(scores: NDArray[np.float32]) -> NDArray[np.int64]:
        found = np.argpartition(scores, -TOP_K)[-TOP_K:]
        return found[np.argsort(-scores[found])]

    def columns(q: int) -> NDArray[np.int64]:
        terms, weights = task.queries[q]
        return top(by_term[:, terms] @ weights)

    def sparse(q: int) -> NDArray[np.int64]:
        terms, weights = task.queries[q]
        row = csr_array((weights, terms, np.array([0, len(terms)])), shape=(1, n_terms))
        return top((row @ transposed).toarray().ravel())

    def dense(q: int) -> NDArray[np.int64]:
        vector = np.zeros(n_terms, dtype=np.float32)
        vector[task.queries[q][0]] = task.queries[q][1]
        return top(by_row @ vector)

    size, postings = by_term.data.nbytes + by_term.indices.nbytes + by_term.indptr.nbytes, by_row.nnz
    return [
        System("scipy_columns", "scipy, csc[:, terms]", columns, size, postings),
        System("scipy_sparse", "scipy, query @ csr", sparse, size, postings),
        System("scipy_dense", "scipy, csr @ query", dense, size, postings),
    ]


def bm25s_system(task: Task) -> list[System]:
    import bm25s

    assert task.words is not None
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    bounds, words, counts = task.words.indptr, task.words.indices, task.words.data
    ids = [np.repeat(words[i:j], counts[i:j]).tolist() for i, j in zip(bounds[:-1], bounds[1:], strict=True)]
    index = bm25s.BM25(method="lucene", backend="numba")
    index.index((ids, task.vocabulary), show_progress=False)
    queries = bm25s.tokenize(task.query_texts, return_ids=False, show_progress=False)
    queries = [[word for word in words if word in task.vocabulary] for words in queries]
    arrays = [index.scores[name] for name in ("data", "indices", "indptr")]

    def search(q: int) -> Any:
        if not queries[q]:
            return []
        return index.retrieve([queries[q]], k=TOP_K, show_progress=False, n_threads=1).documents[0]

    size = sum(array.nbytes for array in arrays)
    return [System("bm25s", "bm25s, words", search, size, len(arrays[0]), comparable=False)]


class ReadyModel:
    """Stands in for splade-index's model: hands out terms that are ready."""

    def __init__(self, task: Task) -> None:
        import torch

        self.tokenizer = self
        self._by_term, self._n_terms = task.by_term, task.impacts.shape[1]
        terms = [torch.from_numpy(query[0].astype(np.int64))[None] for query in task.queries]
        size = (self._n_terms,)
        self._queries = [
            torch.sparse_coo_tensor(indices, torch.from_numpy(query[1]), size).coalesce()
            for indices, query in zip(terms, task.queries, strict=True)
        ]
        self._torch = torch

    def get_vocab(self) -> dict[str, int]:
        return {str(term): term for term in range(self._n_terms)}

    def encode_document(self, *_: Any, **__: Any) -> Any:
        parts = (self._by_term.indptr, self._by_term.indices, self._by_term.data)
        tensor = self._torch.sparse_csc_tensor(*(self._torch.from_numpy(part) for part in parts), size=self._by_term.shape)
        return _Columns(tensor)

    def encode_query(self, queries: Sequence[int], **_: Any) -> list[Any]:
        return [self._queries[q] if isinstance(q, int) else self._queries[0] for q in queries]


@dataclass(frozen=True)
class _Columns:
    tensor: Any

    def to_sparse_csc(self) -> Any:
        return self.tensor


def splade_system(task: Task) -> list[System]:
    import splade_index

    logging.getLogger("splade_index").setLevel(logging.WARNING)
    index = splade_index.SPLADE(backend="numba")
    index.index(ReadyModel(task), [""] * task.impacts.shape[0], show_progress=False)

    def search(q: int) -> Any:
        return index.retrieve([q], k=TOP_K, return_as="doc_ids", show_progress=False, n_threads=1)[0]

    size = sum(index.scores[name].nbytes for name in ("data", "indices", "indptr"))
    return [System("splade_index", "splade-index", search, size, task.impacts.nnz)]


def impact_systems(task: Task) -> list[System]:
    import impact_index

    builder = impact_index.IndexBuilder(str(task.folder / "impact"))
    bounds, terms, values = task.impacts.indptr, task.impacts.indices.astype(np.uintp), task.impacts.data
    for document, (i, j) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        builder.add(document, terms[i:j], values[i:j])
    whole = builder.build(True)
    packed = whole.compress(str(task.folder / "impact8"), nbits=8)
    queries = [dict(zip(q[0].tolist(), q[1].tolist(), strict=True)) for q in task.queries]

    def search(index: Any) -> Callable[[int], Any]:
        return lambda q: [hit.docid for hit in index.search_maxscore(queries[q], TOP_K)]

    sizes = [folder_bytes(task.folder / name) for name in ("impact", "impact8")]
    postings = task.impacts.nnz
    return [
        System("impact_index", "impact-index, float32", search(whole), sizes[0], postings),
        System("impact_index_8", "impact-index, 8 bits", search(packed), sizes[1], postings),
    ]


def seismic_system(task: Task) -> list[System]:
    """Approximate. With its defaults it keeps every posting here and builds for many minutes; with these it finds 95 %."""
    import seismic

    n_documents, n_terms = task.impacts.shape
    data = seismic.SeismicDataset(dim=n_terms)
    offsets, terms = task.impacts.indptr.astype(np.int64), task.impacts.indices.astype(np.int64)
    data.add_documents_by_id([str(i) for i in range(n_documents)], terms, task.impacts.data, offsets)
    index = seismic.SeismicIndex.build_from_dataset(data, n_postings=max(n_documents // 200, 50))
    index.save(str(task.folder / "seismic"))
    size = sum(path.stat().st_size for path in task.folder.glob("seismic*"))
    kind = seismic.get_seismic_string()
    queries = [(q[0].astype(kind), q[1]) for q in task.queries]

    def search(q: int) -> list[int]:
        return [int(hit[2]) for hit in index.search("q", *queries[q], k=TOP_K, query_cut=100, heap_factor=0.5)]

    return [System("seismic", "seismic", search, size, task.impacts.nnz)]


PEERS = {
    "scipy": (scipy_systems, "scipy"),
    "bm25s": (bm25s_system, "bm25s"),
    "splade-index": (splade_system, "splade_index"),
    "impact-index": (impact_systems, "impact_index"),
    "pyseismic-lsr": (seismic_system, "seismic"),
}


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def build_systems(task: Task) -> tuple[list[System], dict[str, str]]:
    """All systems that can be had here, and why the others cannot."""
    systems, absent = [*lexite_systems(task), *exhaustive_system(task)], {}
    for package, (build, module) in PEERS.items():
        start = time.perf_counter()
        if find_spec(module) is None:
            absent[package] = "not installed"
            continue
        try:
            with silence():
                systems += build(task)
        except Exception as error:  # another version of a peer may want other arguments; the others go on
            absent[package] = f"failed: {error}"
        print(f"{package}: built in {time.perf_counter() - start:.1f} s", flush=True)
    return systems, absent


@contextmanager
def silence() -> Iterator[None]:
    """Drops what compiled code prints, on both streams."""
    kept = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
