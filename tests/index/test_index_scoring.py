from __future__ import annotations

import math

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, assert_same_as_reference, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from lexite.errors import ArgumentError, CorpusError, IndexFormatError, ModelError
from lexite.index import BM25Config, BM25Index
from lexite.index.reference import reference_search
from lexite.scoring.formula import inverse_document_frequency, worth_of_terms
from lexite.terms import EncodedQueries


def names(n: int) -> list[str]:
    return [f"d{i}" for i in range(n)]


@pytest.mark.parametrize("scoring", ALL_SCORINGS, ids=str)
@pytest.mark.parametrize("top_k", [1, 3, 60, 1000])
def test_kernel_equals_reference(scoring: BM25Config, top_k: int) -> None:
    weights = weights_of(60, seed=1)
    index = BM25Index.in_memory(weights, names(60))
    assert_same_as_reference(index, names(60), weights, [scoring], top_k)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 30), seed=st.integers(0, 10**6), density=st.floats(0.0, 1.0), top_k=st.integers(0, 40))
def test_kernel_equals_reference_on_any_collection(n: int, seed: int, density: float, top_k: int) -> None:
    weights = weights_of(n, seed, density)
    assert_same_as_reference(BM25Index.in_memory(weights, names(n)), names(n), weights, top_k=top_k)


def test_more_postings_than_a_block() -> None:
    n = 1700
    weights = weights_of(n, seed=4, density=0.9)
    assert_same_as_reference(BM25Index.in_memory(weights, names(n)), names(n), weights, ALL_SCORINGS[:3], top_k=50)


def test_score_by_hand() -> None:
    weights = csr_array(np.array([[4.0, 0.0, 1.0], [0.0, 9.0, 0.0], [1.0, 0.0, 0.0]]))
    roots = BM25Config(k1=1.2, b=0.5, idf_power=1.0, document_transform="sqrt", query_transform="sqrt")
    index = BM25Index.in_memory(weights, ["a", "b", "c"], BM25Config(document_transform="sqrt"))
    lengths, average = [2 + 1, 3, 1], 7 / 3
    assert index.average_length() == pytest.approx(average)
    hits = index.search(EncodedQueries(csr_array(np.array([[0.25, 0.0, 0.0]]))), scoring=roots)[0]
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = {
        "a": 2 / (2 + 1.2 * (0.5 + 0.5 * lengths[0] / average)),
        "c": 1 / (1 + 1.2 * (0.5 + 0.5 * lengths[2] / average)),
    }
    assert {hit.id: hit.score for hit in hits} == pytest.approx({key: 0.5 * idf * value for key, value in expected.items()})


def test_score_with_defaults_by_hand() -> None:
    weights = csr_array(np.array([[4.0, 0.0, 1.0], [0.0, 9.0, 0.0], [1.0, 0.0, 0.0]]))
    index = BM25Index.in_memory(weights, ["a", "b", "c"])
    assert index.average_length() == pytest.approx(5.0)
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = {"a": 4 / (4 + 2.5 * (0.25 + 0.75 * 5 / 5)), "c": 1 / (1 + 2.5 * (0.25 + 0.75 * 1 / 5))}
    hits = index.search(EncodedQueries(csr_array(np.array([[16.0, 0.0, 0.0]]))))[0]  # 16 to the power 0.75 is 8
    assert {hit.id: hit.score for hit in hits} == pytest.approx({key: 8 * idf**0.5 * value for key, value in expected.items()})


def test_equal_scores_keep_document_order_whatever_k_is() -> None:
    weights = csr_array(np.ones((20, 1)))
    index = BM25Index.in_memory(weights, names(20))
    for k in (1, 5, 19, 20, 30):
        assert [hit.id for hit in index.search(EncodedQueries(csr_array([[1.0]])), k)[0]] == names(min(k, 20))


def test_a_term_with_idf_zero_still_makes_hits() -> None:
    weights = csr_array(np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 0.0]]))
    index = BM25Index.in_memory(weights, ["a", "b", "c"])
    hits = index.search(EncodedQueries(csr_array([[1.0, 0.0]])), scoring=BM25Config(idf="robertson"))[0]
    assert [(hit.id, hit.score) for hit in hits] == [("a", 0.0), ("b", 0.0)]


