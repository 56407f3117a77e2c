"""Rows, ids and documents out of an index; and arguments of the wrong kind."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
from helpers_index import N_TERMS, VOCABULARY, documents_of, weights_of
from helpers_words import documents_with, texts_of, words_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

from lexite.errors import ArgumentError, CorpusError, IndexFormatError, ModelError, StorageError
from lexite.index import BM25Config, BM25Index, IndexWriter, LiteralConfig
from lexite.index.reference import reference_rows
from lexite.terms import EncodedQueries


@pytest.fixture
def changed(tmp_path: Path) -> tuple[BM25Index, dict[str, np.ndarray]]:
    """An index of several segments with words, some documents deleted and one replaced; and the rows that it must hold."""
    kept: dict[str, np.ndarray] = {}
    texts = texts_of(60, 4)
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LiteralConfig(), segment_postings=40) as writer:
        for start in range(0, 60, 12):
            names = [f"d{number}" for number in range(start, start + 12)]
            part, weights = texts[start : start + 12], weights_of(12, start)
            writer.add(documents_with(names, part), weights)
            kept |= {name: (weights[[i]], part[i]) for i, name in enumerate(names)}
        gone = ["d3", "d12", "d13", "d59"]
        writer.commit()
        writer.delete(gone)
        writer.replace(documents_with(["d7"], ["ba be"]), weights_of(1, 99))
        writer.commit()
    for name in [*gone, "d7"]:
        del kept[name]
    kept["d7"] = (weights_of(1, 99), "ba be")
    index = BM25Index.open(tmp_path / "i")
    weights = csr_array(vstack([row for row, _ in kept.values()], format="csr"))
    rows = reference_rows(weights, [text for _, text in kept.values()], words_of(index), 4.0, "english")
    return index, dict(zip(kept, rows.toarray(), strict=True))


def test_rows_are_what_was_put_in(changed: tuple[BM25Index, dict[str, np.ndarray]]) -> None:
    index, expected = changed
    assert index.n_segments > 1 and list(index.ids) == list(expected) and len(index.ids) == len(index) == 56
    everything = index.rows()
    assert everything.dtype == np.float32 and everything.shape == (56, index.n_terms)
    np.testing.assert_array_equal(everything.toarray(), np.stack(list(expected.values())))
    some = ["d40", "d0", "d7", "d0"]
    np.testing.assert_array_equal(index.rows(some).toarray(), np.stack([expected[name] for name in some]))
    numbers = [index.find(name) for name in some]
    np.testing.assert_array_equal(index.rows(numbers).toarray(), index.rows(some).toarray())
    mixed = index.rows(["d40", index.find("d0")])
    np.testing.assert_array_equal(mixed.toarray(), index.rows(["d40", "d0"]).toarray())
    assert index.rows([]).shape == (0, index.n_terms)
    np.testing.assert_array_equal(index.rows("d7").toarray()[0], expected["d7"])


def test_rows_come_in_chunks_too(changed: tuple[BM25Index, dict[str, np.ndarray]]) -> None:
    index, expected = changed
    chunks = list(index.iterate_rows(5))
    assert max(len(numbers) for numbers, _ in chunks) == 5
    assert [index.document_id(number) for numbers, _ in chunks for number in numbers] == list(expected)
    np.testing.assert_array_equal(vstack([rows for _, rows in chunks]).toarray(), index.rows().toarray())


def test_documents_are_gone_through(changed: tuple[BM25Index, dict[str, np.ndarray]]) -> None:
    index, expected = changed
    documents = list(index)
    assert [document.id for document in documents] == list(expected)
    assert index.get("d7") == documents[-1] and index.get("d7").title == "ba be"
    assert index.get("d3") is None and "d3" not in index.ids and "d7" in index.ids and 7 not in index.ids
    assert repr(index.ids) == "<the ids of 56 documents>" and "56 documents" in repr(index)
    empty = BM25Index.in_memory(csr_array((0, 3)), [])
    assert list(empty) == list(empty.ids) == [] and empty.rows().shape == (0, 3) and list(empty.iterate_rows()) == []


@given(st.lists(st.integers(0, 19), max_size=30), st.integers(0, 5))
def test_any_choice_of_rows(chosen: list[int], seed: int) -> None:
    weights = weights_of(20, seed)
    index = BM25Index.in_memory(weights, [str(number) for number in range(20)])
    expected = weights.toarray()[chosen] if chosen else np.zeros((0, N_TERMS), np.float32)
    np.testing.assert_array_equal(index.rows(chosen).toarray(), expected)


@given(st.integers(0, 10), st.lists(st.integers(0, 29), max_size=40), st.integers(1, 40))
def test_a_search_among_some_is_the_search_among_all_without_the_others(seed: int, chosen: list[int], top_k: int) -> None:
    index = BM25Index.in_memory(weights_of(30, seed), [str(number) for number in range(30)])
    queries = EncodedQueries(weights_of(3, seed + 100, 0.3))
    everything = index.search(queries, 30)
    among = [str(number) for number in chosen]
    wanted = [[(hit.id, hit.score) for hit in hits if hit.id in among][:top_k] for hits in everything]
    found = index.search(queries, top_k, among=among)
    assert [[(hit.id, hit.score) for hit in hits] for hits in found] == wanted
    each = index.search(queries, top_k, among=[among, [], among[:1]])
    assert [(hit.id, hit.score) for hit in each[0]] == wanted[0] and each[1] == []
    assert [hit.id for hit in each[2]] == [hit.id for hit in everything[2] if hit.id in among[:1]]


def test_arguments_of_the_wrong_kind(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(["1", "2", "12"]), weights_of(3, 1))
        assert writer.delete("12") == 1, "one id is one id, not its letters"
        assert "1" in writer and "12" not in writer
        with pytest.raises(ArgumentError, match="Ids are text, but 1 is a int. Write '1'"):
            writer.delete([1])
        with pytest.raises(ArgumentError, match="Ids are text"):
            _ = 1 in writer
        with pytest.raises(ArgumentError, match=r"dense array.*csr_array"):
            writer.add(documents_of(["x"]), np.zeros((1, N_TERMS)))
        with pytest.raises(ArgumentError, match="Weights are a str"):
            writer.add(documents_of(["x"]), "text")
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    query = EncodedQueries(weights_of(1, 1))
    for wrong, kind in (("milk", "text"), (weights_of(1, 1), "a csr_array"), (np.ones((1, N_TERMS)), "a ndarray")):
        with pytest.raises(ArgumentError, match=f"EncodedQueries, not with {kind}"):
            index.search(wrong)
    for wrong in (1.5, "3", None, True):
        with pytest.raises(ArgumentError, match="top_k is"):
            index.search(query, wrong)
    with pytest.raises(ArgumentError, match="Ids are text"):
        index.find(1)
    with pytest.raises(ArgumentError, match="Ids are text"):
        index.get(1)
    with pytest.raises(ArgumentError, match="Ids are text"):
        index.search(query, exclude=[1])
    with pytest.raises(CorpusError, match="no document '3'"):
        index.search(query, among=["3"])
    assert [hit.id for hit in index.search(query, among="2")[0]] in (["2"], [])
    with pytest.raises(ModelError, match="given for 2 queries, but 1 are asked"):
        index.search(query, among=[["1"], ["2"]])
    two = EncodedQueries(weights_of(2, 1, 0.9))
    apart = index.search(two, among=[["2"], "1"])
    assert {hit.id for hit in apart[0]} <= {"2"} and {hit.id for hit in apart[1]} <= {"1"}
    assert index.search(two, among=iter([iter(["2"]), iter(["1"])])) == apart
    with pytest.raises(ArgumentError, match="Ids are text"):
        index.search(two, among=[[1], ["2"]])
    with pytest.raises(ArgumentError, match="at least 1"):
        next(index.iterate_rows(0))
    assert index.rows(0).shape == (1, N_TERMS) and index.search(query, scoring={"k1": 1.0}) == index.search(
        query, scoring=BM25Config(k1=1.0)
    )
    with pytest.raises(ModelError, match="given for 1 queries, but 2 are asked"):
        index.search(EncodedQueries(weights_of(2, 1)), exclude="12")
    with pytest.raises(CorpusError, match="no document 'x'"):
        index.rows(["x"])
    with pytest.raises(IndexError, match="no document number 9"):
        index.rows([9])
    with pytest.raises(ArgumentError, match="not by a float"):
        index.rows([1.0])
    with pytest.raises(ArgumentError, match="Ids are text"):
        BM25Index.in_memory(weights_of(1, 1), [1])
    with pytest.raises(ArgumentError, match="dense array"):
        BM25Index.in_memory(np.ones((1, 2)), ["a"])
    assert list(BM25Index.in_memory(weights_of(1, 1), "ab").ids) == ["ab"]
    with pytest.raises(IndexFormatError, match="expects queries that were encoded as it recorded"):
        recorded = BM25Index.in_memory(weights_of(1, 1), "a", vocabulary=_recorded())
        recorded.search(EncodedQueries(weights_of(1, 1), settings={"k_queries": 3}))


def _recorded():

    return dataclasses.replace(VOCABULARY, terms_config={"k_queries": 4})


def test_a_writer_that_is_dropped_lets_the_next_one_in(tmp_path: Path) -> None:
    def abandoned() -> None:
        BM25Index.create(tmp_path / "i", VOCABULARY, BM25Config()).add(documents_of("a"), weights_of(1, 1))

    abandoned()
    gc.collect()
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of("b"), weights_of(1, 1))
        with pytest.raises(StorageError, match="another writer of this process, which was not closed"):
            BM25Index.create(tmp_path / "i", VOCABULARY, overwrite=True)
        writer.commit()
    assert list(BM25Index.open(tmp_path / "i").ids) == ["b"]
    assert isinstance(BM25Index.writer(tmp_path / "i"), IndexWriter)
