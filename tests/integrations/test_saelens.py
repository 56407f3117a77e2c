"""Folders of SAELens, compared with SAELens itself in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import ModelError, StorageError
from lexite.integrations import read_sae, read_saelens, write_saelens
from lexite.sae import SAEConfig, SparseAutoencoder

D_MODEL, N_LATENTS, K = 12, 40, 5
NAMES = ("cfg.json", "sae_weights.safetensors")
NORMALISATIONS = ["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"]


def theirs(folder: Path) -> Any:
    """SAELens' own reading of a folder."""
    sae_lens = pytest.importorskip("sae_lens")
    return sae_lens.SAE.load_from_disk(folder, dtype="float32")


def weights(draw: Any, architecture: str) -> dict[str, torch.Tensor]:
    """Random tensors with atoms far from unit norm."""
    norms = draw(N_LATENTS, 1).abs() + 0.3
    tensors = {
        "W_enc": draw(D_MODEL, N_LATENTS, scale=0.5),
        "W_dec": draw(N_LATENTS, D_MODEL) * norms,
        "b_dec": draw(D_MODEL, scale=0.7),
    }
    if architecture == "gated":
        tensors |= {"b_gate": draw(N_LATENTS), "b_mag": draw(N_LATENTS, shift=-0.3), "r_mag": draw(N_LATENTS, scale=0.5)}
    else:
        tensors["b_enc"] = draw(N_LATENTS, scale=0.5, shift=-0.4)
    if architecture == "jumprelu":
        tensors["threshold"] = draw(N_LATENTS, shift=0.3)  # some below zero
    return tensors


def config(architecture: str, **values: Any) -> dict[str, Any]:
    """What SAELens 6 writes, with more keys where given."""
    described = {"sae_lens_version": "6.54.12", "model_name": "gpt2-small", "hook_name": "blocks.3.hook_resid_post"}
    settings = {"architecture": architecture, "d_in": D_MODEL, "d_sae": N_LATENTS, "dtype": "float32", "device": "cpu"}
    settings |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    if "topk" in architecture:
        settings["k"] = K
    return {**settings, "metadata": described, **values}


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "topk", "abstopk"])
def test_reads_what_saelens_reads(architecture, subtract, normalisation, draw, states, write, same, tmp_path: Path) -> None:
    said = config(architecture, apply_b_dec_to_input=subtract, normalize_activations=normalisation)
    folder = write(tmp_path / "sae", said, weights(draw, architecture), NAMES)
    reference = theirs(folder)
    sae = read_saelens(folder, precision="fp32")
    same(sae, states, reference.encode(states), reference(states))
    assert sae.config.normalize_activations == normalisation


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_reads_rescaled_activations(architecture, subtract, draw, states, write, same, tmp_path: Path) -> None:
    said = config(architecture, apply_b_dec_to_input=subtract, rescale_acts_by_decoder_norm=True)
    folder = write(tmp_path / "sae", said, weights(draw, architecture), NAMES)
    reference, sae = theirs(folder), read_saelens(folder, precision="fp32")
    same(sae, states, reference.encode(states), reference(states))
    torch.testing.assert_close(sae.decoder_weight.norm(dim=1), torch.ones(N_LATENTS))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), ratio=st.floats(-2, 2), gate=st.floats(-2, 2))
