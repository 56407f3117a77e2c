"""IDF-aware FLOPS on pooled texts: what a query costs in an inverted index, rare terms excused (arXiv 2411.04403)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lexite.kernels.numbers import Number, number
from lexite.kernels.pooled import SMALLEST_WEIGHT, gather_entries, pool_slots, segment_numbers
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.slots import Slots
from lexite.sae.rules.base import Selection, View

SMOOTHING = 1e-3  # keeps the IDF of latents in no text, or in all, finite and above zero


@dataclass(frozen=True, slots=True)
class FlopsTerm:
    """The term for a batch.

    Attributes:
        loss: ``Σ_j v_j (mean over texts of w_j)²``, the weight of the term included; this rank's part of it.
        gradients: (slots,) its derivative by each activation.
        text_share: (n_latents,) share of the batch's texts that hold each latent.
    """

    loss: Number
    gradients: torch.Tensor
    text_share: torch.Tensor


def flops_term(
    slots: Slots,
    values: torch.Tensor,
    offsets: torch.Tensor,
    text_share: torch.Tensor,
    coefficient: float,
    ranks: Ranks = ALONE,
) -> FlopsTerm:
    """The squared mean weight of each latent over texts, with ``w = √(Σ f)`` and ``v_j = 1 / idf_j``.

    ``idf_j = ln(1 + (1 - p_j + ε) / (p_j + ε))`` with p_j the share of texts that hold j so far and ε = .001: the frequent are
    penalised most.

    Args:
        slots: chosen latents.
        values: (slots,) activations; those above zero count.
        offsets: (texts + 1,), on the CPU.
        text_share: (n_latents,) p.
        coefficient: weight of the term.
        ranks: the processes that have the batch.
    """
    n_latents, n_texts = len(text_share), max(ranks.count(len(offsets) - 1), 1)
    pooled = pool_slots(slots, values, segment_numbers(offsets), n_latents)
    held = pooled.sums > 0
    weights = pooled.sums.sqrt()
    idf = torch.log1p((1 - text_share + SMOOTHING) / (text_share + SMOOTHING)).float()
    means = ranks.sums(torch.zeros(n_latents, device=values.device).index_add_(0, pooled.latents, weights))[0] / n_texts
    loss = coefficient * number((means.square() / idf).sum(dtype=torch.float64)) / ranks.size
    by_weight = (coefficient * 2 / n_texts) * (means / idf)[pooled.latents]
    by_sum = by_weight / (2 * weights.clamp(min=SMALLEST_WEIGHT))
    counts = torch.zeros(n_latents, dtype=torch.int64, device=values.device).index_add_(0, pooled.latents, held.long())
    return FlopsTerm(loss, gather_entries(by_sum, pooled.entries), ranks.sums(counts)[0] / n_texts)


def add_flops(
    view: View,
    selection: Selection,
    values: torch.Tensor,
    coefficient: float,
    text_share: torch.Tensor,
    gradients: torch.Tensor,
    losses: dict[str, Number],
) -> torch.Tensor | None:
    """Adds the term to the losses and its derivatives to ``gradients``, in place, where it has a weight and there are passages.

    Args:
        view: of the step.
        selection: what was chosen.
        values: (slots,) activations.
        coefficient: weight of the term.
        text_share: (n_latents,) share of the texts so far that hold each latent.
        gradients: (slots,) derivative of the loss by each activation.
        losses: terms of the loss by name.

    Returns:
        (n_latents,) share of the batch's texts that hold each latent; None without the term.
    """
    if not coefficient or view.offsets is None:
        return None
    term = flops_term(selection.slots, values, view.offsets, text_share, coefficient * view.sparsity, view.ranks)
    gradients += term.gradients
    losses["flops"] = term.loss
    return term.text_share
