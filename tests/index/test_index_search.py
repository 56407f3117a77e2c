"""Searching many documents: several chunks, all forms of lists, pruning, changed statistics, without compiled code."""

from __future__ import annotations

import dataclasses
import gc
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, documents_of, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.postings import ImpactScoring, impact_levels
from lexite.index.reference import reference_search
from lexite.kernels.posting_lists import CHUNK, FULL, GAPS, SPARSE
from lexite.scoring.rounding import rounded_weights
from lexite.terms import EncodedQueries

N_DOCUMENTS, N_TERMS = 2 * CHUNK + 3000, 120


def zipf_weights(n: int, n_terms: int, seed: int, grid: float = 0.0) -> csr_array:
    """Terms from ones that nearly all documents have to ones that a handful have; with a grid many scores are equal."""
    generator = np.random.default_rng(seed)
    shares = np.minimum(0.95, 2.0 / np.arange(1, n_terms + 1) ** 1.4)
    columns = [np.flatnonzero(generator.random(n) < share) for share in shares]
    indptr = np.concatenate([[0], np.cumsum([len(column) for column in columns])])
    values = generator.gamma(1.5, 1.0, indptr[-1]) + 0.01
    if grid:
        values = np.ceil(values / grid) * grid
    from scipy.sparse import csc_array

    return csr_array(csc_array((values.astype(np.float32), np.concatenate(columns), indptr), shape=(n, n_terms)))


@pytest.fixture(scope="module")
def weights() -> csr_array:
    return zipf_weights(N_DOCUMENTS, N_TERMS, seed=1)


@pytest.fixture(scope="module")
def queries() -> csr_array:
    generator = np.random.default_rng(2)
    dense = generator.gamma(1.0, 1.0, (12, N_TERMS)) * (generator.random((12, N_TERMS)) < np.linspace(0.05, 0.9, 12)[:, None])
    return csr_array(dense.astype(np.float32))


@pytest.fixture(scope="module")
def index(weights: csr_array) -> BM25Index:
    return BM25Index.in_memory(weights, [str(i) for i in range(N_DOCUMENTS)])


def assert_equal(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()


def test_all_forms_of_lists_are_met(index: BM25Index) -> None:
    (postings,) = index._scorer.postings(index.scoring)
    used = np.diff(postings.offsets.astype(np.int64)) > 0
    assert set(postings.kinds[used].tolist()) == {GAPS, FULL, SPARSE}


@pytest.mark.parametrize("scoring", ALL_SCORINGS, ids=[s.idf + str(s.k1) for s in ALL_SCORINGS])
@pytest.mark.parametrize("top_k", [1, 10, 2000])
def test_the_same_as_the_reference(
    index: BM25Index, weights: csr_array, queries: csr_array, scoring: BM25Config, top_k: int
) -> None:
    assert_equal(
        index.search_arrays(EncodedQueries(queries), top_k, scoring=scoring), reference_search(weights, queries, scoring, top_k)
    )


def test_without_compiled_code_the_same(
    index: BM25Index, weights: csr_array, queries: csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference_search(weights, queries, index.scoring, 10)
    index._scorer.postings(index.scoring)
    other = BM25Config(k1=3.0, document_transform="log1p")
    expected_other = reference_search(weights, queries, other, 10)
    for row in range(queries.shape[0]):
        fresh = BM25Index(index._commit, _with_lists(index), None)
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "numba")
            patch.delitem(sys.modules, "lexite.kernels.retrieval", raising=False)
            found = fresh.search_arrays(EncodedQueries(queries[[row]]), 10)
            from_rows = fresh.search_arrays(EncodedQueries(queries[[row]]), 10, scoring=other)
            assert "lexite.kernels.retrieval" not in sys.modules
        assert_equal(found, (expected[0][[row]], expected[1][[row]]))
        assert_equal(from_rows, (expected_other[0][[row]], expected_other[1][[row]]))


def _with_lists(index: BM25Index) -> list:
    (segment,), (postings,) = index._scorer.segments, index._scorer.postings(index.scoring)
    return [dataclasses.replace(segment, postings=postings)]


def test_threads_share_the_chunks_of_one_query(weights: csr_array, queries: csr_array, monkeypatch: pytest.MonkeyPatch) -> None:
    import lexite.index.scorer

    monkeypatch.setattr(lexite.index.scorer, "CHUNKS_TO_SPLIT", 1)
    index = BM25Index.in_memory(weights, [str(i) for i in range(N_DOCUMENTS)])
    expected = reference_search(weights, queries, index.scoring, 10)
    for threads in ("2", "3", "7"):
        monkeypatch.setenv("LEXITE_THREADS", threads)
        found = [index.search_arrays(EncodedQueries(queries[[row]]), 10) for row in range(queries.shape[0])]
        assert_equal((np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])), expected)


