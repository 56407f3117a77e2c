"""Getting a model ready for training: its dense part, the mean token state, a decoder where it has none."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.model import BaseModel
from sentence_transformers.util import batch_to_device
from torch import nn

from lexite.backbone.loading import is_late_interaction, state_module_count
from lexite.errors import ArgumentError, BackboneError
from lexite.integrations.sentence_transformers.layout import pooled_tokens, token_layout
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling
from lexite.scoring.config import BM25Config
from lexite.training.starting import TOKENS
from lexite.training.starting import fit_decoder as fitted_decoder

_BATCH = 32
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names under which sentence-transformers looks for the prompt of documents, in this order."""


def unwrap(model: Any) -> Any:
    """The model itself, without what training wraps around it (several processes, torch.compile)."""
    while True:
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if inner is None or isinstance(model, BaseModel):
            return model
        model = inner


def own_modules(model: Any) -> tuple[SparseAutoEncoderTokenEncoder, SparseTokenPooling]:
    """The two modules of latent terms in any SparseEncoder.

    Raises:
        ArgumentError: it has none.
    """
    modules = list(unwrap(model).children())
    encoder = next((m for m in modules if isinstance(m, SparseAutoEncoderTokenEncoder)), None)
    pooling = next((m for m in modules if isinstance(m, SparseTokenPooling)), None)
    if encoder is None or pooling is None:
        raise ArgumentError("The model must have a SparseAutoEncoderTokenEncoder and a SparseTokenPooling behind it.")
    return encoder, pooling


def scoring_of(model: Any) -> BM25Config | None:
    """The scoring of a model of any class, or else of its pooling; None if neither has one."""
    carried = getattr(model, "scoring", None)
    if isinstance(carried, BM25Config):
        return carried
    inner = unwrap(model)
    modules = inner.children() if isinstance(inner, nn.Module) else ()
    return next((module.scoring for module in modules if isinstance(module, SparseTokenPooling)), None)


def backbone_modules(model: Any) -> list[nn.Module]:
    """The modules before the sparse autoencoder."""
    return list(itertools.takewhile(lambda m: not isinstance(m, SparseAutoEncoderTokenEncoder), unwrap(model).children()))


def freeze_backbone(model: Any) -> None:
    """Leaves the dense model's weights as they are in training."""
    for module in backbone_modules(model):
        module.requires_grad_(False)


def dense_modules(model: Any) -> tuple[list[nn.Module], dict[str, str], int]:
    """The modules of a dense retriever that make token states, its prompts, and the width of a state.

    Args:
        model: a SentenceTransformer or late-interaction model, whose modules are used as they are; or the folder or name of
            one.

    Raises:
        BackboneError: it cannot be loaded, or has no token states.
    """
    if isinstance(model, (str, Path)):
        model = load_dense(model)
    count = state_module_count(model, type(model).__name__)
    modules = list(model)[:count]
    width = next((m.get_embedding_dimension() for m in reversed(modules) if hasattr(m, "get_embedding_dimension")), None)
    if not width:
        raise BackboneError("The dense model does not say how wide its token states are.")
    prompts = {name: text for name, text in model.prompts.items() if text}
    # The library gives every model an empty prompt for documents, which would hide one under another name.
    documents = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), None)
    return modules, prompts if documents is None else {**prompts, "document": documents}, int(width)


def load_dense(name_or_path: str | Path) -> Any:
    """A dense retriever in fp32: ``"all-MiniLM-L6-v2"`` from the installed model package, a folder, or a name on the hub.

    Raises:
        BackboneError: it cannot be found or loaded.
    """
    from lexite.backbone import BackboneConfig
    from lexite.backbone.loading import load_dense_model
    from lexite.backbone.locate import find_model

    config = BackboneConfig(model=str(name_or_path), precision="fp32")
    folder = find_model(config)
    return load_dense_model(folder, config, "cpu", "fp32", is_late_interaction(folder))


