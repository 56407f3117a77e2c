"""Sums of activations over the tokens of a segment (a text, or a part of one), with the way back to the slots.

Only pairs of a segment and a latent that occur are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.gathers import segment_sums
from lexite.kernels.slots import Slots, as_arrays

SMALLEST_WEIGHT = 1e-3  # a pooled weight counts as no less when its root is differentiated


@dataclass(frozen=True, slots=True)
class PooledSlots:
    """Pooled activations.

    Attributes:
        entries: (slots,) int64, the pooled entry of each slot; -1 where the slot has no value or its token no segment.
        segments: (entries,) int64, ascending.
        latents: (entries,) int64.
        sums: (entries,) fp32 sum of the activations.

    On an accelerator there are as many entries as slots, the last of them without a segment (-1) and with a sum of 0: the host
    would have to wait for their number.
    """

    entries: torch.Tensor
    segments: torch.Tensor
    latents: torch.Tensor
    sums: torch.Tensor


def pool_slots(slots: Slots, values: torch.Tensor, segments: torch.Tensor, n_latents: int) -> PooledSlots:
    """Sums activations per segment and latent.

    Args:
        slots: chosen latents.
        values: (slots,) activations; those above zero count.
        segments: (n,) int64 segment of each token, ascending, -1 for none; on the CPU or beside the values.
        n_latents: size of the dictionary.
    """
    segments = segments.to(values.device)
    if not on_cpu(values):
        return pool_slots_by_sorting(slots, values, segments, n_latents)
    indices, value, segment = as_arrays(slots.indices, values, segments[slots.tokens])
    entries = np.full(len(indices), -1, dtype=np.int64)
    found = np.empty((2, len(indices)), dtype=np.int64)
    sums = np.zeros(len(indices), dtype=np.float64)
    seen, entry = np.full(n_latents, -1, dtype=np.int64), np.zeros(n_latents, dtype=np.int64)
    n = _pool(indices, value, segment, seen, entry, entries, found, sums)
    parts = (entries, found[0, :n].copy(), found[1, :n].copy(), sums[:n].astype(np.float32))
    return PooledSlots(*(torch.from_numpy(part) for part in parts))


def pool_slots_by_sorting(slots: Slots, values: torch.Tensor, segments: torch.Tensor, n_latents: int) -> PooledSlots:
    """:func:`pool_slots` on an accelerator: slots of one segment and latent stand together once they are sorted."""
    segment = segments[slots.tokens]
    counts = (segment >= 0) & (values > 0)
    keys = torch.where(counts, segment * n_latents + slots.indices.clamp(min=0), torch.iinfo(torch.int64).max)
    ordered, order = torch.sort(keys, stable=True)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    ranks = begins.cumsum(0) - 1  # slots that do not count are one entry, the last
    starts = torch.searchsorted(ranks, torch.arange(len(ranks) + 1, device=ranks.device))
    sums = segment_sums(torch.where(counts, values, 0.0).unsqueeze(1), starts, order, torch.ones_like(values), long=True)
    firsts = ordered[starts[:-1].clamp(max=max(len(ordered) - 1, 0))]
    known = (starts[:-1] < len(ordered)) & (firsts != torch.iinfo(torch.int64).max)
    entries = torch.full_like(order, -1).scatter_(0, order, ranks)
    found = torch.where(known, firsts // n_latents, -1), torch.where(known, firsts % n_latents, 0)
    return PooledSlots(torch.where(counts, entries, -1), *found, sums.squeeze(1))


@njit(cache=True, nogil=True)
def _pool(
    indices: Any, values: Any, segments: Any, seen: Any, entry: Any, entries: Any, found: Any, sums: Any
) -> int:  # pragma: no cover - compiled
    n = 0
    for slot in range(indices.shape[0]):
        segment, latent = segments[slot], indices[slot]
        if segment >= 0 and values[slot] > 0:
            if seen[latent] != segment:
                seen[latent] = segment
                entry[latent] = n
                found[0, n] = segment
                found[1, n] = latent
                n += 1
            entries[slot] = entry[latent]
            sums[entry[latent]] += values[slot]
    return n


def gather_entries(each: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """(slots,) the value in ``each`` of the pooled entry of each slot; 0 for a slot without an entry."""
    return (
        torch.where(entries >= 0, each[entries.clamp(min=0)], 0.0) if len(each) else torch.zeros_like(entries, dtype=each.dtype)
    )


def segment_numbers(offsets: torch.Tensor) -> torch.Tensor:
    """(n,) int64 number of the passage of each token, from (passages + 1,) offsets; on the CPU, where offsets are."""
    lengths = offsets.cpu().diff()
    return torch.repeat_interleave(torch.arange(len(lengths)), lengths)
