"""Free atoms: selecting on u · ‖d‖ and decoding with f / ‖d‖, as SAELens has it (``rescale_acts_by_decoder_norm``, 6.14).

That is an autoencoder with atoms d / ‖d‖ of unit norm whose encoder is W ‖d‖, b ‖d‖. A step works on these effective weights;
its gradients are then turned into gradients of the free weights. At the end the effective weights are saved.
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
from lexite.kernels.slots import as_arrays
from lexite.kernels.sparse import _FAST, _dot
from lexite.kernels.threads import parallel_ranges

SMALLEST_NORM = 1e-8


@dataclass(frozen=True, slots=True)
class Effective:
    """Weights as a step uses them.

    Attributes:
        encoder: (n_latents, d_model) W ‖d‖.
        bias: (n_latents,) b ‖d‖.
        atoms: (n_latents, d_model) d / ‖d‖.
        norms: (n_latents,) ‖d‖, at least 1e-8.
    """

    encoder: torch.Tensor
    bias: torch.Tensor
    atoms: torch.Tensor
    norms: torch.Tensor

    @classmethod
    def empty(cls, n_latents: int, d_model: int) -> Effective:
        """Memory for a dictionary."""
        encoder, bias = torch.empty(n_latents, d_model), torch.empty(n_latents)
        return cls(encoder, bias, torch.empty_like(encoder), torch.empty_like(bias))


def effective(
    encoder: torch.Tensor,
    bias: torch.Tensor,
    decoder: torch.Tensor,
    out: Effective | None = None,
    mirror: torch.Tensor | None = None,
) -> Effective:
    """The effective weights of free ones.

    Args:
        encoder: (n_latents, d_model) W.
        bias: (n_latents,) b.
        decoder: (n_latents, d_model) d.
        out: memory for the result on the CPU, to keep from call to call.
        mirror: (n_latents, at least d_model) bf16 or fp32; its first d_model columns receive the effective encoder.
    """
    if not on_cpu(decoder):
        result = effective_reference(encoder, bias, decoder)
    else:
        result = out if out is not None else Effective.empty(*decoder.shape)
        halves = torch.empty(0, 0, dtype=torch.int16)
        if mirror is not None and mirror.dtype == torch.bfloat16:
            halves = mirror.view(torch.int16)
        arrays = as_arrays(encoder, bias, decoder, result.encoder, result.bias, result.atoms, result.norms)
        parallel_ranges(_effective, len(decoder), *arrays, halves.numpy())
    if mirror is not None and not (on_cpu(decoder) and mirror.dtype == torch.bfloat16):
        mirror[:, : encoder.shape[1]] = result.encoder
    return result


def effective_reference(encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor) -> Effective:
    """The plain definition of :func:`effective`."""
    norms = decoder.norm(dim=1).clamp(min=SMALLEST_NORM)
    return Effective(encoder * norms[:, None], bias * norms, decoder / norms[:, None], norms)


def to_free(gradients: LatentGradients, encoder: torch.Tensor, bias: torch.Tensor, weights: Effective) -> None:
    """Turns gradients by effective weights into gradients by free weights, in place.

    With s = ‖d‖, d^ = d / s and G the given gradients: ``dW = s G_W``, ``db = s G_b`` and
    ``dd = (G_d - (G_d · d^) d^) / s + (G_W · W + G_b b) d^``.

    Args:
        gradients: of the effective weights; ``bias`` is the gradient of the encoder's bias.
        encoder: (n_latents, d_model) free weights W.
        bias: (n_latents,) free bias b.
        weights: the effective ones.
    """
    if not on_cpu(encoder):
        to_free_reference(gradients, encoder, bias, weights)
        return
    given = as_arrays(gradients.encoder, gradients.decoder, gradients.bias, gradients.counts)
    parallel_ranges(_to_free, len(encoder), *given, *as_arrays(encoder, bias, weights.atoms, weights.norms))


def to_free_reference(gradients: LatentGradients, encoder: torch.Tensor, bias: torch.Tensor, weights: Effective) -> None:
    """The plain definition of :func:`to_free`; rows without an entry become zero."""
    used = (gradients.counts > 0).unsqueeze(1)
    scale, unit = weights.norms[:, None], weights.atoms
    by_encoder, by_decoder, by_bias = gradients.encoder, gradients.decoder, gradients.bias
    by_norm = (by_encoder * encoder).sum(1, keepdim=True) + (by_bias * bias)[:, None]
    along = (by_decoder * unit).sum(1, keepdim=True)
    gradients.decoder.copy_(torch.where(used, (by_decoder - along * unit) / scale + by_norm * unit, 0.0))
    gradients.encoder.copy_(torch.where(used, by_encoder * scale, 0.0))
    gradients.bias.copy_(torch.where(used.squeeze(1), by_bias * weights.norms, 0.0))


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _effective(
    encoder: Any,
    bias: Any,
    decoder: Any,
    out_encoder: Any,
    out_bias: Any,
    atoms: Any,
    norms: Any,
    halves: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    for row in range(start, stop):
        norm = max(np.sqrt(_dot(decoder[row], decoder[row])), np.float32(SMALLEST_NORM))
        inverse = np.float32(1) / norm
        norms[row] = norm
        out_bias[row] = bias[row] * norm
        for i in range(encoder.shape[1]):
            out_encoder[row, i] = encoder[row, i] * norm
            atoms[row, i] = decoder[row, i] * inverse
        if halves.shape[0] > 0:
            for i in range(encoder.shape[1]):
                halves[row, i] = narrow(out_encoder[row, i])


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _to_free(
    by_encoder: Any,
    by_decoder: Any,
    by_bias: Any,
    counts: Any,
    encoder: Any,
    bias: Any,
    atoms: Any,
    norms: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    for row in range(start, stop):
        if counts[row] == 0:
            continue
        norm = norms[row]
        inverse = np.float32(1) / norm
        by_norm = _dot(by_encoder[row], encoder[row]) + by_bias[row] * bias[row]
        along = _dot(by_decoder[row], atoms[row])
        for i in range(encoder.shape[1]):
            by_decoder[row, i] = (by_decoder[row, i] - along * atoms[row, i]) * inverse + by_norm * atoms[row, i]
            by_encoder[row, i] *= norm
        by_bias[row] *= norm
