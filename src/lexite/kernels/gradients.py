"""Loops of a training step over the chosen latents of each token: reconstruction, and gradients latent by latent.

Tokens × latents never appears: per token only its chosen rows of the decoder are read, per latent only the tokens that chose
it. On the CPU the loops are compiled. On an accelerator, and as the reference, they are made of gathers and of sums by segment
(:mod:`lexite.kernels.gathers`), which need no slots × d_model tensor either.

Nested dictionaries (Matryoshka, arXiv 2503.17547): latents stand in groups, and prefix p reconstructs with groups 0 … p. The
loss is the mean of the prefixes' errors, and a latent of group g sees the sum of the errors of all prefixes it takes part in.
A plain dictionary is one group.

Shapes: states (n, d_model); values (slots,), 0 where not active, signed where a rule wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.gathers import gather_dots, segment_sums
from lexite.kernels.numbers import Number
from lexite.kernels.slots import Slots, as_arrays
from lexite.kernels.sparse import _FAST, BLOCK, _add_scaled, _dot
from lexite.kernels.threads import parallel_ranges


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One pass through the chosen latents.

    Attributes:
        gradients: (slots,) derivative of the loss ``scale · mean over prefixes of Σ‖e_p‖²`` by each value.
        errors: (n, groups, d_model): for group g the mean of e_p over all prefixes; a prefix without the group counts as 0.
            With one group this is e = reconstruction - state.
        squared: (n, groups) ‖e_p‖² of each token and prefix.
        totals: (blocks, d_model) Σ ``errors[:, 0]`` over the tokens of each block.
    """

    gradients: torch.Tensor
    errors: torch.Tensor
    squared: torch.Tensor
    totals: torch.Tensor

    @classmethod
    def empty(cls, n: int, groups: int, d_model: int) -> Reconstruction:
        """Memory for a pass over n tokens, apart from the gradients."""
        totals = torch.empty(-(-n // BLOCK), d_model)
        return cls(torch.empty(0), torch.empty(n, groups, d_model), torch.empty(n, groups), totals)

    def fits(self, n: int, groups: int) -> bool:
        """Whether the memory fits."""
        return len(self.errors) == n and self.errors.shape[1] == groups

    @property
    def whole_errors(self) -> torch.Tensor:
        """(n, d_model) e of the whole dictionary."""
        groups = self.errors.shape[1]
        return self.errors[:, -1] if groups == 1 else self.errors[:, -1] * groups


@dataclass(frozen=True, slots=True)
class LatentGradients:
    """Gradients of both weight matrices, latent by latent.

    Attributes:
        encoder: (n_latents, d_model); rows of latents without an entry are not written (see ``counts``).
        decoder: (n_latents, d_model); the same rows are not written.
        bias: (n_latents,) sum of the derivatives by pre-activations; zero without an entry.
        counts: (n_latents,) int64 entries: slots with a value or a derivative.
        active: (n_latents,) int64 tokens in which the latent is active (value not zero).
    """

    encoder: torch.Tensor
    decoder: torch.Tensor
    bias: torch.Tensor
    counts: torch.Tensor
    active: torch.Tensor

    @classmethod
    def empty(cls, n_latents: int, d_model: int, device: torch.device | str = "cpu") -> LatentGradients:
        """Memory for a dictionary."""
        matrices = [torch.zeros(n_latents, d_model, device=device) for _ in range(2)]
        counts = [torch.zeros(n_latents, dtype=torch.int64, device=device) for _ in range(2)]
        return cls(matrices[0], matrices[1], torch.zeros(n_latents, device=device), counts[0], counts[1])

    def add_rows(
        self,
        rows: torch.Tensor,
        encoder: torch.Tensor,
        decoder: torch.Tensor,
        bias: torch.Tensor,
        taking_part: torch.Tensor | None = None,
    ) -> None:
        """Adds gradients of some latents, row by row. A latent may have had no entry before.

        Args:
            rows: numbers of the latents.
            encoder: (rows, d_model).
            decoder: (rows, d_model).
            bias: (rows,).
            taking_part: (rows,) bool, on an accelerator: the gradients of the others are zero, and they get no entry.
        """
        if on_cpu(rows):
            idle = rows[self.counts[rows] == 0]  # their rows still hold the gradients of an earlier step
            self.encoder[idle] = 0
            self.decoder[idle] = 0
        self.encoder.index_add_(0, rows, encoder)
        self.decoder.index_add_(0, rows, decoder)
        self.bias.index_add_(0, rows, bias)
        self.counts.index_add_(0, rows, torch.ones_like(rows) if taking_part is None else taking_part.to(rows.dtype))


def reconstruct(
    states: torch.Tensor,
    slots: Slots,
    values: torch.Tensor,
    decoder_weight: torch.Tensor,
    groups: torch.Tensor,
    scale: Number,
    out: Reconstruction | None = None,
    *,
    prefixes: int | None = None,
) -> Reconstruction:
    """Errors and the values' gradients for the loss ``scale · mean over prefixes of Σ‖e_p‖²``, in one pass over the tokens.

    Args:
        states: (n, d_model) fp32, centred (the decoder's bias subtracted).
        slots: chosen latents.
        values: (slots,) their activations.
        decoder_weight: (n_latents, d_model) fp32.
        groups: (n_latents,) uint8, group of each latent, ascending from 0 to the number of prefixes less one.
        scale: the loss's factor, 1 / Σ‖x - mean(x)‖² for the fraction of variance unexplained.
        out: memory for errors and sums on the CPU, to keep from call to call: fresh memory costs more than the pass.
        prefixes: how many there are; None looks it up in ``groups``, for which the host waits on an accelerator.
    """
    if not on_cpu(states):
        return reconstruct_reference(states, slots, values, decoder_weight, groups, scale, prefixes)
    n, prefixes = len(states), int(groups[-1]) + 1 if prefixes is None else prefixes
    if out is None or not out.fits(n, prefixes):
        out = Reconstruction.empty(n, prefixes, states.shape[1])
    out = Reconstruction(torch.empty(len(values)), out.errors, out.squared, out.totals)
    inputs = as_arrays(states, slots.starts, slots.indices, values, decoder_weight, groups)
    outputs = as_arrays(out.gradients, out.errors, out.squared, out.totals)
    parallel_ranges(_reconstruct, len(out.totals), *inputs, *outputs, np.float32(2 * float(scale)), smallest=1)
    return out


def reconstruct_reference(
    states: torch.Tensor,
    slots: Slots,
    values: torch.Tensor,
    decoder_weight: torch.Tensor,
    groups: torch.Tensor,
    scale: Number,
    prefixes: int | None = None,
) -> Reconstruction:
    """The plain definition of :func:`reconstruct`, and what runs on an accelerator."""
    prefixes = int(groups[-1]) + 1 if prefixes is None else prefixes
    if prefixes == 1:
        parts = segment_sums(decoder_weight, slots.starts, slots.indices, values).unsqueeze(1)
    else:
        group = groups[slots.indices.clamp(min=0).long()]
        own = [torch.where(group == p, values, 0.0) for p in range(prefixes)]
        parts = torch.stack([segment_sums(decoder_weight, slots.starts, slots.indices, some) for some in own], 1)
    errors = parts.cumsum(1) - states[:, None]
    squared = errors.square().sum(2)
    if prefixes == 1:
        gradients = gather_dots(errors[:, 0], slots.starts, slots.indices, decoder_weight)
    else:
        errors = (errors / prefixes).flip(1).cumsum(1).flip(1)
        own_slots = [torch.where(group == p, slots.indices, -1) for p in range(prefixes)]
        seen = [gather_dots(errors[:, p], slots.starts, own_slots[p], decoder_weight) for p in range(prefixes)]
        gradients = torch.stack(seen).sum(0)
    return Reconstruction(gradients * (2 * scale), errors, squared, errors[:, 0].sum(0, keepdim=True))


def latent_gradients(
    states: torch.Tensor,
    slots: Slots,
    values: torch.Tensor,
    derivatives: torch.Tensor,
    errors: torch.Tensor,
    groups: torch.Tensor,
    scale: Number,
    out: LatentGradients,
    *,
    more: bool = False,
) -> None:
    """Sums the gradients of a pass latent by latent into ``out``.

    ``d/dW_enc,i = Σ_t g_ti c_t``, ``d/db_enc,i = Σ_t g_ti``, ``d/dW_dec,i = Σ_t 2·scale·f_ti e_t`` over the tokens t that chose
    latent i, with g the derivatives by pre-activations. Tokens are summed in order, so the result does not depend on threads.

    Args:
        states: (n, d_model) fp32, centred.
        slots: chosen latents.
        values: (slots,) activations f.
        derivatives: (slots,) g.
        errors: (n, groups, d_model) of :func:`reconstruct`.
        groups: (n_latents,) as given to it.
        scale: the loss's factor, as given to it.
        out: buffers that are kept from step to step.
        more: add to the sums of an earlier pass of the same step, and leave ``active`` alone.
    """
    if not on_cpu(states):
        latent_gradients_reference(states, slots, values, derivatives, errors, groups, scale, out, more=more)
        return
    starts, entries = group_by_latent(slots, values, derivatives, len(out.counts))
    tokens = slots.tokens.to(torch.int32)
    inputs = as_arrays(tokens, values, derivatives, states, errors, groups)
    outputs = as_arrays(out.encoder, out.decoder, out.bias, out.counts, out.active)
    parallel_ranges(_latent_gradients, len(out.counts), starts, entries, *inputs, *outputs, np.float32(2 * float(scale)), more)


def latent_gradients_reference(
    states: torch.Tensor,
    slots: Slots,
    values: torch.Tensor,
    derivatives: torch.Tensor,
    errors: torch.Tensor,
    groups: torch.Tensor,
    scale: Number,
    out: LatentGradients,
    *,
    more: bool = False,
) -> None:
    """The plain definition of :func:`latent_gradients`, and what runs on an accelerator; rows without an entry become zero."""
    n_latents, width = out.encoder.shape
    used = (values != 0) | (derivatives != 0)
    order, starts = sorted_by_latent(slots.indices, used, n_latents)
    tokens, latents = slots.tokens[order], slots.indices[order].clamp(min=0).long()
    by_derivative = derivatives[order]
    seen = tokens if errors.shape[1] == 1 else tokens * errors.shape[1] + groups[latents]
    sums = {
        "encoder": segment_sums(states, starts, tokens, by_derivative, long=True),
        "decoder": segment_sums(errors.reshape(-1, width), starts, seen, values[order] * (2 * scale), long=True),
        "bias": segment_sums(derivatives.unsqueeze(1), starts, order, torch.ones_like(derivatives), long=True).squeeze(1),
        "counts": starts.diff(),
    }
    for name, tensor in sums.items():
        held = getattr(out, name)
        held.add_(tensor) if more else held.copy_(tensor)
    if not more:
        out.active.zero_().index_add_(0, slots.indices.clamp(min=0).long(), (values != 0).long())


def sorted_by_latent(indices: torch.Tensor, used: torch.Tensor, n_latents: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The used slots in the order of their latents, slots of a latent in their own order; the host does not wait.

    Args:
        indices: (slots,) int32 latents.
        used: (slots,) bool.
        n_latents: size of the dictionary.

    Returns:
        (slots,) numbers of slots, those that are not used at the end, and (n_latents + 1,) where each latent's begin.
    """
    latents = torch.where(used, indices, n_latents)
    ordered, order = torch.sort(latents, stable=True)
    bounds = torch.arange(n_latents + 1, device=indices.device, dtype=ordered.dtype)
    return order, torch.searchsorted(ordered, bounds)


def group_by_latent(
    slots: Slots, values: torch.Tensor, derivatives: torch.Tensor, n_latents: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts the slots that have a value or a derivative by latent, and keeps the order of tokens within a latent.

    Returns:
        (n_latents + 1,) where the slots of each latent begin, and the numbers of the slots.
    """
    starts = np.zeros(n_latents + 1, dtype=np.int64)
    entries = np.empty(len(values), dtype=np.int64)
    indices, value, derivative = as_arrays(slots.indices, values, derivatives)
    _group(indices, value, derivative, starts, entries)
    return starts, entries


@njit(cache=True, nogil=True)
def _group(indices: Any, values: Any, derivatives: Any, starts: Any, entries: Any) -> None:  # pragma: no cover - compiled
    n_latents = starts.shape[0] - 1
    for slot in range(indices.shape[0]):
        if values[slot] != 0 or derivatives[slot] != 0:
            starts[indices[slot] + 1] += 1
    for latent in range(n_latents):
        starts[latent + 1] += starts[latent]
    fill = starts[:-1].copy()
    for slot in range(indices.shape[0]):
        if values[slot] != 0 or derivatives[slot] != 0:
            latent = indices[slot]
            entries[fill[latent]] = slot
            fill[latent] += 1


@njit(cache=True, nogil=True, fastmath=_FAST)
def _reconstruct(
    states: Any,
    starts: Any,
    indices: Any,
    values: Any,
    decoder: Any,
    groups: Any,
    gradients: Any,
    errors: Any,
    squared: Any,
    totals: Any,
    factor: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    prefixes = errors.shape[1]
    totals[start:stop] = 0
    for token in range(start * BLOCK, min(stop * BLOCK, states.shape[0])):
        error = errors[token]
        for i in range(error.shape[1]):
            error[0, i] = -states[token, i]
        for p in range(1, prefixes):
            error[p, :] = 0
        for slot in range(starts[token], starts[token + 1]):
            if values[slot] != 0:
                latent = indices[slot]
                _add_scaled(error[groups[latent]], values[slot], decoder[latent])
        squared[token, 0] = _dot(error[0], error[0])
        for p in range(1, prefixes):
            _add_scaled(error[p], np.float32(1), error[p - 1])
            squared[token, p] = _dot(error[p], error[p])
        if prefixes > 1:
            share = np.float32(1 / prefixes)
            for p in range(prefixes - 1, -1, -1):
                for i in range(error.shape[1]):
                    error[p, i] *= share
                if p < prefixes - 1:
                    _add_scaled(error[p], np.float32(1), error[p + 1])
        _add_scaled(totals[token // BLOCK], np.float32(1), error[0])
        for slot in range(starts[token], starts[token + 1]):
            latent = indices[slot]
            gradients[slot] = factor * _dot(error[groups[latent]], decoder[latent])


@njit(cache=True, nogil=True, fastmath=_FAST)
def _latent_gradients(
    starts: Any,
    entries: Any,
    tokens: Any,
    values: Any,
    derivatives: Any,
    states: Any,
    errors: Any,
    groups: Any,
    encoder: Any,
    decoder: Any,
    bias: Any,
    counts: Any,
    active: Any,
    factor: Any,
    more: bool,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    for latent in range(start, stop):
        n = starts[latent + 1] - starts[latent]
        if not more:
            counts[latent] = 0
            active[latent] = 0
            bias[latent] = 0
        if n == 0:
            continue
        if counts[latent] == 0:
            encoder[latent, :] = 0
            decoder[latent, :] = 0
        counts[latent] += n
        firing = 0
        for position in range(starts[latent], starts[latent + 1]):
            slot = entries[position]
            token, derivative, value = tokens[slot], derivatives[slot], values[slot]
            if derivative != 0:
                bias[latent] += derivative
                _add_scaled(encoder[latent], derivative, states[token])
            if value != 0:
                firing += 1
                _add_scaled(decoder[latent], factor * value, errors[token, groups[latent]])
        if not more:
            active[latent] = firing
