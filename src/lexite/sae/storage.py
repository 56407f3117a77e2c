"""The files of a sparse autoencoder: ``sae.safetensors`` with its tensors, ``sae.json`` with its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lexite.config import from_dict, to_dict
from lexite.errors import ModelError
from lexite.files import atomic_write, read_json, sha256_file, write_json
from lexite.sae.activations import ACTIVATIONS, Activation
from lexite.sae.config import SAEConfig

FORMAT_VERSION = 1
WEIGHTS_FILE = "sae.safetensors"
CONFIG_FILE = "sae.json"
_REQUIRED = ("encoder_weight", "encoder_bias", "decoder_bias")


@dataclass(frozen=True, slots=True)
class StoredSAE:
    """What the files of a sparse autoencoder hold.

    Attributes:
        config: its configuration.
        activation: its activation at use.
        tensors: ``encoder_weight``, ``encoder_bias``, ``decoder_bias``, and where there are any ``decoder_weight``,
            ``thresholds``.
    """

    config: SAEConfig
    activation: Activation
    tensors: Mapping[str, torch.Tensor]


def write_sae(folder: Path, stored: StoredSAE) -> None:
    """Writes both files.

    Args:
        folder: made when missing.
        stored: what they hold.

    Raises:
        StorageError: the folder cannot be written.
    """
    with atomic_write(folder / WEIGHTS_FILE) as file:
        # Tied tensors are cloned too: safetensors refuses two names for one memory.
        file.write(save({name: tensor.cpu().contiguous().clone() for name, tensor in stored.tensors.items()}))
    info = {
        "format": "lexite-sae",
        "format_version": FORMAT_VERSION,
        "activation": stored.activation,
        **to_dict(stored.config),
        "sha256": sha256_file(folder / WEIGHTS_FILE),
    }
    write_json(folder / CONFIG_FILE, info)


def read_sae_files(folder: Path, *, device: str | torch.device = "cpu", verify: bool = True) -> StoredSAE:
    """Reads both files.

    Args:
        folder: holds them.
        device: where to put the tensors.
        verify: compare the checksum of the weights.

    Raises:
        ModelError: a file is missing, damaged, or of a newer format.
    """
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
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}. Fetch or train it again.") from error
    missing = next((name for name in _REQUIRED if name not in tensors), None)
    if missing:
        raise ModelError(f"{path} is damaged: it holds no '{missing}'. Fetch or train it again.")
    return StoredSAE(config, activation, tensors)


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
