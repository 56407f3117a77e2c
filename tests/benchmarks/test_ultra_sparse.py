"""The comparison of ultra-sparse codes: its tasks, its measure, and that its methods are what they are called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import ultra_sparse
from torch import nn

from lexite.errors import CorpusError


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten documents of each of three topics, one of two topics at once, and a topic that is too small."""
    (tmp_path / "qrels").mkdir()
    topics = {"moon": range(10), "milk": range(10, 20), "trial": range(20, 30), "small": (30, 31)}
    documents = [{"_id": f"d{number}", "text": f"text {number}"} for number in range(33)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps({"_id": topic, "text": topic}) + "\n" for topic in topics))
    lines = [f"{topic}\td{number}\t1" for topic, members in topics.items() for number in members]
    lines += ["moon\td32\t1", "milk\td32\t1", "trial\td0\t0"]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    centres = torch.randn(4, 24, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(33, 24, generator=torch.Generator().manual_seed(1))
    embeddings = nn.functional.normalize(centres[torch.arange(33) // 10] + 0.7 * noise, dim=1)

    class Model:
        def dense(self, texts: list[str], kind: str) -> np.ndarray:
            assert (len(texts), kind) == (33, "document")
            return embeddings.numpy()

    monkeypatch.setattr(ultra_sparse, "load_backbone", Model)
    return tmp_path


def test_classes_are_the_topics_of_documents_with_one(judged: Path) -> None:
    task = ultra_sparse.read_task(judged, seed=0)
    assert sorted(set(task.classes)) == [-1, 0, 1, 2]  # the topic of two documents is no class
    assert set(np.flatnonzero(task.classes == -1)) == {30, 31, 32}
    assert len(task.train) == len(task.test) == 15
    assert not set(task.train) & set(task.test)
    assert all((task.classes[task.train] == number).sum() == 5 for number in range(3))
    assert list(ultra_sparse.read_task(judged, seed=1).train) != list(task.train)


def test_a_collection_without_two_classes_is_named(judged: Path) -> None:
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"moon\td{n}\t1\n" for n in range(9)))
    with pytest.raises(CorpusError, match=r"1 of 1 queries have 4 documents.*two such classes"):
        ultra_sparse.read_task(judged, seed=0)


def test_the_measure_is_the_class_of_the_nearest(judged: Path) -> None:
    task = ultra_sparse.read_task(judged, seed=0)
    perfect = nn.functional.one_hot(torch.from_numpy(task.classes + 1), 4).float()
    assert ultra_sparse.nearest_accuracy(perfect, task) == 1.0
    rows = task.embeddings.numpy()
    nearest = [task.train[np.argmax([rows[t] @ rows[i] for i in task.train])] for t in task.test]
    expected = np.mean([task.classes[n] == task.classes[t] for n, t in zip(nearest, task.test, strict=True)])
    assert ultra_sparse.nearest_accuracy(task.embeddings, task) == pytest.approx(expected)


@pytest.mark.parametrize("method", ultra_sparse.METHODS)
def test_every_method_keeps_k_latents_at_the_end(judged: Path, method: str) -> None:
    task = ultra_sparse.read_task(judged, seed=0)
    torch.manual_seed(0)
    model = ultra_sparse.CachedModel(24, 64, 2)
    before = model.encoder.W_enc.detach().clone()
    ultra_sparse.train(model, task, method, steps=12, batch=16, rate=1e-2, seed=0)
    assert model.encoder.k == 2
    assert int((model.codes(task.embeddings) > 0).sum(1).max()) <= 2
    assert not torch.equal(before, model.encoder.W_enc)


def test_labels_bring_texts_of_a_class_together(judged: Path) -> None:
    task = ultra_sparse.read_task(judged, seed=0)
    mates = torch.from_numpy((task.classes[:30, None] == task.classes[None, :30]) & ~np.eye(30, dtype=bool))

    def closeness(method: str) -> float:
        torch.manual_seed(0)
        model = ultra_sparse.CachedModel(24, 64, 2)
        ultra_sparse.train(model, task, method, steps=60, batch=16, rate=1e-2, seed=0)
        rows = nn.functional.normalize(model.codes(task.embeddings)[:30], dim=1)
        return float((rows @ rows.t())[mates].mean())

    assert closeness("csr + labels") > closeness("reconstruction") > closeness("csr")


def test_without_labels_texts_are_kept_apart() -> None:
    codes = torch.tensor([[3.0, 0, 4], [0, 2, 0], [1, 0, 0]])
    cosines = np.array([[1, 0, 0.6], [0, 1, 0], [0.6, 0, 1]])
    powers = np.exp(cosines / 0.2)
    expected = -np.log(np.diag(powers) / powers.sum(1)).mean()
    assert ultra_sparse.unlike_others(codes).item() == pytest.approx(expected, rel=1e-5)
