"""Feature Choice: each latent chooses its tokens (Ayonrinde 2024, arXiv 2411.02124, section 3).

Latent i keeps its m_i tokens with the largest affinity, Σ m_i = k · n. The source sets m_i by a Zipf curve, but its exact rule
is not public. Ours: latents are ranked by running density, and the latent of rank r gets max(1, ∝ (r + β)^-α) tokens, rounded
by largest remainders. At use each latent has a threshold: the running mean, in double precision, of its smallest kept value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import torch

from lexite.kernels.largest import largest_of_latents
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View
from lexite.sae.zipf import zipf_counts


class FeatureChoice(Rule):
    """The m_i largest affinities of each latent over a batch, then ReLU."""

    auxiliary: ClassVar[Literal["dead", "zipf"]] = "zipf"

    def tensors(self) -> Tensors:
        """A running threshold per latent, NaN before it was active, and where to look for its largest entries."""
        n = self.sae.n_latents
        return {"running_threshold": torch.full((n,), torch.nan, dtype=torch.float64), "level": torch.zeros(n)}

    def select(self, view: View) -> Selection:
        """The largest of each latent."""
        budgets = self.budgets(view)

        def dense(latents: slice | torch.Tensor) -> torch.Tensor:
            return view.states @ view.encoder_weight[latents].t() + view.encoder_bias[latents]

        values, levels = view.preactivations, view.tensors["level"]
        return Selection(*largest_of_latents(view.product, view.states, values, dense, budgets, levels, view.ranks))

    def budgets(self, view: View) -> torch.Tensor:
        """(n_latents,) int64 tokens that each latent may keep: the densest so far gets most."""
        n, objective = view.n_tokens, self.objective
        total = max(view.k * n, self.sae.n_latents)
        counts = _curve(self.sae.n_latents, total, objective.zipf_exponent, objective.zipf_offset, n, view.states.device)
        order = torch.argsort(view.tensors["density"], descending=True, stable=True)
        budgets = torch.empty_like(counts)
        budgets[order] = counts
        return budgets

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Moves the thresholds of the latents that are active."""
        threshold = view.tensors["running_threshold"]
        active = values > 0
        smallest = torch.full_like(threshold, torch.inf)
        each = torch.where(active, values.double(), torch.inf)
        smallest.scatter_reduce_(0, selection.slots.indices.long(), each, "amin")
        smallest = view.ranks.smallest(smallest)
        seen = smallest.isfinite()
        before = torch.where(threshold.isnan(), smallest, threshold)
        moved = before.lerp(smallest.nan_to_num(posinf=0.0), self.objective.topk_threshold_lr)
        threshold.copy_(torch.where(seen, torch.where(threshold.isnan(), smallest, moved), threshold))

    def finish(self, tensors: Tensors) -> Finished:
        """A threshold per latent; one that was never active stays silent."""
        threshold = tensors["running_threshold"].float()
        return Finished("jumprelu", threshold.nan_to_num(nan=torch.finfo(torch.float32).max))


@lru_cache(maxsize=8)  # batches of a run are of one size, but for the last, and k changes rarely
def _curve(n_latents: int, total: int, exponent: float, offset: float, largest: int, device: torch.device) -> torch.Tensor:
    """(n_latents,) int64 tokens per rank; not to be changed."""
    return torch.from_numpy(zipf_counts(n_latents, total, exponent, offset, largest)).to(device)
