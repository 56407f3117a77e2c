"""What mteb is told about a vocabulary: its name, its size, and the settings that its results depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from lexite.config import to_dict
from lexite.errors import ConfigError, ModelError
from lexite.scoring.config import BM25Config, saved_scoring
from lexite.scoring.words import LiteralConfig
from lexite.terms.card import hub_name
from lexite.terms.config import TermsConfig, saved_terms
from lexite.terms.hub import builtin_folder, find_folder
from lexite.terms.manifest import read_manifest

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

    from lexite.terms import LatentTermEncoder

READ_WITH = ("precision", "long", "query_prompt", "document_prompt")
"""Fields of a backbone's configuration that change numbers but leave the vocabulary what it is."""
MEBIBYTE = 1 << 20


def changed_settings(encoder: LatentTermEncoder, literal: LiteralConfig) -> dict[str, Any]:
    """The settings that differ from those saved with the vocabulary, or from the defaults where it was never saved.

    The fingerprint of a vocabulary says which terms there are, but not how many a text gets, nor how they are scored. These
    settings keep results apart in mteb that have one name and one revision.

    Args:
        encoder: the vocabulary as it is used.
        literal: how literal words are indexed.

    Returns:
        Names of fields of ``TermsConfig``, ``BM25Config``, ``LiteralConfig`` and ``BackboneConfig`` with their values.
    """
    saved, reading = _saved_settings(encoder)
    now = {**to_dict(encoder.terms), **to_dict(encoder.scoring)}
    for key in READ_WITH:
        if key in reading:
            now[key], saved[key] = getattr(encoder.backbone.config, key), reading[key]
    words, usual = to_dict(literal), to_dict(LiteralConfig())
    if not literal.literal:  # then the other fields, of both configurations, say nothing
        words, usual = {"literal": False}, {"literal": True}
        del now["literal_weight"]
    return {key: value for key, value in {**now, **words}.items() if value != {**saved, **usual}[key]}


def _saved_settings(encoder: LatentTermEncoder) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Terms and scoring that a vocabulary was saved with, and the configuration of its backbone."""
    try:
        manifest = read_manifest(find_folder(encoder.source), verify=False) if encoder.source else None
    except ModelError:  # it was loaded, but is no longer where it was
        manifest = None
    if manifest is None:
        return {**to_dict(TermsConfig()), **to_dict(BM25Config())}, {}
    terms, scoring = saved_terms(manifest["terms"], "terms"), saved_scoring(manifest["scoring"], "scoring")
    return {**to_dict(terms), **to_dict(scoring)}, manifest["backbone"]["config"]


def model_meta(encoder: LatentTermEncoder, settings: Mapping[str, Any], given: Mapping[str, Any]) -> ModelMeta:
    """The record of a model that mteb keeps with its results. None says that something is not known.

    A vocabulary that comes with lexite was trained on English text that is no data set of mteb, so it gets the languages and
    data that mteb knows of its dense model. Other vocabularies get none.

    Args:
        encoder: the vocabulary.
        settings: of :func:`changed_settings`, and options beside them.
        given: fields of the record that replace the automatic ones.

    Raises:
        ConfigError: mteb does not take a field.
    """
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    details, source = encoder.details, encoder.source
    ours = builtin_folder(source) is not None if source else False
    shared = hub_name(source) == source if source and not ours else False
    base = hub_name(encoder.backbone.config.model)
    known = _registered(base) if ours and base else None
    values: dict[str, Any] = {
        "loader": None,
        "name": source if shared else f"lexite/{details.name.replace('/', '-')}",
        "revision": encoder.fingerprint,
        "release_date": None,
        "languages": known.languages if known else None,
        **_sizes(encoder),
        "max_tokens": _longest_text(encoder),
        "embed_dim": encoder.n_latents,
        "license": details.licence if _is_licence(details.licence) else None,
        "open_weights": True if ours or shared else None,
        "public_training_code": None,
        "public_training_data": None,
        "framework": ["Sentence Transformers", "PyTorch", "NumPy"],
        "similarity_fn_name": ScoringFunction.CUSTOM,
        "use_instructions": any(getattr(encoder.backbone, "prompts", {}).values()),
        "training_datasets": known.training_datasets if known else None,
        "adapted_from": base,
        "model_type": ["sparse"],
        "modalities": ["text"],
        "experiment_kwargs": dict(settings) or None,
    }
    try:
        return ModelMeta(**{**values, **given})
    except ValueError as problem:  # of pydantic, with a line for each field
        raise ConfigError(f"mteb does not take these facts about the model: {problem}") from problem


def _registered(name: str) -> ModelMeta | None:
    """What mteb knows of a dense model, without looking on the network."""
    import mteb

    try:
        meta: ModelMeta = mteb.get_model_meta(name, fetch_from_hf=False)
    except KeyError:
        return None
    return meta


def _is_licence(text: str) -> bool:
    from mteb.types import Licenses

    return text in get_args(Licenses)


def _longest_text(encoder: LatentTermEncoder) -> float | None:
    """Tokens that are read of a text: all where long ones are read in windows."""
    if encoder.backbone.config.long == "window":
        return math.inf
    windows: Mapping[str, int] = getattr(encoder.backbone, "windows", {})
    return windows.get("document")


def _sizes(encoder: LatentTermEncoder) -> dict[str, Any]:
    """Parameters of the dense model and of the encoder's half of the autoencoder, and their bytes in memory."""
    model: Any = getattr(encoder.backbone, "model", None)
    unknown = dict.fromkeys(("n_parameters", "n_embedding_parameters", "memory_usage_mb"))
    if not hasattr(model, "parameters") or encoder.backbone.precision == "int8":
        return unknown
    sae = encoder.sae
    latents = sae.config.n_latents * (sae.config.d_model + 1) + sae.config.d_model
    weights: list[Any] = list(model.parameters())
    memory = sum(each.numel() * each.element_size() for each in weights) + latents * sae.stored_encoder.element_size()
    embeddings: Any = model[0].model.get_input_embeddings()
    return {
        "n_parameters": sum(each.numel() for each in weights) + latents,
        "n_embedding_parameters": embeddings.weight.numel(),
        "memory_usage_mb": round(memory / MEBIBYTE),
    }
