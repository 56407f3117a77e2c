"""An index that lies on the disk rather than in memory: what is asked for ahead, and what a search then waits for."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import documents_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array

import lexite.index.disk
import lexite.index.opening
import lexite.index.postings
import lexite.index.scorer
import lexite.index.storage
import lexite.index.stored_rows
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.reference import reference_search
from lexite.index.storage import (
    FileRecord,
    map_array,
    map_bytes,
    on_disk,
    read_ahead,
    read_all_ahead,
    read_files_ahead,
    write_array,
)
from lexite.kernels.posting_lists import CHUNK
from lexite.scoring.rounding import rounded_weights
from lexite.terms import EncodedQueries

N_TERMS = 60
PAGE = mmap.PAGESIZE


class Asked(mmap.mmap):
    """A map that notes for which bytes it was told to read ahead."""

    ranges: list[tuple[int, int]]

    def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
        if option == mmap.MADV_WILLNEED:
            self.ranges.append((start, start + length))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[NDArray[Any]], set[int]]:
    """Lets maps note what is asked for; gives the numbers of the pages of an array's map that were."""
    monkeypatch.setattr(mmap, "mmap", Asked)

    def pages(array: NDArray[Any]) -> set[int]:
        mapped: Any = array
        while not isinstance(mapped, Asked):
            mapped = mapped.obj if isinstance(mapped, memoryview) else mapped.base
        return {page for start, end in mapped.ranges for page in range(start // PAGE, -(-end // PAGE))}

    return pages


Asked.ranges = []


def test_ranges_are_asked_for_whole_and_neighbours_together(tmp_path: Path, asked: Callable[[NDArray[Any]], set[int]]) -> None:
    size = 400 * PAGE
    (tmp_path / "f").write_bytes(bytes(size))
    mapped = map_bytes(tmp_path / "f", FileRecord(size, ""), scattered=True)
    Asked.ranges = []
    far = lexite.index.storage.GAP_BYTES // PAGE + 10
    starts = np.array([far * PAGE + 5, 10, 3 * PAGE, size - 1, 7, size, -4], dtype=np.int64)
    ends = np.array([(far + 90) * PAGE + 6, 20, 3 * PAGE + 1, size, 7, size + 1, 9], dtype=np.int64)
    read_ahead(mapped, starts, ends)
    assert asked(mapped) == {0, 1, 2, 3, *range(far, far + 91), 399}
    assert all(end - start <= lexite.index.storage.AHEAD_BYTES for start, end in Asked.ranges)


def test_a_part_of_an_array_is_asked_for_at_its_place_in_the_file(
    tmp_path: Path, asked: Callable[[NDArray[Any]], set[int]]
) -> None:
    rows = np.arange(3 * 50 * PAGE, dtype=np.float32).reshape(3, -1)  # 200 pages each
    record = write_array(tmp_path / "rows.npy", rows)
    mapped = map_array(tmp_path / "rows.npy", record, "<f4", rows.shape)
    Asked.ranges = []
    read_all_ahead(mapped[1])
    assert asked(mapped) == set(range(200, 401))  # the header moves all by 128 bytes
    assert (mapped == rows).all()


def test_a_system_that_takes_no_advice_is_searched_all_the_same(
    large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(mmap.mmap):
        def madvise(self, *_: object) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    query = EncodedQueries(csr_array(np.ones((1, N_TERMS), np.float32)))
    expected = BM25Index.open(large[0]).search_arrays(query)
    monkeypatch.setattr(mmap, "mmap", Refusing)
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: None)
    found = BM25Index.open(large[0]).search_arrays(query)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(-50, 90), st.integers(-50, 90)), max_size=8))
