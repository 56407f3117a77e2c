"""Ray on this machine: two nodes, each a process of its own, of which one is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite.cli import main
from lexite.cluster import Shard, encode_shard, index_from_terms
from lexite.cluster.rows import RowEncoding, encode_table
from lexite.corpus.passages import PassageConfig
from lexite.errors import ConfigError, StorageError
from lexite.terms import LatentTermEncoder

pa = pytest.importorskip("pyarrow")
pytest.importorskip("ray")
pytestmark = pytest.mark.slow
N_SHARDS = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"node_ip_address": "127.0.0.2", "num_cpus": 2})
    ray.init(address=made.address, _node_ip_address="127.0.0.2", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(2)
    words = "cat dog bird fish horse cow milk meat bread cheese apple tree river lake sea ship".split()
    path = tmp_path_factory.mktemp("ray") / "corpus.jsonl"
    texts = (" ".join(generator.choice(words, size=int(generator.integers(5, 30)))) for _ in range(1500))
    path.write_text("".join(json.dumps({"_id": f"d{i:05d}", "text": text}) + "\n" for i, text in enumerate(texts)))
    return path


def test_shards_survive_the_loss_of_a_node(cluster: Any, corpus: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    from lexite.cluster.ray import encode_shards

    node = cluster.add_node(node_ip_address="127.0.0.3", num_cpus=2)
    cluster.wait_for_nodes()
    how = {"passages": PassageConfig(20, 30)}
    job = encode_shards([corpus], tmp_path / "ray", N_SHARDS, tiny_vocabulary, **how)
    next(job)
    cluster.remove_node(node, allow_graceful=False)
    *_, last = job
    assert not last.failed and sorted(report.shard.number for report in last.done) == list(range(N_SHARDS))
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    for number in range(N_SHARDS):
        encode_shard([corpus], tmp_path / "one", Shard(number, N_SHARDS), encoder, **how)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    there = sorted(path.name for path in (tmp_path / "ray").iterdir())
    assert names == [name for name in there if not name.startswith(".")]  # what the killed node was writing has a hidden name
    for name in names:  # byte for byte, but for metadata whose order is no property of the file, and the path of the vocabulary
        if name not in ("static.safetensors", "manifest.json"):
            assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    *_, again = encode_shards([corpus], tmp_path / "ray", N_SHARDS, tiny_vocabulary, **how)
    assert all(report.skipped for report in again.done) and len(again.done) == N_SHARDS


def test_a_shard_that_fails_is_named_and_the_others_go_on(cluster: Any, tiny_vocabulary: Path, tmp_path: Path) -> None:
    from lexite.cluster.ray import encode_shards

    path = tmp_path / "c.jsonl"
    lines = [json.dumps({"_id": f"d{i}", "text": "cat dog"}) for i in range(40)]
    lines[35] = "broken"
    path.write_text("\n".join(lines) + "\n")
    *_, last = encode_shards([path], tmp_path / "out", 4, tiny_vocabulary)
    assert list(last.failed) == [3] and "not valid JSON" in last.failed[3] and len(last.done) == 3


def test_the_command_line_encodes_on_a_cluster(
    cluster: Any, corpus: Path, tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(corpus), "-o", str(tmp_path / "out"), "--shards", "3", "--vocabulary", str(tiny_vocabulary), "--json"]
    for there in (0, 3):
        assert main(["-q", "encode", *words, "--on", "ray"]) == 0
        out = capsys.readouterr().out
        told = json.loads(out[out.index("{") :])  # Ray may have told news of the node that was lost before
        assert (told["documents"], told["was_there"], told["failed"]) == (1500, there, {})
    assert index_from_terms(tmp_path / "out", tmp_path / "index").documents == 1500
    assert main(["encode", *words]) == 2
    broken = tmp_path / "broken.jsonl"
    broken.write_text(corpus.read_text() + "broken\n")
    words[0], words[2] = str(broken), str(tmp_path / "other")
    assert main(["-q", "encode", *words, "--on", "ray"]) == 1
    assert "1 of 3 shards failed: 2." in capsys.readouterr().err


def test_a_job_that_cannot_go_on_says_so(cluster: Any, corpus: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    from lexite.cluster.ray import encode_shards

    with pytest.raises(StorageError, match=r"Missing of 2: 0, 1\. Ray has free: .*CPU"):
        list(encode_shards([corpus], tmp_path / "x", 2, tiny_vocabulary, num_cpus=64, stalled_seconds=1.0))
    with pytest.raises(ConfigError, match="at least 1"):
        list(encode_shards([corpus], tmp_path / "x", 0, tiny_vocabulary))


def test_a_dataset_is_encoded_by_actors(cluster: Any, tiny_vocabulary: Path) -> None:
    import ray

    from lexite.cluster.ray import encode

    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"id": f"d{i:03d}", "text": "cat dog bird fish. " * (i % 4 + 1) if i != 77 else ""} for i in range(300)]
    data = ray.data.from_arrow([pa.Table.from_pylist(rows[:100]), pa.Table.from_pylist(rows[100:])])
    found = encode(data, tiny_vocabulary, concurrency=1, num_cpus=0.5, documents_at_once=64).take_all()
    found.sort(key=lambda row: row["id"])
    wanted = encode_table(pa.Table.from_pylist(rows), RowEncoding(str(tiny_vocabulary))).to_pylist()
    wanted.sort(key=lambda row: row["id"])
    assert [row["id"] for row in found] == [row["id"] for row in wanted] and found[77]["error"] == "The text is empty."
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours["terms"] is None if theirs["terms"] is None else list(ours["terms"]) == theirs["terms"]
        np.testing.assert_allclose(
            np.array(ours["weights"] or [], float) if ours["weights"] is None else ours["weights"],
            theirs["weights"] or [],
            rtol=1e-5,
        )