def test_equal_scores_are_ordered_by_document() -> None:
    weights = zipf_weights(CHUNK + 500, 12, seed=3, grid=2.0)
    queries = csr_array(np.eye(12, dtype=np.float32)[:6] + np.eye(12, k=3, dtype=np.float32)[:6])
    scoring = BM25Config(b=0.0)
    index = BM25Index.in_memory(weights, [str(i) for i in range(weights.shape[0])], scoring)
    assert_equal(index.search_arrays(EncodedQueries(queries), 50), reference_search(weights, queries, scoring, 50))


def test_approximate_search_finds_most_and_scores_exactly(index: BM25Index, queries: csr_array) -> None:
    exact, scores = index.search_arrays(EncodedQueries(queries), 10)
    found, found_scores = index.search_arrays(EncodedQueries(queries), 10, approximate=True)
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert overlap > 0.9
    known = {(row, int(d)): s for row in range(len(exact)) for d, s in zip(exact[row], scores[row], strict=True)}
    for row in range(len(found)):
        for document, score in zip(found[row].tolist(), found_scores[row].tolist(), strict=True):
            assert known.get((row, document), score) == score


@settings(max_examples=25, deadline=None)
@given(
    n=st.sampled_from([1, 300, CHUNK, CHUNK + 1]),
    n_terms=st.sampled_from([1, 7, 60]),
    seed=st.integers(0, 10**6),
    scoring=st.sampled_from(ALL_SCORINGS),
    top_k=st.sampled_from([1, 3, 400]),
)
def test_any_collection(n: int, n_terms: int, seed: int, scoring: BM25Config, top_k: int) -> None:
    weights = zipf_weights(n, n_terms, seed, grid=(seed % 3) * 0.5)
    generator = np.random.default_rng(seed)
    queries = csr_array(((generator.random((5, n_terms)) < 0.4) * generator.gamma(1.0, 1.0, (5, n_terms))).astype(np.float32))
    index = BM25Index.in_memory(weights, [str(i) for i in range(n)], scoring)
    excluded = [str(generator.integers(n)) for _ in range(5)]
    found = index.search_arrays(EncodedQueries(queries), top_k, exclude=excluded)
    everything = reference_search(weights, queries, scoring, n)
    for row in range(5):
        kept = (everything[0][row] >= 0) & (everything[0][row] != int(excluded[row]))
        wanted = everything[0][row][kept][:top_k], everything[1][row][kept][:top_k]
        hits = found[0][row] >= 0
        assert found[0][row][hits].tolist() == wanted[0].tolist() and found[1][row][hits].tolist() == wanted[1].tolist()


def test_impacts_stay_good_while_the_average_length_drifts(tmp_path: Path) -> None:
    # Lists are rebuilt when the average length has moved by more than two percent, and searches are exact all the while.
    info = VocabularyInfo("f", "test", 60)
    first, longer = zipf_weights(400, 60, 1), zipf_weights(40, 60, 2)
    rows = [first]
    with BM25Index.create(tmp_path / "i", info) as writer:
        writer.add(documents_of(f"a{i}" for i in range(400)), first)
        writer.commit()
    generations = []
    for step in range(6):
        more = csr_array(longer * np.float32(1 + step % 3))
        with BM25Index.writer(tmp_path / "i") as writer:
            writer.add(documents_of(f"{step}-{i}" for i in range(40)), more)
            writer.commit()
        rows.append(more)
        from scipy.sparse import vstack

        index = BM25Index.open(tmp_path / "i", verify=True)
        everything = csr_array(vstack(rows))
        everything.data = rounded_weights(everything.data)
        queries = zipf_weights(6, 60, 9)
        assert_equal(index.search_arrays(EncodedQueries(queries), 10), reference_search(everything, queries, index.scoring, 10))
        generations.append(index._commit.segments[0].impacts.generation)
    assert 1 < len(set(generations)) < 6