def test_excluded_documents_are_no_hits() -> None:
    index = BM25Index.in_memory(weights_of(30, 2, 0.5), names(30))
    queries = weights_of(3, 3, 0.5)
    plain = index.search(EncodedQueries(queries), 30)
    first = plain[0][0].id
    found = index.search(EncodedQueries(queries), 30, exclude=[first, None, "nowhere"])
    assert [hit.id for hit in found[0]] == [hit.id for hit in plain[0]][1:]
    assert found[1:] == plain[1:]
    with pytest.raises(ModelError, match="given for 1 queries, but 3 are asked"):
        index.search(EncodedQueries(queries), exclude=["d1"])


def test_explanation_sums_to_the_score() -> None:
    index = BM25Index.in_memory(weights_of(50, 5, 0.4), names(50))
    query = weights_of(1, 6, 0.5)
    for scoring in ALL_SCORINGS:
        for hit in index.search(EncodedQueries(query), 20, scoring=scoring)[0]:
            explanation = index.explain(EncodedQueries(query), hit.document, scoring=scoring)
            assert explanation.score == hit.score == math.fsum(value for _, value in explanation.leaves())
            parts = [term.score for term in explanation.terms]
            assert parts == sorted(parts, reverse=True)
            assert {term.term for term in explanation.terms} <= set(query.indices.tolist())
    with pytest.raises(ArgumentError, match="One query"):
        index.explain(EncodedQueries(weights_of(2, 6)), 0)
    with pytest.raises(IndexError, match="no document number 50"):
        index.explain(EncodedQueries(query), 50)


def test_arrays_are_padded() -> None:
    index = BM25Index.in_memory(csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])), ["a", "b", "c"])
    documents, scores = index.search_arrays(EncodedQueries(csr_array([[1.0, 0.0], [0.0, 0.0]])), 100)
    assert documents.tolist() == [[0, -1, -1], [-1, -1, -1]]
    assert documents.dtype == np.int32 and scores.dtype == np.float32
    assert (scores[documents < 0] == 0).all() and scores[0, 0] > 0
    assert index.search_arrays(EncodedQueries(csr_array((0, 2))), 5)[0].shape == (0, 3)
    assert index.search(EncodedQueries(csr_array([[1.0, 0.0]])), 0) == [[]]
    with pytest.raises(ArgumentError, match="top_k is -1"):
        index.search(EncodedQueries(csr_array([[1.0, 0.0]])), -1)


