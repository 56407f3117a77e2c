"""Loops over the selected latents of each token: values and decoding; and the centring of states.

Tokens × latents never appears: per token only its k selected rows of the weights are read, per latent only the tokens that
selected it. On the CPU the loops are compiled. On an accelerator they are gathers (:mod:`lexite.kernels.gathers`).

Shapes: states (n, d_model); indices (n, k) int32, -1 in unused slots; values (n, k); weights (n_latents, d_model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.bits import widen
from lexite.kernels.gathers import gather_dots, segment_sums
from lexite.kernels.gathers.reference import gather_dots_reference, segment_sums_reference
from lexite.kernels.threads import parallel_ranges

BLOCK = 128  # tokens whose sums are taken together, so that sums over all tokens do not depend on the number of threads
_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning


@dataclass(frozen=True, slots=True)
class Centred:
    """Token states without the decoder's bias, and the sums that are taken on the way.

    Attributes:
        states: (n, d_model) fp32, c = x - b.
        squared: (n,) ‖c‖² of each token.
        totals: (blocks, d_model) Σ c over the tokens of each block.
    """

    states: torch.Tensor
    squared: torch.Tensor
    totals: torch.Tensor

    @classmethod
    def empty(cls, n: int, d_model: int) -> Centred:
        """Memory for n tokens."""
        return cls(torch.empty(n, d_model), torch.empty(n), torch.empty(-(-n // BLOCK), d_model))


def centre(batch: torch.Tensor, bias: torch.Tensor, out: Centred | None = None) -> Centred:
    """Token states minus the decoder's bias in fp32, in one pass over the batch, which is left as it is.

    Args:
        batch: (n, d_model), any float type.
        bias: (d_model,) fp32.
        out: memory for the result on the CPU, to keep from call to call: fresh memory costs more than the pass.
    """
    if not on_cpu(batch) or not on_cpu(bias):
        return centre_reference(batch, bias)
    bits = batch.contiguous().view(torch.int16) if batch.dtype == torch.bfloat16 else batch.float().contiguous()
    out = Centred.empty(*batch.shape) if out is None else out
    arrays = [tensor.numpy() for tensor in (bits, bias, out.states, out.squared, out.totals)]
    parallel_ranges(_centre, len(out.totals), *arrays, smallest=1)
    return out


def centre_reference(batch: torch.Tensor, bias: torch.Tensor) -> Centred:
    """The plain definition of :func:`centre`."""
    states = batch.to(bias.device, torch.float32) - bias
    return Centred(states, states.square().sum(1), states.sum(0, keepdim=True))


def selected_values(
    states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, signed: bool = False
) -> torch.Tensor:
    """ReLU(w·x + b) of the selected latents in fp32, or w·x + b itself: (n, k), zero in unused slots."""
    if not on_cpu(states):
        values = gather_dots(states.float(), row_starts(indices), indices.reshape(-1), weight, bias).view(indices.shape)
        return values if signed else torch.relu(values)
    values = torch.zeros(indices.shape, dtype=torch.float32)
    parts = (states.float().contiguous(), indices.contiguous(), weight, bias, values)
    lowest = np.float32(-np.inf if signed else 0)
    parallel_ranges(_values, states.shape[0], *(part.numpy() for part in parts), lowest)
    return values


def selected_values_reference(
    states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, signed: bool = False
) -> torch.Tensor:
    """The plain definition of :func:`selected_values`."""
    values = gather_dots_reference(states.float(), row_starts(indices), indices.reshape(-1), weight, bias).view(indices.shape)
    return values if signed else torch.relu(values)


def row_starts(indices: torch.Tensor) -> torch.Tensor:
    """(n + 1,) int64: where each row of (n, k) slots begins, when they stand one after the other."""
    return torch.arange(len(indices) + 1, device=indices.device) * indices.shape[1]


def decode(values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Σ f_i d_i of each token, without the decoder's bias: (n, d_model) fp32."""
    if not on_cpu(values):
        return segment_sums(weight, row_starts(indices), *_flat(values, indices))
    out = torch.zeros(values.shape[0], weight.shape[1], dtype=torch.float32)
    parts = (values.contiguous(), indices.contiguous(), weight, out)
    parallel_ranges(_decode, values.shape[0], *(part.numpy() for part in parts))
    return out


def decode_reference(values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The plain definition of :func:`decode`."""
    return segment_sums_reference(weight, row_starts(indices), *_flat(values, indices))


def _flat(values: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and values of all slots one after the other, 0 in slots that are not used."""
    return indices.reshape(-1), torch.where(indices >= 0, values, 0.0).reshape(-1)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _dot(a: Any, b: Any) -> Any:  # pragma: no cover - compiled
    total = np.float32(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath=_FAST)
def _add_scaled(out: Any, factor: Any, row: Any) -> None:  # pragma: no cover - compiled
    for i in range(out.shape[0]):
        out[i] += factor * row[i]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _centre(
    batch: Any, bias: Any, states: Any, squared: Any, totals: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    totals[start:stop] = 0
    for token in range(start * BLOCK, min(stop * BLOCK, batch.shape[0])):
        state = states[token]
        for i in range(state.shape[0]):
            state[i] = widen(batch[token, i]) - bias[i]
        squared[token] = _dot(state, state)
        _add_scaled(totals[token // BLOCK], np.float32(1), state)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _values(
    states: Any, indices: Any, weight: Any, bias: Any, values: Any, lowest: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for token in range(start, stop):
        for slot in range(indices.shape[1]):
            latent = indices[token, slot]
            if latent >= 0:
                values[token, slot] = max(_dot(states[token], weight[latent]) + bias[latent], lowest)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _decode(values: Any, indices: Any, weight: Any, out: Any, start: int, stop: int) -> None:  # pragma: no cover - compiled
    for token in range(start, stop):
        for slot in range(indices.shape[1]):
            if indices[token, slot] >= 0:
                _add_scaled(out[token], values[token, slot], weight[indices[token, slot]])
