"""Several indexes as one: equal, score for score, to a build of all documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, documents_of, weights_of
from helpers_words import LITERAL, documents_with, texts_of, words_of
from hypothesis import given
from hypothesis import strategies as st

from lexite.cli import main
from lexite.corpus.passages import CutDocuments
from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError, IndexFormatError, StorageError
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.joining import join_indexes
from lexite.kernels.renumbering import renumber_plainly, renumber_rows
from lexite.terms import EncodedQueries

SIZES = (40, 1, 70, 25)


def build(path: Path, documents: list[Document], weights: Any, cut: CutDocuments | None = None, **how: Any) -> Path:
    settings: dict[str, Any] = {"vocabulary": VOCABULARY, "literal": LITERAL, **how}
    with BM25Index.create(path, **settings) as writer:
        writer.add(documents, weights, cut)
        writer.commit()
    return path


def parts(n: int, seed: int = 0) -> tuple[list[Document], Any]:
    made = documents_with([f"d{seed}-{i}" for i in range(n)], texts_of(n, seed))
    fields = [{"year": 1990 + i % 7, **({"tag": f"t{i % 3}"} if i % 2 else {})} for i in range(n)]
    return [Document(d.id, d.text, d.title, fields=f) for d, f in zip(made, fields, strict=True)], weights_of(n, seed)


def built_apart(folder: Path, **how: Any) -> tuple[list[Path], Path]:
    """Indexes of consecutive documents, and one of all of them."""
    documents, weights = parts(sum(SIZES))
    bounds = np.concatenate([[0], np.cumsum(SIZES)]).tolist()
    paths = [
        build(folder / f"part{i}", documents[a:b], weights[a:b], **how)
        for i, (a, b) in enumerate(zip(bounds[:-1], bounds[1:], strict=True))
    ]
    return paths, build(folder / "whole", documents, weights, **how)


def assert_same(one: BM25Index, other: BM25Index, scorings: list[BM25Config]) -> None:
    assert list(one.ids) == list(other.ids) and one.fields == other.fields
    assert list(one) == list(other)
    assert words_of(one) == words_of(other)
    assert np.array_equal(one.document_frequency, other.document_frequency)
    queries = EncodedQueries(weights_of(9, 77, 0.15), texts_of(9, 78))
    for scoring in scorings:
        ours, theirs = (index.search_arrays(queries, 20, scoring=scoring) for index in (one, other))
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])


def test_joined_indexes_are_those_of_all_documents(tmp_path: Path) -> None:
    paths, whole = built_apart(tmp_path)
    join_indexes(paths, tmp_path / "all")
    joined = BM25Index.open(tmp_path / "all", verify=True)
    assert joined.n_segments == 1
    assert_same(joined, BM25Index.open(whole), ALL_SCORINGS)
    rows, wanted = joined.rows(), BM25Index.open(whole).rows()
    assert (rows != wanted).nnz == 0 and np.array_equal(rows.indices, wanted.indices)


def test_several_segments_stay_several(tmp_path: Path) -> None:
    paths, whole = built_apart(tmp_path)
    join_indexes(paths, tmp_path / "all", segment_postings=300)
    joined = BM25Index.open(tmp_path / "all", verify=True)
    assert joined.n_segments > 1
    assert_same(joined, BM25Index.open(whole), ALL_SCORINGS[:2])


def test_latents_alone_and_ids_alone(tmp_path: Path) -> None:
    paths, whole = built_apart(tmp_path, literal=None, store_text=False, store_fields=False)
    join_indexes(paths, tmp_path / "all")
    assert_same(BM25Index.open(tmp_path / "all"), BM25Index.open(whole), ALL_SCORINGS[:2])


def test_deleted_documents_stay_away_and_so_do_their_words(tmp_path: Path) -> None:
    documents, weights = parts(50)
    first, second = build(tmp_path / "a", documents[:30], weights[:30]), build(tmp_path / "b", documents[30:], weights[30:])
    gone = ["d0-3", "d0-7", "d0-8", "d0-41"]
    with BM25Index.writer(first) as writer:
        writer.add([Document("x", "unheardof word")], weights[:1])
        writer.delete([*gone[:3], "x"])
        writer.commit()
    with BM25Index.writer(second) as writer:
        writer.delete(gone[3])
        writer.commit()
    join_indexes([first, second], tmp_path / "all")
    kept = [i for i, document in enumerate(documents) if document.id not in gone]
    whole = BM25Index.open(build(tmp_path / "whole", [documents[i] for i in kept], weights[kept]))
    joined = BM25Index.open(tmp_path / "all")
    assert "unheardof" not in words_of(joined) and sorted(words_of(joined)) == sorted(words_of(whole))
    queries = EncodedQueries(weights_of(9, 77, 0.15), texts_of(9, 78))
    ours, theirs = (index.search(queries, 20) for index in (joined, whole))
    for some, others in zip(ours, theirs, strict=True):  # words are added up in another order where some are gone
        assert {hit.id: hit.score for hit in some} == pytest.approx({hit.id: hit.score for hit in others}, rel=1e-6)


def test_passages_stay_with_their_documents(tmp_path: Path) -> None:
    documents = documents_of([f"d{i}" for i in range(12)])
    weights = weights_of(30, 4)
    bounds = np.array([0, 3, 4, 6, 10, 11, 12, 15, 16, 20, 24, 28, 30])
    spans = np.stack([np.arange(30) % 5, np.arange(30) % 5 + 2], axis=1)

    def cut(first: int, last: int) -> CutDocuments:
        low, high = bounds[first], bounds[last]
        return CutDocuments([f"pa {i}" for i in range(low, high)], bounds[first : last + 1] - low, spans[low:high])

    paths = [
        build(tmp_path / f"p{a}", documents[a:b], weights[bounds[a] : bounds[b]], cut(a, b))
        for a, b in ((0, 5), (5, 6), (6, 12))
    ]
    whole = BM25Index.open(build(tmp_path / "whole", documents, weights, cut(0, 12)))
    join_indexes(paths, tmp_path / "all")
    joined = BM25Index.open(tmp_path / "all", verify=True)
    assert_same(joined, whole, ALL_SCORINGS[:1])
    for ours, theirs in zip(joined.iterate_passages(), whole.iterate_passages(), strict=True):
        assert np.array_equal(ours.spans, theirs.spans) and np.array_equal(ours.documents, theirs.documents)


def test_an_id_in_two_indexes_is_named(tmp_path: Path) -> None:
    documents, weights = parts(20)
    first, second = build(tmp_path / "a", documents[:12], weights[:12]), build(tmp_path / "b", documents[11:], weights[11:])
    with pytest.raises(CorpusError, match=r"a and .*b both have a document 'd0-11'"):
        join_indexes([first, second], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    with BM25Index.writer(first) as writer:
        writer.delete("d0-11")
        writer.commit()
    join_indexes([first, second], tmp_path / "all")
    assert len(BM25Index.open(tmp_path / "all")) == 20


def test_what_differs_is_named(tmp_path: Path) -> None:
    documents, weights = parts(6)
    first = build(tmp_path / "a", documents[:3], weights[:3])
    others: list[tuple[dict[str, Any], str]] = [
        ({"vocabulary": VocabularyInfo("e" * 64, "another", N_TERMS)}, "'test' .*'another'"),
        ({"vocabulary": VocabularyInfo("f" * 64, "test", N_TERMS, {"k_documents": 8})}, "other settings"),
        ({"literal": None}, r"literal words \(some and none\)"),
        ({"scoring": BM25Config(k1=9.0)}, r"k1 of scoring \(2.5 and 9.0\)\. Build"),
        ({"store_text": False}, r"whether texts are kept \(True and False\)"),
        ({"mantissa": 23}, r"bits of the mantissa of weights \(7 and 23\)"),
    ]
    for number, (how, message) in enumerate(others):
        second = build(tmp_path / f"b{number}", documents[3:], weights[3:], **how)
        with pytest.raises(IndexFormatError, match=message):
            join_indexes([first, second], tmp_path / "all")
    odd = [Document("z", "a", fields={"year": "never"})]
    with pytest.raises(IndexFormatError, match="field 'year' is text"):
        join_indexes([first, build(tmp_path / "c", odd, weights[:1])], tmp_path / "all")
    with pytest.raises(ArgumentError, match="named twice"):
        join_indexes([first, tmp_path / "b0" / ".." / "a"], tmp_path / "all")
    with pytest.raises(ArgumentError, match="one of the indexes"):
        join_indexes([first], first, overwrite=True)
    assert not (tmp_path / "all").exists()


def test_a_damaged_index_is_not_joined(tmp_path: Path) -> None:
    paths, _ = built_apart(tmp_path)
    file = next((paths[2] / "segments").glob("*/rows.bin"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(IndexFormatError, match=r"part2.*rows.bin"):
        join_indexes(paths, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_joined_index_goes_on_growing(tmp_path: Path) -> None:
    paths, _ = built_apart(tmp_path)
    join_indexes(paths, tmp_path / "all")
    with pytest.raises(StorageError, match="exists already"):
        join_indexes(paths, tmp_path / "all")
    more, weights = parts(9, seed=5)
    with BM25Index.writer(tmp_path / "all") as writer:
        writer.add(more, weights)
        writer.commit()
    assert len(BM25Index.open(tmp_path / "all", verify=True)) == sum(SIZES) + 9


@given(st.integers(0, 10**6))
def test_rows_are_renumbered_as_plainly(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n_terms = int(generator.integers(1, 30))
    matrix = weights_of(8, seed)[:, :n_terms].tocsr()
    matrix.sort_indices()
    numbers = generator.permutation(50)[:n_terms].astype(np.int32)
    terms, weights = np.empty(matrix.nnz, np.int32), np.empty(matrix.nnz, np.float32)
    bounds = matrix.indptr.astype(np.int64)
    assert renumber_rows(bounds, matrix.indices, matrix.data, numbers, terms, weights)
    wanted = renumber_plainly(bounds, matrix.indices, matrix.data, numbers)
    assert np.array_equal(terms, wanted[0]) and np.array_equal(weights, wanted[1])
    if matrix.nnz:
        numbers[matrix.indices[0]] = -1
        assert not renumber_rows(bounds, matrix.indices, matrix.data, numbers, terms, weights)


def test_the_command_line_keeps_both_meanings_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, _ = built_apart(tmp_path)
    names = list(map(str, paths))
    assert main(["-q", "merge", *names, "-o", str(tmp_path / "all"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == sum(SIZES)
    assert main(["-q", "merge", names[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == SIZES[0]
    for words in (names, [names[0], "--overwrite"], [*names, "-o", "x", "--wait", "3"]):
        assert main(["merge", *words]) == 2
