"""AuxK: dead latents learn to reconstruct what the living ones leave over."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lexite.kernels.product import TILE_BYTES
from lexite.kernels.topk import select_topk


@dataclass(frozen=True, slots=True)
class AuxiliaryGradients:
    """Loss and gradients of AuxK, for the rows of the dead latents only.

    Attributes:
        loss: the term as it is added to the main loss, coefficient included.
        encoder: (n_dead, d_model).
        bias: (n_dead,).
        decoder: (n_dead, d_model).
    """

    loss: float
    encoder: torch.Tensor
    bias: torch.Tensor
    decoder: torch.Tensor


def auxiliary_gradients(
    states: torch.Tensor,
    errors: torch.Tensor,
    encoder: torch.Tensor,
    bias: torch.Tensor,
    decoder: torch.Tensor,
    k_aux: int,
    coefficient: float,
    dtype: torch.dtype = torch.float32,
) -> AuxiliaryGradients:
    """``coefficient · ‖ê - E‖² / ‖E‖²``, with ``E = x - x^`` held fixed and ``ê = W_dec TopK_kaux(u)`` without a bias.

    Gao et al. 2024 (arXiv 2406.04093), appendix A.2. Works on tiles of tokens: tokens × dead latents never exist at once.

    Args:
        states: (n, d_model) fp32, centred.
        errors: (n, d_model) x^ - x of the main reconstruction.
        encoder: (n_dead, d_model) rows of the dead latents.
        bias: (n_dead,).
        decoder: (n_dead, d_model).
        k_aux: dead latents per token.
        coefficient: weight of the term.
        dtype: number format of the products.
    """
    n_dead = len(encoder)
    scale = coefficient / max(float(errors.square().sum()), 1e-30)
    encoder_low, decoder_low = encoder.to(dtype), decoder.to(dtype)
    loss = 0.0
    gradients = [torch.zeros_like(encoder), torch.zeros_like(bias), torch.zeros_like(decoder)]
    rows = max(64, TILE_BYTES // (4 * n_dead))
    for start in range(0, len(states), rows):
        part, target = states[start : start + rows], -errors[start : start + rows]
        codes = torch.relu((part.to(dtype) @ encoder_low.t()).float() + bias)
        if k_aux < n_dead:
            codes = keep_largest(codes, k_aux)
        residual = (codes.to(dtype) @ decoder_low).float() - target
        loss += float(residual.square().sum()) * scale
        residual_low = residual.to(dtype)
        code_gradient = (residual_low @ decoder_low.t()).float().mul_(2 * scale).mul_(codes > 0)
        gradients[0] += (code_gradient.to(dtype).t() @ part.to(dtype)).float()
        gradients[1] += code_gradient.sum(0)
        gradients[2] += (codes.to(dtype).t() @ residual_low).float() * (2 * scale)
    return AuxiliaryGradients(loss, *gradients)


def keep_largest(codes: torch.Tensor, k: int) -> torch.Tensor:
    """The k largest entries of each row, the rest zero."""
    indices = select_topk(codes, k)
    slots = indices.clamp(min=0).long()
    kept = torch.where(indices >= 0, codes.gather(1, slots), 0.0)
    return torch.zeros_like(codes).scatter_add_(1, slots, kept)
