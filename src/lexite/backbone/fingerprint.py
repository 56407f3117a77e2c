"""The identity of a backbone: a checksum over everything that decides its token states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lexite.backbone.locate import weight_files
from lexite.errors import BackboneError
from lexite.files import read_json, sha256_once

# Keys of config.json that say where a model came from or how it is run, not what it computes.
_VOLATILE_KEYS = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "architectures"}
_TOKENIZER_FILES = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")


def fingerprint(folder: Path, policy: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, over the weights, the tokenizer, the model's configuration and ``policy``.

    Only the content of files counts, never their place: a packaged copy and one from the hub are the same backbone.

    Args:
        folder: the model folder.
        policy: JSON values of what else decides the states: prompts, window, kept tokens.

    Raises:
        BackboneError: the folder holds no weights, or a file cannot be read.
    """
    weights = weight_files(folder)
    if not weights:
        raise BackboneError(f"{folder} holds no weights (*.safetensors or *.bin), so it is not the folder of a model.")
    parts: dict[str, Any] = {"policy": dict(policy)}
    try:
        for path in [*weights, *_tokenizer_files(folder)]:
            parts[path.relative_to(folder).as_posix()] = sha256_once(path)
    except OSError as error:
        raise BackboneError(f"A file of the model in {folder} cannot be read: {error}.") from error
    if (folder / "config.json").is_file():
        config = read_json(folder / "config.json", BackboneError)
        parts["config.json"] = {key: value for key, value in config.items() if key not in _VOLATILE_KEYS}
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _tokenizer_files(folder: Path) -> list[Path]:
    """The files that define the tokenizer: ``tokenizer.json`` holds all of it where it exists."""
    whole = folder / "tokenizer.json"
    return [whole] if whole.is_file() else [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
