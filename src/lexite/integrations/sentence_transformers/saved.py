"""Reading the configuration and tensors of saved modules, in this package's format or that of pull request 3796."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import load_file
from sentence_transformers.base.modules.module import Module

from lexite.errors import ConfigError, ModelError

FORMAT_VERSION = 2
"""Format version of the saved folder. Version 1 is the format of sentence-transformers' pull request 3796."""
WEIGHTS = "model.safetensors"
_PICKLED_WEIGHTS = "pytorch_model.bin"
_EARLY_PREFIX = "sae."  # of the tensors in folders that early revisions of the pull request wrote


class RestoredModule(Protocol):
    """What :func:`encoder_from` needs of the module that it restores."""

    input_dim: int
    data_mean: torch.Tensor | None
    tokens_since_active: torch.Tensor

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tensors of the module, by name."""
        ...

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> Any:
        """Takes the tensors of a saved module."""
        ...


Encoder = TypeVar("Encoder", bound=RestoredModule)


def check_among(name: str, value: object, known: Sequence[object]) -> None:
    """Refuses a value that is not among the known ones.

    Raises:
        ConfigError: the value is unknown.
    """
    if value not in known:
        raise ConfigError(f"{name} is {value!r}, but must be one of {', '.join(map(str, known))}.")


def read_config(module: type[Module], name_or_path: str, **hub: Any) -> dict[str, Any]:
    """The values of a module's ``config.json``.

    Args:
        module: class of the module; keys that it has renamed get their new names.
        name_or_path: of the model.
        **hub: ``subfolder`` and how to reach the hub.

    Raises:
        ModelError: there is no file, it is damaged, or it has an unknown key.
    """
    where = place(name_or_path, hub)
    try:
        config: Any = Module.load_config.__func__(module, name_or_path, **hub)  # type: ignore[attr-defined]
    except ValueError as error:
        raise ModelError(f"{where}/config.json is damaged ({error}). Copy the folder again.") from error
    if not isinstance(config, dict) or not config:
        raise ModelError(f"{where} holds no config.json, so {module.__name__} cannot be loaded. Copy the folder again.")
    version = config.get("checkpoint_format_version", 1)
    if version not in (1, FORMAT_VERSION):
        raise ModelError(
            f"{where} has format version {version}; this lexite reads 1 and {FORMAT_VERSION}. Install a newer one."
        )
    known = set(module.config_keys) | ({"replace_token_embeddings"} if version == 1 else set())
    unknown = sorted(set(config) - known)
    if unknown:
        raise ModelError(f"{where}: config.json has the unknown key '{unknown[0]}'. Install a newer lexite, or remove the key.")
    return config


def read_tensors(name_or_path: str, **hub: Any) -> dict[str, torch.Tensor]:
    """The tensors of a module.

    Raises:
        ModelError: there is no file, it is damaged, or the weights are a pickle.
    """
    path = Module.load_file_path(name_or_path, filename=WEIGHTS, **hub)
    if path is None:
        where = place(name_or_path, hub)
        if Module.load_file_path(name_or_path, filename=_PICKLED_WEIGHTS, **hub) is not None:
            raise ModelError(
                f"{where} has its weights in {_PICKLED_WEIGHTS}, a pickle, which could run any code and is not read. Save the "
                f"model again with safe_serialization=True where it was made, which writes {WEIGHTS}."
            )
        raise ModelError(f"{where} holds no {WEIGHTS}, so the sparse autoencoder cannot be loaded. Copy the folder again.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kinds
        raise ModelError(f"{path} is damaged ({error}). Copy it again.") from error


def encoder_from(kind: Callable[..., Encoder], config: dict[str, Any], tensors: dict[str, torch.Tensor], where: str) -> Encoder:
    """The sparse autoencoder of a configuration and its tensors.

    Raises:
        ModelError: configuration and tensors do not fit together, or hold something unknown.
    """
    config = dict(config)
    if config.get("checkpoint_format_version", 1) != FORMAT_VERSION:
        config, tensors = _from_pull_request(config, tensors, where)
    try:
        module = kind(**config)
    except (TypeError, ConfigError) as error:
        raise ModelError(f"{where}: config.json cannot be used: {error}") from error
    module.data_mean = tensors.get("data_mean")
    expected = module.state_dict()
    tensors = {"tokens_since_active": module.tokens_since_active, **tensors}
    for name in sorted(set(expected) | set(tensors)):
        if name not in tensors or name not in expected:
            raise ModelError(f"{where}: {WEIGHTS} {'lacks the' if name in expected else 'holds an unknown'} tensor '{name}'.")
        wanted = (module.input_dim,) if name == "data_mean" else tuple(expected[name].shape)
        if tuple(tensors[name].shape) != wanted:
            raise ModelError(f"{where}: the tensor '{name}' has the shape {tuple(tensors[name].shape)} instead of {wanted}.")
    module.load_state_dict(tensors)
    return module


def _from_pull_request(
    config: dict[str, Any], tensors: dict[str, torch.Tensor], where: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and tensors of version 1 as version 2 has them.

    In version 1, W_enc is (input_dim, hidden_dim); ``data_mean`` is subtracted from a state, which is then always brought to
    the norm √input_dim; and a ``token_batch_size`` of 0 or less stands for all tokens at once.
    """
    if config.pop("replace_token_embeddings", False):
        raise ModelError(f"{where}: 'replace_token_embeddings' is true, which is not supported. Set it to false.")
    tensors = _without_prefix(tensors)
    has_decoder = config.get("has_decoder", "W_dec" in tensors)
    config = {**config, "normalize": "constant_norm_rescale", "has_decoder": has_decoder}
    some = config.get("token_batch_size")
    if isinstance(some, int) and some <= 0:
        config["token_batch_size"] = None
    encoder = tensors.get("W_enc")
    if encoder is not None and encoder.ndim == 2:
        tensors = {**tensors, "W_enc": encoder.t().contiguous()}
    return config, tensors


def _without_prefix(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by their names without the early prefix, unless the short name is taken."""
    short = {name: name.removeprefix(_EARLY_PREFIX) for name in tensors}
    return {name if short[name] in tensors else short[name]: tensor for name, tensor in tensors.items()}


def place(name_or_path: str, hub: dict[str, Any]) -> str:
    """The folder of a module, for error messages."""
    return str(Path(name_or_path) / (hub.get("subfolder") or ""))
