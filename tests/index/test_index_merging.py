from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, assert_same_as_reference, documents_of, weights_of
from hypothesis import given
from hypothesis import strategies as st

import lexite.index.growing_segments
import lexite.index.merging
import lexite.index.postings
import lexite.index.segment_changes
import lexite.index.stored_texts
from lexite.errors import StorageError
from lexite.index import BM25Index
from lexite.index.merging import plan_merge


@given(st.lists(st.integers(0, 10**8), max_size=60), st.integers(0, 3), st.sampled_from([10**12, 3 * 10**8, 10**6]))
def test_plans_come_to_an_end_with_few_segments(sizes: list[int], seed: int, largest: int) -> None:
    generator = np.random.default_rng(seed)
    segments = [(int(size * generator.random()), size) for size in sizes]
    steps = 0
    while plan := plan_merge(segments, largest):
        start, stop = plan
        live = sum(entry[0] for entry in segments[start:stop])
        assert stop - start == 1 or live <= largest
        segments[start:stop] = [(live, live)]
        steps += 1
    assert steps <= 2 * len(sizes)
    assert all(2 * live >= total for live, total in segments)


def test_many_small_commits_make_few_segments_and_little_copying() -> None:
    segments: list[tuple[int, int]] = []
    copied = 0
    for _ in range(3000):
        segments.append((600, 600))
        while plan := plan_merge(segments):
            start, stop = plan
            live = sum(entry[0] for entry in segments[start:stop])
            segments[start:stop] = [(live, live)]
            copied += live
    assert len(segments) < 40 and copied < 8 * 3000 * 600


def test_a_large_build_makes_segments_of_a_bounded_size() -> None:
    segments = [(113_000_000, 113_000_000)] * 40  # 10 million documents of 450 postings, 250,000 in a segment
    while plan := plan_merge(segments):
        start, stop = plan
        live = sum(entry[0] for entry in segments[start:stop])
        segments[start:stop] = [(live, live)]
    assert [size for size, _ in segments] == [904_000_000] * 5


def test_segments_of_a_build_are_merged_before_their_lists_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    write = lexite.index.segment_changes.write_postings

    def counted(folder: Path, *arguments: Any) -> Any:
        made.append(folder.name)
        return write(folder, *arguments)

    monkeypatch.setattr(lexite.index.segment_changes, "write_postings", counted)
    weights, ids = weights_of(60, 3), [f"m{i}" for i in range(60)]
    gone = [0, 1, 2, 3, 7, 30, 58]
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=20) as writer:
        for start in range(0, 60, 4):
            writer.add(documents_of(ids[start : start + 4]), weights[start : start + 4])
        folders = len(list((tmp_path / "i" / "segments").iterdir()))
        writer.delete([ids[place] for place in gone])
        writer.commit()
    assert folders >= 8 and len(made) == len(list((tmp_path / "i" / "segments").iterdir())) < 8
    kept = [place for place in range(60) if place not in gone]
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert_same_as_reference(index, [ids[place] for place in kept], weights[kept])
    assert index.info()["n_deleted"] == 0


def test_where_new_segments_cannot_be_merged_the_commit_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(lexite.index.growing_segments, "merge_segments", full)
    weights, ids = weights_of(60, 3), [f"m{i}" for i in range(60)]
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=20) as writer:
        writer.add(documents_of(ids), weights)
        writer.commit()
    assert "New segments could not be merged. The disk is full." in caplog.text
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.info()["n_segments"] >= 8
    assert_same_as_reference(index, ids, weights)
    assert len(list((tmp_path / "i" / "segments").iterdir())) == index.info()["n_segments"]


def test_small_commits_are_merged(tmp_path: Path) -> None:
    weights, ids = weights_of(40, 1), [f"m{i}" for i in range(40)]
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        for i in range(40):
            writer.add(documents_of([ids[i]]), weights[[i]])
            writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.info()["n_segments"] <= 8
    assert_same_as_reference(index, ids, weights)
    assert len(list((tmp_path / "i" / "segments").iterdir())) == index.info()["n_segments"]


def test_segments_that_lost_most_documents_are_rewritten(tmp_path: Path) -> None:
    weights, ids = weights_of(40, 1), [f"m{i}" for i in range(40)]
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(ids), weights)
        writer.commit()
        writer.delete(ids[5:35])
        writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.info()["n_deleted"] == 0 and index.info()["bytes_postings"] < 6000
    kept = [*range(5), *range(35, 40)]
    assert_same_as_reference(index, [ids[i] for i in kept], weights[kept])


@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_merging_in_pieces_of_any_size(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexite.index.stored_texts, "PIECE_BYTES", size)
    monkeypatch.setattr(lexite.index.merging, "PIECE_ROWS", size)
    monkeypatch.setattr(lexite.index.postings, "MERGE_BYTES", size)
    monkeypatch.setattr(lexite.index.postings, "SPILL_BYTES", size)
    weights, ids = weights_of(60, 1, 0.4), [f"m{i}" for i in range(60)]
    with BM25Index.create(tmp_path / "i", VOCABULARY, segment_postings=150) as writer:
        writer.add(documents_of(ids), weights)
        writer.commit()
        writer.delete(ids[::7])
        writer.commit()
    kept = [i for i in range(60) if i % 7]
    with BM25Index.writer(tmp_path / "i", segment_postings=size) as writer:
        writer.merge()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.info()["n_segments"] == 1 and index.info()["n_deleted"] == 0
    assert_same_as_reference(index, [ids[i] for i in kept], weights[kept], ALL_SCORINGS[:2])
    assert index.stored(3).text == f"text of {ids[kept[3]]} ü"
    with BM25Index.writer(tmp_path / "i", segment_postings=size) as writer:
        writer.merge()
    assert BM25Index.open(tmp_path / "i").info()["generation"] == index.info()["generation"] + 1


MEMORY_PROGRAM = """
import resource, sys
import numpy as np
from scipy.sparse import csr_array
from lexite.corpus.records import Document
from lexite.index import BM25Index, VocabularyInfo

n, step, per, terms = 48_000, 500, 200, 4096
generator = np.random.default_rng(0)
indices = np.sort(generator.permuted(np.tile(np.arange(terms, dtype=np.int32), (step, 1)), axis=1)[:, :per], axis=1)
weights = csr_array((np.ones(step * per, np.float32), indices.ravel(), np.arange(step + 1) * per), shape=(step, terms))
with BM25Index.create(sys.argv[1], VocabularyInfo("", "", terms), segment_postings=3_000_000) as writer:
    for start in range(0, n, step):
        writer.add([Document(str(i), "x" * 1500) for i in range(start, start + step)], weights)
        if not start:
            writer.commit()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    writer.merge()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, writer.n_documents)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_building_and_merging_in_bounded_memory(tmp_path: Path) -> None:
    # 9.6 million postings and 72 MB of text: 150 MB on the disk. A chunk of 16,384 documents takes about 50 MB.
    environment = {**os.environ, "LEXITE_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(tmp_path / "i")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    grown, documents = map(int, done.stdout.split())
    assert documents == 48_000 and grown < 100
    assert BM25Index.open(tmp_path / "i", verify=True).n_postings == 48_000 * 200
