"""Loops over the selected latents of each token: values, decoding, gradients.

Tokens × latents never appears: per token only its k selected rows of the weights are read, per latent only the tokens that
selected it. On the CPU the loops are compiled; elsewhere, and as the reference, they are plain torch over one slot at a time
(so no tokens × k × d_model tensor is made either).

Shapes: states (n, d_model); indices (n, k) int32, -1 in unused slots; values (n, k); weights (n_latents, d_model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.bits import widen
from lexite.kernels.threads import parallel_ranges

BLOCK = 128  # tokens whose sums are taken together, so that sums over all tokens do not depend on the number of threads
_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One forward and backward pass through the selected latents.

    Attributes:
        values: (n, k) activations, ReLU(w·x + b); zero in unused slots.
        value_gradients: (n, k) derivative of ``scale · Σ‖e‖²`` by each value; zero where the value is zero.
        errors: (n, d_model) e = reconstruction - state.
        squared: (n,) ‖e‖² of each token.
        totals: (blocks, d_model) Σ e over the tokens of each block.
    """

    values: torch.Tensor
    value_gradients: torch.Tensor
    errors: torch.Tensor
    squared: torch.Tensor
    totals: torch.Tensor

    @classmethod
    def empty(cls, n: int, k: int, d_model: int) -> Reconstruction:
        """Memory for a pass over n tokens."""
        values, totals = torch.empty(n, k), torch.empty(-(-n // BLOCK), d_model)
        return cls(values, torch.empty_like(values), torch.empty(n, d_model), torch.empty(n), totals)


@dataclass(frozen=True, slots=True)
class Centred:
    """Token states without the decoder's bias, and what is summed up on the way.

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


@dataclass(frozen=True, slots=True)
class LatentGradients:
    """Gradients of both weight matrices, latent by latent.

    Attributes:
        encoder: (n_latents, d_model); rows of latents that no token selected are not written (see ``counts``).
        decoder: (n_latents, d_model), likewise.
        bias: (n_latents,) of the encoder's bias; zero where nothing was selected.
        counts: (n_latents,) int64, tokens in which the latent is active (value above zero).
    """

    encoder: torch.Tensor
    decoder: torch.Tensor
    bias: torch.Tensor
    counts: torch.Tensor


def _on_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"


def centre(batch: torch.Tensor, bias: torch.Tensor, out: Centred | None = None) -> Centred:
    """Token states minus the decoder's bias in fp32, in one pass over the batch, which is left as it is.

    Args:
        batch: (n, d_model), any float type.
        bias: (d_model,) fp32.
        out: memory for the result on the CPU, to keep from call to call: fresh memory costs more than the pass.
    """
    if not _on_cpu(batch) or not _on_cpu(bias):
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


def selected_values(states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """ReLU(w·x + b) of the selected latents in fp32: (n, k), zero in unused slots."""
    if not _on_cpu(states):
        return selected_values_reference(states, indices, weight, bias)
    values = torch.zeros(indices.shape, dtype=torch.float32)
    parts = (states.float().contiguous(), indices.contiguous(), weight, bias, values)
    parallel_ranges(_values, states.shape[0], *(part.numpy() for part in parts))
    return values


def selected_values_reference(
    states: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The plain definition of :func:`selected_values`."""
    values = torch.zeros(indices.shape, dtype=torch.float32, device=states.device)
    for slot in range(indices.shape[1]):
        rows = indices[:, slot].clamp(min=0).long()
        values[:, slot] = torch.relu((states.float() * weight[rows]).sum(1) + bias[rows])
    return torch.where(indices >= 0, values, 0.0)


def decode(values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Σ f_i d_i of each token, without the decoder's bias: (n, d_model) fp32."""
    if not _on_cpu(values):
        return decode_reference(values, indices, weight)
    out = torch.zeros(values.shape[0], weight.shape[1], dtype=torch.float32)
    parts = (values.contiguous(), indices.contiguous(), weight, out)
    parallel_ranges(_decode, values.shape[0], *(part.numpy() for part in parts))
    return out


def decode_reference(values: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The plain definition of :func:`decode`."""
    out = torch.zeros(values.shape[0], weight.shape[1], dtype=torch.float32, device=values.device)
    for slot in range(indices.shape[1]):
        used = (indices[:, slot] >= 0).unsqueeze(1)
        out += torch.where(used, values[:, slot, None] * weight[indices[:, slot].clamp(min=0).long()], 0.0)
    return out


def reconstruct(
    states: torch.Tensor,
    indices: torch.Tensor,
    encoder_weight: torch.Tensor,
    encoder_bias: torch.Tensor,
    decoder_weight: torch.Tensor,
    scale: float,
    out: Reconstruction | None = None,
) -> Reconstruction:
    """Values, errors and the values' gradients for the loss ``scale · Σ‖e‖²``, in one pass over the tokens.

    Args:
        states: (n, d_model) fp32, centred (the decoder's bias subtracted).
        indices: (n, k) selected latents.
        encoder_weight: (n_latents, d_model) fp32.
        encoder_bias: (n_latents,) fp32.
        decoder_weight: (n_latents, d_model) fp32.
        scale: the loss's factor, 1 / Σ‖x - mean(x)‖² for the fraction of variance unexplained.
        out: memory for the result on the CPU, to keep from call to call.
    """
    if not _on_cpu(states):
        return reconstruct_reference(states, indices, encoder_weight, encoder_bias, decoder_weight, scale)
    out = Reconstruction.empty(indices.shape[0], indices.shape[1], states.shape[1]) if out is None else out
    inputs = (states, indices, encoder_weight, encoder_bias, decoder_weight)
    outputs = (out.values, out.value_gradients, out.errors, out.squared, out.totals)
    arrays = [tensor.numpy() for tensor in (*inputs, *outputs)]
    parallel_ranges(_reconstruct, len(out.totals), *arrays, np.float32(2 * scale), smallest=1)
    return out


def reconstruct_reference(
    states: torch.Tensor,
    indices: torch.Tensor,
    encoder_weight: torch.Tensor,
    encoder_bias: torch.Tensor,
    decoder_weight: torch.Tensor,
    scale: float,
) -> Reconstruction:
    """The plain definition of :func:`reconstruct`."""
    values = selected_values_reference(states, indices, encoder_weight, encoder_bias)
    errors = decode_reference(values, indices, decoder_weight) - states
    gradients = torch.zeros_like(values)
    for slot in range(indices.shape[1]):
        rows = indices[:, slot].clamp(min=0).long()
        gradients[:, slot] = 2 * scale * (errors * decoder_weight[rows]).sum(1)
    gradients = torch.where(values > 0, gradients, 0.0)
    return Reconstruction(values, gradients, errors, errors.square().sum(1), errors.sum(0, keepdim=True))


def latent_gradients(
    states: torch.Tensor, indices: torch.Tensor, pass_: Reconstruction, n_latents: int, scale: float, out: LatentGradients
) -> None:
    """Sums the gradients of a pass latent by latent into ``out``.

    ``d/dW_enc,i = Σ_t g_ti x_t``, ``d/db_enc,i = Σ_t g_ti``, ``d/dW_dec,i = Σ_t 2·scale·f_ti e_t`` over the tokens t that
    selected latent i, with g the value gradients. Tokens are summed in order, so the result does not depend on threads.

    Args:
        states: (n, d_model) fp32, centred.
        indices: (n, k) selected latents.
        pass_: what :func:`reconstruct` returned for them.
        n_latents: size of the dictionary.
        scale: the loss's factor, as given to :func:`reconstruct`.
        out: buffers that are kept from step to step.
    """
    if not _on_cpu(states):
        latent_gradients_reference(states, indices, pass_, n_latents, scale, out)
        return
    starts, entries = group_by_latent(indices, pass_.values, n_latents)
    arrays = (starts, entries, pass_.values, pass_.value_gradients, states, pass_.errors)
    results = (out.encoder, out.decoder, out.bias, out.counts)
    inputs = [array if isinstance(array, np.ndarray) else array.numpy() for array in arrays]
    parallel_ranges(_latent_gradients, n_latents, *inputs, *(r.numpy() for r in results), np.float32(2 * scale))


def latent_gradients_reference(
    states: torch.Tensor, indices: torch.Tensor, pass_: Reconstruction, n_latents: int, scale: float, out: LatentGradients
) -> None:
    """The plain definition of :func:`latent_gradients`; rows without a token become zero."""
    for tensor in (out.encoder, out.decoder, out.bias, out.counts):
        tensor.zero_()
    for slot in range(indices.shape[1]):
        active = pass_.values[:, slot] > 0
        rows = indices[active, slot].long()
        gradient = pass_.value_gradients[active, slot]
        out.encoder.index_add_(0, rows, gradient[:, None] * states[active])
        out.decoder.index_add_(0, rows, 2 * scale * pass_.values[active, slot, None] * pass_.errors[active])
        out.bias.index_add_(0, rows, gradient)
        out.counts.index_add_(0, rows, torch.ones_like(rows))


def group_by_latent(indices: torch.Tensor, values: torch.Tensor, n_latents: int) -> tuple[np.ndarray, np.ndarray]:
    """Active slots sorted by latent: (n_latents + 1,) starts and the flat positions ``token · k + slot``, in token order."""
    starts = np.zeros(n_latents + 1, dtype=np.int64)
    entries = np.empty(indices.numel(), dtype=np.int64)
    _group(indices.numpy().ravel(), values.numpy().ravel(), starts, entries)
    return starts, entries


@njit(cache=True, nogil=True)
def _group(indices: Any, values: Any, starts: Any, entries: Any) -> None:  # pragma: no cover - compiled
    n_latents = starts.shape[0] - 1
    for position in range(indices.shape[0]):
        if values[position] > 0:
            starts[indices[position] + 1] += 1
    for latent in range(n_latents):
        starts[latent + 1] += starts[latent]
    fill = starts[:-1].copy()
    for position in range(indices.shape[0]):
        if values[position] > 0:
            latent = indices[position]
            entries[fill[latent]] = position
            fill[latent] += 1


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
def _values(states: Any, indices: Any, weight: Any, bias: Any, values: Any, start: int, stop: int) -> None:  # pragma: no cover
    for token in range(start, stop):
        for slot in range(indices.shape[1]):
            latent = indices[token, slot]
            if latent >= 0:
                values[token, slot] = max(_dot(states[token], weight[latent]) + bias[latent], np.float32(0))


@njit(cache=True, nogil=True, fastmath=_FAST)
def _decode(values: Any, indices: Any, weight: Any, out: Any, start: int, stop: int) -> None:  # pragma: no cover - compiled
    for token in range(start, stop):
        for slot in range(indices.shape[1]):
            if indices[token, slot] >= 0:
                _add_scaled(out[token], values[token, slot], weight[indices[token, slot]])


@njit(cache=True, nogil=True, fastmath=_FAST)
def _reconstruct(
    states: Any,
    indices: Any,
    encoder: Any,
    bias: Any,
    decoder: Any,
    values: Any,
    gradients: Any,
    errors: Any,
    squared: Any,
    totals: Any,
    factor: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    totals[start:stop] = 0
    for token in range(start * BLOCK, min(stop * BLOCK, states.shape[0])):
        state, error = states[token], errors[token]
        for i in range(state.shape[0]):
            error[i] = -state[i]
        for slot in range(indices.shape[1]):
            latent = indices[token, slot]
            values[token, slot] = gradients[token, slot] = 0
            if latent >= 0:
                value = _dot(state, encoder[latent]) + bias[latent]
                if value > 0:
                    values[token, slot] = value
                    _add_scaled(error, value, decoder[latent])
        squared[token] = _dot(error, error)
        _add_scaled(totals[token // BLOCK], np.float32(1), error)
        for slot in range(indices.shape[1]):
            if values[token, slot] > 0:
                gradients[token, slot] = factor * _dot(error, decoder[indices[token, slot]])


@njit(cache=True, nogil=True, fastmath=_FAST)
def _latent_gradients(
    starts: Any,
    entries: Any,
    values: Any,
    gradients: Any,
    states: Any,
    errors: Any,
    encoder: Any,
    decoder: Any,
    bias: Any,
    counts: Any,
    factor: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    k = values.shape[1]
    for latent in range(start, stop):
        counts[latent] = starts[latent + 1] - starts[latent]
        bias[latent] = 0
        if counts[latent] == 0:
            continue
        encoder[latent, :] = 0
        decoder[latent, :] = 0
        for position in range(starts[latent], starts[latent + 1]):
            token, slot = entries[position] // k, entries[position] % k
            bias[latent] += gradients[token, slot]
            _add_scaled(encoder[latent], gradients[token, slot], states[token])
            _add_scaled(decoder[latent], factor * values[token, slot], errors[token])
