"""Gated: one number decides whether a latent is active, another how much (Rajamanoharan et al. 2024, arXiv 2404.16014).

With z = W (x - b_dec) shared: the gate is π = z + b_gate, the magnitude e^r z + b_mag, and f = 1[π > 0] ReLU(e^r z + b_mag).
The L1 penalty and a second reconstruction, with the decoder held fixed, teach the gate: ``λ Σ ReLU(π) + ‖x^(ReLU(π)) - x‖²``
(equation 8). λ is steered as in relu_l1. The finished model is a JumpReLU, exactly (appendix E): weights e^r W, bias b_mag,
threshold max(0, b_mag - e^r b_gate).
"""

from __future__ import annotations

from typing import ClassVar

import torch

from lexite.kernels.numbers import number
from lexite.kernels.slots import slot_values
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Backward, Finished, Rule, Selection, Tensors, View
from lexite.sae.rules.relu_l1 import check_atoms, mean_active, start_bias, steer


class Gated(Rule):
    """Gates decide, magnitudes measure.

    Raises:
        ConfigError: atoms are free, and activations are not weighed by their norms.
    """

    parameters: ClassVar[tuple[str, ...]] = ("gate_bias", "gate_scale")
    product_bias: ClassVar[str] = "gate_bias"

    def __init__(self, sae: SAEConfig, objective: ObjectiveConfig) -> None:
        super().__init__(sae, objective)
        check_atoms(objective, "gated")

    def tensors(self) -> Tensors:
        """Bias of the gates, logarithm of the magnitudes' scale, and the factor of λ."""
        biases = {name: torch.zeros(self.sae.n_latents) for name in self.parameters}
        return {**biases, "penalty_factor": torch.tensor(1.0, dtype=torch.float64)}

    def start(self, view: View) -> None:
        """Closes most gates, so that the first batches are not dense."""
        view.tensors["gate_bias"].add_(start_bias(view, self.objective.target(view.k)))

    def select(self, view: View) -> Selection:
        """All latents with an open gate. Pre-activations are z, without a bias."""
        nothing = torch.zeros(view.product.n_latents, device=view.states.device)
        slots = view.above(nothing)
        return Selection(slots, slot_values(view.states, slots, view.encoder_weight, torch.zeros_like(view.encoder_bias)))

    def activate(self, view: View, selection: Selection) -> torch.Tensor:
        """Magnitudes behind open gates."""
        latents = selection.slots.indices.long()
        magnitudes = view.tensors["gate_scale"].exp()[latents] * selection.preactivations + view.encoder_bias[latents]
        return torch.where(self._gates(view, selection) > 0, torch.relu(magnitudes), 0.0)

    def backward(self, view: View, selection: Selection, values: torch.Tensor, gradients: torch.Tensor) -> Backward:
        """Through the magnitudes for f; penalty and second reconstruction through the gates."""
        gates = torch.relu(self._gates(view, selection))
        weight = self.objective.l1_coefficient * number(view.tensors["penalty_factor"]) * view.sparsity * view.scale
        second = view.reconstruct(selection.slots, gates)
        error = view.scale * number(second.squared[:, -1].sum(dtype=torch.float64))
        by_gate = torch.where(gates > 0, second.gradients + weight, 0.0)
        by_magnitude = torch.where(values > 0, gradients, 0.0)
        scales = view.tensors["gate_scale"].exp()[selection.slots.indices.long()]
        by_product = by_magnitude * scales
        sums = {
            "encoder_bias": _by_latent(selection, by_magnitude, self.sae.n_latents),
            "gate_bias": _by_latent(selection, by_gate, self.sae.n_latents),
            "gate_scale": _by_latent(selection, by_product * selection.preactivations, self.sae.n_latents),
        }
        losses = {"gate_l1": weight * number(gates.sum(dtype=torch.float64)), "gate_reconstruction": error}
        return Backward(by_product + by_gate, sums, losses)

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Steers λ."""
        steer(view.tensors["penalty_factor"], mean_active(view, values), self.objective.target(view.k))

    def finish(self, tensors: Tensors) -> Finished:
        """A JumpReLU with the scales in its weights."""
        scales = tensors["gate_scale"].exp()
        thresholds = (tensors["encoder_bias"] - scales * tensors["gate_bias"]).clamp(min=0)
        return Finished("jumprelu", thresholds, scales)

    @staticmethod
    def _gates(view: View, selection: Selection) -> torch.Tensor:
        return selection.preactivations + view.tensors["gate_bias"][selection.slots.indices.long()]


def _by_latent(selection: Selection, each: torch.Tensor, n_latents: int) -> torch.Tensor:
    return torch.zeros(n_latents, device=each.device).index_add_(0, selection.slots.indices.long(), each)
