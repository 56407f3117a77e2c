"""zstd frames, and the standard library's zstd of Python 3.14; the set of ids."""

from __future__ import annotations

import lzma
import struct
import sys
import types
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.corpus import read_documents
from lexite.corpus.duplicates import IdSet
from lexite.corpus.streams import _xz_errors, open_stream
from lexite.errors import CorpusError


def test_zstd_of_several_frames(tmp_path: Path):
    zstandard = pytest.importorskip("zstandard")
    compress = zstandard.ZstdCompressor().compress
    skipped = struct.pack("<II", 0x184D2A50, 5) + b"12345"  # what pzstd writes first
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(skipped + compress(b'{"text": "one"}\n') + compress(b"") + compress(b'{"text": "two"}\n'))
    assert [d.text for d in read_documents(path)] == ["one", "two"]


def test_zstd_larger_than_its_buffers(tmp_path: Path):
    zstandard = pytest.importorskip("zstandard")
    data = b"".join(b"line %d\n" % i for i in range(200_000))
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(data))
    with open_stream(path, "a") as stream:
        assert stream.file.read() == data
        assert data.startswith(stream.head)


class FakeZstd(types.ModuleType):
    """The interface of Python 3.14's compression.zstd, over zlib."""

    class ZstdError(Exception):
        pass

    class ZstdDecompressor:
        def __init__(self) -> None:
            self._zlib = zlib.decompressobj()

        def decompress(self, data: bytes) -> bytes:
            try:
                return self._zlib.decompress(data.removeprefix(b"\x28\xb5\x2f\xfd"))
            except zlib.error as error:
                raise FakeZstd.ZstdError(str(error)) from error

        @property
        def eof(self) -> bool:
            return self._zlib.eof

        @property
        def unused_data(self) -> bytes:
            return self._zlib.unused_data


def test_zstd_of_the_standard_library_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "compression", types.ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", FakeZstd("compression.zstd"))
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + zlib.compress(b'{"text": "one"}\n'))
    assert [d.text for d in read_documents(path)] == ["one"]
    path.write_bytes(b"\x28\xb5\x2f\xfdnot zlib")
    with pytest.raises(CorpusError, match="cannot be read .*the file may be damaged"):
        list(read_documents(path))


def test_python_without_lzma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(b'{"text": "one"}\n'))
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert _xz_errors() == ()
    with pytest.raises(CorpusError, match="needs a Python that was built with lzma"):
        list(read_documents(tmp_path / "a.jsonl.xz"))


@given(st.lists(st.text(max_size=3), max_size=200))
def test_id_set_is_a_set(ids: list[str]):
    known: set[str] = set()
    small = IdSet()
    for id in ids:
        assert small.add(id) == (id not in known)
        known.add(id)
    assert len(small) == len(known)


def test_id_set_grows():
    ids = IdSet()
    assert all(ids.add(str(i)) for i in range(20_000))
    assert not any(ids.add(str(i)) for i in range(20_000))
    assert len(ids) == 20_000
    with pytest.raises(UnicodeEncodeError):
        ids.add("\ud800")