def test_any_range_is_borne_by_any_array(content: bytes, ranges: list[tuple[int, int]]) -> None:
    array = np.frombuffer(content, np.uint8)
    starts, ends = (np.array([pair[part] for pair in ranges], dtype=np.int64) for part in (0, 1))
    read_ahead(array, starts, ends)


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system cannot say what is in memory")
def test_whether_a_file_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 5, 100_000):
        (tmp_path / "f").write_bytes(os.urandom(size))
        assert on_disk(tmp_path / "f", size) in (False, None)  # just written; not every file system can say it

    def absent(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", absent)
    assert on_disk(tmp_path / "f", 100_000) is True
    assert on_disk(tmp_path / "missing", 100_000) is None
    (tmp_path / "empty").touch()
    assert on_disk(tmp_path / "empty", 0) is False
    monkeypatch.delattr(os, "RWF_NOWAIT")
    assert on_disk(tmp_path / "f", 100_000) is None


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice about files")
def test_asking_whether_a_file_is_on_the_disk_does_not_read_it(tmp_path: Path) -> None:
    path, size = tmp_path / "f", 4 << 20
    path.write_bytes(os.urandom(size))
    with open(path, "rb+") as file:
        os.fdatasync(file.fileno())  # not os.fsync, which tests of the index leave out
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if not on_disk(path, size):
        pytest.skip("the file system keeps files in memory")
    for _ in range(20):
        assert on_disk(path, size)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, csr_array]:
    """An index of two segments and nine chunks, and its rounded weights."""
    path, n = tmp_path_factory.mktemp("cold") / "i", 8 * CHUNK + 100
    weights = csr_array(random_array((n, N_TERMS), density=0.05, format="csr", rng=np.random.default_rng(0)), dtype=np.float32)
    weights.data += np.float32(0.01)
    with BM25Index.create(path, VocabularyInfo("f" * 64, "cold", N_TERMS), segment_postings=200_000) as writer:
        writer.add(documents_of([str(i) for i in range(n)]), weights)
        writer.commit()
    return path, csr_array((rounded_weights(weights.data), weights.indices, weights.indptr), shape=weights.shape)


def test_a_search_on_the_disk_finds_the_same_on_several_threads(
    large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, weights = large
    index = BM25Index.open(path)
    assert index.info()["n_segments"] > 1
    faults = itertools.chain([0, 100, 100, 200, 200], itertools.repeat(210))  # the third search does not wait any more
    monkeypatch.setattr(lexite.index.disk, "disk_faults", lambda: next(faults))
    monkeypatch.setattr(index._scorer._disk, "_large", True)
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: True)
    threads, searches = set(), []
    threaded = lexite.index.scorer.together

    def together(function: Callable[[int], None], n: int) -> None:
        def noted(part: int) -> None:
            threads.add(threading.current_thread().name)
            function(part)

        searches.append(n)
        threaded(noted, n)

    monkeypatch.setattr(lexite.index.scorer, "together", together)
    queries = csr_array(random_array((20, N_TERMS), density=0.3, format="csr", rng=np.random.default_rng(1)), dtype=np.float32)
    expected, scores = reference_search(weights, queries, BM25Config(), 10)
    for number in range(20):
        found, found_scores = index.search_arrays(EncodedQueries(queries[[number]]), 10)
        assert np.array_equal(found[0], expected[number]) and np.array_equal(found_scores[0], scores[number])
    assert len(threads) > 1 and searches == [lexite.index.scorer.DISK_THREADS] * 3


def test_an_error_of_a_thread_on_the_disk_is_the_error_of_the_search(
    large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: True)
    index = BM25Index.open(large[0])
    monkeypatch.setattr(index._scorer._disk, "_large", True)

    def fails(*_: object) -> Callable[..., bool]:
        def search(*_: object) -> bool:
            raise OSError("the disk is gone")

        return search

    monkeypatch.setattr(index._scorer, "_search_of", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        index.search_arrays(EncodedQueries(csr_array(np.ones((1, N_TERMS), np.float32))))


@pytest.mark.parametrize(("state", "asks"), [(True, True), (None, True), (False, False)])
def test_lists_are_asked_for_where_they_may_be_on_the_disk_and_fit_the_scoring(
    large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch, state: bool | None, asks: bool
) -> None:
    read: list[int] = []
    monkeypatch.setattr(lexite.index.postings.Postings, "read_ahead", lambda *_: read.append(1))
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: state)
    index = BM25Index.open(large[0])
    query = EncodedQueries(csr_array(np.ones((1, N_TERMS), np.float32)))
    index.search_arrays(query, scoring=dataclasses.replace(index.scoring, k1=3.0))
    assert not read
    index = BM25Index.open(large[0])
    for _ in range(2):
        index.search_arrays(query)
    assert len(read) == (index.info()["n_segments"] if asks else 0)


