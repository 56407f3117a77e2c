"""The manifest of a vocabulary folder, ``lexite.json``: what is in the folder, and whether it is whole. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexite.errors import LexiteError, ModelError
from lexite.files import json_checksum, read_json, sha256_file, write_json
from lexite.terms.vocabulary import ARRAYS_NAME, JSON_NAME

MANIFEST = "lexite.json"
FORMAT = "lexite-vocabulary"
FORMAT_VERSION = 1
CARD = "README.md"
_KEYS = ("name", "fingerprint", "backbone", "sae", "terms", "scoring", "details", "files")


@dataclass(frozen=True)
class ModelDetails:
    """What a person should know about a vocabulary; written to its manifest and its model card.

    Attributes:
        name: a short name, for tables and for an index to remember.
        licence: SPDX identifier in lower case, as the Hugging Face hub writes it.
        training_data: what it was trained on, with the licences of the text; Markdown.
        recipe: the keys and values of its training recipe.
        results: measured results, in the form that ``lexite eval --json`` writes; None when not measured.
    """

    name: str = "vocabulary"
    licence: str = "apache-2.0"
    training_data: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] | None = None


def checked_results(results: Mapping[str, Any] | str | Path, error: type[LexiteError] = ModelError) -> dict[str, Any]:
    """Measured results in the form that ``lexite eval --json`` writes, from a mapping or a file.

    Raises:
        ModelError: the file is missing or damaged, or its contents are not of that form.
    """
    where = "The results" if isinstance(results, Mapping) else str(results)
    values = dict(results) if isinstance(results, Mapping) else read_json(results, error)
    tables = (
        [*values.get("collections", {}).values(), values.get("mean", {})] if _maps_to_maps(values, "collections") else [None]
    )
    if not all(_is_table(table) for table in tables):
        raise error(f"{where} are not in the form that 'lexite eval --json' writes: collections, systems, measures.")
    return values


def _maps_to_maps(values: Any, key: str) -> bool:
    inner = values.get(key) if isinstance(values, dict) else None
    return isinstance(inner, dict) and all(isinstance(value, dict) for value in inner.values())


def _is_table(table: Any) -> bool:
    """Whether it maps systems to measures to numbers."""
    numbers = (int, float, type(None))
    return isinstance(table, dict) and all(
        isinstance(row, dict) and all(isinstance(value, numbers) for value in row.values()) for row in table.values()
    )


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes the manifest, with size and checksum of every other file of the folder but the model card.

    The card is left out so that it may be edited by hand; nothing is read from it.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (MANIFEST, CARD)
    }
    head = {"format": FORMAT, "format_version": FORMAT_VERSION}
    seal_manifest(folder, {**head, **values, "files": files})


def seal_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes the manifest with a checksum over itself, since queries are encoded and scored by what it says."""
    write_json(folder / MANIFEST, {**values, "sha256": json_checksum(values)})


def read_manifest(folder: str | Path, *, verify: bool = True) -> dict[str, Any]:
    """Reads the manifest of a vocabulary folder and checks the folder against it.

    Args:
        folder: a folder that ``save_pretrained`` wrote.
        verify: also compare the checksum of every file (16 MB take about 10 ms).

    Returns:
        The manifest's values; ``docs/vocabularies.md`` lists them.

    Raises:
        ModelError: no such folder, not a vocabulary, of a newer format, or a file of it is missing or damaged.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ModelError(f"The vocabulary folder {folder} does not exist." if not folder.exists() else f"{folder} is a file.")
    if not path.exists():
        raise ModelError(f"{folder} is not a vocabulary: it holds no {MANIFEST}. Name a folder that 'lexite train' wrote.")
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ModelError(f"{path} is not the manifest of a vocabulary, so {folder} was written by something else.")
    if values.get("format_version") != FORMAT_VERSION:
        version = values.get("format_version")
        raise ModelError(f"{path} has format version {version}; this lexite reads {FORMAT_VERSION}. Install a newer lexite.")
    if values.get("sha256") != json_checksum(values):
        raise ModelError(
            f"{path} is damaged: its checksum is not that of its contents. Copy it again; to score in another way, "
            "give the options of BM25 when indexing or searching."
        )
    missing = [key for key in _KEYS if not isinstance(values.get(key), str if key in ("name", "fingerprint") else dict)]
    if missing:
        raise ModelError(f"{path}: '{missing[0]}' is missing or of the wrong type. The file is damaged.")
    check_files(folder, values["files"], verify=verify)
    return values


def check_files(folder: Path, files: Mapping[str, Any], *, verify: bool = True) -> None:
    """Compares the files of a folder with what its manifest says; raises :class:`ModelError` with the first bad one's name."""
    for name, facts in files.items():
        path = folder / name
        if Path(name).name != name or not isinstance(facts, dict):
            raise ModelError(f"{folder / MANIFEST}: the entry of file {name!r} is not valid. The file is damaged.")
        if not path.is_file():
            raise ModelError(f"{path} is missing. Copy the whole folder again, or train again.")
        size = path.stat().st_size
        if size != facts.get("bytes"):
            raise ModelError(f"{path} is damaged: it has {size:,} bytes instead of {facts.get('bytes')}. Copy it again.")
        if verify and sha256_file(path) != facts.get("sha256"):
            raise ModelError(f"{path} is damaged: its checksum is not the one in {MANIFEST}. Copy it again.")


def has_vocabulary(files: Mapping[str, Any]) -> bool:
    """Whether a manifest's files hold labels and frequencies."""
    return JSON_NAME in files and ARRAYS_NAME in files
