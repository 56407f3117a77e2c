"""The loops over selected latents as functions that torch can differentiate.

They serve training loops of other libraries (``lexite.integrations.sentence_transformers``). lexite's own training takes all
gradients in one pass (``kernels.gradients``). Tokens × latents never appears, forward or backward.

Shapes: states (n, d_model) fp32; indices (n, k) int32, -1 in unused slots; weight (n_latents, d_model) fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.gathers import segment_sums
from lexite.kernels.gradients import group_by_latent, sorted_by_latent
from lexite.kernels.slots import Slots, as_arrays
from lexite.kernels.sparse import _FAST, _add_scaled, decode, selected_values
from lexite.kernels.threads import parallel_ranges


def selected_preactivations(
    states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """``w·x + b`` of the selected latents, (n, k), 0 in unused slots; differentiable by states, weight and bias."""
    result: torch.Tensor = _Preactivations.apply(states, indices, weight, bias)  # type: ignore[no-untyped-call]
    return result


def decoded(values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``Σ f_i d_i`` of each token, (n, d_model); differentiable by values and weight."""
    result: torch.Tensor = _Decoded.apply(values, indices, weight)  # type: ignore[no-untyped-call]
    return result


def jump_relu(preactivations: torch.Tensor, thresholds: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """``u · 1[u > θ]`` with the straight-through derivative by θ (Rajamanoharan et al. 2024, arXiv 2407.14435, equation 11).

    ``df/du = 1[u > θ]``, ``df/dθ = -(θ / ε) · 1[|u - θ| < ε / 2]``.

    Args:
        preactivations: (n, k) u.
        thresholds: (n, k) θ of the same latents.
        bandwidth: ε.
    """
    result: torch.Tensor = _JumpReLU.apply(preactivations, thresholds, bandwidth)  # type: ignore[no-untyped-call]
    return result


def sum_by_latent(factors: torch.Tensor, indices: torch.Tensor, rows: torch.Tensor, n_latents: int) -> torch.Tensor:
    """``Σ_t factor_ti row_t`` over the tokens t that selected latent i: (n_latents, d_model).

    Args:
        factors: (n, k) fp32.
        indices: (n, k) int32, -1 in unused slots.
        rows: (n, d_model) fp32.
        n_latents: size of the dictionary.
    """
    if not on_cpu(rows):
        return sum_by_latent_reference(factors, indices, rows, n_latents)
    slots = Slots.of_rows(indices)
    used = factors.reshape(-1)[indices.reshape(-1) >= 0].contiguous()
    starts, entries = group_by_latent(slots, used, used, n_latents)
    out = torch.zeros(n_latents, rows.shape[1])
    arrays = as_arrays(slots.tokens.to(torch.int32), used, rows.contiguous(), out)
    parallel_ranges(_sum_rows, n_latents, starts, entries, *arrays)
    return out


def sum_by_latent_reference(factors: torch.Tensor, indices: torch.Tensor, rows: torch.Tensor, n_latents: int) -> torch.Tensor:
    """The plain definition of :func:`sum_by_latent`, and what runs on an accelerator."""
    flat, k = indices.reshape(-1), indices.shape[1]
    order, starts = sorted_by_latent(flat, flat >= 0, n_latents)
    return segment_sums(rows, starts, order // max(k, 1), factors.reshape(-1)[order], long=True)


class _Preactivations(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(states, indices, weight)
        return selected_values(states, indices, weight, bias, signed=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, indices, weight = ctx.saved_tensors
        gradient = torch.where(indices >= 0, gradient, 0.0).contiguous()
        by_states = decode(gradient, indices, weight) if ctx.needs_input_grad[0] else None
        by_weight = sum_by_latent(gradient, indices, states, len(weight)) if ctx.needs_input_grad[2] else None
        by_bias = None
        if ctx.needs_input_grad[3]:
            by_bias = torch.zeros(len(weight), device=gradient.device)
            by_bias.index_add_(0, indices.clamp(min=0).reshape(-1).long(), gradient.reshape(-1))
        return by_states, None, by_weight, by_bias


class _Decoded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values, indices, weight)
        return decode(values, indices, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, indices, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_values = None
        if ctx.needs_input_grad[0]:
            nothing = torch.zeros(len(weight), device=weight.device)
            by_values = selected_values(gradient, indices, weight, nothing, signed=True)
        by_weight = sum_by_latent(values, indices, gradient, len(weight)) if ctx.needs_input_grad[2] else None
        return by_values, None, by_weight


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, preactivations: torch.Tensor, thresholds: torch.Tensor, bandwidth: float) -> torch.Tensor:
        ctx.save_for_backward(preactivations, thresholds)
        ctx.bandwidth = bandwidth
        return preactivations * (preactivations > thresholds)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        preactivations, thresholds = ctx.saved_tensors
        near = (preactivations - thresholds).abs() < ctx.bandwidth / 2
        by_thresholds = -gradient * thresholds / ctx.bandwidth * near
        return gradient * (preactivations > thresholds), by_thresholds, None


@njit(cache=True, nogil=True, fastmath=_FAST)
def _sum_rows(
    starts: Any, entries: Any, tokens: Any, factors: Any, rows: Any, out: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for latent in range(start, stop):
        for position in range(starts[latent], starts[latent + 1]):
            entry = entries[position]
            _add_scaled(out[latent], factors[entry], rows[tokens[entry]])
