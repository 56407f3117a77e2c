"""The files of a sparse autoencoder: ``sae.safetensors`` with its tensors, ``sae.json`` with its configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lexite.config import from_dict, to_dict
from lexite.errors import ModelError
from lexite.files import atomic_write, read_json, sha256_file, write_json
from lexite.sae.activations import ACTIVATIONS
from lexite.sae.autoencoder import Precision, SparseAutoencoder
from lexite.sae.config import SAEConfig

FORMAT_VERSION = 1
WEIGHTS_FILE = "sae.safetensors"
CONFIG_FILE = "sae.json"
_ROUNDED = {"fp32": torch.float32, "bf16": torch.bfloat16}


def save_sae(
    sae: SparseAutoencoder, folder: Path, *, encoder_only: bool = False, dtype: Literal["fp32", "bf16"] | None = None
) -> bool:
    """Does the work of :meth:`SparseAutoencoder.save`; says whether the file holds all that ``sae`` holds, unrounded."""
    matrices = _ROUNDED[dtype] if dtype else sae.weight_dtype
    tensors = {
        "encoder_weight": sae.stored_encoder.to(matrices),
        "encoder_bias": sae.encoder_bias,
        "decoder_bias": sae.decoder_bias,
    }
    if sae.stored_decoder is not None and not encoder_only:
        tensors["decoder_weight"] = sae.stored_decoder.to(matrices)
    if sae.thresholds is not None:
        tensors["thresholds"] = sae.thresholds
    with atomic_write(folder / WEIGHTS_FILE) as file:
        file.write(save({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}))  # tied ones too
    info = {
        "format": "lexite-sae",
        "format_version": FORMAT_VERSION,
        "activation": sae.activation,
        **to_dict(sae.config),
        "sha256": sha256_file(folder / WEIGHTS_FILE),
    }
    write_json(folder / CONFIG_FILE, info)
    return matrices == sae.weight_dtype and not encoder_only


def load_sae(
    folder: Path, *, precision: Precision = "auto", device: str | torch.device = "cpu", verify: bool = True
) -> SparseAutoencoder:
    """Does the work of :meth:`SparseAutoencoder.load`."""
    info = _read_info(folder / CONFIG_FILE)
    activation = info.get("activation", "topk")  # files of the first release name only the rule, which was topk
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"{path} does not exist.")
    if verify and sha256_file(path) != info.get("sha256"):
        raise ModelError(f"{path} is damaged: its checksum is not the one in {CONFIG_FILE}. Fetch or train it again.")
    known = {field.name for field in dataclasses.fields(SAEConfig)}
    config = from_dict(SAEConfig, {key: value for key, value in info.items() if key in known}, str(folder / CONFIG_FILE))
    try:
        tensors = load_file(path, device=str(device))
        parts = [tensors["encoder_weight"], tensors["encoder_bias"], tensors["decoder_bias"]]
    except (SafetensorError, KeyError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}. Fetch or train it again.") from error
    return SparseAutoencoder(
        config,
        parts[0],
        parts[1],
        tensors.get("decoder_weight"),
        parts[2],
        activation=activation,
        thresholds=tensors.get("thresholds"),
        precision=precision,
        weight_dtype=parts[0].dtype,
    )


def _read_info(path: Path) -> dict[str, Any]:
    info = read_json(path)
    if not isinstance(info, dict) or info.get("format") != "lexite-sae":
        raise ModelError(f"{path} does not describe a sparse autoencoder of lexite.")
    activation = info.get("activation", "topk")
    if info.get("format_version") != FORMAT_VERSION or activation not in ACTIVATIONS:
        raise ModelError(
            f"{path} has format version {info.get('format_version')} and activation {activation}, but this lexite reads "
            f"version {FORMAT_VERSION} with {', '.join(ACTIVATIONS)}. Install a newer lexite."
        )
    return info