def test_weights_in_other_forms_mean_the_same() -> None:
    plain = weights_of(12, 8, 0.5)
    twice = coo_array(plain)
    doubled = csr_array(
        (np.r_[plain.data, plain.data] / 2, np.r_[plain.indices, plain.indices][::1], plain.indptr * 2), plain.shape
    )
    rows = np.repeat(np.arange(12), np.diff(plain.indptr))
    order = np.lexsort((np.random.default_rng(0).random(2 * plain.nnz), np.r_[rows, rows]))
    doubled = csr_array(
        (np.r_[plain.data, plain.data][order] / 2, np.r_[plain.indices, plain.indices][order], plain.indptr * 2),
        shape=plain.shape,
    )
    zeros = plain.copy()
    zeros.data = np.where(np.arange(plain.nnz) % 3 == 0, 0, zeros.data).astype(np.float64)
    kept = zeros.copy()
    kept.eliminate_zeros()
    expected = BM25Index.in_memory(plain, names(12)).search(EncodedQueries(weights_of(4, 9)))
    for form in (twice, doubled, plain.tocsc()):
        assert BM25Index.in_memory(form, names(12)).search(EncodedQueries(weights_of(4, 9))) == expected
        assert BM25Index.in_memory(plain, names(12)).search(EncodedQueries(weights_of(4, 9).tocoo())) == expected
    assert BM25Index.in_memory(zeros, names(12)).n_postings == kept.nnz
    assert_same_as_reference(BM25Index.in_memory(zeros, names(12)), names(12), kept.astype(np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_bad_weights_are_refused(bad: float) -> None:
    weights = weights_of(5, 1, 0.6)
    index = BM25Index.in_memory(weights, names(5))
    weights.data[int(weights.indptr[3])] = bad
    with pytest.raises(ModelError, match=r"of document 'd3' is .*finite and not negative"):
        BM25Index.in_memory(weights, names(5))
    with pytest.raises(ModelError, match="query number 4"):
        index.search(EncodedQueries(weights))


def test_broken_arrays_are_refused() -> None:
    class Broken:
        def __init__(self, indptr: list[int], indices: list[int]) -> None:
            self.indptr, self.indices, self.data = np.array(indptr), np.array(indices), np.ones(len(indices))
            self.shape = (len(indptr) - 1, N_TERMS)

    for indptr, indices in ([0, 3], [1]), ([0, 2, 1], [1, 2]), ([1, 2], [1, 2]):
        with pytest.raises(ModelError, match="row bounds"):
            BM25Index.in_memory(Broken(indptr, indices), names(len(indptr) - 1))
    for term in (-1, N_TERMS):
        with pytest.raises(ModelError, match="outside 0"):
            BM25Index.in_memory(Broken([0, 1], [term]), names(1))


def test_queries_of_another_vocabulary_are_refused() -> None:
    index = BM25Index.in_memory(weights_of(5, 1), names(5), vocabulary=VOCABULARY)
    own = EncodedQueries(weights_of(1, 2), fingerprint=VOCABULARY.fingerprint)
    assert index.search(own) == index.search(EncodedQueries(weights_of(1, 2)))
    with pytest.raises(IndexFormatError, match="vocabulary 'test'"):
        index.search(EncodedQueries(weights_of(1, 2), fingerprint="e" * 64))
    with pytest.raises(IndexFormatError, match="40 terms"):
        index.search(EncodedQueries(csr_array((1, N_TERMS + 1))))


def test_in_memory_ids() -> None:
    weights = weights_of(3, 1)
    with pytest.raises(CorpusError, match="different ids"):
        BM25Index.in_memory(weights, ["a", "b", "a"])
    with pytest.raises(CorpusError, match="3 documents"):
        BM25Index.in_memory(weights, ["a", "b"])
    index = BM25Index.in_memory(weights, ["a", "b", "ü\ud800"])
    assert index.find("b") == 1 and index.find("x") is None and "ü\ud800" in index and len(index) == 3
    assert index.document_id(2) == "ü\ud800" and index.stored(1).text == ""
    assert index.info()["n_segments"] == 1 and index.info()["path"] is None
    index.verify()  # nothing to compare with


def test_empty_collection() -> None:
    index = BM25Index.in_memory(csr_array((0, N_TERMS)), [])
    assert index.search(EncodedQueries(weights_of(2, 1))) == [[], []]
    assert index.average_length("none") == 0.0 and index.info()["postings_per_document"] == 0.0


def test_idf_forms() -> None:
    df = np.array([0, 1, 5, 10])
    assert inverse_document_frequency(10, df, "lucene") == pytest.approx(
        [0, np.log(1 + 9.5 / 1.5), np.log(2), np.log(1 + 0.5 / 10.5)]
    )
    assert inverse_document_frequency(10, df, "robertson") == pytest.approx([0, np.log(9.5 / 1.5), 0, 0])
    assert inverse_document_frequency(10, df, "bm25+") == pytest.approx([0, np.log(11), np.log(11 / 5), np.log(1.1)])


def test_the_power_of_idf_acts_on_latents_alone() -> None:
    df = np.array([0, 1, 5, 10, 0, 5])
    plain = inverse_document_frequency(10, df, "lucene")
    worth = worth_of_terms(10, df, 4, BM25Config(idf_power=0.5, literal_weight=3.0))
    assert worth == pytest.approx([*np.sqrt(plain[:4]), *(3.0 * plain[4:])])
    alike = worth_of_terms(10, df, 4, BM25Config(idf_power=0.0))
    assert alike[:4].tolist() == [0.0, 1.0, 1.0, 1.0]  # a term that no document has is worth nothing


def test_threads_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, queries = weights_of(200, 3, 0.4), weights_of(33, 4, 0.3)
    index = BM25Index.in_memory(weights, names(200))
    monkeypatch.setenv("LEXITE_THREADS", "1")
    alone = index.search_arrays(EncodedQueries(queries), 20)
    monkeypatch.setenv("LEXITE_THREADS", "5")
    together = index.search_arrays(EncodedQueries(queries), 20)
    expected = reference_search(weights, queries, index.scoring, 20)
    for result in (alone, together):
        assert (result[0] == expected[0]).all() and (result[1] == expected[1]).all()
