"""Searching among given documents: the hits of a search of all documents, without the others."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from lexite.errors import ArgumentError, IndexFormatError
from lexite.index.checks import check_weights
from lexite.index.reference import reference_search
from lexite.index.scorer import Scorer
from lexite.index.segment import Segment, segment_in_memory
from lexite.kernels.posting_lists import CHUNK
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import Rows

Arrays = tuple[NDArray[np.int32], NDArray[np.float32]]
N_TERMS = 30


def random_rows(n: int, density: float, generator: np.random.Generator) -> csr_array:
    """Raw weights (n, N_TERMS) on a coarse grid, so that many scores are equal."""
    held = generator.random((n, N_TERMS)) < density * np.linspace(1.0, 0.05, N_TERMS)
    return csr_array((held * np.ceil(generator.gamma(1.0, 2.0, (n, N_TERMS)))).astype(np.float32))


def checked(rows: csr_array) -> Rows:
    return check_weights(rows, N_TERMS, str)


def segment_of(rows: csr_array, deleted: NDArray[np.bool_]) -> Segment:
    segment = segment_in_memory(checked(rows), N_TERMS, [str(i).encode() for i in range(rows.shape[0])])
    if not deleted.any():
        return segment
    removed = np.bincount(rows[np.flatnonzero(deleted)].indices, minlength=N_TERMS).astype(np.int64)
    return dataclasses.replace(segment, deleted=deleted, removed=removed)


def with_lists(scorer: Scorer, scoring: BM25Config) -> Scorer:
    """The same segments with posting lists of a scoring, as an index on the disk has them."""
    lists = scorer.postings(scoring)
    return Scorer([dataclasses.replace(s, postings=p) for s, p in zip(scorer.segments, lists, strict=True)], N_TERMS)


def expected_hits(
    rows: csr_array, dead: NDArray[np.bool_], queries: csr_array, scoring: BM25Config, top_k: int, among: Sequence[object]
) -> Arrays:
    """The reference's ranking of all living documents, without those that are not meant."""
    living = np.flatnonzero(~dead)
    found, scores = reference_search(rows[living], queries, scoring, len(living))
    documents = np.full((queries.shape[0], top_k), -1, dtype=np.int32)
    values = np.zeros((queries.shape[0], top_k), dtype=np.float32)
    for row, meant in enumerate(among):
        kept = found[row] >= 0
        kept[kept] = np.isin(living[found[row][kept]], np.asarray(meant))
        best = np.flatnonzero(kept)[:top_k]
        documents[row, : len(best)], values[row, : len(best)] = living[found[row][best]], scores[row][best]
    return documents, values


