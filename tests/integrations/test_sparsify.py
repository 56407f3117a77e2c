"""Folders of sparsify, compared with sparsify itself in both directions."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from lexite.errors import ModelError
from lexite.integrations import read_sae, read_sparsify, write_sparsify
from lexite.sae import SAEConfig, SparseAutoencoder

D_MODEL, N_LATENTS, K = 12, 40, 5
NAMES = ("cfg.json", "sae.safetensors")
SETTINGS = {
    "activation": "topk",
    "expansion_factor": 32,
    "normalize_decoder": True,
    "num_latents": N_LATENTS,
    "k": K,
    "multi_topk": False,
    "skip_connection": False,
    "transcode": False,
    "d_in": D_MODEL,
}


@pytest.fixture(autouse=True)
def decode_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """sparsify decodes with Triton wherever that can be imported, which needs tensors on a GPU; these are on the CPU."""
    if importlib.util.find_spec("sparsify") is None:
        return
    from sparsify import sparse_coder, utils

    monkeypatch.setattr(sparse_coder, "decoder_impl", utils.eager_decode)  # chosen when sparsify was first imported


def theirs(folder: Path, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and reconstructions of sparsify's own reading of a folder."""
    sparsify = pytest.importorskip("sparsify")
    coder = sparsify.SparseCoder.load_from_disk(folder)
    with torch.no_grad():
        values, indices, _ = coder.encode(states.to(coder.dtype))
        dense = torch.zeros(len(states), coder.num_latents).scatter_(1, indices, values.float())
        return dense, coder.decode(values, indices)  # what forward returns is another one where multi_topk is set


def weights(draw: Any, n_latents: int = N_LATENTS) -> dict[str, torch.Tensor]:
    tensors = {"encoder.weight": draw(n_latents, D_MODEL), "encoder.bias": draw(n_latents, shift=-1.0)}
    return tensors | {"W_dec": draw(n_latents, D_MODEL), "b_dec": draw(D_MODEL)}


@pytest.mark.parametrize(
    "change",
    [{}, {"multi_topk": True, "normalize_decoder": False}, {"num_latents": 0, "expansion_factor": 3}, {"k": 1}],
    ids=["plain", "training only", "by its factor", "k 1"],
)
def test_reads_what_sparsify_reads(change: dict[str, Any], draw, states, write, same, tmp_path: Path) -> None:
    tensors = weights(draw, 36 if "expansion_factor" in change else N_LATENTS)
    folder = write(tmp_path / "layers.3", SETTINGS | change, tensors, NAMES)
    same(read_sae(folder, precision="fp32"), states, *theirs(folder, states))


def test_reads_folders_of_older_releases(draw, states, write, same, tmp_path: Path) -> None:
    said = {
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": N_LATENTS,
        "k": K,
        "signed": False,
        "d_in": D_MODEL,
    }
    folder = write(tmp_path / "layers.3", said, weights(draw), NAMES)
    same(read_sparsify(folder, precision="fp32"), states, *theirs(folder, states))


def test_reads_bf16(draw, states, write, same, tmp_path: Path) -> None:
    rounded = {name: tensor.bfloat16() for name, tensor in weights(draw).items()}
    folder = write(tmp_path / "rounded", SETTINGS, rounded, NAMES)
    unrounded = write(tmp_path / "same", SETTINGS, {name: tensor.float() for name, tensor in rounded.items()}, NAMES)
    same(read_sparsify(folder, precision="fp32"), states, *theirs(unrounded, states))


@pytest.mark.parametrize("subtract", [True, False])
def test_sparsify_reads_what_is_written(subtract: bool, draw, states, same, tmp_path: Path) -> None:
    config = SAEConfig(d_model=D_MODEL, n_latents=N_LATENTS, k=K, rule="gradient_topk", apply_b_dec_to_input=subtract)
    tensors = draw(N_LATENTS, D_MODEL), draw(N_LATENTS), draw(N_LATENTS, D_MODEL), draw(D_MODEL)
    sae = SparseAutoencoder(config, *tensors, precision="fp32")
    folder = write_sparsify(sae, tmp_path / "layers.3")
    same(sae, states, *theirs(folder, states))
    same(read_sae(folder, precision="fp32"), states, sae.encode(states).to_dense(), sae.reconstruct(states))


@pytest.mark.parametrize(
    ("config", "kind", "decoder", "message"),
    [
        ({}, {"activation": "abs_topk"}, True, "sparsify has no activation abs_topk"),
        ({}, {"activation": "jumprelu", "thresholds": torch.zeros(N_LATENTS)}, True, "sparsify has no activation jumprelu"),
        ({"normalize_activations": "layer_norm"}, {}, True, "sparsify has no normalize_activations.*layer_norm"),
        ({}, {}, False, "sparsify needs a decoder"),
    ],
)
def test_what_sparsify_cannot_hold_is_not_written(config, kind, decoder, message, draw, tmp_path: Path) -> None:
    shape = SAEConfig(d_model=D_MODEL, n_latents=N_LATENTS, k=K, **config)
    matrix = draw(N_LATENTS, D_MODEL)
    sae = SparseAutoencoder(shape, matrix, draw(N_LATENTS), matrix if decoder else None, draw(D_MODEL), **kind)
    with pytest.raises(ModelError, match=message):
        write_sparsify(sae, tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transcode": True}, "transcode is true: it maps one place of a model to another"),
        ({"skip_connection": True}, "skip_connection is true"),
        ({"signed": True}, "signed is true"),
        ({"activation": "groupmax"}, "activation is 'groupmax', but lexite reads topk only"),
        ({"d_in": None}, "d_in is missing"),
        ({"k": 0}, "k is 0"),
        ({"num_latents": 41}, r"'encoder.weight' has the shape \(40, 12\), but the settings say \(41, 12\)"),
        ({"num_latents": 0, "expansion_factor": None}, "expansion_factor is missing"),
    ],
)
def test_settings_that_cannot_be_used(change: dict[str, Any], message: str, draw, write, tmp_path: Path) -> None:
    folder = write(tmp_path / "sae", SETTINGS | change, weights(draw), NAMES)
    with pytest.raises(ModelError, match=message):
        read_sae(folder)


def test_damaged_folders(draw, write, tmp_path: Path) -> None:
    tensors = weights(draw)
    folder = write(tmp_path / "sae", SETTINGS, {name: t for name, t in tensors.items() if name != "W_dec"}, NAMES)
    with pytest.raises(ModelError, match="holds no tensor 'W_dec'"):
        read_sae(folder)
    write(folder, SETTINGS, tensors | {"b_dec": torch.full((D_MODEL,), float("inf"))}, NAMES)
    with pytest.raises(ModelError, match="'b_dec' holds NaN or infinity"):
        read_sae(folder)
    (folder / NAMES[1]).unlink()
    with pytest.raises(ModelError, match=r"sae.safetensors does not exist"):
        read_sae(folder)
    (folder / "sae.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"sae.pt is a pickle.*save_to_disk"):
        read_sae(folder)
