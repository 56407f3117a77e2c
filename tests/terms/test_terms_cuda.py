"""Encoding, indexing, evaluating and training through a model on a simulated CUDA device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lexite.backbone import BackboneConfig, StateStore, iterate_states, load_backbone
from lexite.cli import main
from lexite.errors import ModelError
from lexite.kernels.hardware import fast_bf16
from lexite.recipes import from_text
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import LatentTermEncoder
from lexite.training.config import TrainingConfig
from simulated_cuda import CUDA, SimulatedCuda
from tiny_collection import DOCUMENTS, QUERIES

TEXTS = [text for _, _, text in DOCUMENTS]
SMALL = TrainingConfig(tokens=150, batch_tokens=30, buffer_tokens=60, init_tokens=60, dead_after_tokens=60, k_aux=4)


@pytest.fixture(autouse=True)
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_TRITON", "0")


@pytest.fixture
def cuda() -> Iterator[SimulatedCuda]:
    with SimulatedCuda() as simulated:
        yield simulated


def test_documents_and_queries_get_the_weights_of_the_cpu(tiny_vocabulary: Path, cuda: SimulatedCuda) -> None:
    here = LatentTermEncoder.from_pretrained(tiny_vocabulary, device="cpu", precision="fp32")
    there = LatentTermEncoder.from_pretrained(tiny_vocabulary, device="cuda", precision="fp32")
    assert (there.sae.device, there.backbone.encode(["a cat"], "document").states.device) == (CUDA, CUDA)
    for encode in ("encode_documents", "encode_queries"):
        mine, expected = (getattr(encoder, encode)(TEXTS) for encoder in (there, here))
        mine, expected = (getattr(rows, "rows", rows).toarray() for rows in (mine, expected))
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_an_index_is_built_and_searched_there(
    tiny_vocabulary: Path, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cuda: SimulatedCuda
) -> None:
    answers = []
    for device in ("cpu", "cuda"):
        own = ["--device", device, "--precision", "fp32"]
        words = ["-o", str(tmp_path / device), "--vocabulary", str(tiny_vocabulary), "--no-literal", *own]
        assert main(["-q", "index", str(documents), *words]) == 0
        capsys.readouterr()
        assert main(["-q", "search", str(tmp_path / device), QUERIES[0][1], "--json", *own]) == 0
        answers.append([json.loads(line)["hits"] for line in capsys.readouterr().out.splitlines()][-1])
    ids, scores = ([[hit[key] for hit in hits] for hits in answers] for key in ("id", "score"))
    assert ids[0] == ids[1]
    assert scores[1] == pytest.approx(scores[0], rel=1e-4)


def test_an_evaluation_runs_there(
    tiny_vocabulary: Path, collection: Path, capsys: pytest.CaptureFixture[str], cuda: SimulatedCuda
) -> None:
    words = ["--vocabulary", str(tiny_vocabulary), "--baselines", "dense", "--no-literal", "--device", "cuda", "--json", "-"]
    assert main(["-q", "eval", str(collection), *words]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("activation", ["topk", "abs_topk", "jumprelu", "top_afa"])
def test_codes_of_every_activation(activation: str, cuda: SimulatedCuda) -> None:
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = (torch.randn(50, 16, generator=generator) for _ in range(2))
    biases = torch.randn(50, generator=generator), torch.randn(16, generator=generator)
    thresholds = torch.rand(50, generator=generator) if activation == "jumprelu" else None
    here = SparseAutoencoder(
        SAEConfig(16, 50, 5), encoder, biases[0], decoder, biases[1],
        activation=activation, thresholds=thresholds, precision="fp32",
    )  # type: ignore[arg-type]  # fmt: skip
    there, states = here.to("cuda"), torch.randn(300, 16, generator=generator)
    with cuda.counted() as counts:
        codes = there.encode(states)
    assert sum(counts.waits.values()) <= (1 if activation.endswith("topk") else 4), counts.waits
    assert counts.uploads.total() == 1
    np.testing.assert_allclose(codes.to_dense().cpu(), here.encode(states).to_dense(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(there.reconstruct(states).cpu(), here.reconstruct(states), rtol=1e-3, atol=1e-3)
    assert there.fingerprint == here.fingerprint
    states[7, 3] = torch.nan
    with pytest.raises(ModelError, match="Token state 7 holds NaN"):
        there.encode(states)


def test_a_vocabulary_is_trained_from_text_and_resumed_elsewhere(
    tiny_model: Path, documents: Path, tmp_path: Path, cuda: SimulatedCuda
) -> None:
    model = BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4)
    calls = []

    def probe(autoencoder: SparseAutoencoder) -> dict[str, float]:
        calls.append(autoencoder.device.type)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {}

    recipe = replace(SMALL, checkpoint_tokens=30, probe_tokens=60)

    def train(device: str, *, resume: bool = False) -> dict[str, object]:
        return from_text.train(
            [documents], tmp_path / "vocabulary", backbone=replace(model, device=device), sae=SAEConfig(n_latents=48, k=4),
            training=recipe, probe=probe, resume=resume, show_progress=False,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        train("cuda")
    summary = train("cpu", resume=True)
    assert summary["tokens"] == 150
    assert calls == ["cuda", "cuda", *["cpu"] * (len(calls) - 2)]
    assert train("cuda", resume=True)["fingerprint"] == summary["fingerprint"]  # it is finished, wherever one asks
    assert LatentTermEncoder.from_pretrained(tmp_path / "vocabulary", device="cpu").sae.device.type == "cpu"


@pytest.mark.parametrize(("maker", "user"), [("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("model_there", [True, False])
def test_states_are_used_where_the_user_is(maker: str, user: str, model_there: bool, tiny_model: Path, tmp_path: Path) -> None:
    with SimulatedCuda():
        backbone = load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4, device=maker))
        info = backbone.info()
        if not model_there:
            info = {**info, "config": {**info["config"], "model": str(tmp_path / "gone")}}
        StateStore.write(tmp_path / "states", iterate_states(backbone, TEXTS, "document"), backbone_info=info, kind="document")
    seen = []

    def probe(autoencoder: SparseAutoencoder) -> dict[str, float]:
        seen.append(autoencoder.device.type)
        return {}

    def train() -> None:
        from_text.train(
            [tmp_path / "states"], tmp_path / "vocabulary", sae=SAEConfig(n_latents=48, k=4), training=SMALL, probe=probe,
            show_progress=False,
        )  # fmt: skip

    if user == "cuda":
        with SimulatedCuda():
            train()
    else:
        train()
    assert set(seen) == {user}


@pytest.mark.parametrize(("capability", "fast"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_emulated_bf16_is_not_fast(capability: tuple[int, int], fast: bool) -> None:
    with SimulatedCuda(capability):
        assert fast_bf16("cuda") is fast_bf16("cuda:0") is fast
