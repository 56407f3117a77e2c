"""First searches of an index on a disk, which read few of its lists: the same hits as scoring every document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, documents_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import lexite.index.foresight
import lexite.index.scorer
import lexite.index.stored_rows
import lexite.kernels.foresight  # one query would be answered without compiled code
from lexite.errors import IndexFormatError
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.reference import reference_search
from lexite.index.scorer import Scorer
from lexite.kernels.posting_lists import CHUNK
from lexite.scoring.rounding import rounded_weights
from lexite.terms import EncodedQueries

N_TERMS = 24
VOCABULARY = VocabularyInfo("f" * 64, "foresight", N_TERMS)


class Searches:
    """What came of first searches: how many were done with few lists, and how many lists were left in these."""

    def __init__(self) -> None:
        self.done, self.given_up, self.left, self.candidates = 0, 0, 0, 0


@pytest.fixture(autouse=True)
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Searches]:
    """Lets small indexes be searched like large ones on a disk whose lists take long to read."""
    seen = Searches()
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: True)
    for name, value in (("LEAST_CHUNKS", 0), ("LEAST_BYTES", 0), ("BYTE_WAIT", 1e6), ("EARLY", 0.2)):
        monkeypatch.setattr(lexite.index.foresight, name, value)
    first_top, find = Scorer._first_top, lexite.index.foresight.find_candidates

    def counted(*arguments: Any) -> Any:
        found = first_top(*arguments)
        seen.done, seen.given_up = seen.done + (found is not None), seen.given_up + (found is None)
        return found

    def looked_at(*arguments: Any) -> Any:
        found = find(*arguments)
        if found is not None:
            seen.left, seen.candidates = seen.left + (found.left_seconds > 0), seen.candidates + len(found.passages)
        return found

    monkeypatch.setattr(Scorer, "_first_top", counted)
    monkeypatch.setattr(lexite.index.scorer, "find_candidates", looked_at)
    yield seen


def weights_of(n: int, seed: int, grid: float = 0.0) -> csr_array:
    """Terms from rare to frequent; a grid makes equal scores likely."""
    generator = np.random.default_rng(seed)
    mask = generator.random((n, N_TERMS)) < np.geomspace(0.02, 0.9, N_TERMS)
    values = generator.gamma(1.5, 1.0, (n, N_TERMS)) + 0.01
    if grid:
        values = np.ceil(values / grid) * grid
    return csr_array((mask * values).astype(np.float32))


def queries_of(n: int, seed: int) -> csr_array:
    generator = np.random.default_rng(seed)
    return csr_array(((generator.random((n, N_TERMS)) < 0.6) * generator.gamma(1.0, 1.0, (n, N_TERMS))).astype(np.float32))


def build(folder: Path, weights: csr_array, first: int = 0, segments: int = 3, **options: Any) -> Path:
    each = -(-weights.shape[0] // segments)
    with BM25Index.create(folder, VOCABULARY, segment_postings=max(int(weights.nnz / segments), 1), **options) as writer:
        for start in range(0, weights.shape[0], each):
            rows = weights[start : start + each]
            writer.add(documents_of(str(first + start + i) for i in range(rows.shape[0])), rows)
        writer.commit()
    return folder


def rounded(weights: csr_array) -> csr_array:
    return csr_array((rounded_weights(weights.data), weights.indices, weights.indptr), shape=weights.shape)


def assert_first_searches(
    open_index: Any, weights: csr_array, queries: csr_array, top_k: int, scoring: BM25Config | None = None, **options: Any
) -> None:
    """Each query is the first of a newly opened index."""
    for row in range(queries.shape[0]):
        index = open_index()
        expected, scores = reference_search(weights, queries[[row]], scoring or index.scoring, top_k)
        found = index.search_arrays(EncodedQueries(queries[[row]]), top_k, **options)
        assert np.array_equal(found[0], expected) and np.array_equal(found[1], scores)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, csr_array]:
    """Two segments, one with three chunks."""
    weights = weights_of(4 * CHUNK + 100, 3, grid=0.25)
    return build(tmp_path_factory.mktemp("foresight") / "i", weights, segments=2), rounded(weights)


@pytest.mark.parametrize("top_k", [1, 10, 200])
def test_few_lists_find_what_all_find(large: tuple[Path, csr_array], top_k: int, searches: Searches) -> None:
    folder, weights = large
    assert_first_searches(lambda: BM25Index.open(folder), weights, queries_of(6, top_k), top_k)
    assert searches.done > 0 and searches.left > 0 and searches.candidates < 0.5 * 6 * weights.shape[0]


@pytest.mark.parametrize("scoring", ALL_SCORINGS[:6:2])
def test_the_same_under_any_scoring_of_the_index(scoring: BM25Config, tmp_path: Path, searches: Searches) -> None:
    weights = weights_of(3000, 1)
    build(tmp_path / "i", weights, scoring=scoring)
    assert_first_searches(lambda: BM25Index.open(tmp_path / "i"), rounded(weights), queries_of(5, 2), 10)
    assert searches.done > 0


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 400),
    segments=st.integers(1, 4),
    seed=st.integers(0, 1000),
    grid=st.sampled_from([0.0, 1.0]),
    top_k=st.integers(1, 12),
    deleted=st.sets(st.integers(0, 399), max_size=30),
    byte_wait=st.sampled_from([0.01, 1e3, 1e6, 1e9]),
    room=st.sampled_from([2, 50, 1 << 16]),
)
def test_deletions_ties_and_any_number_of_documents(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    segments: int,
    seed: int,
    grid: float,
    top_k: int,
    deleted: set[int],
    byte_wait: float,
    room: int,
) -> None:
    folder, weights = tmp_path_factory.mktemp("any") / "i", weights_of(n, seed, grid)
    gone = sorted(document for document in deleted if document < n)
    build(folder, weights, segments=segments)
    with BM25Index.writer(folder) as writer:
        writer.delete([str(document) for document in gone])
        writer.commit()
    living = np.setdiff1d(np.arange(n), gone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexite.index.foresight, "BYTE_WAIT", byte_wait)
        patch.setattr(lexite.index.foresight, "ROOM", room)
        for row in range(3):
            query = queries_of(3, seed + 1)[[row]]
            index = BM25Index.open(folder)
            expected, scores = reference_search(rounded(weights)[living], query, index.scoring, top_k)
            ids = [[str(living[place]) for place in found if place >= 0] for found in expected]
            hits = index.search(EncodedQueries(query), top_k)
            assert [[hit.id for hit in found] for found in hits] == ids
            assert [hit.score for hit in hits[0]] == [float(score) for score in scores[0][: len(ids[0])]]


def test_excluded_documents_and_filtered_searches(large: tuple[Path, csr_array], searches: Searches) -> None:
    folder, weights = large
    query = queries_of(1, 9)
    best = BM25Index.open(folder).search(EncodedQueries(query), 3)[0]
    index = BM25Index.open(folder)
    found = index.search(EncodedQueries(query), 2, exclude=[best[0].id])[0]
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in best[1:]]
    done = searches.done
    among = [hit.id for hit in best[1:]] * 2 + [str(i) for i in range(weights.shape[0] // 2)]
    assert BM25Index.open(folder).search(EncodedQueries(query), 1, among=[among])[0][0].id in among
    BM25Index.open(folder).search(EncodedQueries(query), 3, approximate=True)
    assert searches.done == done, "searches of some passages, and approximate ones, read all lists"


def test_indexes_that_are_searched_as_one(tmp_path: Path, searches: Searches) -> None:
    weights = weights_of(900, 5)
    parts = [build(tmp_path / f"i{i}", weights[300 * i : 300 * (i + 1)], 300 * i, segments=2) for i in range(3)]
    assert_first_searches(lambda: BM25Index.open_several(parts), rounded(weights), queries_of(5, 6), 10)
    assert searches.done > 0


def test_a_later_search_asks_for_the_lists_that_an_earlier_one_left(
    large: tuple[Path, csr_array], searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weights = large
    index, queries = BM25Index.open(folder), queries_of(8, 10)
    for row in range(8):
        expected, scores = reference_search(weights, queries[[row]], index.scoring, 10)
        found = index.search_arrays(EncodedQueries(queries[[row]]), 10)
        assert np.array_equal(found[0], expected) and np.array_equal(found[1], scores)
    every = EncodedQueries(csr_array(np.ones((1, N_TERMS), np.float32)))
    index.search_arrays(every)
    assert searches.done > 1
    index.search_arrays(every)
    index.search_arrays(every)
    disk = index._scorer._disk
    assert disk.wanted(np.arange(N_TERMS, dtype=np.int32), index.scoring) is None, "each is left once at most"


def test_damaged_lists_are_an_error_as_in_any_search(tmp_path: Path) -> None:
    folder = build(tmp_path / "i", weights_of(2000, 1), segments=1)
    (lists,) = folder.glob("segments/*/lists-*.bin")
    content = np.fromfile(lists, np.uint8)
    content[:] = 255
    lists.write_bytes(content.tobytes())
    with pytest.raises(IndexFormatError, match="postings .* are damaged"):
        for row in range(5):
            BM25Index.open(folder).search_arrays(EncodedQueries(queries_of(5, 3)[[row]]), 10)


def test_queries_without_any_known_term_and_indexes_without_documents(tmp_path: Path) -> None:
    weights = weights_of(50, 1)
    weights = csr_array(weights.toarray() * (np.arange(N_TERMS) > 3), dtype=np.float32)
    folder = build(tmp_path / "i", csr_array(weights), segments=1)
    unknown = csr_array(np.eye(1, N_TERMS, dtype=np.float32))
    assert BM25Index.open(folder).search(EncodedQueries(unknown), 5) == [[]]
    assert BM25Index.open(folder).search(EncodedQueries(csr_array((1, N_TERMS), dtype=np.float32)), 5) == [[]]
    with BM25Index.create(tmp_path / "none", VOCABULARY) as writer:
        writer.commit()
    assert BM25Index.open(tmp_path / "none").search(EncodedQueries(unknown), 5) == [[]]


def test_hits_of_score_0_are_found_as_in_any_search(tmp_path: Path) -> None:
    weights = csr_array(weights_of(60, 2).toarray() + np.float32(0.5) * (np.arange(N_TERMS) > 20), dtype=np.float32)
    folder = build(tmp_path / "i", weights, scoring=BM25Config(idf="robertson"))
    query = csr_array((np.arange(N_TERMS)[None] > 20).astype(np.float32))  # all documents have these terms, so that idf is 0
    expected, scores = reference_search(rounded(weights), query, BM25Config(idf="robertson"), 10)
    assert not scores.any() and (expected >= 0).all()
    assert_first_searches(lambda: BM25Index.open(folder), rounded(weights), query, 10)
