"""IDF-aware FLOPS on pooled texts: what a query costs in an inverted index, rare terms excused (arXiv 2411.04403)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lexite.kernels.pooled import gather_entries, pool_slots, segment_numbers
from lexite.kernels.slots import Slots

SMALLEST_WEIGHT = 1e-3  # pooled weights are not taken for smaller where the root is differentiated
SMOOTHING = 1e-3  # keeps the IDF of latents in no text, or in all, finite and above zero


@dataclass(frozen=True, slots=True)
class FlopsTerm:
    """The term for a batch.

    Attributes:
        loss: ``Σ_j v_j (mean over texts of w_j)²``, the weight of the term included.
        gradients: (slots,) its derivative by each activation.
        text_counts: (n_latents,) texts of the batch that hold each latent.
    """

    loss: float
    gradients: torch.Tensor
    text_counts: torch.Tensor


def flops_term(
    slots: Slots, values: torch.Tensor, offsets: torch.Tensor, text_share: torch.Tensor, coefficient: float
) -> FlopsTerm:
    """The squared mean weight of each latent over texts, with ``w = √(Σ f)`` and ``v_j = 1 / idf_j``.

    ``idf_j = ln(1 + (1 - p_j + ε) / (p_j + ε))`` with p_j the share of texts that hold j so far and ε = .001: the frequent are
    penalised most.

    Args:
        slots: chosen latents.
        values: (slots,) activations; those above zero count.
        offsets: (texts + 1,).
        text_share: (n_latents,) p.
        coefficient: weight of the term.
    """
    n_latents, n_texts = len(text_share), len(offsets) - 1
    pooled = pool_slots(slots, values, segment_numbers(offsets), n_latents)
    weights = pooled.sums.sqrt()
    idf = torch.log1p((1 - text_share + SMOOTHING) / (text_share + SMOOTHING)).float()
    means = torch.zeros(n_latents, device=values.device).index_add_(0, pooled.latents, weights) / max(n_texts, 1)
    loss = coefficient * float((means.square() / idf).sum(dtype=torch.float64))
    by_weight = (coefficient * 2 / max(n_texts, 1)) * (means / idf)[pooled.latents]
    by_sum = by_weight / (2 * weights.clamp(min=SMALLEST_WEIGHT))
    return FlopsTerm(loss, gather_entries(by_sum, pooled.entries), torch.bincount(pooled.latents, minlength=n_latents))
