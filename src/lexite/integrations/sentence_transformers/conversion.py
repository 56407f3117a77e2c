"""Vocabularies of lexite as sparse encoders of sentence-transformers, and back, without loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers.base.model import BaseModel
from torch import nn

from lexite.backbone import Backbone, BackboneConfig, load_backbone, read_otherwise
from lexite.backbone.loading import is_late_interaction, load_dense_model
from lexite.backbone.precision import fast_bf16, resolve_device
from lexite.backbone.transformer import TransformerBackbone
from lexite.config import from_dict, to_dict
from lexite.errors import ArgumentError, LexiteError, ModelError
from lexite.files import check_output_folder, replace_folder
from lexite.integrations.sentence_transformers.counterparts import obstacles
from lexite.integrations.sentence_transformers.extras import LatentTermsExtras
from lexite.integrations.sentence_transformers.model import LatentTermsSparseEncoder
from lexite.integrations.sentence_transformers.origin import (
    STATE,
    dense_changed,
    is_rounded,
    left_out,
    sae_changed,
    weight_digests,
)
from lexite.integrations.sentence_transformers.preparation import backbone_modules
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder, Variant
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.folding import fold_input_scale
from lexite.scoring.config import saved_scoring
from lexite.terms.config import TermsConfig, saved_terms
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.saving import backbone_device, manifest_values

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_VARIANTS: dict[str, Variant] = {"topk": "topk", "jumprelu": "jumprelu"}
"""Activation of an autoencoder -> variant of the token encoder."""
_PRECISIONS = ("auto", *_DTYPES)


def to_sentence_transformers(
    vocabulary: LatentTermEncoder | str | Path = "default",
    *,
    device: str | None = None,
    precision: Literal["auto", "bf16", "fp16", "fp32"] | None = None,
    **loading: Any,
) -> LatentTermsSparseEncoder:
    """A vocabulary as a SparseEncoder of sentence-transformers, with weights of its own.

    It gives the same terms, with one difference: sentence-transformers cuts a text at the model's window, where lexite reads on
    in further windows unless the vocabulary was loaded with ``long="truncate"``.

    Args:
        vocabulary: an encoder; or a name or folder, as :meth:`lexite.LatentTermEncoder.from_pretrained` takes it.
        device: where the model is put; default as the library chooses.
        precision: of the weights: ``"fp32"``, which is the default, ``"bf16"``, ``"fp16"``, or ``"auto"`` for bf16 where the
            processor is fast at it.
        **loading: for a name or folder, what ``from_pretrained`` also takes: ``revision``, ``trust_remote_code``,
            ``query_prompt``, ``document_prompt``, ``backbone``.

    Raises:
        ArgumentError: the precision is unknown, ``long`` is given, or an encoder is given with arguments for loading.
        ModelError: the vocabulary cannot be loaded; its backbone is no model but precomputed states; or sentence-transformers
            has no counterpart of its activation.
        BackboneError: the dense model cannot be loaded, or there is no such device.

    Example:
        >>> model = to_sentence_transformers("default")
        >>> model.encode_document(["The tides follow the moon."]).shape
        torch.Size([1, 16384])
    """
    if precision not in (None, *_PRECISIONS):
        raise ArgumentError(f"precision is {precision!r}, but a sparse encoder has fp32, bf16, fp16 or auto. Choose one.")
    target = None if device is None else resolve_device(device)
    encoder = _loaded(vocabulary, target, precision, loading)
    if precision == "auto":
        precision = "bf16" if fast_bf16(target or "auto") else "fp32"
    return _sparse_encoder(encoder, target, _DTYPES[precision or "fp32"])


def _loaded(
    vocabulary: LatentTermEncoder | str | Path, device: str | None, precision: str | None, loading: dict[str, Any]
) -> LatentTermEncoder:
    """The encoder itself, or the one that a name or folder loads."""
    if isinstance(vocabulary, LatentTermEncoder):
        if loading:
            raise ArgumentError(f"{', '.join(loading)} has no effect on an encoder that is loaded already. Leave it out.")
        return vocabulary
    if loading.get("long") is not None:
        raise ArgumentError("long has no effect in sentence-transformers, which cuts a text at the window. Leave it out.")
    computed: Any = None if precision == "fp16" else precision  # vocabularies do not compute in fp16
    return LatentTermEncoder.from_pretrained(vocabulary, device=device, precision=computed, **loading)


def _sparse_encoder(encoder: LatentTermEncoder, device: str | None, dtype: torch.dtype) -> LatentTermsSparseEncoder:
    """The modules of sentence-transformers with an encoder's weights, and the encoder's vocabulary and settings."""
    backbone, sae = encoder.backbone, encoder.sae
    if not isinstance(backbone, TransformerBackbone):
        raise ModelError(
            f"{backbone.name} is no model but precomputed states, so it cannot read texts in sentence-transformers."
        )
    if sae.activation not in _VARIANTS:
        raise ModelError(
            f"A sparse autoencoder with the activation {sae.activation} has no counterpart in sentence-transformers."
        )
    modules = [module.to(dtype) for module in _dense_modules(backbone)]  # the library gives this type to the modules behind
    modules[0].max_seq_length = backbone.windows["document"]
    token_encoder = _token_encoder(encoder)
    pooling = SparseTokenPooling(
        encoder.n_latents,
        encoder.terms.pooling,
        include_prompt=backbone.config.prompt_tokens == "keep",
        include_special_tokens=backbone.config.special_tokens == "keep",
        transform=encoder.scoring.document_transform,
        query_transform=encoder.scoring.query_transform,
        floor=encoder.terms.floor_documents,
        query_floor=encoder.terms.floor_queries,
        skipped_ids={kind: list(ids) for kind, ids in backbone.skipped.items() if ids} or None,
    )
    values = manifest_values(encoder.components)
    origin = {key: values[key] for key in ("backbone", "sae", "terms", "scoring")}
    origin["weights"] = "bf16" if sae.weight_dtype == torch.bfloat16 else "fp32"
    extras = LatentTermsExtras(encoder.vocabulary, encoder.static, encoder.details, origin)
    model = LatentTermsSparseEncoder(
        modules=[*modules, token_encoder, pooling],
        prompts={kind: prompt for kind, prompt in backbone.prompts.items() if prompt},
        scoring=encoder.scoring,
        extras=extras,
        device=device,
    )
    model.extras = replace(extras, origin={**origin, STATE: {**weight_digests(model), **extras.digests()}})
    return model


def _dense_modules(backbone: TransformerBackbone) -> list[Any]:
    """New modules in fp32 that make the token states of a backbone."""
    folder, config = backbone.folder, replace(backbone.config, precision="fp32")
    dense = load_dense_model(folder, config, "cpu", "fp32", is_late_interaction(folder))
    return list(dense)[: backbone.n_state_modules]


def _token_encoder(encoder: LatentTermEncoder) -> SparseAutoEncoderTokenEncoder:
    sae = encoder.sae
    module = SparseAutoEncoderTokenEncoder(
        sae.config.d_model,
        sae.config.n_latents,
        encoder.k_for("document"),
        _VARIANTS[sae.activation],
        has_decoder=sae.decoder_weight is not None,
        query_k=encoder.k_for("query"),
        normalize=sae.config.normalize_activations,
        apply_b_dec_to_input=sae.config.apply_b_dec_to_input,
        precision=encoder.backbone.config.product_precision,
    )
    tensors = {
        "W_enc": sae.encoder_weight,
        "b_enc": sae.encoder_bias,
        "b_pre": sae.decoder_bias,
        "W_dec": sae.decoder_weight,
        "theta": sae.thresholds,
    }
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor is not None:
                getattr(module, name).copy_(tensor)
    return module


def from_sentence_transformers(
    model: LatentTermsSparseEncoder | str | Path,
    *,
    dense_folder: str | Path | None = None,
    overwrite: bool = False,
    device: str | None = None,
    precision: Literal["auto", "bf16", "fp32", "int8"] | None = None,
) -> LatentTermEncoder:
    """A vocabulary from a SparseEncoder with latent terms.

    Args:
        model: the model, or its folder or name.
        dense_folder: where the dense part is saved, if it differs from the model that the vocabulary was made for.
        overwrite: replace a model that is in ``dense_folder``.
        device: where the dense model runs; default the best there is.
        precision: number format of the dense model; default as it was.

    Returns:
        The vocabulary, in memory. Labels, static table, scoring and details come along as far as they hold for the weights.

    Raises:
        ArgumentError: ``model`` is no :class:`LatentTermsSparseEncoder`.
        ModelError: the dense part needs a ``dense_folder``, or something has no counterpart in lexite; one line.
        StorageError: ``dense_folder`` holds something else, or cannot be written.
    """
    if isinstance(model, (str, Path)):
        model = LatentTermsSparseEncoder(str(model), device="cpu")
    if not isinstance(model, LatentTermsSparseEncoder):
        raise ArgumentError(
            f"A LatentTermsSparseEncoder or its folder is wanted, not a {type(model).__name__}. Save that model, and give the "
            "folder."
        )
    token_encoder, pooling, origin = model.token_encoder, model.token_pooling, model.extras.origin
    if reasons := obstacles(model):
        raise ModelError(f"The model cannot be converted: lexite {', and '.join(reasons)}. It works in sentence-transformers.")
    choices = {key: value for key, value in (("device", device), ("precision", precision)) if value is not None}
    backbone = _same_backbone(model, choices)
    known = backbone is not None
    if backbone is None:
        if dense_folder is None:
            raise ModelError(
                "The model's dense part, or what it leaves out of a text, is not that of a model that lexite can load again "
                "(it was changed, or came from elsewhere), and a vocabulary needs one. Say where to save it: "
                "from_sentence_transformers(model, dense_folder='my-dense-model')."
            )
        save_dense(model, dense_folder, overwrite=overwrite)
        backbone = load_backbone(from_dict(BackboneConfig, {**_reading(model), "model": str(dense_folder), **choices}, "model"))
    before = saved_terms(origin["terms"], "origin.terms") if "terms" in origin else TermsConfig()
    autoencoder = _autoencoder(token_encoder, origin, backbone.config.product_precision, backbone_device(backbone))
    terms = _terms(token_encoder, pooling, before, autoencoder.largest_k)
    extras = _carried_along(model, known, before, terms)
    return LatentTermEncoder(
        backbone, autoencoder, terms, model.scoring, extras.vocabulary, details=extras.details, static=extras.static
    )


def _carried_along(
    model: LatentTermsSparseEncoder, same_dense: bool, before: TermsConfig, terms: TermsConfig
) -> LatentTermsExtras:
    """Labels, static table and details of the vocabulary that a model was made from, as far as they still hold.

    Args:
        model: the model.
        same_dense: whether its dense part is known to equal the original. Else its digest decides.
        before: how texts became terms in the vocabulary.
        terms: how they do now.
    """
    extras = model.extras
    if not extras.origin:
        return extras
    if sae_changed(model) or (not same_dense and dense_changed(model)):
        return extras.of_other_weights(model.token_encoder.hidden_dim, model.model_card_data.license)
    if terms == before and saved_scoring(extras.origin["scoring"], "origin.scoring") == model.scoring:
        return extras
    return extras.of_other_settings(keep_static=(terms.pooling, terms.k_documents) == (before.pooling, before.k_documents))


def save_dense(model: LatentTermsSparseEncoder, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Saves the dense part of a sparse encoder as a model of its own, so that a vocabulary can name it.

    It is a SentenceTransformer with mean pooling, or a MultiVectorEncoder where some token ids are left out of texts.

    Args:
        model: the sparse encoder.
        folder: new, empty, or (with ``overwrite``) a model that is replaced.
        overwrite: replace a model that is there.

    Returns:
        The folder.

    Raises:
        StorageError: the folder holds something else, or cannot be written.
    """
    target = check_output_folder(folder, "modules.json", overwrite=overwrite)
    dense = _late_interaction(model) if model.token_pooling.skipped_ids else _single_vector(model)
    with replace_folder(target) as fresh:
        dense.save_pretrained(str(fresh), create_model_card=False)
    return target


