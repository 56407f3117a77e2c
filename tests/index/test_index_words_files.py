"""The dictionary on the disk: older formats, damage, killed writers, full disks, overwriting."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, Disk, assert_same_as_reference, documents_of, stack, weights_of
from helpers_old import to_version
from helpers_words import LITERAL, assert_same_with_words, documents_with, texts_of, words_of
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.errors import IndexFormatError, StorageError
from lexite.files import json_checksum
from lexite.index import BM25Index, IndexWriter, LiteralConfig, check_index_folder
from lexite.index.manifest import read_commit
from lexite.terms import EncodedQueries

IDS, TEXTS = [f"a{i}" for i in range(20)], texts_of(20, 1)
SCORINGS = ALL_SCORINGS[:2]


def build(path: Path) -> Path:
    with BM25Index.create(path, VOCABULARY, literal=LITERAL, segment_postings=150) as writer:
        writer.add(documents_with(IDS, TEXTS), weights_of(20, 1))
        writer.commit()
        writer.delete(IDS[:3])
        writer.commit()
    return path


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    return build(tmp_path / "index")


def word_files(path: Path) -> list[Path]:
    return sorted((path / "words").iterdir())


def check_built(path: Path) -> None:
    assert_same_with_words(BM25Index.open(path, verify=True), IDS[3:], weights_of(20, 1)[3:], TEXTS[3:], SCORINGS)


def signed(value: dict) -> str:
    value = {key: entry for key, entry in value.items() if key != "sha256"}
    return json.dumps({**value, "sha256": json_checksum(value)})


def test_indexes_of_format_2_are_searched_and_changed(tmp_path: Path) -> None:
    path, weights = tmp_path / "old", weights_of(20, 2)
    with BM25Index.create(path, VOCABULARY, segment_postings=60, mantissa=23) as writer:
        writer.add(documents_of(IDS), weights)
        writer.commit()
        writer.delete(IDS[:2])
        writer.commit()
    to_version(path, 2)
    index = BM25Index.open(path, verify=True)
    assert index.literal is None and index.info()["format_version"] == 2 and index.scoring.literal_weight == 3.0
    assert index.scoring.idf_power == 1.0
    assert_same_as_reference(index, IDS[2:], weights[2:], SCORINGS)
    with BM25Index.writer(path) as writer:
        assert json.loads((path / "index.json").read_text())["format_version"] == 2
        writer.add(documents_of(["new"]), weights_of(1, 3))
        writer.commit()
        both = stack([weights[2:], weights_of(1, 3)])
        assert_same_as_reference(BM25Index.open(path, verify=True), [*IDS[2:], "new"], both, SCORINGS)
        writer.merge()
    index = BM25Index.open(path, verify=True)
    assert index.info()["format_version"] == 6 and index.literal is None
    assert_same_as_reference(index, [*IDS[2:], "new"], both, SCORINGS)


def test_indexes_from_before_pairs_of_characters_go_on_with_whole_runs(tmp_path: Path) -> None:
    path, old = tmp_path / "old", LiteralConfig(literal_unspaced="whole")
    with BM25Index.create(path, VOCABULARY, literal=old) as writer:
        writer.add([Document("a", "東京都 x")], weights_of(1, 1))
        writer.commit()
    value = json.loads((path / "index.json").read_text())
    assert value["literal"].pop("literal_unspaced") == "whole" and value["literal"].pop("literal_compounds") == "none"
    (path / "index.json").write_text(signed(value))
    assert BM25Index.open(path, verify=True).literal == old
    with BM25Index.writer(path) as writer:
        writer.add([Document("b", "น้ำ 大阪")], weights_of(1, 2))
        writer.commit()
    index = BM25Index.open(path, verify=True)
    assert words_of(index) == ["東京都", "x", "น", "า", "大阪"] and index.literal == old
    asked = EncodedQueries(csr_array((2, N_TERMS), dtype=np.float32), ["東京", "東京都"])
    assert [[hit.id for hit in hits] for hits in index.search(asked)] == [[], ["a"]]


def test_the_dictionary_is_written_only_when_it_grows(index_path: Path) -> None:
    before = word_files(index_path)
    assert [file.name for file in before] == [
        "word_bounds-00000001.npy",
        "word_hashes-00000001.npy",
        "word_order-00000001.npy",
        "words-00000001.bin",
    ]
    with BM25Index.writer(index_path) as writer:
        writer.add([Document("same", TEXTS[5])], weights_of(1, 5))
        writer.commit()
        assert word_files(index_path) == before
        writer.add([Document("other", "entirely newword")], weights_of(1, 6))
        writer.commit()
    assert {file.name[-12:-4] for file in word_files(index_path)} == {"00000004"}
    assert words_of(BM25Index.open(index_path, verify=True))[-2:] == ["entirely", "newword"]


def test_damaged_and_missing_files_are_named(index_path: Path) -> None:
    for file in word_files(index_path):
        content = file.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 0x10
            file.write_bytes(changed)
            with pytest.raises(IndexFormatError, match=file.name):
                BM25Index.open(index_path, verify=True)
            with BM25Index.writer(index_path) as writer, pytest.raises(IndexFormatError, match=file.name):
                writer.add([Document("x", "newword")], weights_of(1, 1))  # damage is not copied into the next dictionary
        for change in (content[:-1], content + b"\0", b""):
            file.write_bytes(change)
            with pytest.raises(IndexFormatError, match=rf"{file.name} is damaged: it has"):
                BM25Index.open(index_path)
        file.unlink()
        with pytest.raises(IndexFormatError, match=rf"{file.name} is missing"):
            BM25Index.open(index_path)
        file.write_bytes(content)
    check_built(index_path)


def test_damage_ends_in_hits_or_in_an_error(index_path: Path) -> None:
    generator = np.random.default_rng(0)
    for file in word_files(index_path):
        content = file.read_bytes()
        begin = 128 if file.suffix == ".npy" else 0
        for _ in range(20):
            changed = bytearray(content)
            for place in generator.integers(begin, len(content), 8):
                changed[place] = generator.integers(256)
            file.write_bytes(changed)
            try:
                index = BM25Index.open(index_path)
                index.search_arrays(EncodedQueries(weights_of(20, 1), TEXTS))
                words_of(index)
            except IndexFormatError as error:
                assert "--verify" in str(error)
        file.write_bytes(content)
    file = next(file for file in word_files(index_path) if file.name.startswith("word_order"))
    content = file.read_bytes()
    for number in (b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f"):
        file.write_bytes(content[:128] + number * ((len(content) - 128) // 4))
        with pytest.raises(IndexFormatError, match=r"literal words of .* are damaged.*--verify"):
            BM25Index.open(index_path).search(EncodedQueries(weights_of(20, 1), TEXTS))


def test_a_damaged_commit_point(index_path: Path) -> None:
    commit = index_path / "index.json"
    original = commit.read_text()
    value = json.loads(original)
    words, segment = value["words"], value["segments"][0]
    cases = {
        signed({**value, "words": {**words, "n_words": words["n_words"] + 1}}): "does not hold the array",
        signed({**value, "words": {**words, "files": {}}}): "not listed by the commit point",
        signed({**value, "words": {**words, "files": {"../x.bin": {"bytes": 1, "sha256": ""}}}}): "it names '../x.bin'",
        signed({**value, "words": None}): "has .* terms, the index 40",
        signed({**value, "segments": [{**segment, "n_terms": 3}]}): "has 3 terms",
        signed({**value, "literal": {"literal": True, "stop": 1}}): "unknown key 'stop'",
        signed({key: entry for key, entry in value.items() if key != "literal"}): "is damaged",
    }
    for text, message in cases.items():
        commit.write_text(text)
        with pytest.raises(IndexFormatError, match=message):
            BM25Index.open(index_path)
    commit.write_text(original)
    check_built(index_path)


def add_more(writer: IndexWriter) -> None:
    writer.replace(documents_with(["b1", "a9"], ["freshword ba", "otherword da"]), weights_of(2, 7))


def check_more(path: Path) -> None:
    ids = [i for i in [*IDS[3:], "b1", "a9"] if i != "a9"] + ["a9"]
    texts = [TEXTS[int(i[1:])] if i[0] == "a" and i != "a9" else {"b1": "freshword ba", "a9": "otherword da"}[i] for i in ids]
    kept = [number for number in range(3, 20) if number != 9]
    weights = stack([weights_of(20, 1)[kept], weights_of(2, 7)])
    assert_same_with_words(BM25Index.open(path, verify=True), ids, weights, texts, SCORINGS)


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[2]]
import lexite.index.writer
from test_index_words_files import add_more
lexite.index.writer.write_commit = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
with lexite.index.BM25Index.writer(sys.argv[1], segment_postings=1) as writer:
    add_more(writer)
    writer.commit()
"""


