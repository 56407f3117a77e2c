"""Side files of an index: dense vectors and token codes of passages, against those of each document alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_side import VOCABULARY, Passage, assert_holds, batch_of, hits_of, passages_of, record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import ArgumentError, IndexFormatError
from lexite.files import json_checksum
from lexite.index import BM25Index
from lexite.index.side_config import SideDataRecord, TokenCodesRecord, VectorsRecord
from lexite.index.side_packing import pack_tokens, pack_vectors, rounded, unpack_values, unpack_vectors

OPERATION = st.one_of(
    st.tuples(st.just("put"), st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 9), max_size=4, unique=True), st.just(0)),
    st.tuples(st.sampled_from(["commit", "merge", "reopen"]), st.just([]), st.just(0)),
)


@settings(max_examples=25)
@given(
    operations=st.lists(OPERATION, max_size=10),
    number_format=st.sampled_from([None, "int8", "fp16", "fp32"]),
    codes=st.booleans(),
    norms=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_each_living_document_has_what_it_has_alone(
    operations: list[tuple[str, list[int], int]], number_format: Any, codes: bool, norms: bool, seed: int
) -> None:
    if number_format is None and not codes:
        number_format = "int8"
    record, expected = record_of(number_format, codes, norms), dict[str, list[Passage]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        writer = BM25Index.create(folder, VOCABULARY, side_data=record, segment_postings=40)
        writer.commit()
        for number, (act, numbers, size) in enumerate(operations):
            ids = [f"d{n}" for n in numbers]
            if act == "put":
                passages = [passages_of(1 + (n + seed) % size, seed + 100 * number + n) for n in numbers]
                writer.replace(*batch_of(ids, passages, record, number))
                for identifier, own in zip(ids, passages, strict=True):
                    expected.pop(identifier, None)
                    expected[identifier] = own
            elif act == "delete":
                writer.delete(ids, missing_ok=True)
                expected = {key: value for key, value in expected.items() if key not in ids}
            elif act == "reopen":
                writer.commit()
                writer.rollback()
                writer = BM25Index.writer(folder, segment_postings=40)
            else:
                getattr(writer, act)()
        writer.commit()
        index = BM25Index.open(folder, verify=True)
        assert_holds(index, expected, record)
        writer.merge()
        writer.rollback()
        assert_holds(BM25Index.open(folder, verify=True), expected, record)
        del index


@given(st.lists(st.lists(st.floats(0, 1e5, width=32), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_largest_value_is_exact_to_fp16_and_the_others_to_a_255th(lists: list[list[float]]) -> None:
    values = -np.sort(-np.array(lists, dtype=np.float32), axis=1)
    indices = np.where(values > 0, np.arange(3, dtype=np.int32), -1).astype(np.int32)
    packed = pack_tokens(values, indices)
    back = rounded(values, indices)
    np.testing.assert_array_equal(unpack_values(packed.values, packed.scales, packed.counts), back[back > 0])
    largest = np.minimum(values.max(axis=1), 65504.0)
    np.testing.assert_array_equal(packed.scales, largest.astype(np.float16))
    np.testing.assert_allclose(back.max(axis=1), largest, rtol=2.0**-11, atol=2.0**-25)
    assert np.all(np.abs(back - np.minimum(values, 65504.0)) <= largest[:, None] * (1 / 255) + 2.0**-24)


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4), max_size=6))
def test_vectors_in_int8_are_half_a_127th_of_their_largest_number_away(lists: list[list[float]]) -> None:
    vectors = np.array(lists, dtype=np.float32).reshape(-1, 4)
    back = unpack_vectors(*pack_vectors(vectors, "int8"))
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    assert np.all(np.abs(back - vectors) <= largest * (0.501 / 127) + 1e-30)


def built(folder: Path, n: int = 6, **options: Any) -> dict[str, list[Passage]]:
    record = record_of(**options)
    expected = {f"d{i}": passages_of(1 + i % 2, i) for i in range(n)}
    with BM25Index.create(folder, VOCABULARY, side_data=record) as writer:
        writer.add(*batch_of(list(expected), list(expected.values()), record))
        writer.commit()
    return expected


def test_documents_come_in_any_order_and_as_often_as_they_are_asked_for(tmp_path: Path) -> None:
    record, expected = record_of(), dict[str, list[Passage]]()
    with BM25Index.create(tmp_path / "index", VOCABULARY, side_data=record) as writer:
        for part in range(3):  # a segment each
            own = {f"{part}-{i}": passages_of(1 + (part + i) % 3, 10 * part + i) for i in range(4)}
            writer.add(*batch_of(list(own), list(own.values()), record))
            writer.commit()
            expected |= own
    index = BM25Index.open(tmp_path / "index")
    ids = [list(expected)[n] for n in np.random.default_rng(0).integers(0, len(expected), 40)]
    hits = hits_of(index, ids)
    for _ in range(2):  # also when nothing is left to be fetched from the disk
        vectors, codes = index.vectors(hits), index.token_codes(hits)
        alone = [(index.vectors([hit]), index.token_codes([hit])) for hit in hits]
        np.testing.assert_array_equal(np.diff(vectors.bounds), [len(expected[identifier]) for identifier in ids])
        np.testing.assert_array_equal(vectors.vectors, np.concatenate([own.vectors for own, _ in alone]))
        for name in ("latents", "values", "norms"):
            np.testing.assert_array_equal(getattr(codes, name), np.concatenate([getattr(own, name) for _, own in alone]))
        for name in ("bounds", "tokens", "entries"):
            sizes = np.concatenate([np.diff(getattr(own, name)) for _, own in alone])
            np.testing.assert_array_equal(np.diff(getattr(codes, name)), sizes)
    assert index.n_segments == 3 and not len(index.vectors([]).vectors) and index.token_codes([]).bounds.tolist() == [0]
    for number in (-1, 12):
        with pytest.raises(IndexError, match=f"no document number {number}"):
            index.vectors([dataclasses.replace(hits[0], document=number)])


def test_an_index_without_side_files_says_how_to_keep_them(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "index", VOCABULARY) as writer:
        documents, weights, cut, side = batch_of(["a"], [passages_of(1, 0)], record_of())
        with pytest.raises(ArgumentError, match="keeps no side files"):
            writer.add(documents, weights, cut, side)
        writer.add(documents, weights, cut)
        writer.commit()
    index = BM25Index.open(tmp_path / "index")
    assert index.side_data == frozenset() and "side_data" not in index.info() and index.info()["format_version"] == 6
    hits = hits_of(index, ["a"])
    with pytest.raises(ArgumentError, match="keeps no vectors.*lexite index --vectors int8"):
        index.vectors(hits)
    with pytest.raises(ArgumentError, match="keeps no token codes.*lexite index --token-codes"):
        index.token_codes(hits)
    with pytest.raises(ArgumentError, match="keeps no vectors"):
        next(index.all_vectors())


def test_documents_without_their_side_data_are_refused_and_nothing_is_added(tmp_path: Path) -> None:
    expected = built(tmp_path / "index")
    record = record_of()
    documents, weights, cut, side = batch_of(["new"], [passages_of(2, 5)], record)
    others = [None, batch_of(["x"], [passages_of(1, 1)], record)[3]]
    others += [batch_of(["x"], [passages_of(2, 1)], record_of(*form))[3] for form in (("fp16",), (None,), ("int8", False))]
    with BM25Index.writer(tmp_path / "index") as writer:
        for other in others:
            with pytest.raises(ArgumentError, match="must come with them|do not fit"):
                writer.add(documents, weights, cut, other)
        assert "new" not in writer
        writer.add(documents, weights, cut, side)
        writer.commit()
    assert_holds(BM25Index.open(tmp_path / "index"), {**expected, "new": passages_of(2, 5)}, record)


def test_an_index_with_side_files_says_their_bytes(tmp_path: Path) -> None:
    built(tmp_path / "index")
    written = json.loads((tmp_path / "index" / "index.json").read_text())
    assert written["format_version"] == 6
    assert written["side_data"] == {"vectors": {"format": "int8", "d": 5}, "token_codes": {"k": 3, "norms": True}}
    index = BM25Index.open(tmp_path / "index")
    facts = index.info()
    assert facts["side_data"]["vectors"]["bytes"] == index.n_passages * (5 + 4)
    codes = sum(p.stat().st_size for p in (tmp_path / "index").rglob("code_*"))
    assert facts["side_data"]["token_codes"]["bytes"] == codes
    assert facts["side_data"]["token_codes"]["bytes_per_document"] == round(codes / index.n_documents)


@pytest.mark.parametrize(
    "value", [{"vectors": {"format": "int4", "d": 5}}, {"vectors": {"format": "int8", "d": 0}}, {"token_codes": {"k": 0}}, 7]
)
def test_settings_that_no_index_has_are_refused(value: Any, tmp_path: Path) -> None:
    built(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    written = json.loads(path.read_text())
    written.pop("sha256")
    written["side_data"] = {**written["side_data"], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps({**written, "sha256": json_checksum(written)}))
    with pytest.raises(IndexFormatError, match="index.json is damaged"):
        BM25Index.open(tmp_path / "index")


SIDE_NAMES = ["vectors.bin", "vector_scales.bin"] + [
    *("code_bounds.npy", "code_counts.bin", "code_scales.bin", "code_norms.bin", "code_latents.bin", "code_values.bin")
]


@pytest.mark.parametrize("name", SIDE_NAMES)
def test_a_missing_cut_or_changed_file_is_named(name: str, tmp_path: Path) -> None:
    built(tmp_path / "index")
    [path] = (tmp_path / "index").rglob(name)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IndexFormatError, match=f"{name} is damaged"):
        BM25Index.open(tmp_path / "index", verify=True)
    # damage is not copied under a new checksum
    with pytest.raises(IndexFormatError, match=f"{name} is damaged"), BM25Index.writer(tmp_path / "index") as writer:
        writer.delete("d0")
        writer.merge()
    path.write_bytes(content[:-1])
    with pytest.raises(IndexFormatError, match=name):
        BM25Index.open(tmp_path / "index")
    path.unlink()
    with pytest.raises(IndexFormatError, match=name):
        BM25Index.open(tmp_path / "index")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code_counts.bin", "code_counts.bin is damaged"),
        ("code_latents.bin", "code_latents.bin is damaged"),
        ("code_bounds.npy", "code_bounds.npy is damaged"),
        ("code_scales.bin", "code_scales.bin is damaged"),
        ("code_norms.bin", "code_norms.bin is damaged"),
        ("vector_scales.bin", "vectors.bin is damaged"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_without_a_checksum(name: str, message: str, tmp_path: Path) -> None:
    built(tmp_path / "index")
    [path] = (tmp_path / "index").rglob(name)
    content = bytearray(path.read_bytes())
    start = 128 + 16 if path.suffix == ".npy" else 0  # the first passage's end; the first number of a bare file
    content[start : start + 4] = b"\xff\xff\xff\x7f" if name != "vector_scales.bin" else np.float32(np.nan).tobytes()
    path.write_bytes(bytes(content))
    index = BM25Index.open(tmp_path / "index")
    hits = hits_of(index, [f"d{i}" for i in range(6)])
    with pytest.raises(IndexFormatError, match=message):
        index.vectors(hits) if name.startswith("vector") else index.token_codes(hits)


def test_a_killed_writer_leaves_the_last_commit_whole(tmp_path: Path) -> None:
    expected = built(tmp_path / "index")
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from helpers_side import batch_of, passages_of, record_of\n"
        "from lexite.index import BM25Index\n"
        "writer = BM25Index.writer(sys.argv[1], segment_postings=10)\n"
        "writer.replace(*batch_of(['d0', 'new'], [passages_of(2, 50), passages_of(1, 51)], record_of()))\n"
        "writer._segments.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "index"), str(Path(__file__).parent)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert_holds(BM25Index.open(tmp_path / "index", verify=True), expected, record_of())
    with BM25Index.writer(tmp_path / "index") as writer:
        writer.delete("d1")
        writer.commit()
    expected.pop("d1")
    assert_holds(BM25Index.open(tmp_path / "index", verify=True), expected, record_of())
    assert len(list((tmp_path / "index" / "segments").iterdir())) == 1


def test_merging_reads_side_files_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lexite.index.side_files as side_files

    monkeypatch.setattr(side_files, "PIECE_NUMBERS", 1 << 12)
    record = record_of("fp32", codes=False)
    record = type(record)(type(record.vectors)("fp32", 4096))  # type: ignore[misc]
    rng = np.random.default_rng(0)
    with BM25Index.create(tmp_path / "index", VOCABULARY, side_data=record) as writer:
        for part in range(4):
            ids = [f"{part}-{i}" for i in range(200)]
            documents, weights, cut, side = batch_of(ids, [passages_of(1, 0)] * 200, record_of(None), part)
            vectors = pack_vectors(rng.normal(size=(200, 4096)).astype(np.float32), "fp32")
            writer.add(documents, weights, cut, type(side)(200, vectors))
            writer.commit()
        tracemalloc.start()
        writer.merge()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    index = BM25Index.open(tmp_path / "index", verify=True)
    assert index.n_segments == 1 and peak < 4 << 20  # the vectors are 13 MB


def test_an_index_can_be_copied_with_its_side_files(tmp_path: Path) -> None:
    expected = built(tmp_path / "index")
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    assert_holds(BM25Index.open(tmp_path / "copy", verify=True), expected, record_of())


def test_a_record_says_what_is_kept() -> None:
    both = SideDataRecord(VectorsRecord("int8", 384), TokenCodesRecord(6, False))
    assert str(both) == "vectors of 384 numbers in int8 and token codes of 6 latents, without lengths"
    assert str(SideDataRecord(None, TokenCodesRecord(8, True))) == "token codes of 8 latents, with lengths"
    assert str(SideDataRecord()) == "none"
