"""A new rule is one class and one line in the table: training, files, encoding, scoring and the command line need no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lexite
from lexite.backbone import BackboneConfig
from lexite.cli import main
from lexite.errors import ConfigError
from lexite.evaluation.comparison import read_recipes
from lexite.recipes import train
from lexite.sae import SAEConfig
from lexite.sae.formats.saelens import read_saelens, write_saelens
from lexite.sae.rules import RULES
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View
from lexite.terms import LatentTermEncoder
from lexite.training.config import TrainingConfig

TRAINING = TrainingConfig(tokens=1200, batch_tokens=64, buffer_tokens=256, epochs=99, checkpoint_tokens=400, probe_tokens=700)


class EvenOnes(Rule):
    """The k largest pre-activations among the latents of even number; at use all that are above the smallest one kept."""

    def tensors(self) -> Tensors:
        return {"smallest": torch.full((self.sae.n_latents,), torch.finfo(torch.float32).max)}

    def select(self, view: View) -> Selection:
        slots = view.largest(self.sae.n_latents)
        slots = slots.kept(slots.indices % 2 == 0)
        values = view.preactivations(slots)
        best = slots.largest(values, view.k) & (values > 0)
        return Selection(slots.kept(best), values[best])

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        view.tensors["smallest"].scatter_reduce_(0, selection.slots.indices.long(), values, "amin")

    def finish(self, tensors: Tensors) -> Finished:
        return Finished("jumprelu", tensors["smallest"].clone())


@pytest.fixture(autouse=True)
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "even_ones", f"{__name__}:EvenOnes")


def build(documents: Path, output: Path, model: Path, **options: Any) -> dict[str, Any]:
    backbone = BackboneConfig(model=str(model), precision="fp32", overlap=4)
    sae = SAEConfig(n_latents=48, k=4, rule="even_ones")
    return train([documents], output, backbone=backbone, sae=sae, training=TRAINING, **options)


def test_it_trains_is_saved_loaded_encodes_and_scores(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    summary = build(documents, tmp_path / "v", tiny_model)
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "v")
    assert encoder.fingerprint == summary["fingerprint"] and encoder.sae.config.rule == "even_ones"
    assert encoder.sae.thresholds is not None and bool((encoder.sae.thresholds[1::2] > 1e30).all())
    rows = encoder.encode_documents(["the cat drinks milk", "rain on the lake"])
    assert rows.nnz and not (rows.indices % 2).any()
    with lexite.Searcher.build([documents], tmp_path / "i", vocabulary=tmp_path / "v") as searcher:
        hit = searcher.search("Rain and snow fall on the lake. The wind moves the ship on the sea.", top_k=1)[0]
    assert hit.id == "d2" and hit.score > 0
    again = read_saelens(write_saelens(encoder.sae, tmp_path / "saelens"))
    assert again.fingerprint == encoder.sae.fingerprint and again.config.rule == "even_ones"


def test_a_run_goes_on_with_what_the_rule_remembered(documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    def stop(_: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    whole = build(documents, tmp_path / "whole", tiny_model)
    with pytest.raises(KeyboardInterrupt):
        build(documents, tmp_path / "parts", tiny_model, probe=stop)
    assert build(documents, tmp_path / "parts", tiny_model, resume=True)["fingerprint"] == whole["fingerprint"]


def test_the_faces_know_it(
    documents: Path, tiny_model: Path, tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-q", "train", documents, "-o", tmp_path / "v", "--model", tiny_model, "--sae", "even_ones", "--overlap", "4"]
    words += ["--n-latents", "48", "--k", "4", "--tokens", "640", "--epochs", "9", "--batch-tokens", "64"]
    assert main([*map(str, words), "--buffer-tokens", "256"]) == 0
    capsys.readouterr()
    assert main(["info"]) == 0 and "even_ones" in capsys.readouterr().out
    (tmp_path / "even.yaml").write_text("rule: even_ones\n")
    assert read_recipes([tmp_path / "even.yaml"])[0].configs["sae"].rule == "even_ones"
    with pytest.raises(ConfigError, match="rule asked for is even_ones, which begins with random weights only"):
        start = LatentTermEncoder.from_pretrained(tiny_vocabulary)
        train([documents], tmp_path / "w", sae=SAEConfig(n_latents=64, k=4, rule="even_ones"), start=start)
