"""Shards in an object store: a real S3 server on loopback."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lexite.remote
from lexite.cluster import Shard, encode_shard, index_from_terms
from lexite.cluster.place import place_of, read_bytes
from lexite.corpus import read_documents
from lexite.corpus.documents import read_parts
from lexite.corpus.sharding import digest_of_parts, parts_of_shard
from lexite.errors import CorpusError, StorageError
from lexite.index import BM25Index
from lexite.remote import Remote
from lexite.search.sync_plan import SyncReport, plan_sync
from lexite.terms import LatentTermEncoder

pytest.importorskip("pyarrow")
pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, format: str, *values: object) -> None:
        """Says nothing."""


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


def put(url: str, content: bytes) -> str:
    with Remote.of(url).write() as file:
        file.write(content)
    return url


def test_sources_are_read_where_they_are(bucket: str, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.md"):
        (tmp_path / "docs" / name).write_text(f"The text of {name}.")
        put(f"{bucket}/docs/{name}", (tmp_path / "docs" / name).read_bytes())
    packed = gzip.compress(corpus.read_bytes())
    cases = {
        put(f"{bucket}/one/corpus.jsonl", corpus.read_bytes()): corpus,
        put(f"{bucket}/one/corpus.jsonl.gz", packed): corpus,
        f"{bucket}/docs": tmp_path / "docs",
        f"{bucket}/docs/*.txt": tmp_path / "docs" / "*.txt",
    }
    for url, local in cases.items():
        assert list(read_documents([url])) == list(read_documents([local])), url
    with pytest.raises(CorpusError, match="does not exist"):
        list(read_documents([f"{bucket}/nothing/*.txt"]))


@pytest.mark.parametrize("kind", ["jsonl", "tsv", "parquet"])
def test_a_shard_fetches_its_own_bytes_alone(bucket: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"big.{kind}"
    noise = np.random.default_rng(1).integers(0, 10**9, (6000, 40))
    records = [{"id": f"d{i}", "text": " ".join(map(str, row)), "n": i} for i, row in enumerate(noise.tolist())]
    if kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif kind == "tsv":
        path.write_text("id\ttext\tn\n" + "".join(f"{r['id']}\t{r['text']}\t{r['n']}\n" for r in records))
    else:
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=300)
    url = put(f"{bucket}/big/{path.name}", path.read_bytes())
    fetched = []
    plain = Remote.read

    def read(self: Remote, start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        return plain(self, start, stop)

    monkeypatch.setattr(Remote, "read", read)
    found = []
    for number in range(8):
        fetched.clear()
        parts, wanted = parts_of_shard([url], Shard(number, 8)), parts_of_shard([path], Shard(number, 8))
        assert digest_of_parts(parts) == digest_of_parts(wanted)
        found += list(read_parts(parts))
        assert sum(fetched) < path.stat().st_size * 0.6
    assert found == list(read_documents([path]))


def test_files_elsewhere_are_not_kept_in_step(bucket: str, tmp_path: Path, tiny_index: Path) -> None:
    with pytest.raises(CorpusError, match="no file of this machine"):
        plan_sync([f"{bucket}/docs"], {}, SyncReport(), BM25Index.open(tiny_index))


def test_a_web_server_without_ranges_is_read_too(corpus: Path) -> None:
    pytest.importorskip("aiohttp")
    handler = functools.partial(QuietHandler, directory=str(corpus.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{corpus.name}"
        assert list(read_documents([url])) == list(read_documents([corpus]))
        found = [document for n in range(3) for document in read_parts(parts_of_shard([url], Shard(n, 3)))]
        assert found == list(read_documents([corpus]))
        with pytest.raises(StorageError, match="it does not exist"):
            list(read_documents([f"{url}.gone"]))
        server.shutdown()
