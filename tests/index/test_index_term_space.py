"""Queries with weights of words of their own, and documents and queries as vectors over the terms."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, documents_of, weights_of
from helpers_words import NAMES, texts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.errors import ArgumentError, CorpusError
from lexite.index import BM25Config, BM25Index
from lexite.index.reference import reference_rows, reference_search
from lexite.scoring.words import LiteralConfig
from lexite.terms import EncodedQueries

WEIGHTS = st.dictionaries(st.sampled_from([*NAMES[:30], "unknown"]), st.floats(0, 8, width=32), max_size=6)
N = 25


def index_with_words(seed: int) -> tuple[BM25Index, csr_array, list[str], list[str]]:
    """An index, its rows, its words and the texts of its documents."""
    weights, texts = weights_of(N, seed), texts_of(N, seed)
    index = BM25Index.in_memory(weights, [f"d{n}" for n in range(N)], texts=texts)
    words = [index.word(term) for term in range(N_TERMS, index.n_terms)]
    return index, reference_rows(weights, texts, words, 4.0, "english"), words, texts


@settings(max_examples=20)
@given(st.integers(0, 20), st.lists(st.none() | WEIGHTS, min_size=3, max_size=3), st.sampled_from(ALL_SCORINGS))
def test_weights_of_words_are_searched_as_the_reference_does(seed: int, given_words: list, scoring: BM25Config) -> None:
    index, rows, words, texts = index_with_words(seed)
    queries, asked = weights_of(3, seed + 100, 0.1), texts[:3]
    encoded = EncodedQueries(queries, asked, word_weights=given_words)
    wanted = reference_rows(queries, asked, words, 1.0, "english", given_words)
    documents, scores = reference_search(rows, wanted, scoring, 9, N_TERMS)
    for _ in range(2):  # from the rows first, then from lists
        found, found_scores = index.search_arrays(encoded, 9, scoring=scoring)
        assert np.array_equal(found, documents) and np.array_equal(found_scores, scores)
    one = EncodedQueries(queries[[0]], asked[:1], word_weights=given_words[:1])  # alone, by numpy or compiled
    assert np.array_equal(index.search_arrays(one, 9, scoring=scoring)[1], scores[:1])
    for number, query in enumerate(encoded):
        for hit in index.search(query, 3, scoring=scoring)[0]:
            why = index.explain(query, hit.id, scoring=scoring)
            assert why.score == hit.score == float(np.float32(sum(value for _, value in why.leaves())))
            own = given_words[number]
            assert all(term.word in own for term in why.terms if own is not None and term.word is not None)


def test_words_need_no_texts_and_a_query_without_its_own_has_those_of_its_text() -> None:
    index = BM25Index.in_memory(csr_array(np.eye(2, 3)), ["a", "b"], texts=["solar energy", "lunar tides"])
    nothing = csr_array((1, 3))
    assert [hit.id for hit in index.search(EncodedQueries(nothing, word_weights=[{"tides": 2.0}]))[0]] == ["b"]
    assert [hit.id for hit in index.search(EncodedQueries(nothing, ["solar"], word_weights=[None]))[0]] == ["a"]
    assert index.search(EncodedQueries(nothing, ["solar"], word_weights=[{}])) == [[]]
    assert index.search(EncodedQueries(nothing, ["solar"], word_weights=[{"solar": 0.0, "moon": 1.0}])) == [[]]
    both = EncodedQueries(csr_array((2, 3)), ["solar", "solar"], word_weights=[None, {"lunar": 1.0}])
    assert [[hit.id for hit in hits] for hits in index.search(both)] == [["a"], ["b"]]
    assert both[1].word_weights == ({"lunar": 1.0},) and both[:1].word_weights == (None,)
    assert both.expanded_words and not both[0].expanded_words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"a": 1.0}, "for each of the 1 queries"),
        ([], "for each of the 1 queries, but is 0 of them"),
        (["a"], "a mapping of words to weights, not a str"),
        ([{1: 1.0}], "text, not a int"),
        ([{"a": -1.0}], "weight of the word 'a' is -1.0"),
        ([{"a": float("nan")}], "must be a number from 0"),
        ([{"a": True}], "must be a number from 0"),
        ([{"a": "1"}], "must be a number from 0"),
    ],
)
def test_wrong_weights_of_words_are_explained(words: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        EncodedQueries(csr_array((1, 3)), word_weights=words)  # type: ignore[arg-type]


def test_an_index_without_words_refuses_weights_of_words() -> None:
    index = BM25Index.in_memory(csr_array(np.eye(2, 3)), ["a", "b"])
    with pytest.raises(ArgumentError, match="has no literal words"):
        index.search(EncodedQueries(csr_array((1, 3)), word_weights=[{"solar": 1.0}]))
    assert index.search(EncodedQueries(csr_array((1, 3)), word_weights=[{}])) == [[]]


@settings(max_examples=20)
@given(st.integers(0, 20), st.sampled_from(ALL_SCORINGS))
def test_scores_are_products_of_vectors(seed: int, scoring: BM25Config) -> None:
    index, _, _, texts = index_with_words(seed)
    encoded = EncodedQueries(weights_of(4, seed + 7, 0.1), texts[3:7])
    space = index.term_space(scoring)
    documents = [f"d{n}" for n in range(N)]
    vectors = space.documents(documents)
    products = (space.queries(encoded).toarray() * space.worth()) @ vectors.impacts.toarray().T
    for row, hits in enumerate(index.search(encoded, N, scoring=scoring)):
        for hit in hits:
            assert np.isclose(products[row, hit.document], hit.score, rtol=1e-4)
    shares = vectors.shares.sum(axis=1)
    assert np.all(np.isclose(shares, 1.0) | (shares == 0))


@settings(max_examples=20)
@given(st.integers(0, 20), st.sampled_from(ALL_SCORINGS))
def test_queries_of_vectors_have_these_vectors(seed: int, scoring: BM25Config) -> None:
    index, _, _, texts = index_with_words(seed)
    encoded = EncodedQueries(weights_of(4, seed + 7, 0.1), texts[3:7])
    space = index.term_space(scoring)
    vectors = space.queries(encoded)
    again = space.encoded(vectors, encoded)
    assert again.texts == encoded.texts and again.expanded_words
    assert np.allclose(space.queries(again).toarray(), vectors.toarray(), rtol=1e-5)
    before, after = index.search(encoded, 9, scoring=scoring), index.search(again, 9, scoring=scoring)
    assert [len(hits) for hits in before] == [len(hits) for hits in after]
    for one, other in zip(before, after, strict=True):
        assert np.allclose([hit.score for hit in one], [hit.score for hit in other], rtol=1e-4)


def test_a_document_has_the_mean_of_its_passages_and_a_hit_the_one_that_was_found(tmp_path) -> None:
    from lexite.corpus.passages import PassageConfig, cut_documents
    from lexite.index import VocabularyInfo

    documents = documents_of(["a", "b"])
    long = type(documents[0])("long", " ".join(f"word{n}" for n in range(460)), "")
    cut = cut_documents([*documents, long], PassageConfig(), None)
    weights = weights_of(len(cut.encoded_texts), 3, 0.3)
    with BM25Index.create(
        tmp_path / "i", VocabularyInfo("", "", N_TERMS), literal=LiteralConfig(), passages=PassageConfig()
    ) as writer:
        writer.add([*documents, long], weights, cut)
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    space, own = index.term_space(), np.diff(cut.bounds).tolist()
    assert own == [1, 1, 3]
    hits = [hit for query in range(2, 5) for hit in index.search(EncodedQueries(weights[[query]]), 1)[0]]
    assert [hit.id for hit in hits] == ["long"] * 3 and len({hit.span for hit in hits}) == 3
    each = space.documents(hits).impacts.toarray()
    assert np.allclose(space.documents(["long"]).impacts.toarray()[0], each.mean(axis=0))
    query = EncodedQueries(weights[[3]])
    assert np.isclose((space.queries(query).toarray() * space.worth() * each[1]).sum(), hits[1].score, rtol=1e-4)


def test_wrong_documents_and_vectors_are_explained() -> None:
    index, _, _, _ = index_with_words(0)
    space = index.term_space()
    with pytest.raises(CorpusError, match="no document 'x'"):
        space.documents(["x"])
    with pytest.raises(ArgumentError, match="need vectors of the shape"):
        space.encoded(csr_array((1, 3)), EncodedQueries(csr_array((1, N_TERMS))))
    wrong = csr_array(([-1.0], [0], [0, 1]), shape=(1, space.n_terms))
    with pytest.raises(ArgumentError, match="not negative"):
        space.encoded(wrong, EncodedQueries(csr_array((1, N_TERMS))))
    assert space.documents([]).impacts.shape == (0, space.n_terms)
    assert space.find_words(["unknown word"]).tolist() == [-1]
