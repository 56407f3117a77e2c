"""The optimizer's loops on the CPU, each one pass over the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.adam.scalars import AdamStep
from lexite.kernels.bits import narrow
from lexite.kernels.gradients import LatentGradients
from lexite.kernels.sparse import _FAST, _add_scaled, _dot
from lexite.kernels.threads import parallel_ranges


def remove_parallel_cpu(atoms: torch.Tensor, gradients: LatentGradients, project: bool) -> torch.Tensor:
    """See :func:`lexite.kernels.adam.remove_parallel`; gives the squared norm of each latent's gradients, (n_latents,)."""
    squared = torch.zeros(atoms.shape[0], dtype=torch.float32)
    arrays = (atoms, gradients.encoder, gradients.decoder, gradients.bias, gradients.counts, squared)
    parallel_ranges(_remove_parallel, atoms.shape[0], *(array.numpy() for array in arrays), project)
    return squared


def update_rows_cpu(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    unit_norm: bool,
    mirror: torch.Tensor | None,
) -> None:
    """See :func:`lexite.kernels.adam.update_rows`."""
    corrected = np.float32(step.learning_rate / (1 - step.beta1**step.step))
    root = np.float32(1 / np.sqrt(1 - step.beta2**step.step))
    decay = np.float32(1 - step.learning_rate * step.weight_decay)
    scalars = [np.float32(s) for s in (step.beta1, step.beta2, step.epsilon, float(step.gradient_scale))]
    halves = np.empty((0, 0), dtype=np.int16)
    if mirror is not None and mirror.dtype == torch.bfloat16:
        halves = mirror.view(torch.int16).numpy()
    arrays = [tensor.numpy() for tensor in (weight, first, second, gradient, counts)]
    parallel_ranges(_adam_rows, weight.shape[0], *arrays, halves, *scalars, corrected, root, decay, unit_norm)
    if mirror is not None and mirror.dtype != torch.bfloat16:
        mirror[:, : weight.shape[1]] = weight


@njit(cache=True, nogil=True, fastmath=_FAST)
def _remove_parallel(
    atoms: Any, encoder: Any, decoder: Any, bias: Any, counts: Any, squared: Any, project: bool, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for row in range(start, stop):
        if counts[row] > 0:
            if project:
                _add_scaled(decoder[row], -_dot(decoder[row], atoms[row]), atoms[row])
            norms = _dot(encoder[row], encoder[row]) + _dot(decoder[row], decoder[row])
            squared[row] = norms + bias[row] * bias[row]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")  # a test for zero divisors would stop vectorisation
def _adam_row(
    weight: Any, first: Any, second: Any, gradient: Any, used: bool, b1: Any, b2: Any, epsilon: Any, scale: Any, rate: Any,
    root: Any, decay: Any,
) -> None:  # pragma: no cover - compiled  # fmt: skip
    one = np.float32(1)
    if used:
        for i in range(weight.shape[0]):
            g = gradient[i] * scale
            m = b1 * first[i] + (one - b1) * g
            v = b2 * second[i] + (one - b2) * g * g
            first[i] = m
            second[i] = v
            weight[i] = decay * weight[i] - rate * m / (np.sqrt(v) * root + epsilon)
    else:
        for i in range(weight.shape[0]):
            m = b1 * first[i]
            v = b2 * second[i]
            first[i] = m
            second[i] = v
            weight[i] = decay * weight[i] - rate * m / (np.sqrt(v) * root + epsilon)


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _adam_rows(
    weight: Any,
    first: Any,
    second: Any,
    gradient: Any,
    counts: Any,
    halves: Any,
    b1: Any,
    b2: Any,
    epsilon: Any,
    scale: Any,
    rate: Any,
    root: Any,
    decay: Any,
    unit_norm: bool,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    width = weight.shape[1]
    for row in range(start, stop):
        used = counts[row] > 0
        _adam_row(weight[row], first[row], second[row], gradient[row], used, b1, b2, epsilon, scale, rate, root, decay)
        if unit_norm:
            norm = max(np.sqrt(_dot(weight[row], weight[row])), np.float32(1e-8))
            for i in range(width):
                weight[row, i] /= norm
        if halves.shape[0] > 0:
            for i in range(width):
                halves[row, i] = narrow(weight[row, i])
