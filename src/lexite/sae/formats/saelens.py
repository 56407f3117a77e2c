"""Folders of SAELens: ``cfg.json`` and ``sae_weights.safetensors``, of releases 6 and those before.

An autoencoder that is read here gives the codes and reconstructions that SAELens gives. Written against the formulas of SAELens
6.54; the tests compare the two, architecture by architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import torch

from lexite.errors import ModelError
from lexite.files import read_json
from lexite.sae.activations import Activation
from lexite.sae.autoencoder import Precision, SparseAutoencoder
from lexite.sae.config import Normalisation, SAEConfig
from lexite.sae.formats.reading import Origin, Parts, Settings, TensorFile, refuse_pickles, write_pair
from lexite.version import __version__

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
SCALER_FILE = "activation_scaler.json"
WRITTEN_FORMAT = "6.54.12"
"""The release of SAELens whose files are written; they name it, since those of releases before 6 are read differently."""

_RULES = {  # architecture of SAELens -> rule of lexite
    "standard": "relu_l1",
    "gated": "gated",
    "jumprelu": "jumprelu",
    "topk": "topk",
    "abstopk": "abs_topk",
    "batchtopk": "batch_topk",
    "matryoshka_batchtopk": "batch_topk",
}
_READ_AS: dict[str, Activation] = {"topk": "topk", "abstopk": "abs_topk"}  # all others become jumprelu
_WRITTEN_AS = {"topk": "topk", "abs_topk": "abstopk", "jumprelu": "jumprelu"}  # activation -> architecture
_TRAINED_AS = {rule: architecture for architecture, rule in reversed(_RULES.items())}  # of two with one rule, the first
_REFUSED = {
    "transcoder": "maps one place of a model to another",
    "temporal": "looks at several tokens at once",
    "matching_pursuit": "chooses latents one after the other from what is left over",
}
_ADVICE = "lexite reads standard, gated, jumprelu, topk, abstopk, batchtopk and matryoshka_batchtopk."
_CONVERSION = "Load it in the release of SAELens that wrote it and save it again with sae.save_model(folder), as safetensors."


def read_saelens(path: str | Path, *, precision: Precision = "auto", device: str | torch.device = "cpu") -> SparseAutoencoder:
    """Reads a folder of SAELens, of a finished autoencoder or a checkpoint of its training.

    - ``standard`` becomes jumprelu with thresholds of zero, which is a ReLU.
    - ``gated`` becomes jumprelu: with c the centred state, the gate is open where w·c + b_gate > 0 and the value is
      e^r (w·c) + b_mag, so that u = e^r (w·c) + b_mag and θ = max(0, b_mag - e^r b_gate).
    - ``batchtopk`` and ``matryoshka_batchtopk``, which only checkpoints have, become jumprelu with the running threshold.
    - ``rescale_acts_by_decoder_norm`` and ``finetuning_scaling_factor`` are folded into the weights. So is the factor in
      ``activation_scaler.json`` when a checkpoint says that it was trained on states scaled by ``expected_average_only_in``.

    Args:
        path: the folder.
        precision: of the selection.
        device: where to put the weights.

    Raises:
        ModelError: a file is missing or damaged, or the autoencoder is of a kind that cannot be represented; the key is named.
    """
    folder = Path(path)
    settings = _modern(Settings(folder / CONFIG_FILE))
    architecture = _architecture(settings)
    if not (folder / WEIGHTS_FILE).is_file():
        refuse_pickles(folder, _CONVERSION)
    d_model, n_latents = settings.count("d_in"), settings.count("d_sae")
    normalisation = _normalisation(settings)
    tensors = TensorFile(folder / WEIGHTS_FILE)
    parts = _PARTS[architecture](tensors, n_latents, d_model)
    scale = _scale_of_checkpoint(folder) if normalisation == "expected_average_only_in" else None
    rescaled = "topk" in architecture and settings.flag("rescale_acts_by_decoder_norm")
    if scale is not None:
        normalisation = "none"
        parts.scale_input(scale)
        if rescaled and parts.thresholds is not None:  # it is in units of u · ‖d‖, and ‖d‖ was divided by the scale
            parts.thresholds = parts.thresholds / scale
    if rescaled:
        parts.fold_norms()
    _fold_finetuning(settings, tensors, parts)
    config = SAEConfig(
        d_model=d_model,
        n_latents=n_latents,
        k=settings.count("k", n_latents) if architecture in _READ_AS else _trained_k(settings, n_latents),
        rule=_rule(settings, architecture),
        apply_b_dec_to_input=settings.flag("apply_b_dec_to_input", True),
        normalize_activations=normalisation,
    )
    activation = _READ_AS.get(architecture, "jumprelu")
    moved = [tensor.to(device) for tensor in (parts.encoder, parts.encoder_bias, parts.decoder, parts.decoder_bias)]
    thresholds = None if parts.thresholds is None else parts.thresholds.clamp(min=0).to(device)
    return SparseAutoencoder(config, *moved, activation=activation, thresholds=thresholds, precision=precision)


def origin(path: str | Path) -> Origin:
    """What a folder of SAELens says about the states that the autoencoder was trained on."""
    settings = Settings(Path(path) / CONFIG_FILE)
    part = settings.part("metadata") if "metadata" in settings.values else settings
    return Origin("SAELens", part.text("model_name"), part.text("hook_name") or part.text("hook_point"))


def write_saelens(
    sae: SparseAutoencoder, folder: str | Path, *, metadata: Mapping[str, Any] | None = None, overwrite: bool = False
) -> Path:
    """Writes an autoencoder as a folder that ``sae_lens.SAE.load_from_disk`` loads, with the same codes, in fp32.

    The activation topk becomes ``topk``; jumprelu becomes ``jumprelu``, or ``standard`` when all thresholds are zero; abs_topk
    becomes ``abstopk``, whose codes are signed where lexite has two terms per latent.

    Args:
        sae: with its decoder.
        folder: new, empty, or (with ``overwrite``) a folder of SAELens that is replaced.
        metadata: what SAELens keeps about an autoencoder, such as ``model_name`` and ``hook_name``.
        overwrite: replace a folder of SAELens that is there.

    Returns:
        The folder.

    Raises:
        ModelError: SAELens has no such architecture, or the decoder is missing.
        StorageError: the folder holds something else, or cannot be written.
    """
    decoder, config = sae.decoder_weight, sae.config
    if decoder is None:
        raise ModelError("SAELens needs a decoder, but this autoencoder was saved without it. Take the one that was trained.")
    architecture = _WRITTEN_AS.get(sae.activation)
    if architecture is None:
        raise ModelError(
            f"SAELens has no architecture for the activation {sae.activation}, so it cannot be written. Keep it in lexite's "
            "format."
        )
    tensors = {
        "W_enc": sae.encoder_weight.T,
        "b_enc": sae.encoder_bias,
        "W_dec": decoder,
        "b_dec": sae.decoder_bias,
    }
    if sae.thresholds is not None and bool((sae.thresholds > 0).any()):
        tensors["threshold"] = sae.thresholds
    elif sae.thresholds is not None:
        architecture = "standard"
    described: dict[str, Any] = {
        **(metadata or {}),
        "sae_lens_version": WRITTEN_FORMAT,
        "sae_lens_training_version": None,
        "lexite_version": __version__,
        "lexite_rule": config.rule,
        "training_architecture_details": {"k": config.k},
    }
    trained_as = _TRAINED_AS.get(config.rule)
    if trained_as is not None:
        described["training_architecture"] = trained_as
    settings: dict[str, Any] = {
        "architecture": architecture,
        "d_in": config.d_model,
        "d_sae": config.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": config.apply_b_dec_to_input,
        "normalize_activations": config.normalize_activations,
        "reshape_activations": "none",
        "metadata": described,
    }
    if architecture in _READ_AS:
        settings |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    return write_pair(folder, (CONFIG_FILE, settings), (WEIGHTS_FILE, tensors), overwrite=overwrite)


def _modern(settings: Settings) -> Settings:
    """Settings of a release before 6 under the names of release 6."""
    values = settings.values
    version = settings.text("sae_lens_version") or settings.part("metadata").text("sae_lens_version")
    major = version.split(".")[0]
    if major.isdigit() and int(major) >= 6:
        return settings
    renamed = {"hook_point": "hook_name", "activation_fn_str": "activation_fn"}
    values = {renamed.get(key, key): value for key, value in values.items()}
    activation = values.get("activation_fn") or "relu"
    arguments = values.get("activation_fn_kwargs")
    if activation == "topk" and values.get("architecture", "standard") in ("standard", "topk"):
        values["architecture"] = "topk"
        if isinstance(arguments, dict):
            values["k"] = arguments.get("k", values.get("k"))
    elif activation != "relu" and values.get("architecture") != "topk":
        raise ModelError(f"{settings.path}: activation_fn is {activation!r}, but lexite reads relu and topk.")
    values.setdefault("architecture", "standard")
    if "hook_z" in str(values.get("hook_name", "")):
        values.setdefault("reshape_activations", "hook_z")
    normalisation = values.get("normalize_activations")
    if normalisation is None or isinstance(normalisation, bool):
        values["normalize_activations"] = "expected_average_only_in" if normalisation else "none"
    return Settings(settings.path, values)


def _architecture(settings: Settings) -> str:
    """The architecture; raises :class:`ModelError` when it, or the reshaping of states, cannot be represented."""
    architecture = settings.text("architecture")
    if architecture not in _RULES:
        reason = next((f", which {reason}" for name, reason in _REFUSED.items() if name in architecture), "")
        raise ModelError(f"{settings.path}: architecture is {architecture or 'missing'}{reason}. {_ADVICE}")
    if settings.text("reshape_activations", "none") != "none":
        raise ModelError(
            f"{settings.path}: reshape_activations is {settings.text('reshape_activations')!r}: it was trained on the heads of "
            "an attention layer, but lexite reads one vector per token. Take an autoencoder of a residual stream."
        )
    return architecture


def _normalisation(settings: Settings) -> Normalisation:
    kind = settings.text("normalize_activations", "none")
    if kind == "covariance_whitening":
        raise ModelError(
            f"{settings.path}: normalize_activations is covariance_whitening, which was not folded into these weights. Load it "
            "in SAELens, call sae.fold_activation_whitening(mean, matrix, inverse), save it, and read that."
        )
    if kind not in get_args(Normalisation):
        raise ModelError(
            f"{settings.path}: normalize_activations is {kind!r}; lexite reads {', '.join(get_args(Normalisation))}."
        )
    return cast(Normalisation, kind)


def _rule(settings: Settings, architecture: str) -> str:
    """The rule of the training: what lexite wrote, else what SAELens says about it, else that of the architecture."""
    metadata = settings.part("metadata")
    trained = metadata.text("training_architecture", architecture)
    return metadata.text("lexite_rule") or _RULES.get(trained, _RULES[architecture])


def _trained_k(settings: Settings, n_latents: int) -> int:
    """The average number of latents per token that the training aimed at; all latents where the folder does not say."""
    details = settings.part("metadata").part("training_architecture_details")
    return settings.average("k", n_latents) or details.average("k", n_latents) or n_latents


def _scale_of_checkpoint(folder: Path) -> float | None:
    """The factor that a checkpoint's states were scaled by; None where no file says so."""
    path = folder / SCALER_FILE
    if not path.is_file():
        return None
    values = read_json(path)
    scale = values.get("scaling_factor") if isinstance(values, dict) else None
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < float("inf"):
        raise ModelError(f"{path}: scaling_factor is {scale!r}, but must be a positive number. The file is damaged.")
    return float(scale)


