"""Codes of token states with gradients: the latents that are chosen, those near thresholds, and dead ones."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.autograd import jump_relu, selected_preactivations
from lexite.kernels.collect import threshold_patterns
from lexite.kernels.keep import keep_largest
from lexite.kernels.product import EncoderProduct, stack_slots
from lexite.kernels.slots import slot_values
from lexite.sae.activations import BF16_SLACK

TOKENS_AT_ONCE = 1024  # tokens whose pre-activations (above thresholds, or of dead latents) are held together


class CurrentProduct:
    """The product of states and encoder that chooses latents, with the weights of each step; its memory is used again."""

    def __init__(self) -> None:
        self._product: EncoderProduct | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return CurrentProduct, ()  # a copy makes the product from its own weights, since it cannot be pickled

    def of(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> EncoderProduct:
        """The product with some weights.

        Args:
            weight: (hidden_dim, input_dim) fp32.
            bias: (hidden_dim,).
            dtype: in which latents are chosen.
        """
        product = self._product
        if product is None or product.matrix.device != weight.device or product.matrix.dtype != dtype:
            product = self._product = EncoderProduct(weight, bias, dtype)
        else:
            product.matrix[:, : weight.shape[1]] = weight
            product.set_bias(bias)
        return product


def largest_codes(
    product: EncoderProduct, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and latents of the k slots of each token, the largest value first; -1 marks a slot without effect.

    Args:
        product: the encoder's product, which finds the latents.
        inputs: (n, input_dim) fp32, centred.
        weight: (hidden_dim, input_dim) fp32.
        bias: (hidden_dim,).
        k: latents per token.
    """
    indices = product.select(inputs.detach(), k)
    values = torch.relu(selected_preactivations(inputs, indices, weight, bias))
    return values, torch.where(values > 0, indices, -1)


def codes_above_thresholds(
    product: EncoderProduct,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    thresholds: torch.Tensor,
    bandwidth: float,
    k: int,
    tokens_at_once: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`largest_codes`, of latents above their thresholds, which get gradients too.

    Arguments are those of :func:`above_thresholds`, with the bandwidth of the gradients in place of its half, the window.
    """
    indices = above_thresholds(product, inputs, weight, bias, thresholds, bandwidth / 2, k, tokens_at_once)
    preactivations = selected_preactivations(inputs, indices, weight, bias)
    values = jump_relu(preactivations, thresholds[indices.clamp(min=0).long()], bandwidth)
    return torch.where(indices >= 0, values, 0.0), indices


@torch.no_grad()
def above_thresholds(
    product: EncoderProduct,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    thresholds: torch.Tensor,
    window: float,
    k: int,
    tokens_at_once: int | None = None,
) -> torch.Tensor:
    """For each token the k largest latents above their thresholds, then latents just below theirs, which get gradients too.

    Args:
        product: the encoder's product, which finds the latents.
        inputs: (n, input_dim) fp32, centred.
        weight: (hidden_dim, input_dim) fp32.
        bias: (hidden_dim,).
        thresholds: (hidden_dim,), at least 0.
        window: how far below its threshold a latent above zero is still taken.
        k: most latents per token.
        tokens_at_once: tokens that are looked at together; None for 1,024.

    Returns:
        (n, k or fewer) int32, -1 in slots that are not used.
    """
    patterns = threshold_patterns(thresholds - window, product.matrix.dtype, BF16_SLACK)
    parts = []
    for part in torch.split(inputs, tokens_at_once or TOKENS_AT_ONCE):
        slots = product.collect(part, patterns)
        preactivations = slot_values(part, slots, weight, bias)
        over = preactivations - thresholds[slots.indices.long()]
        ranks = torch.where(over > 0, preactivations, over - window)  # negative for a latent below its threshold
        ranks = torch.where((over > -window) & (preactivations > 0), ranks, -torch.inf)
        rows, latents = slots.padded(ranks)
        best = torch.where(latents >= 0, rows, -torch.inf).topk(min(k, rows.shape[1]), dim=1)
        parts.append(torch.where(best.values > -torch.inf, latents.gather(1, best.indices), -1))
    return stack_slots(parts, -1, inputs.device)


def decoded_of_dead(
    inputs: torch.Tensor,
    dead: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    atoms: torch.Tensor,
    k: int,
    tokens_at_once: int | None = None,
) -> torch.Tensor:
    """Reconstruction of each token by its k largest dead latents (Gao et al. 2024, arXiv 2406.04093, appendix A.2).

    Args:
        inputs: (n, input_dim) fp32, centred.
        dead: numbers of the dead latents.
        weight: (hidden_dim, input_dim) fp32.
        bias: (hidden_dim,).
        atoms: (hidden_dim, input_dim) of the decoder.
        k: most dead latents per token.
        tokens_at_once: tokens that are looked at together; None for 1,024.

    Returns:
        (n, input_dim) without the bias, differentiable by inputs and weights.
    """
    encoder, own_bias, own_atoms = weight[dead], bias[dead], atoms[dead]

    def decoded(part: torch.Tensor) -> torch.Tensor:
        codes = torch.relu(part @ encoder.t() + own_bias)
        if k < len(dead):
            codes = codes * (keep_largest(codes.detach().clone(), k) > 0)
        return codes @ own_atoms

    parts = torch.split(inputs, tokens_at_once or TOKENS_AT_ONCE)
    if on_cpu(inputs):
        return torch.cat([decoded(part) for part in parts])
    # Tokens × dead latents would stay in the accelerator's memory until the gradients are taken; it is computed again instead.
    return torch.cat([checkpoint(decoded, part, use_reentrant=False) for part in parts])
