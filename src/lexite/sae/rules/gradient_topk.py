"""Gradient TopK: latents that retrieval depends on come first (after g-SAE, arXiv 2411.10397).

g-SAE selects by activations plus their effect on a downstream loss. Here that loss is retrieval, and the combination is ours:
each passage of the batch is split in two; the first half has to find the second among all second halves, by the cosine of
their pooled terms (square roots of sums over the 4k largest activations of each token), with InfoNCE as the loss L. The k
latents with the largest f + β f g are kept, where g is |∂L/∂f| over its mean. At use the model is a plain TopK.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.pooled import SMALLEST_WEIGHT, gather_entries, pool_slots, segment_numbers
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.slots import Slots
from lexite.sae.rules.base import Rule, Selection, View

MORE = 4  # candidates per token, in k
TILE = 4096  # latents whose pooled weights are dense at a time, on an accelerator


class GradientTopK(Rule):
    """The k activations of each token with the largest score, activation and retrieval gradient together."""

    needs_passages: ClassVar[bool] = True

    def select(self, view: View) -> Selection:
        """The best of the 4k largest."""
        slots = view.largest(MORE * view.k)
        values = torch.relu(view.preactivations(slots))
        temperature = self.objective.retrieval_temperature
        gradients = retrieval_gradients(slots, values, view.offsets, self.sae.n_latents, temperature, view.ranks)
        active = values > 0
        if on_cpu(values):
            mean = _mean_of_active(gradients[active], view.ranks)
            scores = values + (self.objective.retrieval_weight / mean * values * gradients if mean > 0 else 0.0)
        else:
            total, n_active = view.ranks.sums(torch.where(active, gradients, 0.0).sum(), active.sum().float())
            mean_of_active = total / n_active.clamp(min=1)
            share = torch.where(mean_of_active > 0, self.objective.retrieval_weight / mean_of_active, 0.0)
            scores = values + share * values * gradients
        best = slots.largest(scores, view.k) & active
        if not on_cpu(values):  # the host would wait for the number of those that are kept
            return Selection(Slots(slots.starts, torch.where(best, slots.indices, -1)), torch.where(best, values, 0.0))
        return Selection(slots.kept(best), values[best])


def _mean_of_active(gradients: torch.Tensor, ranks: Ranks) -> float:
    """The mean over the active slots of all ranks; 0 without one."""
    if ranks.size == 1:
        return float(gradients.mean()) if len(gradients) else 0.0
    total, n = ranks.totals([float(gradients.sum(dtype=torch.float64)), float(len(gradients))])
    return float(total) / max(float(n), 1.0)


def retrieval_gradients(
    slots: Slots,
    values: torch.Tensor,
    offsets: torch.Tensor | None,
    n_latents: int,
    temperature: float,
    ranks: Ranks = ALONE,
) -> torch.Tensor:
    """|∂L/∂f| of each slot, for the retrieval loss above.

    Args:
        slots: candidates.
        values: (slots,) activations f, at least 0.
        offsets: (passages + 1,); the first ⌊length / 2⌋ tokens of a passage are its query. Passages of one token have no part
            in it.
        n_latents: size of the dictionary.
        temperature: of the softmax over cosines.
        ranks: the processes that have the batch; passages of all of them are told apart.

    Returns:
        (slots,); zeros where there are fewer than two passages.
    """
    if offsets is None:
        return torch.zeros_like(values)
    own_pairs = int((offsets.diff() > 1).sum())
    pairs, place = ranks.joined(torch.tensor([own_pairs]))
    n_pairs, before = int(pairs.sum()), int(pairs[: place.start].sum())
    if n_pairs < 2:
        return torch.zeros_like(values)
    pooled = pool_slots(slots, values, _halves(offsets), n_latents)
    own_segments = torch.where(pooled.segments >= 0, pooled.segments + 2 * before, -1) if before else pooled.segments
    segments, own = ranks.joined(own_segments)
    latents, own_weights = ranks.joined(pooled.latents)[0], pooled.sums.sqrt()
    weights = ranks.joined(own_weights)[0]
    if on_cpu(values):
        arrays = [tensor.numpy() for tensor in (segments, latents, weights)]
        by_weight = torch.from_numpy(_info_nce_gradients(arrays[0], arrays[1], arrays[2], n_pairs, n_latents, temperature))
    else:
        by_weight = info_nce_by_tiles(segments, latents, weights, n_pairs, n_latents, temperature)
    each = by_weight[own].abs() / (2 * own_weights.clamp(min=SMALLEST_WEIGHT))
    return gather_entries(each, pooled.entries)


def info_nce_by_tiles(
    segments: torch.Tensor, latents: torch.Tensor, weights: torch.Tensor, n_pairs: int, n_latents: int, temperature: float
) -> torch.Tensor:
    """:func:`_info_nce_gradients` on an accelerator, with dense rows for some latents at a time.

    Entries without a segment (-1) get 0.
    """
    known, row = segments >= 0, segments.clamp(min=0)
    weights = torch.where(known, weights, 0.0)
    squares = torch.zeros(2 * n_pairs, device=weights.device).index_add_(0, row, weights.square())
    norms = squares.sqrt().clamp(min=1e-12)
    unit = weights / norms[row]
    tiles = range(0, n_latents, TILE)

    def dense(first: int) -> torch.Tensor:
        """(2 n_pairs, TILE) rows of unit norm, for the latents from ``first`` on."""
        inside = (latents >= first) & (latents < first + TILE)
        tile = torch.zeros(2 * n_pairs, TILE, device=unit.device)
        place = row * TILE + (latents - first).clamp(0, TILE - 1)
        tile.view(-1).index_add_(0, place, torch.where(inside, unit, 0.0))
        return tile

    cosines = torch.zeros(n_pairs, n_pairs, device=unit.device)
    for first in tiles:
        tile = dense(first)
        cosines += tile[::2] @ tile[1::2].t()
    wanted = torch.eye(n_pairs, device=unit.device)
    by_cosine = (torch.softmax(cosines / temperature, dim=1) - wanted) / (n_pairs * temperature)
    direct = torch.zeros_like(unit)
    for first in tiles:
        tile = dense(first)
        found = torch.stack([by_cosine @ tile[1::2], by_cosine.t() @ tile[::2]], dim=1).reshape(2 * n_pairs, TILE)
        inside = (latents >= first) & (latents < first + TILE)
        direct += torch.where(inside, found[row, (latents - first).clamp(0, TILE - 1)], 0.0)
    along = torch.zeros_like(squares).index_add_(0, row, direct * unit)
    return torch.where(known, (direct - along[row] * unit) / norms[row], 0.0)


def _halves(offsets: torch.Tensor) -> torch.Tensor:
    """Numbers tokens by half passages: 2 i and 2 i + 1 for the i-th passage of several tokens, -1 for others; on the CPU."""
    offsets = offsets.cpu()
    lengths = offsets.diff()
    passage = segment_numbers(offsets)
    whole = lengths > 1
    number = torch.where(whole, whole.cumsum(0) - 1, -1)
    position = torch.arange(len(passage), device=offsets.device) - offsets[:-1][passage]
    half = (position >= lengths[passage] // 2).long()
    return torch.where(whole[passage], 2 * number[passage] + half, -1)


def _info_nce_gradients(
    segments: NDArray[np.int64],
    latents: NDArray[np.int64],
    weights: NDArray[np.float32],
    n_pairs: int,
    n_latents: int,
    temperature: float,
) -> NDArray[np.float32]:
    """Derivatives of the mean of -log softmax(cosine / temperature) at the right pairs, by each pooled weight.

    Args:
        segments: (entries,) 2 i for the query of pair i, 2 i + 1 for its document.
        latents: (entries,).
        weights: (entries,) above 0.
        n_pairs: number of pairs.
        n_latents: number of columns.
        temperature: of the softmax.
    """
    norms = np.sqrt(np.bincount(segments, weights.astype(np.float64) ** 2, minlength=2 * n_pairs))
    unit = weights / np.maximum(norms, 1e-12)[segments]
    rows = csr_array((unit, (segments, latents)), shape=(2 * n_pairs, n_latents))
    queries, documents = rows[::2], rows[1::2]
    cosines = (queries @ documents.T).toarray() / temperature
    softmax = np.exp(cosines - cosines.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    by_cosine = (softmax - np.eye(n_pairs)) / (n_pairs * temperature)
    bounds = np.searchsorted(segments, np.arange(2 * n_pairs + 1))
    direct = np.empty(len(segments))
    for pair in range(n_pairs):  # one row of all latents at a time
        for half, others, by in ((2 * pair, documents, by_cosine[pair]), (2 * pair + 1, queries, by_cosine[:, pair])):
            own = slice(bounds[half], bounds[half + 1])
            direct[own] = (others.T @ by)[latents[own]]
    along = np.bincount(segments, direct * unit, minlength=2 * n_pairs)
    gradients: NDArray[np.float32] = ((direct - along[segments] * unit) / np.maximum(norms, 1e-12)[segments]).astype(np.float32)
    return gradients