def test_a_gate_is_a_threshold(seed: int, ratio: float, gate: float) -> None:
    """Against the formulas: the gate is open where w·c + b_gate > 0, the value is ReLU(e^r (w·c) + b_mag)."""
    from lexite.sae.formats.reading import Parts
    from lexite.sae.formats.saelens import gated_parts

    generator = torch.Generator().manual_seed(seed)
    weight, magnitude = torch.randn(6, 4, generator=generator), torch.randn(6, generator=generator)
    log_ratio, gates = torch.full((6,), ratio), gate + torch.randn(6, generator=generator)
    centred = torch.randn(50, 4, generator=generator)
    inner = centred @ weight.T
    expected = (inner + gates > 0) * (torch.exp(log_ratio) * inner + magnitude).relu()
    parts = gated_parts(Parts(weight, magnitude, weight, torch.zeros(4)), gates, log_ratio)
    u = centred @ parts.encoder.T + parts.encoder_bias
    assert parts.thresholds is not None
    near = (u - parts.thresholds.clamp(min=0)).abs() < 1e-4  # rounding decides there
    actual = u * (u > parts.thresholds.clamp(min=0))
    assert torch.allclose(actual[~near], expected[~near], atol=1e-4)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_reads_checkpoints_as_saelens_finishes_them(architecture, rescale, scaled, states, same, tmp_path: Path) -> None:
    """A checkpoint of the training, against what SAELens saves for inference from the same training."""
    sae_lens = pytest.importorskip("sae_lens")
    values = {"d_in": D_MODEL, "d_sae": N_LATENTS, "k": 4.6, "rescale_acts_by_decoder_norm": rescale}
    values |= {"normalize_activations": "expected_average_only_in" if scaled else "none"}
    if architecture == "batchtopk":
        training = sae_lens.BatchTopKTrainingSAE(sae_lens.BatchTopKTrainingSAEConfig(**values))
    else:
        widths = {"matryoshka_widths": [10, N_LATENTS]}
        training = sae_lens.MatryoshkaBatchTopKTrainingSAE(sae_lens.MatryoshkaBatchTopKTrainingSAEConfig(**values, **widths))
    generator = torch.Generator().manual_seed(3)
    for parameter in training.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    training.topk_threshold = torch.tensor(0.8, dtype=torch.double)
    training.save_model(tmp_path / "checkpoint")
    if scaled:
        (tmp_path / "checkpoint" / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 1.3}))
        training.fold_activation_norm_scaling_factor(1.3)
    training.save_inference_model(tmp_path / "finished")
    reference = theirs(tmp_path / "finished")
    for name in ("checkpoint", "finished"):
        sae = read_saelens(tmp_path / name, precision="fp32")
        same(sae, states, reference.encode(states), reference(states))
        assert (sae.activation, sae.config.rule, sae.config.k) == ("jumprelu", "batch_topk", 5)
        assert sae.config.normalize_activations == "none"


@pytest.mark.parametrize("name", ["Standard", "Gated", "JumpReLU", "TopK", "AbsTopK"])
def test_reads_what_a_training_saves(name: str, states, same, tmp_path: Path) -> None:
    sae_lens = pytest.importorskip("sae_lens")
    known = {"d_in": D_MODEL, "d_sae": N_LATENTS} | ({"k": K} if "TopK" in name else {})
    training = getattr(sae_lens, f"{name}TrainingSAE")(getattr(sae_lens, f"{name}TrainingSAEConfig")(**known))
    training.save_inference_model(tmp_path / "finished")
    training.save_model(tmp_path / "checkpoint")
    reference = theirs(tmp_path / "finished")
    for folder in ("finished", "checkpoint"):
        same(read_saelens(tmp_path / folder, precision="fp32"), states, reference.encode(states), reference(states))


OLD = [
    {"activation_fn_str": "relu", "hook_point": "blocks.1.hook_resid_pre", "apply_b_dec_to_input": False},
    {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}, "normalize_activations": "none"},
    {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}, "architecture": "standard", "sae_lens_version": "5.10.1"},
    {"architecture": "topk", "activation_fn_kwargs": {"k": 4}, "activation_fn": "topk", "normalize_activations": None},
    {"architecture": "jumprelu", "normalize_activations": False, "finetuning_scaling_factor": False},
    {"architecture": "gated", "normalize_activations": "layer_norm"},
    {"normalize_activations": True},
]


@pytest.mark.parametrize("old", OLD, ids=range(len(OLD)))
def test_reads_folders_of_releases_before_6(old: dict[str, Any], draw, states, write, same, tmp_path: Path) -> None:
    tensors = weights(draw, old.get("architecture", "standard"))
    tensors["scaling_factor"] = torch.ones(N_LATENTS)  # written for a while, and without effect
    said = {"d_in": D_MODEL, "d_sae": N_LATENTS, "dtype": "float32", "model_name": "gpt2", **old}
    folder = write(tmp_path / "sae", said, tensors, NAMES)
    write(folder, said, {"sparsity": torch.zeros(N_LATENTS)}, ("cfg.json", "sparsity.safetensors"))
    reference = theirs(folder)
    same(read_sae(folder, precision="fp32"), states, reference.encode(states), reference(states))


