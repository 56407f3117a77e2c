from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, assert_same_as_reference, documents_of, stack, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.errors import CorpusError, IndexFormatError, ModelError, StorageError
from lexite.index import BM25Config, BM25Index
from lexite.terms import EncodedQueries

IDS = [f"d{i}" for i in range(14)]
OPERATIONS = st.one_of(
    st.tuples(st.just("replace"), st.lists(st.sampled_from(IDS), unique=True, max_size=6), st.integers(0, 10**6)),
    st.tuples(st.just("add"), st.integers(1, 9), st.integers(0, 10**6)),
    st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), unique=True, max_size=4), st.booleans()),
    st.tuples(st.sampled_from(["commit", "merge", "reopen", "rollback"]), st.none(), st.none()),
)


class Model:
    """What the index should hold: documents in order of their last insertion."""

    def __init__(self) -> None:
        self.rows: dict[str, csr_array] = {}
        self.committed: dict[str, csr_array] = {}
        self.added = 0

    def insert(self, ids: list[str], weights: csr_array) -> None:
        for i, identifier in enumerate(ids):
            self.rows.pop(identifier, None)
            self.rows[identifier] = weights[[i]]

    def delete(self, ids: list[str]) -> int:
        return sum(self.rows.pop(identifier, None) is not None for identifier in ids)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=14), budget=st.sampled_from([1, 30, 200, 10**6]))
def test_any_sequence_of_changes_equals_building_from_scratch(operations: list[tuple], budget: int) -> None:
    folder = Path(tempfile.mkdtemp())
    path, model = folder / "index", Model()
    try:
        writer = BM25Index.create(path, VOCABULARY, ALL_SCORINGS[0], segment_postings=budget)
        writer.commit()
        for kind, what, how in operations:
            if kind == "replace":
                weights = weights_of(len(what), how)
                expected = sum(identifier in model.rows for identifier in what)
                assert writer.replace(documents_of(what), weights) == expected
                model.insert(what, weights)
            elif kind == "add":
                ids = [f"new{model.added + i}" for i in range(what)]
                model.added += what
                weights = weights_of(what, how)
                writer.add(documents_of(ids), weights)
                model.insert(ids, weights)
            elif kind == "delete":
                assert writer.delete(what, missing_ok=True) == model.delete(what)
            elif kind in ("commit", "merge"):
                writer.commit() if kind == "commit" else writer.merge()
                model.committed = dict(model.rows)
                check(path, model, ALL_SCORINGS[:1])
            else:
                writer.rollback()
                model.rows = dict(model.committed)
                writer = BM25Index.writer(path, segment_postings=budget)
            assert writer.n_documents == len(model.rows)
            assert all((identifier in writer) == (identifier in model.rows) for identifier in IDS)
        check(path, model_at_last_commit(model), ALL_SCORINGS[:1])
        writer.commit()
        writer.rollback()
        check(path, model, ALL_SCORINGS)
    finally:
        shutil.rmtree(folder)


def model_at_last_commit(model: Model) -> Model:
    before = Model()
    before.rows = model.committed
    return before


def check(path: Path, model: Model, scorings: list[BM25Config]) -> None:
    index = BM25Index.open(path, verify=True)
    ids = list(model.rows)
    assert_same_as_reference(index, ids, stack(list(model.rows.values())), scorings)
    scratch = BM25Index.in_memory(stack(list(model.rows.values())), ids)
    for scoring in scorings:
        assert index.average_length(scoring.document_transform) == scratch.average_length(scoring.document_transform)
    for identifier in ids:
        number = index.find(identifier)
        assert number is not None
        stored = index.stored(number)
        assert (stored.id, stored.title, stored.text) == (identifier, f"title {identifier}", f"text of {identifier} ü")
    assert all((identifier in index) == (identifier in model.rows) for identifier in IDS)


def test_parameters_of_scoring_change_without_a_rebuild(tmp_path: Path) -> None:
    weights = weights_of(25, 3)
    with BM25Index.create(tmp_path / "i", VOCABULARY, BM25Config(k1=7.0)) as writer:
        writer.add(documents_of(IDS + [f"e{i}" for i in range(11)]), weights)
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    assert index.scoring == BM25Config(k1=7.0) and index.vocabulary == VOCABULARY
    assert_same_as_reference(index, IDS + [f"e{i}" for i in range(11)], weights)


def test_adding_what_is_there_changes_nothing(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=20) as writer:
        writer.add(documents_of(["a", "b"]), weights_of(2, 1))
        with pytest.raises(CorpusError, match="document 'b' already"):
            writer.add(documents_of(["c", "b"]), weights_of(2, 2))
        writer.commit()
        with pytest.raises(CorpusError, match="document 'a' already"):
            writer.add(documents_of(["c", "a"]), weights_of(2, 2))
        with pytest.raises(CorpusError, match="'c' occurs twice"):
            writer.replace(documents_of(["c", "c"]), weights_of(2, 2))
        with pytest.raises(CorpusError, match="no document 'x'"):
            writer.delete(["a", "x"])
        with pytest.raises(CorpusError, match="2 documents, but weights for 3"):
            writer.add(documents_of(["c", "d"]), weights_of(3, 2))
        for bad in ("", 7):
            with pytest.raises(CorpusError, match="must be text and not empty"):
                writer.add([SimpleNamespace(id=bad, title="", text="x", fields={})], weights_of(1, 2))
        assert writer.n_documents == 2 and "a" in writer and "c" not in writer
        writer.commit()
    assert_same_as_reference(BM25Index.open(tmp_path / "i"), ["a", "b"], weights_of(2, 1))