def test_drift_bounds_the_ratio_of_impacts() -> None:
    base = ImpactScoring.of(BM25Config(), 10.0)
    assert base.drift(ImpactScoring.of(BM25Config(), 12.5)) == 1.25 == ImpactScoring.of(BM25Config(), 12.5).drift(base)
    assert base.drift(ImpactScoring.of(BM25Config(k1=2.0), 10.0)) is None
    assert base.drift(ImpactScoring.of(BM25Config(idf="robertson", query_transform="none"), 10.0)) == 1.0
    assert ImpactScoring.of(BM25Config(b=0.0), 1.0).drift(ImpactScoring.of(BM25Config(b=0.0), 9.0)) == 1.0
    lengths, tf = np.linspace(0.1, 100, 50), np.linspace(0.01, 30, 50)[:, None]
    norms = [1.5 * (0.25 + 0.75 * lengths / average) for average in (10.0, 12.5)]
    ratio = (tf / (tf + norms[0])) / (tf / (tf + norms[1]))
    assert ratio.min() >= 1 / 1.25 and ratio.max() <= 1.25


def test_levels_fall_from_the_largest_impact() -> None:
    assert np.all(np.diff(impact_levels(2.5)) < 0) and impact_levels(2.5)[0] == 2.5


def test_other_scorings_build_lists_once_there_are_queries_enough(weights: csr_array, queries: csr_array) -> None:
    small = weights[:2000]
    index = BM25Index.in_memory(small, [str(i) for i in range(2000)])
    other = BM25Config(k1=0.4)
    for _ in range(3):  # four queries are scored from the rows, then lists are built
        found = index.search_arrays(EncodedQueries(queries[:2]), 10, scoring=other)
        assert_equal(found, reference_search(small, queries[:2], other, 10))


@pytest.mark.slow  # compiles the kernels for other types
def test_wide_vocabularies_and_empty_documents(tmp_path: Path) -> None:
    n_terms = 70_000  # more than 16 bits
    weights = csr_array((np.ones(3, np.float32), np.array([0, 69_999, 69_999]), np.array([0, 2, 2, 3])), shape=(3, n_terms))
    with BM25Index.create(tmp_path / "i", VocabularyInfo("f", "wide", n_terms)) as writer:
        writer.add(documents_of("abc"), weights)
        writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    query = csr_array((np.ones(1, np.float32), np.array([69_999]), np.array([0, 1])), shape=(1, n_terms))
    assert_equal(index.search_arrays(EncodedQueries(query), 5), reference_search(weights, query, index.scoring, 5))
    assert VOCABULARY.n_terms < n_terms


def test_reading_ahead_changes_nothing_and_bears_any_range(tmp_path: Path) -> None:
    from lexite.index.storage import FileRecord, map_bytes, read_ahead

    content = np.random.default_rng(0).integers(0, 256, 20_000).astype(np.uint8)
    content.tofile(tmp_path / "f")
    mapped = map_bytes(tmp_path / "f", FileRecord(20_000, ""), scattered=True)
    read_ahead(mapped, np.array([0, 5000, 19_999, 7, 30_000, -1]), np.array([20_000, 5001, 20_000, 7, 40_000, 5]))
    read_ahead(content, np.array([0]), np.array([10]))
    assert (mapped == content).all()


@pytest.mark.parametrize("scale", [1e-43, 1e-38, 1e17])
def test_extreme_weights(scale: float) -> None:
    weights = zipf_weights(60, 5, 3, grid=1.0) * np.float32(scale)
    queries = csr_array((np.eye(5, dtype=np.float32) + np.eye(5, k=1, dtype=np.float32)) * np.float32(scale))
    for scoring in (BM25Config(query_transform="none"), BM25Config(k1=0.0, query_transform="log1p", idf="bm25+")):
        index = BM25Index.in_memory(csr_array(weights), [str(i) for i in range(60)], scoring)
        assert_equal(index.search_arrays(EncodedQueries(queries), 2), reference_search(csr_array(weights), queries, scoring, 2))


def test_few_lists_are_kept_and_built_again_when_asked_for(weights: csr_array, queries: csr_array) -> None:
    small = weights[:500]
    index = BM25Index.in_memory(small, [str(i) for i in range(500)])
    for _ in range(2):
        for k1 in (0.5, 1.0, 1.5, 2.0, 2.5):
            scoring = BM25Config(k1=k1)
            assert_equal(
                index.search_arrays(EncodedQueries(queries), 5, scoring=scoring), reference_search(small, queries, scoring, 5)
            )
    assert len(index._scorer._lists_of) == 2


def test_an_index_that_nobody_uses_lets_its_files_go_at_once(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of("abc"), weights_of(3, 1))
        writer.commit()

    def used() -> weakref.ref[BM25Index]:
        index = BM25Index.open(tmp_path / "i")
        query = EncodedQueries(weights_of(1, 2))
        index.search(query, scoring=ALL_SCORINGS[0])
        index.search(query)
        index.explain(query, "a")
        index.rows()
        return weakref.ref(index)

    gc.disable()  # no collector is needed
    try:
        assert used()() is None
    finally:
        gc.enable()
