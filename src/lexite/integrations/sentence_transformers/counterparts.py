"""Which features of a sparse encoder lexite's vocabularies do not have. The conversion and the model card ask here."""

from __future__ import annotations

from typing import Any

from lexite.backbone.loading import state_module_count
from lexite.errors import BackboneError
from lexite.integrations.sentence_transformers.preparation import backbone_modules
from lexite.integrations.sentence_transformers.sentence_as_token import SentenceAsToken


def obstacles(model: Any) -> list[str]:
    """Reasons why a model cannot be converted to a vocabulary, as sentences that follow the word "lexite"; empty if it can."""
    encoder, pooling = model.token_encoder, model.token_pooling
    centred = encoder.data_mean is not None and (encoder.normalize != "none" or not encoder.apply_b_dec_to_input)
    of_whole_texts = any(isinstance(module, SentenceAsToken) for module in model)
    reasons = {
        f"pools with sum or max, not {pooling.pooling_strategy}": pooling.pooling_strategy == "max_log1p",
        "has no transform pow0.75 for documents": pooling.transform == "pow0.75",
        "does not limit the terms of a text by number (max_active_dims)": model.max_active_dims is not None,
        "does not subtract the mean of the data (data_mean) from a state that is scaled then": centred,
        "makes terms of tokens, not of whole texts": of_whole_texts,
        "reads states as a transformer gives them, not through the modules here": not (of_whole_texts or _gives_states(model)),
        "has no adapters beside the weights; merge_adapters(model) puts them in": _has_adapters(model),
    }
    return [reason for reason, holds in reasons.items() if holds]


def _gives_states(model: Any) -> bool:
    """Whether lexite can take token states from the modules before the sparse autoencoder."""
    modules = backbone_modules(model)
    try:
        return bool(modules) and state_module_count(modules, "the model") == len(modules)
    except BackboneError:
        return False


def _has_adapters(model: Any) -> bool:
    """Whether the dense part holds low-rank adapters of peft, which are saved apart from its weights."""
    layers = (layer for module in backbone_modules(model) for layer in module.modules())
    return any(getattr(layer, "_hf_peft_config_loaded", False) for layer in layers)
