"""Threads that share the chunks of one query: the same hits as scoring every document, whoever takes which chunk when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import documents_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import lexite.index.ranker
import lexite.index.scorer
import lexite.kernels.retrieval  # one query would be answered without it, and exactly
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.reference import reference_search
from lexite.kernels.posting_lists import CHUNK
from lexite.kernels.threads import counted
from lexite.scoring.rounding import rounded_weights
from lexite.terms import EncodedQueries

N_TERMS = 24


@pytest.fixture(autouse=True)
def split_everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lexite.index.scorer, "CHUNKS_TO_SPLIT", 1)
    yield


def clustered_weights(n: int, seed: int, grid: float = 0.0) -> csr_array:
    """Documents whose terms and weights depend on where they are, so that chunks differ in what they can add to a score."""
    generator = np.random.default_rng(seed)
    level = 0.2 + np.repeat(generator.random(n // 4096 + 1), 4096)[:n, None]
    mask = generator.random((n, N_TERMS)) < 0.35 * level
    values = generator.gamma(1.5, 1.0, (n, N_TERMS)) * level + 0.01
    if grid:
        values = np.ceil(values / grid) * grid
    return csr_array((mask * values).astype(np.float32))


def queries_of(seed: int, n: int = 5) -> csr_array:
    generator = np.random.default_rng(seed)
    return csr_array(((generator.random((n, N_TERMS)) < 0.5) * generator.gamma(1.0, 1.0, (n, N_TERMS))).astype(np.float32))


@pytest.fixture(scope="module")
def weights() -> csr_array:
    return clustered_weights(3 * CHUNK + 100, 1, grid=0.5)


@pytest.fixture(scope="module")
def folder(weights: csr_array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several segments, each with more than one chunk but the last."""
    path = tmp_path_factory.mktemp("turns") / "i"
    with BM25Index.create(path, VocabularyInfo("f", "turns", N_TERMS), segment_postings=int(weights.nnz * 0.45)) as writer:
        for start in range(0, weights.shape[0], 4096):
            rows = weights[start : start + 4096]
            writer.add(documents_of(str(start + i) for i in range(rows.shape[0])), rows)
        writer.commit()
    return path


def one_by_one(index: BM25Index, queries: csr_array, top_k: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    found = [index.search_arrays(EncodedQueries(queries[[row]]), top_k, **options) for row in range(queries.shape[0])]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


@pytest.mark.parametrize("threads", ["1", "2", "3", "9"])
def test_segments_and_ties(folder: Path, weights: csr_array, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", threads)
    index, queries = BM25Index.open(folder), queries_of(2)
    assert len(index._scorer.segments) > 1
    rounded = csr_array((rounded_weights(weights.data), weights.indices, weights.indptr), shape=weights.shape)
    for top_k in (1, 10, 500):
        expected = reference_search(rounded, queries, index.scoring, top_k)
        found = one_by_one(index, queries, top_k)
        assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()


@pytest.mark.parametrize("threads", ["2", "5"])
def test_deleted_and_excluded_documents_are_no_hits(
    folder: Path, threads: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "i")
    queries = queries_of(3)
    best, _ = one_by_one(BM25Index.open(tmp_path / "i"), queries, 40)
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.delete([str(number) for number in np.unique(best[:, ::2])])
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    monkeypatch.setenv("LEXITE_THREADS", "1")
    alone = one_by_one(index, queries, 30, exclude=[str(best[0, 1])])
    among = np.random.default_rng(4).choice(len(index.ids), 20_000, replace=False)
    some = one_by_one(index, queries, 30, among=[among])
    monkeypatch.setenv("LEXITE_THREADS", threads)
    for expected, options in ((alone, {"exclude": [str(best[0, 1])]}), (some, {"among": [among]})):
        found = one_by_one(index, queries, 30, **options)
        assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()
        assert not np.isin(found[0], best[:, ::2]).any()


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6), threads=st.integers(1, 6), top_k=st.sampled_from([1, 7, 300]), b=st.sampled_from([0.0, 0.75])
)
def test_any_collection(seed: int, threads: int, top_k: int, b: float) -> None:
    weights, queries = clustered_weights(CHUNK + 2000, seed, grid=(seed % 3) * 0.5), queries_of(seed)
    index = BM25Index.in_memory(weights, [str(i) for i in range(weights.shape[0])], BM25Config(b=b))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEXITE_THREADS", str(threads))
        found = one_by_one(index, queries, top_k)
    expected = reference_search(weights, queries, index.scoring, top_k)
    assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()


def test_an_approximate_search_finds_the_same_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "3")
    index, queries = BM25Index.open(folder), queries_of(5)
    runs = [one_by_one(index, queries, 10, approximate=True) for _ in range(5)]
    assert all((run[0] == runs[0][0]).all() and (run[1] == runs[0][1]).all() for run in runs)


def test_an_approximate_search_beside_another_finds_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "3")
    monkeypatch.setattr(lexite.index.ranker, "APPROXIMATE_SHARE", 0.3)  # so that it depends on what a thread knows
    index, queries = BM25Index.open(folder), queries_of(5)
    alone = one_by_one(index, queries, 10, approximate=True)
    with counted():
        beside = one_by_one(index, queries, 10, approximate=True)
    assert (alone[0] == beside[0]).all() and (alone[1] == beside[1]).all()
    assert (alone[0] != one_by_one(index, queries, 10)[0]).any()


def test_a_search_has_no_more_parts_than_chunks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "100000")
    index, parts = BM25Index.open(folder), list[int]()
    merge = lexite.index.scorer._merge_rankings
    monkeypatch.setattr(lexite.index.scorer, "_merge_rankings", lambda own, all: (parts.append(len(own)), merge(own, all)))
    one_by_one(index, queries_of(7, 2), 10)
    assert parts == [sum(-(-segment.n_passages // CHUNK) for segment in index._scorer.segments)] * 2


def test_a_search_beside_another_is_not_split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "2")
    index, queries, merged = BM25Index.open(folder), queries_of(6), list[int]()
    merge = lexite.index.scorer._merge_rankings

    def counting(*given: Any) -> None:
        merged.append(1)
        merge(*given)

    monkeypatch.setattr(lexite.index.scorer, "_merge_rankings", counting)
    alone = one_by_one(index, queries, 10)
    assert len(merged) == queries.shape[0]
    with counted() as first:
        beside = one_by_one(index, queries, 10)
    assert first and len(merged) == queries.shape[0]
    assert (alone[0] == beside[0]).all() and (alone[1] == beside[1]).all()
    one_by_one(index, queries, 10)
    assert len(merged) == 2 * queries.shape[0]


def test_each_turn_is_taken_once() -> None:
    from numba import njit

    from lexite.kernels.turns import take_turn

    @njit(nogil=True)
    def take(counters: np.ndarray, taken: np.ndarray, n: int) -> None:
        while True:
            turn = take_turn(counters, np.int64(1), np.int64(1))
            if turn >= n:
                break
            taken[turn] += 1

    n = 200_000
    counters, taken = np.zeros(3, np.int64), np.zeros(n, np.int64)
    take(np.zeros(3, np.int64), taken[:0], 0)
    threads = [threading.Thread(target=take, args=(counters, taken, n)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (taken == 1).all() and counters.tolist() == [0, n + 4, 0]
