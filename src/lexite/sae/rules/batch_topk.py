"""BatchTopK: the k · n largest activations of a batch of n tokens (Bussmann et al. 2024, arXiv 2412.06410).

A token gets as many latents as it needs. At use one threshold θ stands for the batch: the running mean of the smallest active
value of each batch, ``θ <- (1 - r) θ + r min(f > 0)``, kept in double precision (in bf16 it would stop moving); the first batch
sets it. SAELens does the same; r is its ``topk_threshold_lr``.
"""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.largest import largest_of_batch
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View


class BatchTopK(Rule):
    """The k · n largest entries of ReLU(u) over a batch of n tokens."""

    def tensors(self) -> Tensors:
        """The running threshold, NaN before the first batch, and where to look for a batch's largest entries."""
        return {"running_threshold": torch.tensor(torch.nan, dtype=torch.float64), "level": torch.tensor(0.0)}

    def select(self, view: View) -> Selection:
        """The largest of the whole batch."""
        total, level = view.k * view.n_tokens, view.tensors["level"]
        slots, values, _ = largest_of_batch(view.product, view.states, view.preactivations, total, level, view.ranks)
        return Selection(slots, values)

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Moves the running threshold."""
        threshold = view.tensors["running_threshold"]
        if not on_cpu(values):
            if view.ranks.count(len(values)):  # else there is nothing to take the smallest of
                each = torch.where(values > 0, values, torch.inf)
                smallest = view.ranks.smallest((each.amin() if len(each) else each.new_tensor(torch.inf)).double())
                moved = torch.where(threshold.isnan(), smallest, threshold.lerp(smallest, self.objective.topk_threshold_lr))
                threshold.copy_(torch.where(smallest.isfinite(), moved, threshold))
            return
        active = values[values > 0]
        smallest = view.ranks.smallest(active.min().double() if len(active) else torch.tensor(torch.inf, dtype=torch.float64))
        if bool(smallest.isinf()):
            return
        if bool(threshold.isnan()):
            threshold.copy_(smallest)
        else:
            threshold.lerp_(smallest, self.objective.topk_threshold_lr)

    def finish(self, tensors: Tensors) -> Finished:
        """One threshold for all latents."""
        threshold = tensors["running_threshold"].nan_to_num(0.0).float()
        return Finished("jumprelu", threshold.expand(self.sae.n_latents).clone())
