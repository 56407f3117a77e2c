"""Passages that have a term, from posting lists of every form; passages of many documents; documents given by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_index import VOCABULARY, weights_of
from scipy.sparse import csr_array

from lexite.corpus.passages import CutDocuments
from lexite.corpus.records import Document
from lexite.errors import IndexFormatError
from lexite.index import BM25Index
from lexite.index.numpy_search import passages_with
from lexite.index.opening import open_newest
from lexite.index.segment import Segment
from lexite.kernels.posting_lists import CHUNK, FULL, GAPS, SPARSE
from lexite.terms import EncodedQueries


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segment, csr_array]:
    """A segment of two chunks whose terms are in one passage of two, of twenty, of five hundred, and in none."""
    path, n = tmp_path_factory.mktemp("large") / "i", CHUNK + 1000
    generator = np.random.default_rng(3)
    dense = np.zeros((n, VOCABULARY.n_terms), dtype=np.float32)
    for term, share in enumerate([0.5, 0.05, 0.002, 0.0, 1.0]):
        dense[:, term] = generator.random(n) < share
    weights = csr_array(dense)
    with BM25Index.create(path, VOCABULARY) as writer:
        writer.add([Document(str(number), "text") for number in range(n)], weights)
        writer.commit()
    (segment,) = open_newest(path, lambda files: files.segments)
    return segment, weights


def test_passages_with_a_term_are_those_of_the_rows(large: tuple[Segment, csr_array]) -> None:
    segment, weights = large
    assert segment.postings is not None
    assert {int(kind) for kind in segment.postings.kinds[:10]} == {FULL, GAPS, SPARSE}
    columns = weights.tocsc()
    for term in range(VOCABULARY.n_terms):
        expected = np.sort(columns.indices[columns.indptr[term] : columns.indptr[term + 1]])
        assert passages_with(segment, term).tolist() == expected.tolist()
    assert len(passages_with(segment, VOCABULARY.n_terms)) == 0  # a word that came later


def test_damaged_lists_are_refused(large: tuple[Segment, csr_array]) -> None:
    import dataclasses

    segment, _ = large
    assert segment.postings is not None
    lists = segment.postings.lists.copy()
    place = next(n for n, kind in enumerate(segment.postings.kinds.tolist()) if kind == SPARSE and n % 2 == 1)
    lists[int(segment.postings.offsets[place]) + 1] = 255  # beyond the thousand passages of the second chunk
    spoilt = dataclasses.replace(segment, postings=dataclasses.replace(segment.postings, lists=lists))
    with pytest.raises(IndexFormatError, match="damaged"):
        passages_with(spoilt, place // 2)


def test_documents_may_be_given_by_number(tmp_path: Path) -> None:
    weights, sizes = weights_of(60, 5), [n % 4 + 1 for n in range(24)]
    bounds = np.cumsum([0, *sizes]).astype(np.int64)
    spans = np.array([(n, n + 1) for n in range(60)], dtype=np.int64)
    documents = [Document(f"d{n}", "x" * 60) for n in range(24)]
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents, weights, CutDocuments(["x"] * 60, bounds, spans))
        writer.commit()
        writer.delete(["d3"])
        writer.commit()
    index, queries = BM25Index.open(tmp_path / "i"), EncodedQueries(weights_of(2, 9, 0.3))
    numbers = [np.array([3, 20, 7, 11, 7]), np.empty(0, np.int64)]
    by_id = index.search(queries, 30, among=[["d20", "d7", "d11"], []])
    assert index.search(queries, 30, among=numbers) == by_id and by_id[0] and not by_id[1]
    passages = index._numbering.all_passages(np.array([0, 3, 23]))
    assert passages.tolist() == [0, *range(bounds[3], bounds[4]), *range(bounds[23], bounds[24])]
    for wrong in (24, -1):
        with pytest.raises(IndexError, match="no document number"):
            index.search(queries, 5, among=[np.array([wrong])] * 2)