@pytest.mark.slow  # compiles the kernels for other types
def test_lists_beyond_four_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexite.index.postings, "_offset_type", lambda nbytes: "<u8" if nbytes > 1000 else "<u4")
    weights = csr_array(
        random_array((3000, N_TERMS), density=0.2, format="csr", rng=np.random.default_rng(0)), dtype=np.float32
    )
    with BM25Index.create(tmp_path / "i", VocabularyInfo("f" * 64, "large", N_TERMS), mantissa=23) as writer:
        writer.add(documents_of([str(i) for i in range(3000)]), weights)
        writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    postings = index._scorer.segments[0].postings
    assert postings is not None and postings.offsets.dtype == np.uint64
    queries = csr_array(random_array((9, N_TERMS), density=0.3, format="csr", rng=np.random.default_rng(1)), dtype=np.float32)
    found, expected = index.search_arrays(EncodedQueries(queries), 10), reference_search(weights, queries, BM25Config(), 10)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


def test_the_rows_that_a_search_without_compiled_code_scores_are_asked_for(
    large: tuple[Path, csr_array], asked: Callable[[NDArray[Any]], set[int]]
) -> None:
    rows = BM25Index.open(large[0])._scorer.segments[0].rows
    Asked.ranges = []
    passages = np.array([9000, 3, 20_000])
    rows.read_ahead(passages)
    data = rows.data  # type: ignore[union-attr]
    begins, ends = rows.bounds[passages], rows.bounds[passages + 1]
    needed = {page for begin, end in zip(begins, ends, strict=True) for page in range(begin // PAGE, -(-end // PAGE))}
    assert needed <= asked(data)


def test_the_headers_of_all_files_are_asked_for_before_one_is_read(
    large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(lexite.index.opening, "read_files_ahead", lambda files: order.extend(path for path, _ in files))
    opened = lexite.index.opening.open_segment

    def open_segment(place: Path, *arguments: Any, **options: Any) -> Any:
        order.append("opened")
        return opened(place, *arguments, **options)

    monkeypatch.setattr(lexite.index.opening, "open_segment", open_segment)
    BM25Index.open(large[0])
    headers = sorted(map(str, (large[0] / "segments").rglob("*.npy")))
    assert headers and sorted(order[: len(headers)]) == headers and set(order[len(headers) :]) == {"opened"}


def test_frequencies_are_asked_for_before_lists(large: tuple[Path, csr_array], monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    index = BM25Index.open(large[0])
    segments = index._scorer.segments
    names = {id(segment.frequencies): "frequencies" for segment in segments}
    monkeypatch.setattr(lexite.index.stored_rows, "on_disk", lambda *_: True)
    monkeypatch.setattr(lexite.index.disk, "read_all_ahead", lambda array: order.append(names.get(id(array), "other")))
    monkeypatch.setattr(lexite.index.postings.Postings, "read_ahead", lambda *_: order.append("lists"))
    index.search_arrays(EncodedQueries(csr_array(np.eye(1, N_TERMS, dtype=np.float32))), 3)
    assert order.count("frequencies") == order.count("lists") == len(segments)
    assert max(i for i, name in enumerate(order) if name == "frequencies") < order.index("lists")


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice about files")
def test_beginnings_are_asked_for_and_missing_files_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[tuple[int, int, int]] = []
    (tmp_path / "a").write_bytes(bytes(3 * PAGE))
    monkeypatch.setattr(os, "posix_fadvise", lambda file, *range_and_advice: asked_for.append(range_and_advice))
    read_files_ahead([(str(tmp_path / "a"), PAGE), (str(tmp_path / "missing"), PAGE)])
    assert asked_for == [(0, PAGE, os.POSIX_FADV_WILLNEED)]
