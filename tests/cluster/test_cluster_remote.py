"""Shards in an object store: a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lexite.remote
from lexite.cluster import Shard, encode_shard, index_from_terms
from lexite.cluster.place import place_of, read_bytes
from lexite.errors import StorageError
from lexite.index import BM25Index
from lexite.remote import Remote
from lexite.terms import LatentTermEncoder

pytest.importorskip("pyarrow")
pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket of a server on this machine."""
    import s3fs

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("lexite")
    yield "s3://lexite"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("remote") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i}", "text": "cat dog bird " * (i % 5 + 1)}) + "\n" for i in range(40)))
    return path


def test_shards_go_to_a_store_and_come_back(bucket: str, corpus: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    encoder, out = LatentTermEncoder.from_pretrained(tiny_vocabulary), f"{bucket}/terms"
    for place in (out, tmp_path / "terms"):
        for number in range(2):
            assert not encode_shard([corpus], place, Shard(number, 2), encoder).skipped
    assert encode_shard([corpus], out, Shard(1, 2), encoder).skipped
    there, here = place_of(out), place_of(tmp_path / "terms")
    assert there.names() == here.names()
    for name in here.names() - {"static.safetensors"}:  # whose metadata have no order
        assert read_bytes(there, name) == read_bytes(here, name)
    index_from_terms(out, tmp_path / "index")
    assert len(BM25Index.open(tmp_path / "index")) == 40


def test_an_error_leaves_nothing(bucket: str) -> None:
    file = Remote.of(f"{bucket}/half/file.bin")
    with pytest.raises(ZeroDivisionError), file.write() as stream:
        stream.write(b"x" * 20_000_000)
        raise ZeroDivisionError
    assert Remote.of(f"{bucket}/half").names() == set()
    with file.write() as stream:
        stream.write(b"whole")
    assert file.read(0, 3) == b"who" and file.size() == 5


def test_a_killed_process_leaves_nothing(bucket: str) -> None:
    script = f"""
    import os
    from lexite.remote import Remote
    with Remote.of("{bucket}/killed/file.bin").write() as stream:
        stream.write(b"x" * 20_000_000)
        stream.flush()
        os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == -9
    assert Remote.of(f"{bucket}/killed").names() == set()


def test_a_failing_network_is_tried_again(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexite.remote, "FIRST_PAUSE", 0.001)
    file = Remote.of(f"{bucket}/retries/file.bin")
    failures = [OSError("reset by peer"), OSError("timed out")]
    plain = file.files.put_file

    def put_file(*arguments: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        plain(*arguments, **options)

    monkeypatch.setattr(file.files, "put_file", put_file)
    with file.write() as stream:
        stream.write(b"there")
    assert file.read(0, 9) == b"there" and not failures
    failures += [OSError("reset by peer")] * 9
    with pytest.raises(StorageError, match="after 5 attempts: reset by peer"), file.child("x").write() as stream:
        stream.write(b"never")


def test_what_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(StorageError, match=r"s3://lexite/none cannot be reached: it does not exist"):
        Remote.of(f"{bucket}/none").size()
    with pytest.raises(StorageError, match="odd://x cannot be opened"):
        Remote.of("odd://x")
    with pytest.raises(StorageError, match="holds no shards"):
        index_from_terms(f"{bucket}/nothing", "unused")


def test_other_stores_are_written_beside_and_renamed(tmp_path: Path) -> None:
    file = Remote.of(f"file://{tmp_path}/deep/file.bin")
    with file.write() as stream:
        stream.write(b"whole")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.bin"]
    assert (tmp_path / "deep" / "file.bin").read_bytes() == b"whole"