@pytest.mark.skipif(os.name == "nt", reason="kills as Unix does")
def test_a_killed_writer_leaves_the_old_dictionary(index_path: Path) -> None:
    before = word_files(index_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(index_path), str(Path(__file__).parent)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(word_files(index_path)) == 8, "it was killed between the dictionary and the commit"
    check_built(index_path)
    with BM25Index.writer(index_path) as writer:
        assert word_files(index_path) == before
        add_more(writer)
        writer.merge()
    check_more(index_path)


@pytest.mark.slow
def test_whatever_fails_the_last_commit_is_there(index_path: Path, tmp_path: Path) -> None:
    shutil.copytree(index_path, tmp_path / "base")
    failures = 0
    for fail_at in range(1, 500):
        shutil.rmtree(index_path)
        shutil.copytree(tmp_path / "base", index_path)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(fail_at, patch)
            try:
                with BM25Index.writer(index_path, segment_postings=100) as writer:
                    add_more(writer)
                    writer.merge()
            except StorageError as error:
                failures += 1
                assert "disk is full" in str(error)
        committed = "b1" in BM25Index.open(index_path)
        (check_more if committed else check_built)(index_path)
        with BM25Index.writer(index_path) as writer:  # the retry
            if not committed:
                add_more(writer)
            writer.merge()
        check_more(index_path)
        assert len(word_files(index_path)) == 4
        if disk.left > 0:
            break
    assert failures >= 40 and disk.left > 0


def test_readers_keep_the_words_they_opened(index_path: Path) -> None:
    before = BM25Index.open(index_path)
    with BM25Index.writer(index_path) as writer:
        add_more(writer)
        writer.merge()
    assert_same_with_words(before, IDS[3:], weights_of(20, 1)[3:], TEXTS[3:], SCORINGS[:1])
    with pytest.raises(IndexFormatError, match="was changed since it was opened"):
        before.verify()


def test_overwriting_with_and_without_words(index_path: Path) -> None:
    nothing = csr_array((1, N_TERMS), dtype=np.float32)
    with BM25Index.create(index_path, VOCABULARY, overwrite=True) as writer:
        writer.add(documents_of("ab"), weights_of(2, 1))
        check_built(index_path)
        writer.commit()
    assert_same_as_reference(BM25Index.open(index_path, verify=True), list("ab"), weights_of(2, 1), SCORINGS)
    assert not (index_path / "words").exists()
    with BM25Index.create(index_path, VOCABULARY, overwrite=True, literal=LITERAL) as writer:
        writer.add([Document("c", "solo")], nothing)
        writer.commit()
    assert words_of(BM25Index.open(index_path, verify=True)) == ["solo"]


def test_a_damaged_index_is_not_touched_before_its_successor_is_there(index_path: Path) -> None:
    commit = (index_path / "index.json").read_bytes()
    (index_path / "index.json").write_bytes(b"{")
    with BM25Index.create(index_path, VOCABULARY, overwrite=True, literal=LITERAL) as writer:
        writer.add([Document("c", "solo")], weights_of(1, 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lexite.index.writer.write_commit", lambda *args: (_ for _ in ()).throw(StorageError("full")))
            with pytest.raises(StorageError, match="full"):
                writer.commit()
    (index_path / "index.json").write_bytes(commit)  # somebody mends it
    check_built(index_path)
    (index_path / "index.json").write_bytes(b"{")
    with BM25Index.create(index_path, VOCABULARY, overwrite=True, literal=LITERAL) as writer:
        writer.add([Document("c", "solo")], weights_of(1, 1))
        writer.commit()
    assert words_of(BM25Index.open(index_path, verify=True)) == ["solo"] and len(word_files(index_path)) == 4


def test_a_build_that_was_stopped_may_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with BM25Index.create(path, VOCABULARY, literal=LITERAL) as writer:
        writer.add([Document("c", "solo")], weights_of(1, 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lexite.index.writer.write_commit", lambda *args: (_ for _ in ()).throw(StorageError("full")))
            with pytest.raises(StorageError, match="full"):
                writer.commit()
    (path / "words").mkdir(exist_ok=True)
    (path / "words" / "words-00000001.bin").write_bytes(b"left behind")
    assert check_index_folder(path) == path
    build(path)
    check_built(path)
    assert read_commit(path).words is not None
