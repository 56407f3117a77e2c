"""Attention for short sequences in bf16 on a CPU, registered with transformers under a name of its own."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lexite.kernels.attention import masked_softmax_

NAME = "lexite"
_BEYOND = ("position_bias", "softcap", "s_aux", "cache")


def use_short_attention(model: Any) -> None:
    """Lets a model of transformers use :func:`short_attention`; a model with attention code of its own keeps it."""
    AttentionInterface.register(NAME, short_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    with contextlib.suppress(AttributeError, ValueError, ImportError):
        model.set_attn_implementation(NAME)


def short_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``softmax(scaling · Q Kᵀ) V`` with all scores of a batch in memory and a single pass over them.

    Whatever goes beyond that (a bias of positions, a cap, shared keys, a causal pattern without a mask) is left to torch's own
    attention.

    Args:
        module: the layer that calls.
        query: (sequences, heads, tokens, width).
        key: (sequences, heads, tokens, width).
        value: (sequences, heads, tokens, width).
        attention_mask: (sequences, 1, tokens, tokens) bool, or None for none.
        scaling: factor of the scores; default 1/√width.
        is_causal: whether a missing mask stands for the causal one; default as the layer says.
        kwargs: what else a model hands over.

    Returns:
        (sequences, tokens, heads, width), and None in place of the weights.
    """
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    if not _is_plain(module, query, key, attention_mask, bool(causal), kwargs):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, is_causal=is_causal, **kwargs
        )
        return result
    scores = torch.matmul(query, key.transpose(2, 3))
    masked_softmax_(scores, attention_mask, query.shape[-1] ** -0.5 if scaling is None else scaling)
    return torch.matmul(scores, value).transpose(1, 2).contiguous(), None


def _is_plain(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    kwargs: dict[str, Any],
) -> bool:
    if query.dtype != torch.bfloat16 or query.device.type != "cpu" or query.shape[:2] != key.shape[:2]:
        return False
    if any(kwargs.get(name) is not None for name in _BEYOND):
        return False
    if mask is None:
        return not causal or query.shape[2] == 1
    return mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1] == 1 and mask.shape[3] == key.shape[2]
