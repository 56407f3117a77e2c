"""Rounded weights: an index equals one of weights that were rounded before, however its documents came into it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, assert_same_as_reference, documents_of, stack, weights_of
from helpers_old import to_version
from helpers_side import VOCABULARY as SIDE_VOCABULARY
from helpers_side import assert_holds, batch_of, passages_of, record_of
from scipy.sparse import csr_array, random_array

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, IndexFormatError
from lexite.files import json_checksum
from lexite.index import BM25Index, VocabularyInfo
from lexite.index.joining import join_indexes
from lexite.index.manifest import read_commit
from lexite.index.stored_rows import PackedRows, PlainRows
from lexite.scoring.rounding import MANTISSA, rounded_weights
from lexite.terms import EncodedQueries

IDS = [f"d{i}" for i in range(60)]


def finely_weighted(n: int, seed: int) -> csr_array:
    """Raw weights over seven octaves that need all bits."""
    generator = np.random.default_rng(seed)
    matrix = csr_array(random_array((n, N_TERMS), density=0.3, format="csr", rng=generator)).astype(np.float32)
    matrix.data = np.exp2(7 * matrix.data).astype(np.float32)
    return matrix


def rounded(matrix: csr_array, mantissa: int) -> csr_array:
    return csr_array((rounded_weights(matrix.data, mantissa), matrix.indices, matrix.indptr), shape=matrix.shape)


@pytest.mark.parametrize("mantissa", [1, 7, 12, 23])
def test_scores_are_those_of_rounded_weights(tmp_path: Path, mantissa: int) -> None:
    weights = finely_weighted(60, 1)
    with BM25Index.create(tmp_path / "i", VOCABULARY, mantissa=mantissa, segment_postings=200) as writer:
        writer.add(documents_of(IDS), weights)
        writer.delete(IDS[:5])
        writer.commit()
        kept = rounded(weights, mantissa)[5:]
        index = BM25Index.open(tmp_path / "i", verify=True)
        assert index.n_segments > 1 and abs(index.rows() - kept).nnz == 0
        assert_same_as_reference(index, IDS[5:], kept)
        writer.merge()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert_same_as_reference(index, IDS[5:], kept)
    query = EncodedQueries(weights_of(1, 5))
    hit = index.search(query)[0][0]
    shown = {term.term: term.weight for term in index.explain(query, hit.id).terms}
    row = index.rows([hit.id]).toarray()[0]
    assert shown and all(row[term] == weight for term, weight in shown.items())


def test_what_an_index_gives_back_makes_the_same_index(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "a", VOCABULARY) as writer:
        writer.add(documents_of(IDS), finely_weighted(60, 2))
        writer.commit()
    with BM25Index.create(tmp_path / "b", VOCABULARY) as writer:
        writer.add(documents_of(IDS), BM25Index.open(tmp_path / "a").rows())
        writer.commit()
    one, other = (next((tmp_path / name).glob("segments/*/rows.bin")).read_bytes() for name in "ab")
    assert one == other


def test_a_merge_has_the_bytes_of_one_build(tmp_path: Path) -> None:
    weights, bounds = finely_weighted(60, 3), (0, 7, 8, 40, 60)
    paths = [tmp_path / f"part{number}" for number in range(len(bounds))]
    for path, (first, last) in zip(paths, [*zip(bounds[:-1], bounds[1:], strict=True), (0, 60)], strict=True):
        with BM25Index.create(path, VOCABULARY) as writer:
            writer.add(documents_of(IDS[first:last]), weights[first:last])
            writer.commit()
    join_indexes(paths[:-1], tmp_path / "all")
    for name in ("rows.bin", "row_bounds.npy", "lengths.npy", "frequencies.npy"):
        one, other = (next(path.glob(f"segments/*/{name}")).read_bytes() for path in (tmp_path / "all", paths[-1]))
        assert one == other
    assert_same_as_reference(BM25Index.open(tmp_path / "all"), IDS, rounded(weights, MANTISSA))
    assert_same_as_reference(BM25Index.open_several(paths[:-1]), IDS, rounded(weights, MANTISSA))


def test_an_index_of_format_4_keeps_its_weights_and_becomes_format_6(tmp_path: Path) -> None:
    weights, more = finely_weighted(60, 4), finely_weighted(3, 5)
    with BM25Index.create(tmp_path / "i", VOCABULARY, mantissa=23, segment_postings=200) as writer:
        writer.add(documents_of(IDS), weights)
        writer.commit()
        writer.delete(IDS[:9])
        writer.commit()
    to_version(tmp_path / "i", 4)
    old = BM25Index.open(tmp_path / "i", verify=True)
    assert old.info()["format_version"] == 4 and all(isinstance(part.rows, PlainRows) for part in old._scorer.segments)
    assert_same_as_reference(old, IDS[9:], weights[9:])
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.add(documents_of(["x", "y", "z"]), more)
        writer.commit()
        both = BM25Index.open(tmp_path / "i", verify=True)
        assert both.info()["format_version"] == 6 and both.n_segments == old.n_segments + 1
        assert_same_as_reference(both, [*IDS[9:], "x", "y", "z"], stack([weights[9:], more]))
        writer.merge()
    merged = BM25Index.open(tmp_path / "i", verify=True)
    assert [type(part.rows) for part in merged._scorer.segments] == [PackedRows]
    assert_same_as_reference(merged, [*IDS[9:], "x", "y", "z"], stack([weights[9:], more]))


def test_an_index_of_format_5_keeps_its_side_files(tmp_path: Path) -> None:
    record = record_of()
    documents = {name: passages_of(2, seed) for seed, name in enumerate("abc")}
    with BM25Index.create(tmp_path / "i", SIDE_VOCABULARY, side_data=record, mantissa=23) as writer:
        writer.add(*batch_of(list(documents), list(documents.values()), record))
        writer.commit()
    to_version(tmp_path / "i", 5)
    assert_holds(BM25Index.open(tmp_path / "i", verify=True), documents, record)
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.delete("b")
        writer.merge()
    assert read_commit(tmp_path / "i").format_version == 6
    assert_holds(BM25Index.open(tmp_path / "i", verify=True), {name: documents[name] for name in "ac"}, record)


@pytest.mark.parametrize("mantissa", [0, 24, 7.0, True, "7"])
def test_a_mantissa_that_there_is_not(tmp_path: Path, mantissa: object) -> None:
    with pytest.raises(ArgumentError, match="mantissa is .*from 1 to 23"):
        BM25Index.create(tmp_path / "i", VOCABULARY, mantissa=mantissa)  # type: ignore[arg-type]
    assert not (tmp_path / "i").exists()


def test_the_other_scorings_find_the_same_without_compiled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = finely_weighted(60, 6)
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(IDS), weights)
        writer.commit()
    monkeypatch.delitem(sys.modules, "numba")
    index, queries = BM25Index.open(tmp_path / "i"), weights_of(2, 8)
    plain = [index.search_arrays(EncodedQueries(queries), 7, scoring=scoring) for scoring in ALL_SCORINGS]
    monkeypatch.undo()
    index = BM25Index.open(tmp_path / "i")
    for scoring, (documents, scores) in zip(ALL_SCORINGS, plain, strict=True):
        for _ in range(5):  # the fifth builds lists
            found, found_scores = index.search_arrays(EncodedQueries(queries), 7, scoring=scoring)
            assert np.array_equal(found, documents) and np.array_equal(found_scores, scores)


@pytest.mark.parametrize("mantissa", [40, 0, 7.0, True, "7", None])
def test_a_commit_point_with_another_mantissa_is_damaged(tmp_path: Path, mantissa: object) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.commit()
    value = json.loads((tmp_path / "i" / "index.json").read_text())
    del value["sha256"]
    value["mantissa"] = mantissa
    (tmp_path / "i" / "index.json").write_text(json.dumps({**value, "sha256": json_checksum(value)}))
    with pytest.raises(IndexFormatError, match=f"a mantissa of {mantissa!r} bits"):
        BM25Index.open(tmp_path / "i")


def test_info_says_in_which_form_weights_are(tmp_path: Path) -> None:
    weights = csr_array(np.float32([[1.0, 1.0, 1.5], [0.0, 0.0, 0.0], [1.0, 4.0, 7.0]]))
    ids = ["a", "b", "c"]
    with BM25Index.create(tmp_path / "i", VocabularyInfo("f" * 64, "v", 3)) as writer:
        writer.add([Document(identifier, "") for identifier in ids], weights)
        writer.commit()
    # The first row needs the seven bits of the mantissa to tell 1 from 1.5; the last one two more, for the exponents of 1 to 4.
    assert BM25Index.open(tmp_path / "i").info()["weights"] == {"mantissa": 7, "bits_each": 8.0}
    assert BM25Index.in_memory(weights, ids).info()["weights"] == {"mantissa": 23, "bits_each": 32.0}