def test_bad_weights_are_refused_before_anything_changes(tmp_path: Path) -> None:
    weights = weights_of(3, 1, 0.5)
    weights.data[0] = np.nan
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        with pytest.raises(ModelError, match="document 'a' is nan"):
            writer.add(documents_of("abc"), weights)
        with pytest.raises(IndexFormatError, match="40 terms"):
            writer.add(documents_of("a"), csr_array((1, N_TERMS - 1)))
        writer.add(documents_of("abc"), weights_of(3, 2))
        writer.commit()
    assert len(BM25Index.open(tmp_path / "i")) == 3


def test_delete_counts_each_document_once(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of("abc"), weights_of(3, 2))
        assert writer.delete(["a", "a", "b"]) == 2
        assert writer.delete(["a"], missing_ok=True) == 0
        writer.commit()
        assert writer.delete(["c"]) == 1
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    assert len(index) == 0 and index.search(EncodedQueries(weights_of(1, 1))) == [[]]
    assert list((tmp_path / "i" / "segments").iterdir()) == []


def test_few_deletions_in_large_lists(tmp_path: Path) -> None:
    # Few deleted documents are looked up by binary search in the lists, many by one pass: both must count the same.
    n = 3000
    weights, ids = weights_of(n, 7, 0.8), [f"n{i}" for i in range(n)]
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(ids), weights)
        writer.commit()
        writer.delete([ids[0], ids[1500], ids[-1]])
        writer.commit()
        kept = [i for i in range(n) if i not in (0, 1500, n - 1)]
        assert_same_as_reference(BM25Index.open(tmp_path / "i"), [ids[i] for i in kept], weights[kept], ALL_SCORINGS[:2])
        writer.delete(ids[10:1010])
        writer.commit()
    kept = [i for i in kept if not 10 <= i < 1010]
    assert_same_as_reference(BM25Index.open(tmp_path / "i"), [ids[i] for i in kept], weights[kept], ALL_SCORINGS[:2])


def test_snapshots_do_not_change(tmp_path: Path) -> None:
    path, weights = tmp_path / "i", weights_of(30, 2)
    ids = [f"s{i}" for i in range(30)]
    with BM25Index.create(path, VOCABULARY, segment_postings=50) as writer:
        writer.add(documents_of(ids), weights)
        writer.commit()
        before = BM25Index.open(path)
        writer.delete(ids[:20])
        writer.merge()
        assert_same_as_reference(before, ids, weights, ALL_SCORINGS[:1])
        assert before.stored(3).text == "text of s3 ü"
        assert_same_as_reference(BM25Index.open(path), ids[20:], weights[20:], ALL_SCORINGS[:1])


def test_an_index_without_texts(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, store_text=False, segment_postings=30) as writer:
        writer.add(documents_of("abcdefgh"), weights_of(8, 2))
        writer.commit()
        writer.delete(["b"])
        writer.merge()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.stored(1).id == "c" and index.stored(1).title == index.stored(1).text == ""
    assert not list((tmp_path / "i").rglob("text*")) and index.info()["bytes_texts"] == 0


def test_odd_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = SimpleNamespace(id="\ud800 /../x", title="", text="a\x00b\n\U0001f600\udfff", fields={})
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add([odd], weights_of(1, 2))
        writer.commit()
        writer.add(documents_of("a"), weights_of(1, 3))
        writer.merge()
    index = BM25Index.open(tmp_path / "i")
    number = index.find(odd.id)
    assert number is not None and index.stored(number).text == odd.text


def test_equal_hashes_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ids", "segment_changes", "document_ids"):
        monkeypatch.setattr(f"lexite.index.{module}.hash_ids", lambda ids: np.zeros(len(ids), dtype=np.uint64))
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=20) as writer:
        writer.add(documents_of("abcdef"), weights_of(6, 2))
        writer.commit()
        writer.replace(documents_of("b"), weights_of(1, 3))
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    assert [index.document_id(index.find(i)) for i in "abcdef"] == list("abcdef")  # type: ignore[arg-type]
    assert index.find("x") is None


def test_a_closed_writer_refuses_work(tmp_path: Path) -> None:
    writer = BM25Index.create(tmp_path / "i", VOCABULARY)
    writer.rollback()
    writer.rollback()
    for act in (lambda: writer.add([], weights_of(0, 1)), lambda: writer.delete([]), writer.commit, writer.merge):
        with pytest.raises(StorageError, match="failed or was closed"):
            act()


def test_info(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=10) as writer:
        writer.add(documents_of("abcd"), weights_of(4, 2, 0.5))
        writer.commit()
        writer.delete(["a"])
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    info = index.info()
    on_disk = sum(file.stat().st_size for file in (tmp_path / "i" / "segments").rglob("*.*"))
    assert info["bytes_total"] == on_disk and 0 < info["bytes_postings"] == index.bytes < on_disk
    assert info["n_documents"] == 3 and info["generation"] == 2 and info["vocabulary"]["name"] == "test"
    assert info["n_postings"] == weights_of(4, 2, 0.5)[1:].nnz == 3 * info["postings_per_document"]
    assert info["bytes_texts"] > 0 and info["average_length"] == index.average_length("none")
