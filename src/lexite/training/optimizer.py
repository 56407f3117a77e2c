"""The optimizer of a run: AdamW, with gradients clipped by their common norm and atoms kept at unit norm."""

from __future__ import annotations

from dataclasses import replace

import torch

from lexite.kernels.adam import AdamStep, remove_parallel, update_rows
from lexite.kernels.numbers import Number, at_most, number, root
from lexite.sae.rules.base import Rule, Tensors
from lexite.training.config import TrainingConfig
from lexite.training.results import Gradients
from lexite.training.weights import Weights

BETA1, BETA2 = 0.9, 0.999
EPSILON = 6.25e-10  # Gao et al. 2024: small beside the gradients of a normalised loss


class Optimizer:
    """AdamW over the weights of a run.

    Args:
        weights: what it moves.
        rule: may train its own parameters at another learning rate.
        config: weight decay and clipping.

    Attributes:
        tensors: first and second moments of each trained tensor, as ``first.NAME`` and ``second.NAME``.
        steps: updates so far.
    """

    def __init__(self, weights: Weights, rule: Rule, config: TrainingConfig) -> None:
        self.weights, self.rule, self.config = weights, rule, config
        self.tensors: Tensors = {
            f"{moment}.{name}": torch.zeros_like(weights.tensors[name])
            for name in weights.trained
            for moment in ("first", "second")
        }
        self.steps = 0

    def norm(self, gradients: Gradients) -> Number:
        """The norm of all gradients together, before clipping.

        Where atoms have unit norm, the part of each atom's gradient along the atom is removed first, in place.
        """
        squared_norm = remove_parallel(self.weights.tensors["decoder_weight"], gradients.latents, project=not self.weights.free)
        extra = [gradients.offset, *gradients.rule.values()]
        return root(squared_norm + sum(number(tensor.square().sum()) for tensor in extra))

    def update(self, gradients: Gradients, norm: Number, learning_rate: float) -> None:
        """Moves the weights, in place.

        Args:
            gradients: as :meth:`norm` left them.
            norm: what :meth:`norm` returned.
            learning_rate: of this step.
        """
        self.steps += 1
        clip = at_most(self.config.clip_norm / (norm + 1e-6), 1.0) if self.config.clip_norm else 1.0
        matrices = AdamStep(learning_rate, BETA1, BETA2, EPSILON, self.config.weight_decay, self.steps, clip)
        vectors = replace(matrices, weight_decay=0.0)
        own = replace(vectors, learning_rate=learning_rate * self.rule.learning_rate_factor)
        weights, latents = self.weights, gradients.latents
        encoder, decoder = self._parts("encoder_weight"), self._parts("decoder_weight")
        update_rows(*encoder, latents.encoder, latents.counts, matrices, mirror=weights.mirror)
        update_rows(*decoder, latents.decoder, latents.counts, matrices, unit_norm=not weights.free)
        self._update_column("encoder_bias", latents.bias, latents.counts, vectors)
        for name, gradient in gradients.rule.items():
            self._update_column(name, gradient, torch.ones_like(latents.counts), own)
        row = [tensor.unsqueeze(0) for tensor in (*self._parts("decoder_bias"), gradients.offset)]
        update_rows(row[0], row[1], row[2], row[3], torch.ones(1, dtype=torch.int64, device=row[0].device), vectors)
        weights.follow()

    def _parts(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A trained tensor with its first and second moments."""
        return self.weights.tensors[name], self.tensors[f"first.{name}"], self.tensors[f"second.{name}"]

    def _update_column(self, name: str, gradient: torch.Tensor, counts: torch.Tensor, step: AdamStep) -> None:
        """Updates a tensor with a number per latent: a matrix of one column."""
        weight, first, second = (tensor.unsqueeze(1) for tensor in self._parts(name))
        update_rows(weight, first, second, gradient.unsqueeze(1), counts, step)
