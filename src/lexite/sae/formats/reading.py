"""Shared by the readers of other libraries' folders: settings and tensors, checked before they are used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lexite.errors import ModelError
from lexite.files import atomic_write, check_output_folder, read_json, replace_folder, write_json
from lexite.kernels.rescaling import effective

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True)
class Origin:
    """Where an autoencoder comes from, as far as its folder says. What it does not say is empty.

    Attributes:
        library: the library that wrote the folder.
        model: the model that the autoencoder was trained on.
        place: the place in that model, such as ``blocks.8.hook_resid_post``.
    """

    library: str
    model: str = ""
    place: str = ""


class Settings:
    """The settings beside the weights: a JSON object whose values are checked as they are asked for.

    Args:
        path: the JSON file.
        values: what is in it, when it was read already.

    Raises:
        ModelError: the file is missing or damaged, or no JSON object.
    """

    def __init__(self, path: Path, values: Mapping[str, Any] | None = None) -> None:
        self.path = path
        read = read_json(path) if values is None else values
        if not isinstance(read, Mapping):
            raise ModelError(f"{path} should hold a JSON object with the settings of the autoencoder. The file is damaged.")
        self.values = dict(read)

    def part(self, key: str) -> Settings:
        """The object under a key; empty where there is none."""
        value = self.values.get(key)
        return Settings(self.path, value if isinstance(value, Mapping) else {})

    def text(self, key: str, default: str = "") -> str:
        """The text under a key; the default where there is none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else default

    def flag(self, key: str, default: bool = False) -> bool:
        """The truth value under a key.

        Raises:
            ModelError: something else is there.
        """
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise ModelError(f"{self.path}: {key} is {value!r}, but must be true or false.")
        return value

    def count(self, key: str, maximum: int | None = None) -> int:
        """The whole number under a key, at least 1.

        Raises:
            ModelError: it is missing, or not such a number.
        """
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= (maximum or value):
            limits = f"from 1 to {maximum}" if maximum else "of at least 1"
            said = "is missing" if value is None else f"is {value!r}"
            raise ModelError(f"{self.path}: {key} {said}, but must be a whole number {limits}.")
        return value

    def average(self, key: str, n_latents: int) -> int | None:
        """The number of latents per token under a key, which may be a fraction, as a whole number from 1 to ``n_latents``."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return min(max(round(value), 1), n_latents)


class TensorFile:
    """The tensors of a safetensors file, checked as they are taken.

    Args:
        path: the file.

    Raises:
        ModelError: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ModelError(f"{path} does not exist. Fetch the whole folder.")
        try:
            self.tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is damaged: {error}. Fetch it again.") from error

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return name in self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; raises :class:`ModelError` when it is missing."""
        if name not in self.tensors:
            raise ModelError(f"{self.path} holds no tensor '{name}', which an autoencoder of this kind has.")
        return tuple(self.tensors[name].shape)

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor in fp32.

        Raises:
            ModelError: it is missing, has another shape, or holds NaN or infinity.
        """
        if self.shape(name) != shape:
            raise ModelError(f"{self.path}: '{name}' has the shape {self.shape(name)}, but the settings say {shape}.")
        tensor = self.tensors[name].to(torch.float32)
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{self.path}: '{name}' holds NaN or infinity, so the autoencoder cannot be used.")
        return tensor

    def matrix(self, name: str, n_latents: int, d_model: int, *, transposed: bool = False) -> torch.Tensor:
        """A matrix as (n_latents, d_model); ``transposed`` where the file has it the other way. Raises as :meth:`take`."""
        return self.take(name, d_model, n_latents).T.contiguous() if transposed else self.take(name, n_latents, d_model)


@dataclass
class Parts:
    """The tensors of an autoencoder that is being read.

    Attributes:
        encoder: (n_latents, d_model).
        encoder_bias: (n_latents,).
        decoder: (n_latents, d_model).
        decoder_bias: (d_model,).
        thresholds: (n_latents,), or None.
    """

    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    decoder_bias: torch.Tensor
    thresholds: torch.Tensor | None = None

    def scale_input(self, scale: float) -> None:
        """Changes the weights so that states x give the codes that ``scale · x`` gave."""
        self.encoder = self.encoder * scale
        self.decoder = self.decoder / scale
        self.decoder_bias = self.decoder_bias / scale

    def fold_norms(self) -> None:
        """Takes the norms of the atoms into the encoder. Thresholds are left as they are."""
        folded = effective(self.encoder, self.encoder_bias, self.decoder)
        self.encoder, self.encoder_bias, self.decoder = folded.encoder, folded.bias, folded.atoms


def refuse_pickles(folder: Path, conversion: str) -> None:
    """Raises :class:`ModelError` when the folder holds weights as a pickle; ``conversion`` says what to do."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if found:
        raise ModelError(
            f"{folder / found[0]} is a pickle, which can run code when it is opened, so lexite reads none. {conversion}"
        )


def write_pair(
    folder: str | Path,
    settings: tuple[str, Mapping[str, Any]],
    tensors: tuple[str, Mapping[str, torch.Tensor]],
    *,
    overwrite: bool,
) -> Path:
    """Writes a folder of settings and weights that appears whole or not at all.

    Args:
        folder: new, empty, or (with ``overwrite``) one that holds a settings file of that name and is replaced.
        settings: name and contents of the JSON file.
        tensors: name and contents of the safetensors file.
        overwrite: replace a folder of the same kind.

    Raises:
        StorageError: the folder holds something else, or cannot be written.
    """
    target = check_output_folder(folder, settings[0], overwrite=overwrite)
    with replace_folder(target) as fresh:
        with atomic_write(fresh / tensors[0]) as file:
            file.write(save({name: tensor.cpu().contiguous().clone() for name, tensor in tensors[1].items()}))
        write_json(fresh / settings[0], dict(settings[1]))
    return target
