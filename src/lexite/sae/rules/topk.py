"""TopK: the k largest pre-activations of each token (Gao et al. 2024, arXiv 2406.04093, section 2.3), with Multi-TopK.

Multi-TopK (the same, appendix A.2) adds the error with 4k latents, so that a model works at other k than it was trained with.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from lexite.sae.activations import Activation
from lexite.sae.rules.base import Rule, Selection, View, WiderCode

MORE = 4  # Multi-TopK's second code has so many times k latents


class TopK(Rule):
    """The k largest pre-activations of each token, then ReLU."""

    starts_from: ClassVar[tuple[Activation, ...]] = ("topk",)

    def select(self, view: View) -> Selection:
        """The k largest; with Multi-TopK 4k of them, the first k of which are active."""
        slots = view.largest(MORE * view.k if self.objective.multi_topk_coefficient else view.k)
        return Selection(slots, view.preactivations(slots))

    def activate(self, view: View, selection: Selection) -> torch.Tensor:
        """ReLU of each token's first k slots."""
        values = torch.relu(selection.preactivations)
        return values.masked_fill_(selection.slots.ranks >= view.k, 0.0) if self.objective.multi_topk_coefficient else values

    def wider_code(self, selection: Selection) -> WiderCode | None:
        """Multi-TopK: all slots that were selected, of which only each token's first k are active."""
        weight = self.objective.multi_topk_coefficient
        return WiderCode("multi_topk", weight, torch.relu(selection.preactivations)) if weight else None