def _single_vector(model: LatentTermsSparseEncoder) -> BaseModel:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling as DensePooling

    modules = [*backbone_modules(model), DensePooling(model.token_encoder.input_dim, "mean"), Normalize()]
    return SentenceTransformer(modules=modules, device=str(model.device), prompts=_prompts(model))


def _late_interaction(model: LatentTermsSparseEncoder) -> BaseModel:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    skipped = model.token_pooling.skipped_ids or {}
    masks = [
        MultiVectorMask(model.tokenizer.convert_ids_to_tokens(ids), skiplist_tasks=[task]) for task, ids in skipped.items()
    ]
    modules = [*backbone_modules(model), *masks, Normalize(module_input_name="token_embeddings")]
    return MultiVectorEncoder(modules=modules, device=str(model.device), prompts=_prompts(model))


def _prompts(model: LatentTermsSparseEncoder) -> dict[str, str]:
    return {name: prompt for name, prompt in model.prompts.items() if prompt}


def _same_backbone(model: LatentTermsSparseEncoder, choices: dict[str, Any]) -> Backbone | None:
    """The backbone of the vocabulary that a model was made from, if its weights are still the same; else None."""
    saved = model.extras.origin.get("backbone", {}).get("config")
    if not isinstance(saved, dict):
        return None
    try:
        backbone = load_backbone(from_dict(BackboneConfig, {**saved, **choices}, "origin.backbone"))
    except LexiteError:
        return None
    same = isinstance(backbone, TransformerBackbone) and backbone.fingerprint == model.extras.origin["backbone"].get(
        "fingerprint"
    )
    if not isinstance(backbone, TransformerBackbone) or not same or left_out(model) != _left_out_by(backbone):
        return None
    if not _same_weights(backbone_modules(model), _dense_modules(backbone)):
        return None
    prompts = {kind: model.prompts.get(kind) or "" for kind in ("query", "document")}
    if prompts == backbone.prompts:
        return backbone
    return read_otherwise(backbone, {"query_prompt": prompts["query"], "document_prompt": prompts["document"]})