def _fold_finetuning(settings: Settings, tensors: TensorFile, parts: Parts) -> None:
    """Folds into the atoms the factors of SAELens before release 6, which multiply codes before they are decoded."""
    if "scaling_factor" not in tensors:
        return
    factors = tensors.take("scaling_factor", len(parts.encoder))
    if bool(torch.allclose(factors, torch.ones_like(factors))):
        return
    if not settings.values.get("finetuning_scaling_factor"):
        raise ModelError(
            f"{tensors.path} holds a scaling_factor, but finetuning_scaling_factor is not set in {settings.path.name}. "
            "Set it to true when the factors are meant to be used."
        )
    parts.decoder = parts.decoder * factors[:, None]


def _common(tensors: TensorFile, n_latents: int, d_model: int, bias: torch.Tensor) -> Parts:
    encoder = tensors.matrix("W_enc", n_latents, d_model, transposed=True)
    return Parts(encoder, bias, tensors.matrix("W_dec", n_latents, d_model), tensors.take("b_dec", d_model))


def _topk(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    return _common(tensors, n_latents, d_model, tensors.take("b_enc", n_latents))


def _standard(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _topk(tensors, n_latents, d_model)
    parts.thresholds = torch.zeros(n_latents)
    return parts


def _jumprelu(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _topk(tensors, n_latents, d_model)
    if "log_threshold" in tensors:  # checkpoints of releases before 6.50
        parts.thresholds = tensors.take("log_threshold", n_latents).exp()
    else:
        parts.thresholds = tensors.take("threshold", n_latents)
    return parts


def _gated(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    gate, magnitude, ratio = (tensors.take(name, n_latents) for name in ("b_gate", "b_mag", "r_mag"))
    return gated_parts(_common(tensors, n_latents, d_model, magnitude), gate, ratio)


def _batch_topk(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _topk(tensors, n_latents, d_model)
    parts.thresholds = tensors.take("topk_threshold").expand(n_latents).clone()
    return parts


def gated_parts(parts: Parts, gate_bias: torch.Tensor, log_ratio: torch.Tensor) -> Parts:
    """A gated autoencoder as one with thresholds (Rajamanoharan et al. 2024, arXiv 2404.16014).

    Args:
        parts: ``encoder`` w, and ``encoder_bias`` b_mag.
        gate_bias: (n_latents,) b_gate.
        log_ratio: (n_latents,) r.

    Returns:
        Parts with weights e^r w, bias b_mag and thresholds b_mag - e^r b_gate.
    """
    ratio = log_ratio.exp()
    parts.thresholds = parts.encoder_bias - ratio * gate_bias
    parts.encoder = parts.encoder * ratio[:, None]
    return parts


_PARTS = {
    "standard": _standard,
    "gated": _gated,
    "jumprelu": _jumprelu,
    "topk": _topk,
    "abstopk": _topk,
    "batchtopk": _batch_topk,
    "matryoshka_batchtopk": _batch_topk,
}
