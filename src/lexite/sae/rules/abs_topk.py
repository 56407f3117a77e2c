"""AbsTopK: the k pre-activations of largest magnitude, signs kept (arXiv 2510.00404). For BM25 a latent becomes two terms."""

from __future__ import annotations

import torch

from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View


class AbsTopK(Rule):
    """The k largest magnitudes of each token, without ReLU."""

    def select(self, view: View) -> Selection:
        """The k largest by magnitude."""
        slots = view.largest(view.k, magnitude=True)
        return Selection(slots, view.preactivations(slots))

    def activate(self, view: View, selection: Selection) -> torch.Tensor:
        """Pre-activations as they are."""
        return selection.preactivations

    def finish(self, tensors: Tensors) -> Finished:
        """The same."""
        return Finished("abs_topk")
