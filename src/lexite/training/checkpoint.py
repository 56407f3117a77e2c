"""Checkpoints from which a run goes on as if it had never stopped.

A checkpoint is a folder written beside its place, flushed, and renamed, so that it exists whole or not at all. The newest one
is used; the one before it is removed only when the newest is on the disk.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lexite.errors import TrainingError
from lexite.files import fsync_folder, json_checksum, read_json, sha256_file, storage_errors, write_json

FORMAT_VERSION = 1
INFO_FILE = "checkpoint.json"
TENSOR_FILES = ("state.safetensors", "buffer.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at one moment.

    Attributes:
        state: weights, moments and counters.
        buffer: the shuffled buffer.
        info: everything else, as JSON values: configuration, positions, random state.
    """

    state: dict[str, torch.Tensor]
    buffer: dict[str, torch.Tensor]
    info: dict[str, Any]


def save_checkpoint(folder: Path, tokens: int, checkpoint: Checkpoint) -> Path:
    """Writes ``folder/checkpoint-TOKENS`` and removes older ones.

    Raises:
        StorageError: it cannot be written; the checkpoint before it is still there.
    """
    target = folder / f"checkpoint-{tokens:014d}"
    fresh = folder / f".{target.name}.tmp"
    try:
        with storage_errors(target):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for name, tensors in zip(TENSOR_FILES, (checkpoint.state, checkpoint.buffer), strict=True):
                try:
                    save_file({key: tensor.cpu() for key, tensor in tensors.items()}, fresh / name)
                except SafetensorError as error:
                    raise OSError(getattr(error, "errno", None) or 0, str(error)) from error
                _flush(fresh / name)
            sums = {name: sha256_file(fresh / name) for name in TENSOR_FILES}
            info = {**checkpoint.info, "format_version": FORMAT_VERSION, "files": sums}
            write_json(fresh / INFO_FILE, {**info, "sha256": json_checksum(info)})
            shutil.rmtree(target, ignore_errors=True)
            os.replace(fresh, target)
            fsync_folder(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for other in folder.glob("checkpoint-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint under ``folder``, or None."""
    return max((path for path in folder.glob("checkpoint-*") if (path / INFO_FILE).is_file()), default=None)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        TrainingError: a file is missing, damaged, or of another format.
    """
    info = read_json(path / INFO_FILE, TrainingError)
    if not isinstance(info, dict) or info.get("format_version") != FORMAT_VERSION:
        raise TrainingError(f"{path / INFO_FILE} is not a checkpoint of this version of lexite. Start the run anew.")
    if info.get("sha256") != json_checksum(info):
        raise TrainingError(f"{path / INFO_FILE} is damaged: its checksum is wrong. Start the run anew.")
    loaded = []
    for name in TENSOR_FILES:
        file = path / name
        try:
            if sha256_file(file) != info.get("files", {}).get(name):
                raise TrainingError(f"{file} is damaged: its checksum is not the one in {INFO_FILE}. Start the run anew.")
            loaded.append(load_file(file))
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{file} cannot be read: {error}. Start the run anew.") from error
    return Checkpoint(loaded[0], loaded[1], info)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
