"""Small collections and indexes for the tests of the index."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array, vstack

import lexite.index.storage
from lexite.corpus.records import Document
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.reference import reference_search
from lexite.terms import EncodedQueries

N_TERMS = 40
VOCABULARY = VocabularyInfo("f" * 64, "test", N_TERMS, {"k_documents": 16}, "default")
ALL_SCORINGS = [
    BM25Config(k1=k1, b=b, idf=idf, idf_power=power, document_transform=document_transform, query_transform=query_transform)
    for k1, b, idf, power, document_transform, query_transform in [
        (1.5, 0.75, "lucene", 1.0, "sqrt", "sqrt"),
        (2.5, 0.75, "lucene", 0.75, "none", "pow0.75"),
        (8.0, 0.7, "robertson", 0.5, "sqrt", "none"),
        (1.2, 0.0, "bm25+", 1.0, "log1p", "log1p"),
        (0.0, 1.0, "lucene", 0.0, "none", "sqrt"),
        (0.9, 1.0, "bm25+", 2.0, "none", "none"),
        (2.0, 0.4, "robertson", 1.0, "log1p", "sqrt"),
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
    assert list(index.ids) == list(ids)
    assert index.n_documents == len(ids)
    assert index.n_postings == weights.nnz
    assert index.document_frequency.tolist() == np.bincount(weights.indices, minlength=N_TERMS).tolist()
    queries = weights_of(6, seed=len(ids) + 1000, density=0.15)
    for scoring in scorings:
        expected, scores = reference_search(weights, queries, scoring, top_k)
        hits = index.search(EncodedQueries(queries), top_k, scoring=scoring)
        wanted = [
            [(ids[d], float(s)) for d, s in zip(row, row_scores, strict=True) if d >= 0]
            for row, row_scores in zip(expected, scores, strict=True)
        ]
        assert [[(hit.id, hit.score) for hit in found] for found in hits] == wanted
        assert [hit.rank for found in hits for hit in found] == [r for found in hits for r in range(1, len(found) + 1)]


def stack(rows: Sequence[csr_array]) -> csr_array:
    """Rows of weights as one matrix, also when there are none."""
    return csr_array(vstack(rows, format="csr")) if rows else csr_array((0, N_TERMS), dtype=np.float32)


class Disk:
    """A disk that is full from the n-th operation on: writes to segment files, flushes and renames count."""

    def __init__(self, fail_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = fail_at
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda descriptor: (self.step(), fsync(descriptor))[1])
        monkeypatch.setattr(os, "replace", lambda old, new: (self.step(), replace(old, new))[1])
        monkeypatch.setattr(lexite.index.storage, "open", self.open, raising=False)

    def step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, path: Path, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115
        return file if "r" in mode else _FailingFile(file, self)


class _FailingFile:
    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._disk.step()
        return int(self._file.write(data))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
