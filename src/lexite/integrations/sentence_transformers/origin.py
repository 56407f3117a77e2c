"""Whether a model still has the weights of the vocabulary that it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch

from lexite.integrations.sentence_transformers.preparation import backbone_modules
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder

STATE = "state"
"""Key of the digests in a model's ``origin``."""
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def weight_digests(model: Any) -> dict[str, list[str]]:
    """Digests of all weights that decide which terms a text gets, for the ``origin`` of a model that was just made.

    Each part has three: of the weights as they are, and as rounded to bf16 and to fp16. Rounding is no change: the library
    rounds a whole model to the type of its first weights, and a vocabulary may be rounded when it is saved.

    Returns:
        ``sae`` and ``dense``.
    """
    return {
        "sae": [_digest_of_sae(model.token_encoder, dtype) for dtype in _TYPES],
        "dense": [_digest_of_dense(model, dtype) for dtype in _TYPES],
    }


def weights_changed(model: Any) -> bool:
    """Whether a model that was made from a vocabulary has other weights now, or reads other tokens."""
    return sae_changed(model) or dense_changed(model)


def sae_changed(model: Any) -> bool:
    """Whether the sparse autoencoder gives other codes than the vocabulary's. The decoder and k do not count."""
    origin = model.extras.origin
    return bool(origin) and _digest_of_sae(model.token_encoder) not in _recorded(origin, "sae")


def dense_changed(model: Any) -> bool:
    """Whether the dense part, or the choice of tokens that it leaves out, differs from the vocabulary's."""
    origin = model.extras.origin
    return bool(origin) and _digest_of_dense(model) not in _recorded(origin, "dense")


def _recorded(origin: Mapping[str, Any], part: str) -> Collection[str]:
    """The digests of a part. Where none were recorded there are none, and the part counts as changed."""
    digests: Collection[str] = origin.get(STATE, {}).get(part, ())
    return digests


def is_rounded(weights: torch.Tensor) -> bool:
    """Whether bf16 can hold the weights without rounding."""
    exact = weights.detach().float()
    return torch.equal(exact, exact.bfloat16().float())


def left_out(model: Any) -> dict[str, Any]:
    """Which tokens do not become terms: fields of a backbone's configuration, and the skipped ids of each kind of text."""
    pooling = model.token_pooling
    return {
        "special_tokens": "keep" if pooling.include_special_tokens else "drop",
        "prompt_tokens": "keep" if pooling.include_prompt else "drop",
        "skipped": {kind: sorted(ids) for kind, ids in (pooling.skipped_ids or {}).items() if ids},
    }


def _digest_of_sae(module: SparseAutoEncoderTokenEncoder, dtype: torch.dtype = torch.float32) -> str:
    settings = {
        "variant": module.variant,
        "normalize": module.normalize,
        "apply_b_dec_to_input": module.apply_b_dec_to_input,
        "rms_scale": module.rms_scale or 1.0,
        "centred": module.data_mean is not None,
    }
    thresholds = None if module.theta is None else module.theta.detach().clamp(min=0)
    tensors = (module.W_enc, module.b_enc, module.b_pre, thresholds, module.data_mean)
    return _digest(settings, (tensor for tensor in tensors if tensor is not None), dtype)


def _digest_of_dense(model: Any, dtype: torch.dtype = torch.float32) -> str:
    tensors = {
        f"{number}.{name}": tensor
        for number, module in enumerate(backbone_modules(model))
        for name, tensor in module.state_dict().items()
    }
    names = sorted(tensors)
    return _digest({"left_out": left_out(model), "names": names}, (tensors[name] for name in names), dtype)


def _digest(description: dict[str, Any], tensors: Iterable[torch.Tensor], dtype: torch.dtype) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for tensor in tensors:
        values = tensor.detach()
        if values.is_floating_point():
            values = values.to(dtype).float()
        digest.update(str(tuple(values.shape)).encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