def _left_out_by(backbone: TransformerBackbone) -> dict[str, Any]:
    skipped = {kind: sorted(ids) for kind, ids in backbone.skipped.items() if ids}
    config = backbone.config
    return {"special_tokens": config.special_tokens, "prompt_tokens": config.prompt_tokens, "skipped": skipped}


def _same_weights(one: list[nn.Module], other: list[nn.Module]) -> bool:
    first, second = ([{**m.state_dict()} for m in modules] for modules in (one, other))
    if [sorted(tensors) for tensors in first] != [sorted(tensors) for tensors in second]:
        return False
    pairs = ((a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a)
    return all(a.shape == b.shape and torch.equal(a.cpu(), b.cpu().to(a.dtype)) for a, b in pairs)


def _reading(model: LatentTermsSparseEncoder) -> dict[str, Any]:
    """How a model reads texts, as values of a backbone's configuration."""
    saved = dict(model.extras.origin.get("backbone", {}).get("config", {}))
    own = {key: value for key, value in left_out(model).items() if key != "skipped"}
    prompts = {f"{kind}_prompt": model.prompts.get(kind) or "" for kind in ("query", "document")}
    return {"long": "truncate", **saved, **own, **prompts, "revision": None}


def _autoencoder(module: SparseAutoEncoderTokenEncoder, origin: Any, precision: str, device: str) -> SparseAutoencoder:
    """The weights as lexite's autoencoder, with the scale and the mean of the input folded in."""
    plain = SAEConfig(module.input_dim, module.hidden_dim, module.k)
    saved = from_dict(SAEConfig, {**to_dict(plain), **origin.get("sae", {})}, "origin.sae")
    encoder = module.W_enc.detach().float()
    rounded = origin.get("weights") == "bf16" and is_rounded(encoder)
    config = replace(
        saved,
        d_model=module.input_dim,
        n_latents=module.hidden_dim,
        k=min(saved.k, module.hidden_dim),
        apply_b_dec_to_input=module.apply_b_dec_to_input,
        normalize_activations=module.normalize,
    )
    dtype = torch.bfloat16 if rounded else torch.float32
    autoencoder = SparseAutoencoder(
        config,
        encoder.to(dtype).to(device, copy=True),
        module.b_enc.detach().float().to(device, copy=True),
        None if module.W_dec is None else module.W_dec.detach().to(dtype).to(device, copy=True),
        _bias(module).to(device, copy=True),
        activation=module.variant,
        thresholds=None if module.theta is None else module.theta.detach().float().clamp(min=0).to(device, copy=True),
        precision="auto" if precision not in ("bf16", "fp32") else precision,  # type: ignore[arg-type]
        weight_dtype=dtype,
    )
    scaled = module.data_mean is None and module.rms_scale is not None and module.normalize == "none"
    return fold_input_scale(autoencoder, module.rms_scale or 1.0) if scaled else autoencoder


def _bias(module: SparseAutoEncoderTokenEncoder) -> torch.Tensor:
    """b_pre plus the mean of the data, where there is one: lexite's autoencoder subtracts a single vector.

    A scale (``rms_scale``) is left out where states are brought to one norm afterwards, since it changes nothing then.
    """
    own = module.b_pre.detach().float()
    return own if module.data_mean is None else own + module.data_mean.float()


def _terms(module: SparseAutoEncoderTokenEncoder, pooling: SparseTokenPooling, saved: TermsConfig, own_k: int) -> TermsConfig:
    """How texts become terms; k is named only where it differs from the autoencoder's own."""
    k_documents, k_queries = module.k, module.k_for("query")
    return replace(
        saved,
        pooling="max" if pooling.pooling_strategy == "max" else "sum",
        floor_documents=pooling.floor,
        floor_queries=pooling.floor_for("query"),
        k_documents=saved.k_documents if k_documents == (saved.k_documents or own_k) else k_documents,
        k_queries=saved.k_queries if k_queries == (saved.k_queries or own_k) else k_queries,
    )
