"""Saving and loading a vocabulary folder: weights, configurations, labels, model card, manifest."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lexite.backbone import Backbone, BackboneConfig, load_backbone
from lexite.backbone.config import DEFAULT_MODEL
from lexite.backbone.loading import read_texts_otherwise
from lexite.backbone.transformer import TransformerBackbone
from lexite.config import from_dict, to_dict
from lexite.errors import ModelError
from lexite.files import atomic_write, check_output_folder, replace_folder
from lexite.sae import SparseAutoencoder
from lexite.terms import hub
from lexite.terms.card import model_card
from lexite.terms.config import saved_terms
from lexite.terms.encoder import LatentTermEncoder, SaveDtype
from lexite.terms.manifest import (
    CARD,
    MANIFEST,
    ModelDetails,
    checked_results,
    has_vocabulary,
    read_manifest,
    seal_manifest,
    write_manifest,
)
from lexite.terms.scoring import saved_scoring
from lexite.terms.static import ARRAYS_NAME as STATIC_ARRAYS
from lexite.terms.static import StaticTable
from lexite.terms.vocabulary import Vocabulary

_NOT_SAVED = ("device", "trust_remote_code")  # choices of a machine and of its owner, never of a downloaded folder


def save_encoder(
    encoder: LatentTermEncoder,
    path: str | Path,
    *,
    overwrite: bool = False,
    encoder_only: bool = False,
    dtype: SaveDtype = "fp32",
    results: Mapping[str, Any] | str | Path | None = None,
    load_name: str | None = None,
    beside: Mapping[str, str] | None = None,
) -> Path:
    """Does the work of :meth:`LatentTermEncoder.save_pretrained`.

    Args:
        encoder: what is saved.
        path: as there.
        overwrite: as there.
        encoder_only: as there.
        dtype: as there.
        results: as there.
        load_name: what the card's example loads; default the folder's name.
        beside: names and texts of further files of the folder, which the manifest names with the others.
    """
    folder = check_output_folder(path, MANIFEST, overwrite=overwrite)
    details = encoder.details
    measured = details.results if results is None else results
    if measured is not None:
        details = dataclasses.replace(details, results=checked_results(measured))
    with replace_folder(folder) as fresh:
        saved = encoder.sae.save(fresh, encoder_only=encoder_only, dtype=dtype)
        if encoder.vocabulary is not None:
            encoder.vocabulary.save(fresh)
        if encoder.static is not None:
            encoder.static.save(fresh)
        as_saved = LatentTermEncoder(
            encoder.backbone, saved, encoder.terms, encoder.scoring, encoder.vocabulary, details=details
        )
        values = manifest_values(as_saved)
        with atomic_write(fresh / CARD, "w") as file:
            file.write(model_card(values, load_name or folder.absolute().name))
        for name, text in (beside or {}).items():
            with atomic_write(fresh / name, "w") as file:
                file.write(text)
        write_manifest(fresh, values)
    return folder


def manifest_values(encoder: LatentTermEncoder) -> dict[str, Any]:
    """What the manifest says about an encoder, without format and files."""
    import lexite

    saved_config = getattr(encoder.backbone, "saved_config", encoder.backbone.config)  # how it was loaded, whatever is read now
    config = {key: value for key, value in to_dict(saved_config).items() if key not in _NOT_SAVED}
    if config["model"] != DEFAULT_MODEL and Path(config["model"]).is_dir():  # a folder must be found from anywhere
        config["model"] = str(Path(config["model"]).absolute())
    details = dataclasses.asdict(encoder.details)
    backbone = {"name": encoder.backbone.name, "fingerprint": encoder.backbone.fingerprint, "config": config}
    return {
        "lexite_version": lexite.__version__,
        "name": details.pop("name"),
        "fingerprint": encoder.fingerprint,
        "backbone": backbone,
        "sae": to_dict(encoder.sae.config),
        "terms": to_dict(encoder.terms),
        "scoring": to_dict(encoder.scoring),
        "measured_on": encoder.vocabulary.summary() if encoder.vocabulary is not None else None,
        "details": details,
    }


def load_encoder(
    name_or_path: str | Path,
    choices: Mapping[str, Any],
    *,
    revision: str | None = None,
    backbone: Backbone | None = None,
    reading: Mapping[str, str | None] | None = None,
) -> LatentTermEncoder:
    """Does the work of :meth:`LatentTermEncoder.from_pretrained`.

    Args:
        name_or_path: where the vocabulary is.
        choices: fields of the backbone's configuration that replace the saved ones; None keeps the saved one.
        revision: of the vocabulary on the hub.
        backbone: used instead of loading the one that the folder names.
        reading: another treatment of long texts, other prompts.
    """
    folder = hub.find_folder(name_or_path, revision=revision)
    manifest = read_manifest(folder)
    where = str(folder / MANIFEST)
    terms = saved_terms(manifest["terms"], f"{where}: terms")
    scoring = saved_scoring(manifest["scoring"], f"{where}: scoring")
    saved = manifest["backbone"].get("config")
    if not isinstance(saved, dict):
        raise ModelError(f"{where}: 'backbone' has no 'config'. The file is damaged.")
    if backbone is None:
        given = {key: value for key, value in choices.items() if value is not None}
        kept = {key: value for key, value in saved.items() if key not in _NOT_SAVED}
        backbone = load_backbone(from_dict(BackboneConfig, {**kept, **given}, f"{where}: backbone"))
    check_backbone(backbone, manifest["backbone"], manifest["name"])
    if isinstance(backbone, TransformerBackbone):
        read_texts_otherwise(backbone, **(reading or {}))
    sae = SparseAutoencoder.load(  # its checksum is among those that the manifest's reader compared
        folder, precision=backbone.config.product_precision, device=backbone_device(backbone), verify=False
    )
    vocabulary = Vocabulary.load(folder) if has_vocabulary(manifest["files"]) else None
    static = StaticTable.load(folder) if STATIC_ARRAYS in manifest["files"] else None
    details = from_dict(ModelDetails, {"name": manifest["name"], **manifest["details"]}, f"{where}: details")
    source = _source(name_or_path, folder)
    encoder = LatentTermEncoder(backbone, sae, terms, scoring, vocabulary, details=details, source=source, static=static)
    if encoder.fingerprint != manifest["fingerprint"]:
        raise ModelError(f"{where}: the fingerprint does not fit the files. The folder was put together from two vocabularies.")
    return encoder


def _source(name_or_path: str | Path, folder: Path) -> str:
    """What loads a vocabulary again from any folder: its own name, its absolute path, or its name on the hub."""
    if hub.builtin_folder(folder.name) == folder:  # not "default", which another release may change
        return folder.name
    return str(folder.absolute()) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)


def check_backbone(backbone: Backbone, saved: Mapping[str, Any], name: str) -> None:
    """Refuses a dense model that is not the one a vocabulary was made for; raises :class:`ModelError`."""
    if backbone.fingerprint != saved.get("fingerprint"):
        raise ModelError(
            f"The vocabulary {name} was made for another version of {saved.get('name')} than {backbone.name} here: weights, "
            "tokenizer, prompts or token policy differ, so its terms would be wrong. Load the model that it was made for."
        )


def backbone_device(backbone: Backbone) -> str:
    """Where a backbone's states are, so that the autoencoder is put beside them."""
    return str(getattr(backbone, "device", "cpu"))


