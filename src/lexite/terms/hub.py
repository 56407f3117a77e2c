"""Where a vocabulary comes from: a folder, lexite itself, or the Hugging Face hub."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from lexite.errors import LexiteError, ModelError
from lexite.terms.manifest import MANIFEST, read_manifest

DEFAULT = "default"
DEFAULT_NAME = "all-minilm-l6-v2-16k"
_HUB_NAME = re.compile(r"[\w\-.]+/[\w\-.]+")


def builtin_folder(name: str = DEFAULT) -> Path | None:
    """The folder of a vocabulary that comes with lexite, or None when there is none of that name."""
    chosen = DEFAULT_NAME if name == DEFAULT else name
    if Path(chosen).name != chosen or chosen.startswith("."):
        return None
    folder = Path(str(resources.files("lexite"))) / "vocabularies" / chosen
    return folder if (folder / MANIFEST).is_file() else None


def find_folder(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a vocabulary on this machine, fetched from the hub when it is not here yet.

    Args:
        name_or_path: a folder; ``"default"`` or another vocabulary that comes with lexite; or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: it cannot be found; one line that says what was tried.
    """
    text = str(name_or_path)
    if text == DEFAULT:
        folder = builtin_folder()
        if folder is None:
            raise ModelError(f"This installation of lexite lacks its default vocabulary {DEFAULT_NAME}. Install lexite again.")
        return folder
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{path} is a file, not a vocabulary folder.")
    if isinstance(name_or_path, str):
        if builtin := builtin_folder(text):
            return builtin
        if _HUB_NAME.fullmatch(text) and not text.startswith("."):
            return download(text, revision)
    raise ModelError(
        f"The vocabulary folder {path} does not exist. Name a folder, '{DEFAULT}', or owner/name on the Hugging Face hub."
    )


def download(name: str, revision: str | None = None) -> Path:
    """Fetches a vocabulary from the Hugging Face hub into its cache; what is there already is not fetched again.

    Only the manifest is fetched first, so that a repository of something else is refused before its weights come.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit.

    Raises:
        ModelError: it does not exist, is private, is no vocabulary, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    here = f"There is no folder {name}, and"
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[MANIFEST]))
        if not (folder / MANIFEST).exists():
            raise ModelError(f"{here} {name} on the Hugging Face hub is not a lexite vocabulary: it holds no {MANIFEST}.")
        return Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors", "*.md"]))
    except LocalEntryNotFoundError as problem:
        raise ModelError(
            f"{here} the Hugging Face hub cannot be reached to look for {name}. Connect to the network, or name a folder."
        ) from problem
    except RepositoryNotFoundError as problem:
        raise ModelError(f"{here} {name} is not on the Hugging Face hub, or is private (then: hf auth login).") from problem
    except LexiteError:
        raise
    except Exception as problem:  # the HTTP library below the hub, and so the type of its errors, differs by version
        raise ModelError(f"{here} {name} could not be fetched from the Hugging Face hub: {_first_line(problem)}") from problem


def upload(folder: Path, repo_id: str, *, private: bool, token: str | None, message: str) -> str:
    """Creates a model repository on the hub when it is not there and uploads a vocabulary folder to it.

    Returns:
        The address of the repository.

    Raises:
        ModelError: the folder is not a vocabulary, or the hub refuses; one line.
    """
    from huggingface_hub import HfApi

    read_manifest(folder)
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True, repo_type="model")
        api.upload_folder(repo_id=repo_id, folder_path=folder, repo_type="model", commit_message=message)
    except Exception as problem:  # as in download
        raise ModelError(f"{repo_id} could not be uploaded to the Hugging Face hub: {_first_line(problem)}") from problem
    return str(address)


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
