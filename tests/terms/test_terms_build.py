"""Training a vocabulary from text to the saved folder, with the tiny model."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lexite.backbone import BackboneConfig, StateStore, iterate_states, load_backbone
from lexite.corpus import ReadOptions
from lexite.errors import ConfigError, CorpusError, LexiteError, StorageError, TrainingError
from lexite.recipes.from_text import train
from lexite.sae import SAEConfig
from lexite.scoring.config import BM25Config
from lexite.terms import LatentTermEncoder
from lexite.terms.config import TermsConfig
from lexite.training.config import TrainingConfig


def small(**changes: Any) -> TrainingConfig:
    values = {"tokens": 2000, "batch_tokens": 64, "buffer_tokens": 256, "epochs": 99, "checkpoint_tokens": 500, **changes}
    return TrainingConfig(**values)


def build(documents: Path, output: Path, model: Path, **changes: Any) -> dict[str, Any]:
    options = {key: changes.pop(key) for key in ("resume", "overwrite", "terms", "scoring") if key in changes}
    backbone = BackboneConfig(model=str(model), precision="fp32", overlap=4)
    sae = SAEConfig(n_latents=changes.pop("n_latents", 48), k=4)
    return train([documents], output, backbone=backbone, sae=sae, training=small(**changes), **options)


def test_text_becomes_a_vocabulary(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    summary = build(documents, tmp_path / "v", tiny_model, terms=TermsConfig(k_queries=2))
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "v")
    assert encoder.fingerprint == summary["fingerprint"]
    assert encoder.name == "v"
    assert encoder.n_latents == 48
    assert encoder.k_for("query") == 2
    assert encoder.vocabulary is not None
    assert encoder.encode_documents(["the cat drinks milk"]).nnz > 0
    assert sorted(path.name for path in (tmp_path / "v").iterdir() if path.suffix in (".yaml", ".jsonl")) == [
        "metrics.jsonl",
        "recipe.yaml",
    ]
    assert not (tmp_path / "v" / "training").exists()
    assert summary["tokens"] == 2000
    assert summary["settings"]["n_latents"] == 48


def test_the_saved_recipe_gives_the_same_vocabulary(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    summary = build(documents, tmp_path / "a", tiny_model)
    recipe = yaml.safe_load((tmp_path / "a" / "recipe.yaml").read_text())
    assert recipe == summary["settings"]
    assert recipe["sources"] == [str(documents)]
    from lexite.cli import main

    assert main(["-q", "train", "--recipe", str(tmp_path / "a" / "recipe.yaml"), "-o", str(tmp_path / "b")]) == 0
    loaded = [LatentTermEncoder.from_pretrained(tmp_path / name) for name in "ab"]
    assert loaded[0].fingerprint == loaded[1].fingerprint


def test_states_computed_before_give_a_vocabulary_with_labels(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    backbone = load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4))
    texts = [json.loads(line)["text"] for line in documents.read_text().splitlines()]
    chunks = iterate_states(backbone, texts, "document")
    StateStore.write(
        tmp_path / "states", chunks, backbone_info=backbone.info(), kind="document", ids=[str(i) for i in range(6)]
    )
    train([tmp_path / "states"], tmp_path / "v", sae=SAEConfig(n_latents=32, k=4), training=small(tokens=500))
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "v")
    assert encoder.encode_queries(["cat"]).rows.nnz > 0
    assert any("latent" not in encoder.label(term) for term in range(32))


def test_states_of_an_unknown_model_train_too(tmp_path: Path) -> None:
    import numpy as np

    folder = tmp_path / "arrays"
    folder.mkdir()
    states = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(folder / "states.npy", states)
    np.save(folder / "offsets.npy", np.arange(0, 301, 10))
    summary = train([folder], tmp_path / "v", sae=SAEConfig(n_latents=32, k=2), training=small(tokens=300))
    assert summary["tokens"] == 300
    assert (tmp_path / "v" / "sae.safetensors").is_file()


def test_two_folders_of_states_or_one_as_the_model_are_refused(tmp_path: Path, documents: Path) -> None:
    import numpy as np

    np.save(tmp_path / "states.npy", np.zeros((3, 4), dtype=np.float32))
    np.save(tmp_path / "offsets.npy", np.array([0, 3]))
    with pytest.raises(TrainingError, match="trained on alone"):
        train([tmp_path, documents], tmp_path / "v")
    with pytest.raises(TrainingError, match="not a model"):
        train([documents], tmp_path / "v", backbone=BackboneConfig(model=str(tmp_path)))


def test_a_folder_of_something_else_is_refused_before_any_work(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    for overwrite in (False, True):
        with pytest.raises(StorageError, match="not empty"):
            build(documents, tmp_path, tiny_model, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_vocabulary_is_replaced_only_when_asked(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    build(documents, tmp_path / "v", tiny_model, tokens=300)
    with pytest.raises(StorageError, match="overwrite=True"):
        build(documents, tmp_path / "v", tiny_model, tokens=300)
    before = LatentTermEncoder.from_pretrained(tmp_path / "v").fingerprint
    build(documents, tmp_path / "v", tiny_model, tokens=300, seed=1, overwrite=True)
    assert LatentTermEncoder.from_pretrained(tmp_path / "v").fingerprint != before


def test_an_interrupted_run_must_be_resumed_or_replaced(
    documents: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lexite.recipes.from_text.measured", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            build(documents, tmp_path / "v", tiny_model)
    with pytest.raises(StorageError, match="unfinished training run.*resume=True"):
        build(documents, tmp_path / "v", tiny_model)
    resumed = build(documents, tmp_path / "v", tiny_model, resume=True)
    assert resumed["fingerprint"] == build(documents, tmp_path / "whole", tiny_model)["fingerprint"]
    build(documents, tmp_path / "v", tiny_model, overwrite=True)


def test_other_field_names_are_another_configuration(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    backbone = BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4)
    sae = SAEConfig(n_latents=48, k=4)

    def start(read: ReadOptions, resume: bool) -> dict[str, Any]:
        return train([documents], tmp_path / "v", backbone=backbone, sae=sae, training=small(), read=read, resume=resume)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lexite.recipes.from_text.measured", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            start(ReadOptions(), False)
    with pytest.raises(TrainingError, match="text_field: None -> 'title'"):
        start(ReadOptions(text_field="title"), True)
    assert start(ReadOptions(), True)["settings"]["text_field"] is None


def test_what_others_put_into_the_folder_stays(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    build(documents, tmp_path / "v", tiny_model, tokens=300)
    (tmp_path / "v" / "notes.txt").write_text("mine")
    (tmp_path / "v" / "plots").mkdir()
    (tmp_path / "v" / "plots" / "a.svg").write_text("mine too")
    build(documents, tmp_path / "v", tiny_model, tokens=300, overwrite=True)
    assert (tmp_path / "v" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "v" / "plots" / "a.svg").read_text() == "mine too"
    LatentTermEncoder.from_pretrained(tmp_path / "v")


def test_texts_may_be_read_in_another_way_by_the_same_vocabulary(tiny_vocabulary: Path, tmp_path: Path) -> None:
    text = "the cat " * 60
    saved, cut, prompted = (
        LatentTermEncoder.from_pretrained(tiny_vocabulary, long=long, document_prompt=prompt)  # type: ignore[arg-type]
        for long, prompt in ((None, None), ("truncate", None), (None, "dog "))
    )
    assert saved.encode_documents([text]).sum() > cut.encode_documents([text]).sum() > 0
    assert saved.backbone.encode([text], "document").n_tokens == 120
    assert cut.backbone.encode([text], "document").n_tokens == 30
    assert prompted.backbone.encode(["cat"], "document").n_tokens == 1  # the prompt's tokens do not count
    assert (prompted.encode_documents(["cat"]) != saved.encode_documents(["cat"])).nnz
    assert saved.fingerprint == cut.fingerprint == prompted.fingerprint
    keys = {encoder.backbone.states_fingerprint for encoder in (saved, cut, prompted)}  # type: ignore[attr-defined]
    assert len(keys) == 3
    cut.save_pretrained(tmp_path / "copy")
    assert LatentTermEncoder.from_pretrained(tmp_path / "copy").backbone.config.long == "window"
    with pytest.raises(ConfigError, match="long is 'cut'"):
        LatentTermEncoder.from_pretrained(tiny_vocabulary, long="cut")  # type: ignore[arg-type]


def test_runs_from_before_literal_words_go_on(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    terms, scoring = TermsConfig(floor_documents=0, floor_queries=0), BM25Config(idf_power=1.0, literal_weight=3.0)
    first = build(documents, tmp_path / "v", tiny_model, terms=terms, scoring=scoring)
    newer = [first["settings"].pop(key) for key in ("literal_weight", "idf_power", "floor_documents", "floor_queries")]
    assert newer == [3.0, 1.0, 0.0, 0.0]
    (tmp_path / "v" / "summary.json").write_text(json.dumps(first))
    assert (
        "idf_power" not in build(documents, tmp_path / "v", tiny_model, resume=True, terms=terms, scoring=scoring)["settings"]
    )
    with pytest.raises(TrainingError, match="floor_documents: 0.0 -> 0.1"):
        build(documents, tmp_path / "v", tiny_model, resume=True, scoring=scoring, terms=TermsConfig(floor_documents=0.1))


def test_a_finished_run_is_resumed_without_work(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    first = build(documents, tmp_path / "v", tiny_model)
    assert build(documents, tmp_path / "v", tiny_model, resume=True) == first
    with pytest.raises(TrainingError, match="seed: 0 -> 1"):
        build(documents, tmp_path / "v", tiny_model, seed=1, resume=True)


def test_k_is_checked_before_the_training(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k is 49"):
        build(documents, tmp_path / "v", tiny_model, terms=TermsConfig(k_queries=49))
    assert not (tmp_path / "v").exists()


def test_text_from_standard_input_trains_too(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"the cat number {n} drinks milk by the river\n" for n in range(60)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), encoding="utf-8"))
    summary = build(Path("-"), tmp_path / "v", tiny_model)
    assert summary["passes"] == 1
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "v")
    assert encoder.vocabulary is not None
    assert encoder.vocabulary.n_documents == 60


def test_a_bad_corpus_leaves_no_vocabulary(tiny_model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"_id": "1", "text": "fine"}\n{"_id": "2", "text": \n')
    with pytest.raises(CorpusError, match="line 2"):
        build(bad, tmp_path / "v", tiny_model)
    assert not (tmp_path / "v").exists()
    with pytest.raises(LexiteError):
        build(tmp_path / "missing.jsonl", tmp_path / "w", tiny_model)
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_model), "--precision", "fp32", "--overlap", "4", "--n-latents", "64", "--k", "4"]
    options += ["--tokens", "100k", "--epochs", "10000", "--batch-tokens", "64", "--buffer-tokens", "512"]
    options += ["--checkpoint-tokens", "4000", "--log-tokens", "10000"]

    def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-m", "lexite", "-q", "train", str(documents), "-o", str(folder), *options, *more]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    assert whole.wait(300) == 0
    chance, killed = random.Random(0), 0
    for _ in range(5):
        process = start(tmp_path / "parts", "--resume")
        work = tmp_path / "parts" / "training"
        deadline = time.monotonic() + 60
        seen = newest(work)
        while process.poll() is None and newest(work) == seen and time.monotonic() < deadline:
            time.sleep(0.01)  # until it has begun to train again
        time.sleep(chance.uniform(0, 0.2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait(60)
        if (tmp_path / "parts" / "lexite.json").exists():
            break
    assert killed >= 2
    if not (tmp_path / "parts" / "lexite.json").exists():
        last = start(tmp_path / "parts", "--resume")
        assert last.wait(300) == 0, last.stderr.read() if last.stderr else ""
    names = ("whole", "parts")
    assert len({LatentTermEncoder.from_pretrained(tmp_path / name).fingerprint for name in names}) == 1
    assert len({(tmp_path / name / "sae.safetensors").read_bytes() for name in names}) == 1


def newest(work: Path) -> str:
    """Name of the newest checkpoint, which may vanish while it is looked for."""
    return max((name for name in os.listdir(work) if name.startswith("checkpoint")), default="") if work.is_dir() else ""
