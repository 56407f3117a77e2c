"""Folders of dictionary_learning, compared with its formulas.

The package is not installed with the others (it needs nnsight and torchvision); where it is, the formulas are compared with it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lexite.errors import ModelError
from lexite.integrations import read_dictionary_learning, read_sae
from lexite.sae.formats.dictionary_learning import CONVERSION

D_MODEL, N_LATENTS, K = 12, 40, 5
NAMES = ("config.json", "ae.safetensors")
State = dict[str, torch.Tensor]
Both = tuple[torch.Tensor, torch.Tensor]


def standard(x: torch.Tensor, s: State) -> Both:
    """With the norms of the atoms in the codes, as the library loads one."""
    norms = s["decoder.weight"].norm(dim=0)
    f = ((x - s["bias"]) @ s["encoder.weight"].T + s["encoder.bias"]).relu() * norms
    return f, (f / norms) @ s["decoder.weight"].T + s["bias"]


def april(x: torch.Tensor, s: State) -> Both:
    f = (x @ s["encoder.weight"].T + s["encoder.bias"]).relu()
    return f, f @ s["decoder.weight"].T + s["decoder.bias"]


def gated(x: torch.Tensor, s: State) -> Both:
    inner = (x - s["decoder_bias"]) @ s["encoder.weight"].T
    f = (inner + s["gate_bias"] > 0) * (s["r_mag"].exp() * inner + s["mag_bias"]).relu()
    return f, f @ s["decoder.weight"].T + s["decoder_bias"]


def jumprelu(x: torch.Tensor, s: State) -> Both:
    u = x @ s["W_enc"] + s["b_enc"]
    f = (u * (u > s["threshold"])).relu()
    return f, f @ s["W_dec"] + s["b_dec"]


def topk(x: torch.Tensor, s: State) -> Both:
    u = ((x - s["b_dec"]) @ s["encoder.weight"].T + s["encoder.bias"]).relu()
    best = u.topk(int(s["k"]), dim=1)
    f = torch.zeros_like(u).scatter_(1, best.indices, best.values)
    return f, f @ s["decoder.weight"].T + s["b_dec"]


def batch_topk(x: torch.Tensor, s: State) -> Both:
    u = ((x - s["b_dec"]) @ s["encoder.weight"].T + s["encoder.bias"]).relu()
    f = u * (u > s["threshold"])
    return f, f @ s["decoder.weight"].T + s["b_dec"]


def matryoshka(x: torch.Tensor, s: State) -> Both:
    u = ((x - s["b_dec"]) @ s["W_enc"] + s["b_enc"]).relu()
    f = u * (u > s["threshold"])
    return f, f @ s["W_dec"] + s["b_dec"]


FORMULAS: dict[str, Callable[[torch.Tensor, State], Both]] = {
    "AutoEncoder": standard,
    "AutoEncoderNew": april,
    "GatedAutoEncoder": gated,
    "JumpReluAutoEncoder": jumprelu,
    "AutoEncoderTopK": topk,
    "BatchTopKSAE": batch_topk,
    "MatryoshkaBatchTopKSAE": matryoshka,
}


def weights(draw: Any, kind: str) -> State:
    """Random tensors under the names of a class of the library."""
    decoder = draw(N_LATENTS, D_MODEL) * (draw(N_LATENTS, 1).abs() + 0.3)
    encoder, bias = draw(N_LATENTS, D_MODEL, scale=0.5), draw(N_LATENTS, shift=-0.3)
    state = {"encoder.weight": encoder, "encoder.bias": bias, "decoder.weight": decoder.T}
    if kind in ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE"):
        state = {"W_enc": encoder.T, "b_enc": bias, "W_dec": decoder}
    centre = draw(D_MODEL, scale=0.7)
    names = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias", "GatedAutoEncoder": "decoder_bias"}
    state[names.get(kind, "b_dec")] = centre
    if kind == "GatedAutoEncoder":
        del state["encoder.bias"]
        state |= {"gate_bias": draw(N_LATENTS), "mag_bias": draw(N_LATENTS), "r_mag": draw(N_LATENTS, scale=0.5)}
    if kind == "JumpReluAutoEncoder":
        state["threshold"] = draw(N_LATENTS, shift=0.3)
    if kind in ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        state |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.8)}
    if kind == "MatryoshkaBatchTopKSAE":
        state["group_sizes"] = torch.tensor([10, 30])
    return state


def config(kind: str, **trainer: Any) -> dict[str, Any]:
    described = {"dict_class": kind, "activation_dim": D_MODEL, "dict_size": N_LATENTS, "lm_name": "EleutherAI/pythia-70m"}
    return {"trainer": {**described, "layer": 3, "submodule_name": "resid_post_layer_3", **trainer}, "buffer": {}}


@pytest.mark.parametrize("kind", FORMULAS)
def test_codes_are_those_of_the_formulas(kind: str, draw, states, write, same, tmp_path: Path) -> None:
    state = weights(draw, kind)
    folder = write(tmp_path / "ae", config(kind, k=K) if "k" in state else config(kind), state, NAMES)
    sae = read_sae(folder, precision="fp32")
    same(sae, states, *FORMULAS[kind](states, state))
    assert sae.config.k == (K if "k" in state else N_LATENTS)


@pytest.mark.parametrize("kind", FORMULAS)
def test_the_formulas_are_those_of_the_package(kind: str, draw, states, tmp_path: Path) -> None:
    pytest.importorskip("dictionary_learning")
    from dictionary_learning.utils import load_dictionary

    state = weights(draw, kind)
    torch.save(state, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps(config(kind, k=K)))
    theirs, _ = load_dictionary(str(tmp_path), "cpu")
    with torch.no_grad():
        codes, reconstructed = FORMULAS[kind](states, state)
        torch.testing.assert_close(theirs.encode(states), codes, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(theirs(states), reconstructed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_set_is_a_relu(kind: str, draw, states, write, same, tmp_path: Path, caplog) -> None:
    state = weights(draw, kind) | {"threshold": torch.tensor(-1.0)}
    sae = read_dictionary_learning(write(tmp_path / "ae", config(kind), state, NAMES), precision="fp32")
    same(sae, states, *FORMULAS[kind](states, state))
    assert "its threshold was never set" in caplog.text


def test_the_conversion_that_the_error_names_works(draw, states, same, tmp_path: Path) -> None:
    state = weights(draw, "AutoEncoderTopK")
    torch.save(state, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps(config("AutoEncoderTopK")))
    with pytest.raises(ModelError, match="ae.pt is a pickle, which can run code") as caught:
        read_sae(tmp_path)
    assert str(caught.value).endswith(CONVERSION) and "\n" not in str(caught.value)
    command = shlex.split(CONVERSION)
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, timeout=120)
    same(read_sae(tmp_path, precision="fp32"), states, *topk(states, state))


@pytest.mark.parametrize(
    ("said", "tensors", "message"),
    [
        ({"dict_class": "IdentityDict"}, {}, "trainer.dict_class is IdentityDict, but lexite reads AutoEncoder"),
        ({"dict_class": None}, {}, "trainer.dict_class is missing"),
        ({"k": 7}, {}, "trainer.k is 7, but ae.safetensors says 5"),
        ({}, {"k": torch.tensor(41)}, "k is 41, but must be a whole number from 1 to 40"),
        ({}, {"k": None}, "k is missing"),
        ({}, {"b_dec": None}, "holds no tensor 'b_dec'"),
        ({}, {"b_dec": torch.zeros(13)}, r"'b_dec' has the shape \(13,\)"),
        ({}, {"encoder.weight": None}, "holds no tensor 'encoder.weight'"),
        ({}, {"encoder.weight": torch.zeros(40)}, "must be a matrix"),
        ({}, {"decoder.weight": torch.full((D_MODEL, N_LATENTS), float("nan"))}, "'decoder.weight' holds NaN"),
    ],
)
def test_what_cannot_be_used(said, tensors, message, draw, write, tmp_path: Path) -> None:
    state = {name: t for name, t in (weights(draw, "AutoEncoderTopK") | tensors).items() if t is not None}
    folder = write(tmp_path / "ae", config("AutoEncoderTopK", **said), state, NAMES)
    with pytest.raises(ModelError, match=message):
        read_sae(folder)


def test_missing_files(draw, write, tmp_path: Path) -> None:
    folder = write(tmp_path / "ae", config("AutoEncoder"), weights(draw, "AutoEncoder"), NAMES)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config.json does not exist"):
        read_sae(folder)
    (folder / "config.json").write_text(json.dumps(config("AutoEncoder")))
    (folder / "ae.safetensors").unlink()
    with pytest.raises(ModelError, match=r"ae.safetensors does not exist"):
        read_dictionary_learning(folder)
