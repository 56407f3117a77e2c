"""The classic: ReLU and an L1 penalty (Cunningham et al. 2023, arXiv 2309.08600), with p-annealing as an option.

The penalty is ``λ Σ f^p``. p is 1 for the classic; with p-annealing (Karvonen et al. 2024, arXiv 2408.00113, section 4) it
falls in the second half of the run, and λ is multiplied at each step of p by Σ f^p(old) / Σ f^p(new), so that the loss is
continuous. Unless ``l0_target`` is 0, λ is steered: it rises a little after each batch with more active latents than the
target, and falls after one with fewer. At use this is JumpReLU with all thresholds at zero.
"""

from __future__ import annotations

import math

import torch

from lexite.errors import ConfigError
from lexite.kernels.largest import largest_of_batch
from lexite.kernels.slots import Slots
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View

START = 8  # at first, this many times the target of L0 are active; with biases of zero half of all latents would be
STEERING = 0.01  # largest change of the weight's logarithm per batch
SMALLEST = 1e-6  # lower limit of an activation in f^p


def start_bias(view: View, target: float) -> float:
    """The bias with which START times the target of L0 are active on the first batch; 0 without a target."""
    if not target:
        return 0.0
    total = round(min(START * target, view.product.n_latents / 2) * len(view.states))
    *_, smallest = largest_of_batch(view.product, view.states, view.preactivations, total, torch.tensor(0.0))
    return -smallest


def steer(factor: torch.Tensor, l0: float, target: float) -> None:
    """Moves the weight of a penalty so that L0 approaches ``target``."""
    if target:
        factor.mul_(math.exp(STEERING * min(max(math.log(max(l0, 1e-3) / target), -1.0), 1.0)))


def check_atoms(objective: ObjectiveConfig, rule: str) -> None:
    """Refuses free atoms under a penalty that looks at activations alone: these would shrink and atoms grow.

    Raises:
        ConfigError: atoms are free, and activations are not weighed by their norms.
    """
    if not (objective.normalize_decoder or objective.rescale_acts_by_decoder_norm):
        raise ConfigError(
            f"The rule {rule} penalises activations, which would shrink while free atoms grow. Use it with "
            "normalize_decoder or with rescale_acts_by_decoder_norm."
        )


class ReLUL1(Rule):
    """All positive pre-activations, held down by a penalty on their sum.

    Raises:
        ConfigError: atoms are free, and activations are not weighed by their norms.
    """

    def __init__(self, sae: SAEConfig, objective: ObjectiveConfig) -> None:
        super().__init__(sae, objective)
        check_atoms(objective, "relu_l1")

    def tensors(self) -> Tensors:
        """The factor of λ, and the p that it was set for."""
        return {name: torch.tensor(1.0, dtype=torch.float64) for name in ("penalty_factor", "penalty_p")}

    def start(self, view: View) -> None:
        """Lowers all biases alike, so that the first batches are not dense."""
        view.tensors["encoder_bias"].add_(start_bias(view, self.objective.target(view.k)))

    def select(self, view: View) -> Selection:
        """All positive pre-activations."""
        nothing = torch.zeros(view.product.n_latents, device=view.states.device)
        slots = view.above(nothing)
        return Selection(slots, view.preactivations(slots))

    def penalties(self, view: View, slots: Slots, values: torch.Tensor, gradients: torch.Tensor) -> dict[str, float]:
        """λ Σ f^p."""
        factor, p_before = view.tensors["penalty_factor"], view.tensors["penalty_p"]
        active = values > 0
        f = values[active].double().clamp(min=SMALLEST)
        if float(p_before) != view.p and len(f):
            factor.mul_(f.pow(float(p_before)).sum() / f.pow(view.p).sum())
            p_before.fill_(view.p)
        weight = self.objective.l1_coefficient * float(factor) * view.sparsity * view.scale
        gradients[active] += (weight * view.p * f.pow(view.p - 1)).float()
        return {"l1": weight * float(f.pow(view.p).sum())}

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Steers λ."""
        l0 = float((values > 0).sum()) / max(selection.slots.n_tokens, 1)
        steer(view.tensors["penalty_factor"], l0, self.objective.target(view.k))

    def finish(self, tensors: Tensors) -> Finished:
        """ReLU."""
        return Finished("jumprelu", torch.zeros(self.sae.n_latents))