def assert_equal(found: Arrays, expected: Arrays) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def without_numba(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(sys.modules, "numba")
    patch.delitem(sys.modules, "lexite.kernels.retrieval", raising=False)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    meant=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    dead=st.sampled_from([0.0, 0.3, 1.0]),
    scoring=st.sampled_from(ALL_SCORINGS),
    top_k=st.sampled_from([1, 4, 200]),
    way=st.sampled_from(["lists", "rows", "numpy lists", "numpy rows"]),
)
def test_the_same_as_ranking_all_and_filtering(
    sizes: list[int], seed: int, meant: float, dead: float, scoring: BM25Config, top_k: int, way: str
) -> None:
    generator = np.random.default_rng(seed)
    parts = [random_rows(n, 0.6, generator) for n in sizes]
    deleted = [generator.random(n) < dead for n in sizes]
    n_queries = 2 if "numpy" in way else 5
    queries = random_rows(n_queries, float(generator.choice([0.1, 0.9])), generator)
    n = sum(sizes)
    among = [generator.permutation(np.flatnonzero(np.repeat(generator.random(n) < meant, 2)) // 2) for _ in range(n_queries)]
    scorer = Scorer([segment_of(rows, gone) for rows, gone in zip(parts, deleted, strict=True)], N_TERMS)
    if "lists" in way:
        scorer = with_lists(scorer, scoring)
    excluded = np.full(n_queries, -1)
    with pytest.MonkeyPatch.context() as patch:
        if "numpy" in way:
            without_numba(patch)
        found = scorer.top(checked(queries), top_k, scoring, excluded, among=among)
        assert "numpy" not in way or "lexite.kernels.retrieval" not in sys.modules
    rows = csr_array(vstack(parts))
    assert_equal(found, expected_hits(rows, np.concatenate(deleted), queries, scoring, top_k, among))


@pytest.fixture(scope="module")
def large() -> tuple[csr_array, NDArray[np.bool_], Scorer]:
    """A segment of several chunks with deleted documents."""
    generator = np.random.default_rng(4)
    rows = random_rows(2 * CHUNK + 700, 0.5, generator)
    dead = generator.random(rows.shape[0]) < 0.1
    return rows, dead, with_lists(Scorer([segment_of(rows, dead)], N_TERMS), BM25Config())


@pytest.mark.parametrize("loaded", [True, False], ids=["compiled", "numpy"])
@pytest.mark.parametrize("chosen", ["one", "few", "one chunk", "most", "all"])
def test_many_documents(
    large: tuple[csr_array, NDArray[np.bool_], Scorer], chosen: str, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, dead, scorer = large
    generator = np.random.default_rng(7)
    n = rows.shape[0]
    numbers = {
        "one": np.array([int(np.flatnonzero(~dead)[-1])]),
        "few": generator.choice(n, 40, replace=False),
        "one chunk": np.arange(CHUNK + 5, 2 * CHUNK - 9),
        "most": np.flatnonzero(generator.random(n) < 0.7),
        "all": np.arange(n),
    }[chosen]
    queries = random_rows(2, 0.8, generator)
    if not loaded:
        without_numba(monkeypatch)
    among = [numbers, numbers]
    found = scorer.top(checked(queries), 25, BM25Config(), np.array([-1, -1]), among=among)
    assert_equal(found, expected_hits(rows, dead, queries, BM25Config(), 25, among))


def test_threads_share_the_chunks_of_one_query(
    large: tuple[csr_array, NDArray[np.bool_], Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import lexite.index.scorer

    monkeypatch.setattr(lexite.index.scorer, "CHUNKS_TO_SPLIT", 1)
    monkeypatch.setenv("LEXITE_THREADS", "3")
    rows, dead, scorer = large
    query = random_rows(1, 0.9, np.random.default_rng(9))
    for scoring in (BM25Config(), BM25Config(k1=0.7)):  # from the lists, and from the rows
        for step in (3, 1000):
            among = [np.arange(1, rows.shape[0], step)]
            found = scorer.top(checked(query), 9, scoring, np.array([-1]), among=among)
            assert_equal(found, expected_hits(rows, dead, query, scoring, 9, among))


def test_an_excluded_document_is_no_hit_though_it_is_meant() -> None:
    rows = csr_array(np.ones((6, N_TERMS), dtype=np.float32))
    scorer = Scorer([segment_of(rows, np.zeros(6, dtype=bool))], N_TERMS)
    among = [np.array([4, 2, 4, 5])]
    for scoring in (BM25Config(), BM25Config(b=0.0)):
        documents, _ = scorer.top(checked(rows[:1]), 3, scoring, np.array([4]), among=among)
        assert documents.tolist() == [[2, 5, -1]]


def test_few_documents_of_another_scoring_do_not_make_lists() -> None:
    generator = np.random.default_rng(2)
    rows, queries = random_rows(300, 0.5, generator), random_rows(20, 0.5, generator)
    scorer = Scorer([segment_of(rows, np.zeros(300, dtype=bool))], N_TERMS)
    among = [np.arange(i, 300, 30) for i in range(20)]
    found = scorer.top(checked(queries), 5, BM25Config(), np.full(20, -1), among=among)
    assert_equal(found, expected_hits(rows, np.zeros(300, dtype=bool), queries, BM25Config(), 5, among))
    assert not scorer._lists_of
    scorer.top(checked(queries), 5, BM25Config(), np.full(20, -1), among=[np.arange(300)] * 20)
    assert scorer._lists_of


def test_wrong_documents_are_refused() -> None:
    rows = random_rows(8, 0.9, np.random.default_rng(1))
    scorer, queries = Scorer([segment_of(rows, np.zeros(8, dtype=bool))], N_TERMS), checked(rows[:2])

    def search(*among: object) -> Arrays:
        return scorer.top(queries, 3, BM25Config(), np.array([-1, -1]), among=among)  # type: ignore[arg-type]

    with pytest.raises(IndexError, match="no document number 8 to search among for query number 2; the index has 8"):
        search(np.array([0]), np.array([1, 8, 2]))
    with pytest.raises(IndexError, match="no document number -1"):
        search(np.array([-1]), np.array([1]))
    with pytest.raises(ArgumentError, match="2 queries, but documents to search among for 1"):
        search(np.array([0]))
    for wrong in (np.ones(8, dtype=bool), np.array([0.0, 1.0]), np.array([[1, 2]]), np.array(["1"])):
        with pytest.raises(ArgumentError, match="query number 1 are of the type"):
            search(wrong, np.array([1]))
    documents, scores = search([], [3, 1])
    assert documents[0].tolist() == [-1, -1, -1] and scores[0].tolist() == [0.0, 0.0, 0.0]
    assert set(documents[1].tolist()) <= {3, 1, -1}


def test_damaged_rows_are_noticed() -> None:
    rows = random_rows(50, 0.9, np.random.default_rng(1))
    segment = segment_of(rows, np.zeros(50, dtype=bool))
    damaged = dataclasses.replace(
        segment, rows=dataclasses.replace(segment.rows, terms=np.full_like(segment.rows.terms, N_TERMS + 7))
    )
    scorer = Scorer([damaged], N_TERMS)
    with pytest.raises(IndexFormatError, match="damaged"):
        scorer.top(checked(rows[:1]), 3, BM25Config(), np.array([-1]), among=[np.array([3])])


@pytest.mark.parametrize("loaded", [True, False], ids=["compiled", "numpy"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.6, 1.0])
def test_masks_find_what_numbers_find(
    large: tuple[csr_array, NDArray[np.bool_], Scorer], share: float, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, dead, scorer = large
    generator = np.random.default_rng(11)
    wanted = (generator.random(rows.shape[0]) < share) & ~dead
    queries = random_rows(2, 0.8, generator)
    if not loaded:
        without_numba(monkeypatch)
    among = [np.flatnonzero(wanted)] * 2
    excluded = np.array([-1, among[0][0] if len(among[0]) else -1])
    for top_k in (1, 12, 400):
        expected = expected_hits(rows, dead, queries, BM25Config(), top_k, [among[0], np.setdiff1d(among[1], excluded)])
        live = [wanted.view(np.uint8)]
        assert_equal(scorer.top(checked(queries), top_k, BM25Config(), excluded, live=live), expected)
        assert_equal(scorer.top(checked(queries), top_k, BM25Config(), excluded, among=among), expected)