@torch.no_grad()
def token_states(model: Any, texts: Iterable[str], n_tokens: int = TOKENS) -> torch.Tensor:
    """Token states of documents, as a model's sparse autoencoder reads them; only tokens that are pooled.

    Texts get the prompt of documents, where the model has one, as ``encode_document`` gives it.

    Args:
        model: a SparseEncoder with latent terms.
        texts: documents; reading stops once there are ``n_tokens``.
        n_tokens: how many states at most.

    Returns:
        (n, input_dim) fp32 on the CPU.

    Raises:
        ArgumentError: the texts have no token that is pooled, or are one text instead of many.
    """
    if isinstance(texts, (str, bytes)):
        raise ArgumentError("Many texts are wanted, not one. Give a list: [text].")
    model = unwrap(model)
    _, pooling = own_modules(model)
    prompt = next((model.prompts[name] for name in DOCUMENT_PROMPTS if model.prompts.get(name)), None)
    parts: list[torch.Tensor] = []
    n, training = 0, model.training
    model.eval()
    try:
        for batch in _batches(texts):
            features = batch_to_device(model.preprocess(batch, prompt=prompt), model.device)
            for module in backbone_modules(model):
                features = module(features)
            layout = token_layout(features)
            mask = pooled_tokens(features, layout, pooling.left_out_ids("document"), pooling.include_prompt)
            parts.append(layout.gather(features["token_embeddings"])[mask].float().cpu())
            n += len(parts[-1])
            if n >= n_tokens:
                break
    finally:
        model.train(training)
    if not n:
        raise ArgumentError("The texts have no token that becomes a term. Give some texts.")
    return torch.cat(parts)[:n_tokens]


@torch.no_grad()
def center_on(model: Any, texts: Iterable[str], n_tokens: int = TOKENS) -> None:
    """Sets the decoder's bias to the mean token state of some texts, where training should begin.

    Args:
        model: a SparseEncoder with latent terms.
        texts: a few thousand are enough.
        n_tokens: how many token states are averaged at most.
    """
    encoder, _ = own_modules(model)
    states = encoder.prepared(token_states(model, texts, n_tokens).to(encoder.b_pre.device))
    encoder.b_pre.copy_(states.mean(0))


@torch.no_grad()
def fit_decoder(model: Any, texts: Iterable[str], n_tokens: int = TOKENS) -> None:
    """Fits a decoder by ridge regression to a sparse autoencoder that was saved without one.

    Encoding needs no decoder, and the default vocabulary has none; reconstruction needs one. See ``lexite.training.starting``.

    Args:
        model: a SparseEncoder with latent terms.
        texts: a few thousand, like the texts that the autoencoder was trained on.
        n_tokens: how many token states are used at most.
    """
    encoder, _ = own_modules(model)
    states = encoder.prepared(token_states(model, texts, n_tokens).to(encoder.b_pre.device))
    atoms = fitted_decoder(encoder.autoencoder(), states)
    encoder.W_dec = nn.Parameter(atoms.to(encoder.W_enc), requires_grad=not encoder.frozen)
    encoder.has_decoder = True


def merge_adapters(model: Any) -> None:
    """Merges low-rank adapters of peft into the weights, so that the model can be saved and converted whole.

    Args:
        model: a SparseEncoder whose dense part was trained through ``model.add_adapter(LoraConfig(...))``.
    """
    for module in backbone_modules(model):
        merged: list[str] = []
        for name, layer in list(module.named_modules()):
            if any(name.startswith(f"{other}.") for other in merged):
                continue
            whole = _without_adapter(layer)
            if whole is not None:
                merged.append(name)
                parent, _, own = name.rpartition(".")
                setattr(module.get_submodule(parent), own, whole)
        inner: Any = getattr(module, "auto_model", None) or getattr(module, "model", None)
        if getattr(inner, "_hf_peft_config_loaded", False):
            inner._hf_peft_config_loaded = False
            del inner.peft_config


def _without_adapter(layer: Any) -> nn.Module | None:
    """What a layer of peft becomes once its adapter is in its weights; None for any other layer."""
    if hasattr(layer, "unload_and_optionally_merge_module"):  # trained whole, or in a way of its own
        whole: nn.Module = layer.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        return whole
    if hasattr(layer, "get_base_layer") and hasattr(layer, "merge"):
        layer.merge()
        base: nn.Module = layer.get_base_layer()
        return base
    return None


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch
