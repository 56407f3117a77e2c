"""Encoded queries: what they carry, slices of them, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, dok_array, lil_array

from lexite.backbone import BackboneConfig
from lexite.errors import ArgumentError, IndexFormatError
from lexite.index import BM25Index
from lexite.scoring.rows import CSRRows
from lexite.search.indexing import recorded
from lexite.terms import EncodedQueries, TermsConfig

DENSE = np.array([[0, 2, 0.5], [0, 0, 0], [1, 0, 0], [3, 0, 4]], dtype=np.float32)
TEXTS = ["plants", "", "light", "sugar"]


def made(rows: Any = None, texts: Any = TEXTS, **more: Any) -> EncodedQueries:
    return EncodedQueries(csr_array(DENSE) if rows is None else rows, texts, **more)


def without_scipy(dense: np.ndarray = DENSE) -> CSRRows:
    matrix = csr_array(dense)
    return CSRRows(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def test_they_carry_rows_and_texts() -> None:
    queries = made()
    assert len(queries) == 4
    assert queries.shape == (4, 3)
    assert queries.n_terms == 5
    assert queries.texts == tuple(TEXTS)
    np.testing.assert_array_equal(queries.to_csr().toarray(), DENSE)


def test_rows_from_elsewhere_need_no_texts_and_claim_nothing() -> None:
    queries = made(texts=None)
    known = (queries.texts, queries.fingerprint, dict(queries.settings), queries.deliberate)
    assert known == (None, "", {}, frozenset())
    assert queries[1:].texts is None


@pytest.mark.parametrize(
    ("n", "shown"),
    [
        (0, "EncodedQueries(0 queries, 0.0 terms each)"),
        (1, "EncodedQueries(1 query, 2.0 terms each)"),
        (4, "EncodedQueries(4 queries, 1.2 terms each)"),
    ],
)
def test_it_shows_what_it_is(n: int, shown: str) -> None:
    assert repr(made()[:n]) == shown


@pytest.mark.parametrize("make", [csr_array, without_scipy])
@given(first=st.none() | st.integers(-6, 6), last=st.none() | st.integers(-6, 6))
def test_a_slice_has_the_rows_and_texts_of_a_list_and_the_same_settings(make: Any, first: int | None, last: int | None) -> None:
    queries = made(make(DENSE), fingerprint="abc", settings={"k_queries": 3}, deliberate=frozenset({"k_queries"}))
    part = queries[first:last]
    np.testing.assert_array_equal(part.to_csr().toarray(), DENSE[first:last])
    assert part.texts == tuple(TEXTS[first:last])
    assert (part.fingerprint, part.settings, part.deliberate) == ("abc", {"k_queries": 3}, {"k_queries"})
    assert len(queries) == 4, "the queries that were cut are left alone"


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=5, max_size=5), max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_two_slices_one_after_the_other_are_one(rows: list[list[float]], first: int, last: int) -> None:
    dense = np.array(rows, dtype=np.float32).reshape(-1, 5)
    queries = made(without_scipy(dense), [str(number) for number in range(len(rows))])
    twice, once = queries[first:][:last], queries[first : first + last]
    np.testing.assert_array_equal(twice.to_csr().toarray(), once.to_csr().toarray())
    assert twice.texts == once.texts
    assert sum(len(part) for part in (queries[:first], queries[first:])) == len(queries)


@given(st.integers(-4, 3))
def test_a_number_gives_one_query(number: int) -> None:
    one = made()[number]
    np.testing.assert_array_equal(one.to_csr().toarray(), DENSE[[number]])
    assert one.texts == (TEXTS[number],)


@pytest.mark.parametrize("number", [4, -5])
def test_a_number_that_there_is_not_is_an_index_error(number: int) -> None:
    with pytest.raises(IndexError):
        made()[number]


def test_a_slice_with_a_step_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no step"):
        made()[::2]


@pytest.mark.parametrize("make", [csr_array, without_scipy])
def test_iteration_gives_each_query_alone(make: Any) -> None:
    parts = list(made(make(DENSE)))
    assert [part.texts for part in parts] == [(text,) for text in TEXTS]
    np.testing.assert_array_equal(np.vstack([part.to_csr().toarray() for part in parts]), DENSE)


@pytest.mark.parametrize("make", [csc_array, coo_array, lil_array, dok_array, bsr_array])
def test_other_sparse_formats_are_taken(make: Any) -> None:
    queries = made(make(DENSE))
    np.testing.assert_array_equal(queries.to_csr().toarray(), DENSE)
    np.testing.assert_array_equal(queries[2:].to_csr().toarray(), DENSE[2:])
    index = BM25Index.in_memory(csr_array(DENSE), ["a", "b", "c", "d"])
    assert index.search(queries) == index.search(made())


def test_weights_come_out_in_float32() -> None:
    assert made(csr_array(DENSE.astype(np.float64))).to_csr().dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("plants", "Queries are a str"),
        (["plants"], "Queries are a list"),
        (None, "Queries are a NoneType"),
        (DENSE, r"dense array. Give a sparse matrix: scipy.sparse.csr_array\(weights\)"),
        (coo_array(DENSE[0]), "two dimensions"),
    ],
)
def test_what_is_no_sparse_matrix_is_refused(rows: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        EncodedQueries(rows)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (TEXTS[:3], "There are 4 queries, but 3 texts"),
        ([], "There are 4 queries, but 0 texts"),
        ("four", "texts is one text"),
        (b"four", "texts is one text"),
    ],
)
def test_there_is_a_text_for_each_query(texts: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        made(texts=texts)


def test_the_encoder_says_how_queries_were_encoded(encoder, texts) -> None:
    recorded_ones = encoder.encode_queries(texts)
    assert recorded_ones.settings == {"k_queries": 4, "floor_queries": 0.0, "query_prompt": None, "long": None}
    assert recorded_ones.deliberate == frozenset()
    other = encoder.encode_queries(texts, k=2, floor=0.5)
    assert (other.settings["k_queries"], other.settings["floor_queries"]) == (2, 0.5)
    assert other.deliberate == {"k_queries", "floor_queries"}
    assert encoder.encode_queries(texts, k=2).deliberate == {"k_queries"}
    assert encoder.encode_queries([]).deliberate == frozenset()


def test_an_index_refuses_what_was_encoded_in_another_way_unless_that_was_meant(encoder, texts) -> None:
    """Each setting that differs is named; one that the caller chose is taken."""
    ids = [str(number) for number in range(len(texts))]
    index = BM25Index.in_memory(encoder.encode_documents(texts), ids, encoder.scoring, recorded(encoder))
    wanted = index.search(encoder.encode_queries(["river bank"], k=2))
    assert wanted[0]
    changed = encoder.replaced(terms=TermsConfig(k_queries=2, floor_documents=0.0, floor_queries=0.0))
    with pytest.raises(IndexFormatError, match="k_queries 4 instead of 2"):
        index.search(changed.encode_queries(["river bank"]))
    meant = dataclasses.replace(changed.encode_queries(["river bank"]), deliberate=frozenset({"k_queries"}))
    assert index.search(meant) == wanted


def test_an_index_refuses_queries_of_another_vocabulary(encoder, texts, make_backbone) -> None:
    ids = [str(number) for number in range(len(texts))]
    index = BM25Index.in_memory(encoder.encode_documents(texts), ids, encoder.scoring, recorded(encoder))
    other = encoder.replaced(backbone=make_backbone(BackboneConfig(model="fake-model", document_prompt="passage: ")))
    with pytest.raises(IndexFormatError, match="made with the vocabulary 'tiny'"):
        index.search(other.encode_queries(["river bank"]))
    rows = other.encode_queries(["river bank"]).rows
    assert len(index.search(EncodedQueries(rows))) == 1, "raw weights from elsewhere are compared with nothing"


def test_an_index_of_weights_whose_vocabulary_nobody_named_takes_all_queries(encoder, texts) -> None:
    ids = [str(number) for number in range(len(texts))]
    rows = encoder.encode_documents(texts)
    unnamed = BM25Index.in_memory(rows, ids, encoder.scoring)
    named = BM25Index.in_memory(rows, ids, encoder.scoring, recorded(encoder))
    queries = encoder.encode_queries(["river bank"])
    assert unnamed.search(queries) == named.search(queries) != [[]]
