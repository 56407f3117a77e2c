from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, assert_same_as_reference, documents_of, weights_of
from scipy.sparse import csr_array

from lexite.errors import IndexFormatError
from lexite.files import json_checksum
from lexite.index import BM25Index, VocabularyInfo
from lexite.index.manifest import read_commit
from lexite.index.storage import FileRecord, array_header, map_array, read_part, verify_file, write_array
from lexite.terms import EncodedQueries

IDS = [f"a{i}" for i in range(20)]


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    with BM25Index.create(tmp_path / "index", VOCABULARY, segment_postings=100) as writer:
        writer.add(documents_of(IDS), weights_of(20, 1))
        writer.commit()
        writer.delete(IDS[:3])
        writer.commit()
    return tmp_path / "index"


def files(path: Path) -> list[Path]:
    return sorted(file for file in (path / "segments").rglob("*") if file.is_file())


def test_every_file_is_listed_and_checked(index_path: Path) -> None:
    BM25Index.open(index_path, verify=True)
    assert len(files(index_path)) == 32  # two segments of 15 files, and two of deletions
    for file in files(index_path):
        content = bytearray(file.read_bytes())
        for place in {0, len(content) // 2, len(content) - 1}:
            content[place] ^= 0x10
            file.write_bytes(content)
            with pytest.raises(IndexFormatError, match=file.name):
                BM25Index.open(index_path, verify=True)
            content[place] ^= 0x10
        file.write_bytes(content)
    BM25Index.open(index_path).verify()


def test_truncated_and_missing_files_are_noticed_at_once(index_path: Path) -> None:
    for file in files(index_path):
        content = file.read_bytes()
        for change in (content[:-1], content + b"\0", b""):
            file.write_bytes(change)
            with pytest.raises(IndexFormatError, match=rf"{file.name} is damaged: it has"):
                BM25Index.open(index_path)
        file.unlink()
        with pytest.raises(IndexFormatError, match=rf"{file.name} is missing"):
            BM25Index.open(index_path)
        file.mkdir()
        with pytest.raises(IndexFormatError, match=rf"{file.name} cannot be read"):
            BM25Index.open(index_path)
        file.rmdir()
        file.write_bytes(content)


def test_a_damaged_commit_point(index_path: Path) -> None:
    commit = index_path / "index.json"
    original = commit.read_text()
    value = json.loads(original)

    def with_changes(signed: bool = True, **changes: object) -> str:
        changed = {key: entry for key, entry in {**value, **changes}.items() if key != "sha256"}
        return json.dumps({**changed, "sha256": json_checksum(changed) if signed else value["sha256"]})

    segment = value["segments"][0]
    cases = {
        original[: len(original) // 2]: "not valid JSON",
        "[]": "does not describe an index",
        with_changes(format="other"): "does not describe an index",
        with_changes(format_version=1): "format version 1.*Build the index again",
        with_changes(signed=False, generation=9): "checksum is wrong",
        with_changes(segments=[{**segment, "name": "../x"}]): "it names '../x'",
        with_changes(
            segments=[{**segment, "files": {"../weights.npy": {"bytes": 1, "sha256": ""}}}]
        ): "it names '../weights.npy'",
        with_changes(segments=[{**segment, "n_documents": segment["n_documents"] + 1}]): "13 documents, but 12 passages",
        with_changes(
            segments=[{**segment, **{key: segment[key] + 1 for key in ("n_documents", "n_passages")}}]
        ): "does not hold the array",
        with_changes(segments=[{**segment, "files": {}}]): "not listed by the commit point",
        with_changes(scoring={"k1": -3.0}): "k1 is -3.0",
        with_changes(vocabulary={"name": "x"}): "is damaged",
        with_changes(generation="many"): "is damaged",
        **{
            with_changes(average_lengths=odd): "it names average lengths of"
            for odd in (None, [], {"none": True}, {"none": "1.5"}, {"none": -1.0}, {"none": float("nan")}, {"none": 10**400})
        },
        with_changes(average_lengths={"x": 1.0}): "it names average lengths under 'x'",
    }
    for text, message in cases.items():
        commit.write_text(text)
        with pytest.raises(IndexFormatError, match=message) as caught:
            BM25Index.open(index_path)
        assert str(index_path) in str(caught.value)
    commit.write_bytes(b"\xff\xfe")
    with pytest.raises(IndexFormatError, match="cannot be read"):
        BM25Index.open(index_path)
    commit.write_text(original)
    assert read_commit(index_path).segments[0].n_documents == segment["n_documents"]


DAMAGED = {  # files that are read unchecked, and bytes that do harm in them
    "lists-": b"\xff",
    "list_offsets-": b"\x7f",
    "list_kinds-": b"\x01",
    "row_bounds.npy": b"\x7f",
    "rows.bin": b"\xff",
}


@pytest.mark.parametrize("loaded", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_never_reaches_other_memory(index_path: Path, name: str, loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import lexite.kernels.retrieval  # noqa: F401

    if not loaded:
        monkeypatch.delitem(sys.modules, "numba")
    file = next(file for file in files(index_path) if file.name.startswith(name))
    content = file.read_bytes()
    begin = 128 + 4 if file.name.endswith(".npy") else 0
    file.write_bytes(content[:begin] + DAMAGED[name] * (len(content) - begin))
    index = BM25Index.open(index_path)
    with pytest.raises(IndexFormatError, match=rf"{index_path}/segments.*--verify"):
        index.search(EncodedQueries(weights_of(1, 1, density=1.0)))


def test_any_damage_ends_in_hits_or_in_an_error(index_path: Path) -> None:
    generator = np.random.default_rng(0)
    queries = weights_of(5, 1, density=0.5)
    for file in files(index_path):
        content = file.read_bytes()
        begin = 128 if file.suffix == ".npy" else 0
        for _ in range(10):
            changed = bytearray(content)
            for place in generator.integers(begin, len(content), 3):
                changed[place] = generator.integers(256)
            file.write_bytes(changed)
            for scoring in ALL_SCORINGS[:2]:
                try:
                    BM25Index.open(index_path).search_arrays(EncodedQueries(queries), scoring=scoring)
                except IndexFormatError as error:
                    assert "--verify" in str(error) or "damaged" in str(error)
        file.write_bytes(content)


def test_deleting_and_merging_notice_damage(index_path: Path) -> None:
    file = next(file for file in files(index_path) if file.name == "rows.bin")
    file.write_bytes(b"\xff" * file.stat().st_size)
    with BM25Index.writer(index_path) as writer:
        writer.delete(IDS[3:7])
        with pytest.raises(IndexFormatError, match=r"rows of .*/segments/.* are damaged"):
            writer.commit()
    with BM25Index.writer(index_path) as writer, pytest.raises(IndexFormatError, match=r"rows\.bin is damaged"):
        writer.merge()
    assert len(BM25Index.open(index_path)) == 17


def test_damaged_texts_are_no_crash(index_path: Path) -> None:
    for name in ("ids.bin", "texts.bin"):
        file = next(file for file in files(index_path) if file.name == name)
        file.write_bytes(b"\xff" * file.stat().st_size)
        with pytest.raises(IndexFormatError, match=f"{file.parent}: an id or a text in the index is damaged"):
            BM25Index.open(index_path).stored(4)


@pytest.mark.parametrize("number", [-7, 17, 1 << 30])
def test_an_order_of_ids_that_names_no_document(index_path: Path, number: int) -> None:
    file = next(file for file in files(index_path) if file.name == "id_order.npy")
    count = (file.stat().st_size - 128) // 4
    file.write_bytes(file.read_bytes()[:128] + np.full(count, number, "<i4").tobytes())
    with pytest.raises(IndexFormatError, match=f"The ids of {file.parent} are damaged.*--verify"):
        BM25Index.open(index_path).ids.find(IDS)


def test_damage_is_not_merged(index_path: Path) -> None:
    # Merging would write the damaged numbers under a new, correct checksum.
    file = next(file for file in files(index_path) if file.name == "rows.bin")
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    before = files(index_path)
    with BM25Index.writer(index_path) as writer, pytest.raises(IndexFormatError, match=r"rows\.bin is damaged"):
        writer.merge()
    assert files(index_path) == before


def test_leftovers_of_killed_writers_are_removed(index_path: Path) -> None:
    before = files(index_path)
    stray = index_path / "segments" / "00000077"
    shutil.copytree(before[0].parent, stray)
    (before[0].parent / "deleted-00000009.npy").write_bytes(b"x")
    (index_path / ".index.json.123.tmp").write_bytes(b"{")
    assert_same_as_reference(BM25Index.open(index_path, verify=True), IDS[3:], weights_of(20, 1)[3:], ALL_SCORINGS[:1])
    with BM25Index.writer(index_path):
        assert files(index_path) == before
    assert not list(index_path.glob(".index*"))


def test_arrays_are_npy_files(tmp_path: Path) -> None:
    for array in (np.arange(7, dtype=np.int64), np.ones((3, 4), dtype=np.float32), np.empty(0, dtype=np.int32)):
        path = tmp_path / f"{array.dtype}.npy"
        record = write_array(path, array)
        assert (np.load(path) == array).all() and np.load(path).shape == array.shape
        mapped = map_array(path, record, array.dtype.str, array.shape)
        assert (mapped == array).all() and not mapped.flags.writeable
        verify_file(path, record)
        with pytest.raises(IndexFormatError, match="does not hold the array"):
            map_array(path, record, ">i2", array.shape)
    assert len(array_header("<f4", (3, 10**12))) == 128
    assert read_part(tmp_path / "int64.npy", "<i8", 2, 3).tolist() == [2, 3, 4]
    with pytest.raises(IndexFormatError, match="ends too early"):
        read_part(tmp_path / "int64.npy", "<i8", 5, 3)
    for function in (lambda path: read_part(path, "<i8", 0, 1), lambda path: verify_file(path, FileRecord(0, ""))):
        with pytest.raises(IndexFormatError, match="missing|cannot be read"):
            function(tmp_path / "nothing.npy")


@pytest.mark.parametrize("loaded", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("damage", ["repeated", "outside"])
def test_lists_that_name_a_document_many_times_or_none(
    tmp_path: Path, damage: str, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lexite.kernels.posting_lists import CHUNK, GAPS, SPARSE

    n, n_terms = CHUNK, 3
    generator = np.random.default_rng(0)
    dense = (generator.random((n, n_terms)) < np.array([0.06, 0.001, 0.9])).astype(np.float32)
    with BM25Index.create(tmp_path / "i", VocabularyInfo("f", "t", n_terms)) as writer:
        writer.add(documents_of(map(str, range(n))), csr_array(dense))
        writer.commit()
    if not loaded:
        monkeypatch.delitem(sys.modules, "numba")
    term = 0 if damage == "repeated" else 1
    (postings,) = (segment.postings for segment in BM25Index.open(tmp_path / "i")._scorer.segments)
    assert postings.kinds.tolist()[:2] == [GAPS, SPARSE]
    begin, end = postings.offsets.tolist()[term : term + 2]
    file = next(file for file in files(tmp_path / "i") if file.name.startswith("lists"))
    content = bytearray(file.read_bytes())
    if damage == "repeated":
        content[begin + 2 : end] = b"\0\xff" * ((end - begin - 2) // 2)
    else:
        content[begin : begin + 2] = b"\xff\xff"
    file.write_bytes(content)
    query = csr_array((np.ones(1, np.float32), np.array([term]), np.array([0, 1])), shape=(1, n_terms))
    with pytest.raises(IndexFormatError, match="--verify") if loaded or damage == "outside" else contextlib.nullcontext():
        BM25Index.open(tmp_path / "i").search_arrays(EncodedQueries(query))