def test_factors_of_finetuning_are_folded_into_the_atoms(draw, states, write, tmp_path: Path) -> None:
    """SAELens 6 refuses them; before, codes were multiplied by them on the way to the decoder."""
    tensors = weights(draw, "standard")
    factors = draw(N_LATENTS).abs() + 0.5
    said = {"d_in": D_MODEL, "d_sae": N_LATENTS, "finetuning_scaling_factor": True}
    folder = write(tmp_path / "sae", said, tensors | {"scaling_factor": factors}, NAMES)
    codes = ((states - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]).relu()
    sae = read_saelens(folder, precision="fp32")
    torch.testing.assert_close(sae.encode(states).to_dense(), codes, rtol=1e-5, atol=1e-5)
    expected = (codes * factors) @ tensors["W_dec"] + tensors["b_dec"]
    torch.testing.assert_close(sae.reconstruct(states), expected, rtol=1e-5, atol=1e-4)
    write(folder, said | {"finetuning_scaling_factor": False}, tensors | {"scaling_factor": factors}, NAMES)
    with pytest.raises(ModelError, match="finetuning_scaling_factor is not set"):
        read_saelens(folder)


def test_old_thresholds_are_logarithms(draw, states, write, same, tmp_path: Path) -> None:
    tensors = weights(draw, "standard")
    threshold = draw(N_LATENTS).abs()
    plain = write(tmp_path / "plain", config("jumprelu"), tensors | {"threshold": threshold}, NAMES)
    logs = write(tmp_path / "logs", config("jumprelu"), tensors | {"log_threshold": threshold.log()}, NAMES)
    same(read_saelens(logs, precision="fp32"), states, read_saelens(plain, precision="fp32").encode(states).to_dense())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reads_other_number_formats(dtype: str, draw, states, write, same, tmp_path: Path) -> None:
    rounded = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights(draw, "topk").items()}
    folder = write(tmp_path / "sae", config("topk", dtype=dtype), rounded, NAMES)
    reference = theirs(folder)
    same(read_saelens(folder, precision="fp32"), states, reference.encode(states), reference(states))


def own(draw: Any, activation: str, **values: Any) -> SparseAutoencoder:
    """An autoencoder of lexite with random weights."""
    rule = {"topk": "topk", "abs_topk": "abs_topk", "jumprelu": "batch_topk", "top_afa": "top_afa"}[activation]
    shape = SAEConfig(d_model=D_MODEL, n_latents=N_LATENTS, k=K, rule=values.pop("rule", rule), **values)
    thresholds = draw(N_LATENTS, shift=0.3).clamp(min=0) if activation == "jumprelu" else None
    tensors = draw(N_LATENTS, D_MODEL), draw(N_LATENTS, shift=-0.3), draw(N_LATENTS, D_MODEL), draw(D_MODEL)
    return SparseAutoencoder(shape, *tensors, activation=activation, thresholds=thresholds, precision="fp32")  # type: ignore[arg-type]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("activation", ["topk", "jumprelu", "abs_topk"])
def test_saelens_reads_what_is_written(activation, subtract, normalisation, draw, states, same, tmp_path: Path) -> None:
    sae = own(draw, activation, apply_b_dec_to_input=subtract, normalize_activations=normalisation)
    folder = write_saelens(sae, tmp_path / "sae", metadata={"model_name": "gpt2"})
    reference = theirs(folder)
    same(sae, states, reference.encode(states), reference(states))
    assert reference.cfg.metadata.model_name == "gpt2"
    again = read_sae(folder, precision="fp32")
    assert again.config == sae.config and again.fingerprint == sae.fingerprint


def test_thresholds_of_zero_are_written_as_standard(draw, states, same, tmp_path: Path) -> None:
    sae = own(draw, "jumprelu", rule="relu_l1")
    assert sae.thresholds is not None
    sae.thresholds.zero_()
    reference = theirs(write_saelens(sae, tmp_path / "sae"))
    assert reference.cfg.architecture() == "standard"
    same(sae, states, reference.encode(states), reference(states))


