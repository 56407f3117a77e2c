"""Saving and loading a vocabulary folder: weights, configurations, labels, model card, manifest."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lexite.backbone import Backbone, BackboneConfig, load_backbone, read_otherwise
from lexite.backbone.config import DEFAULT_MODEL
from lexite.config import from_dict, to_dict
from lexite.errors import ModelError
from lexite.files import atomic_write, check_output_folder, replace_folder
from lexite.sae import SparseAutoencoder
from lexite.scoring.config import saved_scoring
from lexite.terms import hub
from lexite.terms.card import model_card
from lexite.terms.components import Components, Loaded
from lexite.terms.config import saved_terms
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
from lexite.terms.static import ARRAYS_NAME as STATIC_ARRAYS
from lexite.terms.static import StaticTable
from lexite.terms.token_decoder import FILE_NAME as TOKEN_DECODER
from lexite.terms.token_decoder import TokenDecoder, projected
from lexite.terms.vocabulary import Vocabulary

SaveDtype = Literal["fp32", "bf16"]
_NOT_SAVED = ("device", "trust_remote_code")  # choices of a machine and of its owner, never of a downloaded folder


def save_components(
    parts: Components,
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
        parts: what is saved.
        path: as there.
        overwrite: as there.
        encoder_only: as there.
        dtype: as there.
        results: as there.
        load_name: what the card's example loads; default the folder's name.
        beside: names and texts of further files of the folder, which the manifest names with the others.
    """
    folder = check_output_folder(path, MANIFEST, overwrite=overwrite)
    details = parts.details
    measured = details.results if results is None else results
    if measured is not None:
        details = dataclasses.replace(details, results=checked_results(measured))
    with replace_folder(folder) as fresh:
        saved = parts.sae.save(fresh, encoder_only=encoder_only, dtype=dtype)
        if parts.vocabulary is not None:
            parts.vocabulary.save(fresh)
        if parts.static is not None:
            parts.static.save(fresh)
        token_decoder = kept_decoder(parts, encoder_only=encoder_only)
        if token_decoder is not None:
            token_decoder.save(fresh)
        values = manifest_values(dataclasses.replace(parts, sae=saved, details=details))
        with atomic_write(fresh / CARD, "w") as file:
            file.write(model_card(values, load_name or folder.absolute().name))
        for name, text in (beside or {}).items():
            with atomic_write(fresh / name, "w") as file:
                file.write(text)
        write_manifest(fresh, values)
    return folder


def kept_decoder(parts: Components, *, encoder_only: bool) -> TokenDecoder | None:
    """The token decoder that a vocabulary is saved with: its own, or one made of the decoder that is left out."""
    atoms = parts.sae.decoder_weight if encoder_only else None
    if parts.token_decoder is not None or atoms is None:
        return parts.token_decoder
    return projected(atoms.cpu().numpy(), parts.sae.decoder_bias.cpu().numpy())


def manifest_values(parts: Components) -> dict[str, Any]:
    """What the manifest says about a vocabulary, without format and files."""
    from lexite.version import __version__

    saved_config = getattr(
        parts.backbone, "saved_config", parts.backbone.config
    )  # as it was loaded, before anybody chose another reading
    config = {key: value for key, value in to_dict(saved_config).items() if key not in _NOT_SAVED}
    if config["model"] != DEFAULT_MODEL and Path(config["model"]).is_dir():  # a folder must be found from anywhere
        config["model"] = str(Path(config["model"]).absolute())
    details = dataclasses.asdict(parts.details)
    backbone = {"name": parts.backbone.name, "fingerprint": parts.backbone.fingerprint, "config": config}
    return {
        "lexite_version": __version__,
        "name": details.pop("name"),
        "fingerprint": parts.fingerprint,
        "backbone": backbone,
        "sae": to_dict(parts.sae.config),
        "terms": to_dict(parts.terms),
        "scoring": to_dict(parts.scoring),
        "measured_on": parts.vocabulary.summary() if parts.vocabulary is not None else None,
        "details": details,
    }


def load_components(
    name_or_path: str | Path,
    choices: Mapping[str, Any],
    *,
    revision: str | None = None,
    backbone: Backbone | None = None,
    reading: Mapping[str, str | None] | None = None,
) -> Components:
    """Reads the parts of a vocabulary; see :meth:`LatentTermEncoder.from_pretrained`.

    Args:
        name_or_path: where the vocabulary is.
        choices: fields of the backbone's configuration that replace the saved ones; None keeps the saved one.
        revision: of the vocabulary on the hub.
        backbone: used instead of loading the one that the folder names.
        reading: how texts are read, where that differs from the vocabulary; None keeps what the vocabulary says.
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
    changes = {key: value for key, value in (reading or {}).items() if value is not None}
    if changes:
        backbone = read_otherwise(backbone, changes)
    sae = SparseAutoencoder.load(  # its checksum is among those that the manifest's reader compared
        folder, precision=backbone.config.product_precision, device=backbone_device(backbone), verify=False
    )
    vocabulary = Vocabulary.load(folder) if has_vocabulary(manifest["files"]) else None
    static = StaticTable.load(folder) if STATIC_ARRAYS in manifest["files"] else None
    token_decoder = TokenDecoder.load(folder) if TOKEN_DECODER in manifest["files"] else None
    details = from_dict(ModelDetails, {"name": manifest["name"], **manifest["details"]}, f"{where}: details")
    source = _source(name_or_path, folder)
    loaded = Loaded(revision, sae, vocabulary, details, static, token_decoder)
    parts = Components(
        backbone, sae, terms, scoring, vocabulary, details, source, static=static, loaded=loaded, token_decoder=token_decoder
    )
    if parts.fingerprint != manifest["fingerprint"]:
        raise ModelError(f"{where}: the fingerprint does not fit the files. The folder was put together from two vocabularies.")
    return parts


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


def push_components(
    parts: Components,
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
        save_components(parts, folder, encoder_only=encoder_only, dtype=dtype, load_name=repo_id)
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
