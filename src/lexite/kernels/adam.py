"""AdamW over both weight matrices in one pass, with the steps before and after it.

Per latent: the part of the decoder's gradient that is parallel to the atom is removed, both gradients are clipped by the
global norm, moments and weights are updated, the atom is brought back to unit norm, and the encoder's row is written to the
matrix that the product reads. Rows without a gradient count as having a gradient of zero, as in AdamW; no zeros are stored.

AdamW: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with the learning rate in front of the decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.bits import narrow
from lexite.kernels.gradients import LatentGradients
from lexite.kernels.numbers import Number, number
from lexite.kernels.sparse import _FAST, _add_scaled, _dot
from lexite.kernels.threads import parallel_ranges


@dataclass(frozen=True, slots=True)
class AdamStep:
    """Scalars of one update.

    Attributes:
        learning_rate: of this step, after warm-up and decay.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled; 0 for none.
        step: number of this update, from 1 (for bias correction).
        gradient_scale: what gradients are multiplied by (clipping).
    """

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    step: int
    gradient_scale: Number = 1.0


def remove_parallel(atoms: torch.Tensor, gradients: LatentGradients, *, project: bool = True) -> Number:
    """Removes from each atom's gradient its part along the atom, in place; returns the squared norm of all gradients.

    Args:
        atoms: (n_latents, d_model) fp32, unit norm.
        gradients: of the step; ``decoder`` is changed.
        project: False only takes the norm, for atoms that are free.
    """
    squared = torch.zeros(atoms.shape[0], dtype=torch.float32, device=atoms.device)
    if on_cpu(atoms):
        arrays = (atoms, gradients.encoder, gradients.decoder, gradients.bias, gradients.counts, squared)
        parallel_ranges(_remove_parallel, atoms.shape[0], *(array.numpy() for array in arrays), project)
    else:
        used = (gradients.counts > 0).unsqueeze(1)
        if project:
            gradients.decoder.sub_((gradients.decoder * atoms).sum(1, keepdim=True) * atoms)
        both = gradients.encoder.square().sum(1) + gradients.decoder.square().sum(1) + gradients.bias.square()
        squared = torch.where(used.squeeze(1), both, 0.0)
    return number(squared.double().sum())


def update_rows(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    *,
    unit_norm: bool = False,
    mirror: torch.Tensor | None = None,
) -> None:
    """AdamW on the rows of one matrix, in place.

    Args:
        weight: (n, d) fp32.
        first: (n, d) first moments.
        second: (n, d) second moments.
        gradient: (n, d); a row whose count is 0 counts as zero, whatever it holds.
        counts: (n,) int64.
        step: scalars of the update.
        unit_norm: bring each row back to norm 1 afterwards.
        mirror: (n, at least d) bf16 or fp32; its first d columns receive the new weights.
    """
    if not on_cpu(weight):
        _update_rows_torch(weight, first, second, gradient, counts, step, unit_norm)
        if mirror is not None:
            mirror[:, : weight.shape[1]] = weight
        return
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


def _update_rows_torch(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    unit_norm: bool,
) -> None:
    gradient = torch.where((counts > 0).unsqueeze(1), gradient * step.gradient_scale, 0.0)
    first.mul_(step.beta1).add_(gradient, alpha=1 - step.beta1)
    second.mul_(step.beta2).addcmul_(gradient, gradient, value=1 - step.beta2)
    denominator = (second / (1 - step.beta2**step.step)).sqrt_().add_(step.epsilon)
    weight.mul_(1 - step.learning_rate * step.weight_decay)
    weight.addcdiv_(first, denominator, value=-step.learning_rate / (1 - step.beta1**step.step))
    if unit_norm:
        weight.div_(weight.norm(dim=1, keepdim=True).clamp(min=1e-8))


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