def test_what_saelens_cannot_hold_is_not_written(draw, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no architecture for the activation top_afa"):
        write_saelens(own(draw, "top_afa"), tmp_path / "sae")
    whole = own(draw, "topk")
    bare = SparseAutoencoder(whole.config, whole.encoder_weight, whole.encoder_bias, None, whole.decoder_bias)
    with pytest.raises(ModelError, match="SAELens needs a decoder"):
        write_saelens(bare, tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_a_folder_is_replaced_only_when_asked(draw, tmp_path: Path) -> None:
    sae = own(draw, "topk")
    write_saelens(sae, tmp_path / "sae")
    with pytest.raises(StorageError, match="exists already"):
        write_saelens(sae, tmp_path / "sae")
    write_saelens(sae, tmp_path / "sae", overwrite=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty"):
        write_saelens(sae, tmp_path / "else", overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "transcoder"},
            "architecture is transcoder, which maps one place of a model to another. lexite reads",
        ),
        ({"architecture": "jumprelu_skip_transcoder"}, "which maps one place of a model to another"),
        ({"architecture": "temporal"}, "which looks at several tokens at once"),
        ({"architecture": "matching_pursuit"}, "which chooses latents one after the other"),
        ({"architecture": "mine"}, "architecture is mine. lexite reads standard"),
        ({"architecture": None}, "architecture is missing. lexite reads"),
        ({"reshape_activations": "hook_z"}, "reshape_activations is 'hook_z'"),
        ({"normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
        ({"normalize_activations": "other"}, "normalize_activations is 'other'; lexite reads none"),
        ({"d_in": None}, "d_in is missing, but must be a whole number of at least 1"),
        ({"d_sae": -3}, "d_sae is -3"),
        ({"d_sae": True}, "d_sae is True"),
        ({"k": 41}, "k is 41, but must be a whole number from 1 to 40"),
        ({"k": None}, "k is missing"),
        ({"apply_b_dec_to_input": 1}, "apply_b_dec_to_input is 1, but must be true or false"),
        ({"d_in": 13}, r"'W_enc' has the shape \(12, 40\), but the settings say \(13, 40\)"),
    ],
)
def test_settings_that_cannot_be_used(change: dict[str, Any], message: str, draw, write, tmp_path: Path) -> None:
    folder = write(tmp_path / "sae", config("topk") | change, weights(draw, "topk"), NAMES)
    with pytest.raises(ModelError, match=message) as caught:
        read_sae(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ({"activation_fn_str": "tanh-relu"}, "activation_fn is 'tanh-relu', but lexite reads relu and topk"),
        ({"hook_point": "blocks.2.attn.hook_z"}, "reshape_activations is 'hook_z'"),
        ({"activation_fn_str": "topk"}, "k is missing"),
    ],
)
def test_old_settings_that_cannot_be_used(old: dict[str, Any], message: str, draw, write, tmp_path: Path) -> None:
    said = {"d_in": D_MODEL, "d_sae": N_LATENTS, **old}
    with pytest.raises(ModelError, match=message):
        read_saelens(write(tmp_path / "sae", said, weights(draw, "standard"), NAMES))


def test_damaged_folders(draw, write, tmp_path: Path) -> None:
    tensors = weights(draw, "jumprelu")
    folder = write(tmp_path / "sae", config("jumprelu"), tensors, NAMES)
    del tensors["threshold"]
    write(folder, config("jumprelu"), tensors, NAMES)
    with pytest.raises(ModelError, match="holds no tensor 'threshold'"):
        read_saelens(folder)
    write(folder, config("jumprelu"), tensors | {"threshold": torch.full((N_LATENTS,), float("nan"))}, NAMES)
    with pytest.raises(ModelError, match="'threshold' holds NaN or infinity"):
        read_saelens(folder)
    (folder / NAMES[1]).write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 not tensors")
    with pytest.raises(ModelError, match=r"sae_weights.safetensors is damaged: .*Fetch it again"):
        read_saelens(folder)
    (folder / NAMES[1]).unlink()
    with pytest.raises(ModelError, match=r"sae_weights.safetensors does not exist. Fetch the whole folder"):
        read_sae(folder)
    (folder / NAMES[0]).write_text('{"d_in": 12,')
    with pytest.raises(ModelError, match="line 1: not valid JSON"):
        read_sae(folder)
    (folder / NAMES[0]).write_text("[1, 2]")
    with pytest.raises(ModelError, match="should hold a JSON object"):
        read_sae(folder)
    with pytest.raises(ModelError, match=r"cfg.json does not exist"):
        read_saelens(tmp_path)


def test_a_scaler_that_says_nonsense(draw, write, tmp_path: Path) -> None:
    said = config("standard", normalize_activations="expected_average_only_in")
    folder = write(tmp_path / "sae", said, weights(draw, "standard"), NAMES)
    (folder / "activation_scaler.json").write_text('{"scaling_factor": null}')  # there was none
    assert read_saelens(folder).config.normalize_activations == "expected_average_only_in"
    (folder / "activation_scaler.json").write_text('{"scaling_factor": "1"}')
    with pytest.raises(ModelError, match="scaling_factor is '1', but must be a positive number"):
        read_saelens(folder)


def test_pickles_are_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text(json.dumps(config("standard")))
    (tmp_path / "sae_weights.pt").write_bytes(b"whatever it is, it is not opened")
    with pytest.raises(ModelError, match=r"sae_weights.pt is a pickle.*save it again with sae.save_model"):
        read_sae(tmp_path)
