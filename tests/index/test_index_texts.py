"""Stored titles and texts: compressed blocks give back every document, wherever it went."""

from __future__ import annotations

import json
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import zstandard
from helpers_index import N_TERMS, VOCABULARY
from helpers_old import to_version
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.errors import IndexFormatError
from lexite.files import json_checksum, write_json
from lexite.index import BM25Index, stored_texts
from lexite.index.stored_texts import BLOCK_BYTES, PackedTexts, PlainTexts
from lexite.scoring.rounding import MANTISSA

WORDS = st.text(st.characters(), max_size=5)


@st.composite
def texts(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Titles and texts, empty ones, lone surrogates and texts of several blocks among them."""
    word = draw(WORDS)
    repeats = st.sampled_from([0, 1, 40, 3000, 40_000])
    return [(draw(WORDS), f"{number} {word}" * draw(repeats)) for number in range(draw(st.integers(1, 12)))]


def documents_of(parts: list[tuple[str, str]], first: int = 0) -> list[Document]:
    return [Document(f"d{first + number}", text, title) for number, (title, text) in enumerate(parts)]


def weights_for(documents: list[Document]) -> csr_array:
    return csr_array((len(documents), N_TERMS), dtype=np.float32)


def write(path: Path, batches: list[list[Document]], mantissa: int = MANTISSA) -> None:
    with BM25Index.create(path, VOCABULARY, mantissa=mantissa) as writer:
        for batch in batches:
            writer.add(batch, weights_for(batch))
            writer.commit()


def held(path: Path) -> list[tuple[str, str, str]]:
    return [(each.id, each.title, each.text) for each in BM25Index.open(path, verify=True)]


def as_given(documents: list[Document]) -> list[tuple[str, str, str]]:
    return [(each.id, each.title, each.text) for each in documents]


@settings(max_examples=25, deadline=None)
@given(first=texts(), second=texts(), data=st.data())
def test_documents_come_back(
    tmp_path_factory: pytest.TempPathFactory, first: list[tuple[str, str]], second: list[tuple[str, str]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("texts") / "i"
    batches = [documents_of(first), documents_of(second, len(first))]
    write(path, batches)
    documents = batches[0] + batches[1]
    assert held(path) == as_given(documents)
    gone = data.draw(st.lists(st.sampled_from(documents), unique_by=lambda each: each.id, max_size=4))
    if len(gone) < len(documents):
        with BM25Index.writer(path) as writer:
            writer.delete([each.id for each in gone])
            writer.merge()
        kept = [each for each in documents if each not in gone]
        assert held(path) == as_given(kept)
        index = BM25Index.open(path)
        for each in reversed(kept):
            stored = index.get(each.id)
            assert stored is not None and (stored.title, stored.text) == (each.title, each.text)


def test_texts_take_less_room_and_small_blocks_are_joined(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"The weight of document {n} is kept in the index. " * 4) for n in range(300)]
    write(tmp_path / "i", [documents[n : n + 1] for n in range(40)] + [documents[40:]])
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.merge()
    (segment,) = BM25Index.open(tmp_path / "i")._scorer.segments
    kept = segment.texts
    assert isinstance(kept, PackedTexts) and held(tmp_path / "i") == as_given(documents)
    assert len(kept.data) < kept.bounds[-1] / 3
    assert len(kept.blocks) - 1 <= 1 + 2 * int(kept.bounds[-1]) // BLOCK_BYTES


def test_threads_read_one_segment(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"{n} " * 2000) for n in range(60)]
    write(tmp_path / "i", [documents])
    index = BM25Index.open(tmp_path / "i")
    order = np.random.default_rng(0).integers(0, 60, 600).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert [each.text for each in pool.map(index.stored, order)] == [documents[n].text for n in order]


def test_damaged_blocks_are_noticed(tmp_path: Path) -> None:
    write(tmp_path / "i", [[Document(f"d{n}", f"{n} some text " * 400) for n in range(20)]])
    generator = np.random.default_rng(1)
    for name in ("texts.bin", "text_blocks.npy", "text_bounds.npy"):
        file = next((tmp_path / "i").glob(f"segments/*/{name}"))
        content = file.read_bytes()
        for _ in range(30):
            changed = bytearray(content)
            for place in generator.integers(128 if name.endswith("npy") else 0, len(content), 2):
                changed[place] = generator.integers(256)
            file.write_bytes(changed)
            index = BM25Index.open(tmp_path / "i")
            for number in range(20):
                try:
                    index.stored(number)
                except IndexFormatError as error:
                    assert "--verify" in str(error)
        file.write_bytes(content)


def crafted(path: Path, frame: bytes) -> BM25Index:
    """An index of one document whose block of texts is another frame, as the directory of blocks says too."""
    write(path, [[Document("d", "some text " * 400)]])
    commit = json.loads((path / "index.json").read_text())
    (segment,) = commit["segments"]
    folder = path / "segments" / segment["name"]
    blocks = np.load(folder / "text_blocks.npy")
    blocks[-1, 1] = len(frame)
    (folder / "texts.bin").write_bytes(frame)
    np.save(folder / "text_blocks.npy", blocks)
    segment["files"]["texts.bin"]["bytes"] = len(frame)
    del commit["sha256"]
    write_json(path / "index.json", {**commit, "sha256": json_checksum(commit)})
    return BM25Index.open(path)


@pytest.mark.parametrize("names_size", [True, False])
def test_a_block_that_unpacks_to_more_than_the_directory_says_is_refused(tmp_path: Path, names_size: bool) -> None:
    compress = zstandard.ZstdCompressor(level=19, write_content_size=names_size).compressobj(64 << 20 if names_size else -1)
    frame = b"".join([compress.compress(bytes(64 << 20)), compress.flush()])
    assert len(frame) < 20_000
    index = crafted(tmp_path / "i", frame)
    tracemalloc.start()
    with pytest.raises(IndexFormatError, match=r"--verify"):
        index.stored(0)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(("content", "what"), [(b"x" * 4001, "more"), (b"x" * 3999, "less")])
def test_a_block_of_another_length_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    index = crafted(tmp_path / "i", zstandard.ZstdCompressor().compress(content))
    with pytest.raises(IndexFormatError, match=rf"texts\.bin is damaged: a block of texts holds {what} than the 4,000 bytes"):
        index.stored(0)


def test_plain_texts_of_format_4_are_read_and_compressed_by_a_merge(tmp_path: Path) -> None:
    documents = documents_of([("a title", "text " * 5000), ("", ""), ("ü", "\ud800 x")])
    write(tmp_path / "i", [documents], mantissa=23)
    to_version(tmp_path / "i", 4)
    assert isinstance(BM25Index.open(tmp_path / "i")._scorer.segments[0].texts, PlainTexts)
    assert held(tmp_path / "i") == as_given(documents)
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.merge()
        assert isinstance(BM25Index.open(tmp_path / "i")._scorer.segments[0].texts, PackedTexts)
        assert held(tmp_path / "i") == as_given(documents)
        writer.delete("d1")
        writer.merge()
    assert held(tmp_path / "i") == as_given([documents[0], documents[2]])


class FakeZstd(ModuleType):
    """What is used of Python 3.14's compression.zstd, over zlib."""

    ZstdError = zlib.error

    @staticmethod
    def compress(content: bytes, level: int) -> bytes:
        return zlib.compress(content, level)

    @staticmethod
    def ZstdDecompressor() -> object:
        return zlib.decompressobj()


@pytest.fixture
def looked_for_anew() -> Iterator[None]:
    """Which zstd there is, is looked for again, now and after the test."""
    stored_texts._zstd.cache_clear()
    yield
    stored_texts._zstd.cache_clear()


@pytest.mark.usefixtures("looked_for_anew")
def test_zstd_of_the_standard_library_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression", ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", FakeZstd("compression.zstd"))
    documents = [Document("a", "some text " * 100)]
    write(tmp_path / "i", [documents])
    assert held(tmp_path / "i") == as_given(documents)
    content = next((tmp_path / "i").glob("segments/*/texts.bin")).read_bytes()
    assert zlib.decompress(content) == documents[0].text.encode()