def push_encoder(
    encoder: LatentTermEncoder,
    repo_id: str,
    *,
    private: bool,
    token: str | None,
    encoder_only: bool,
    dtype: SaveDtype,
    message: str,
) -> str:
    """Does the work of :meth:`LatentTermEncoder.push_to_hub`."""
    with tempfile.TemporaryDirectory(prefix="lexite-") as temporary:
        folder = Path(temporary) / "vocabulary"
        save_encoder(encoder, folder, encoder_only=encoder_only, dtype=dtype, load_name=repo_id)
        return hub.upload(folder, repo_id, private=private, token=token, message=message)


def add_results(folder: str | Path, results: Mapping[str, Any] | str | Path, *, load_name: str | None = None) -> Path:
    """Writes measured results into a saved vocabulary: its manifest, and a new model card.

    Args:
        folder: a folder that ``save_pretrained`` wrote.
        results: what ``lexite eval --json`` wrote: a mapping or a file.
        load_name: what the card's example loads; default the folder's name.

    Returns:
        The folder.

    Raises:
        ModelError: the folder is not a whole vocabulary, or the results are not of that form.
        StorageError: the folder cannot be written.
    """
    folder = Path(folder)
    values = read_manifest(folder)
    values["details"]["results"] = checked_results(results)
    with atomic_write(folder / CARD, "w") as file:
        file.write(model_card(values, load_name or folder.absolute().name))
    seal_manifest(folder, values)
    return folder
