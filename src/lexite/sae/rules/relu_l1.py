"""The classic: ReLU and an L1 penalty (Cunningham et al. 2023, arXiv 2309.08600), with p-annealing as an option.

The penalty is ``λ Σ f^p``. p is 1 for the classic; with p-annealing (Karvonen et al. 2024, arXiv 2408.00113, section 4) it
falls in the second half of the run, and λ is multiplied at each step of p by Σ f^p(old) / Σ f^p(new), so that the loss is
continuous. Unless ``l0_target`` is 0, λ is steered: it rises a little after each batch with more active latents than the
target, and falls after one with fewer. At use this is JumpReLU with all thresholds at zero.
"""

from __future__ import annotations

import torch

from lexite.errors import ConfigError
from lexite.kernels.accelerator import on_cpu
from lexite.kernels.largest import largest_of_batch
from lexite.kernels.numbers import Number, at_least, at_most, exponential, logarithm, number
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
    total, level = round(min(START * target, view.product.n_latents / 2) * view.n_tokens), torch.tensor(0.0)
    *_, smallest = largest_of_batch(view.product, view.states, view.preactivations, total, level, view.ranks)
    return -float(smallest)


def steer(factor: torch.Tensor, l0: Number, target: float) -> None:
    """Moves the weight of a penalty so that L0 approaches ``target``."""
    if target:
        ratio = logarithm(at_least(l0, 1e-3) / target)
        factor.mul_(exponential(STEERING * at_most(at_least(ratio, -1.0), 1.0)))


def mean_active(view: View, values: torch.Tensor) -> Number:
    """Active latents per token of the batch: (slots,) values above zero, over the tokens."""
    return view.ranks.totals([number((values > 0).sum().double())])[0] / max(view.n_tokens, 1)


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

    def penalties(self, view: View, slots: Slots, values: torch.Tensor, gradients: torch.Tensor) -> dict[str, Number]:
        """λ Σ f^p."""
        factor, p_before = view.tensors["penalty_factor"], view.tensors["penalty_p"]
        if not on_cpu(values):
            return self._penalties_on_accelerator(view, values, gradients)
        active = values > 0
        f = values[active].double().clamp(min=SMALLEST)
        if float(p_before) != view.p and view.ranks.count(len(f)):
            before, now = view.ranks.sums(f.pow(float(p_before)).sum(), f.pow(view.p).sum())
            factor.mul_(before / now)
            p_before.fill_(view.p)
        weight = self.objective.l1_coefficient * float(factor) * view.sparsity * float(view.scale)
        gradients[active] += (weight * view.p * f.pow(view.p - 1)).float()
        return {"l1": weight * float(f.pow(view.p).sum())}

    def _penalties_on_accelerator(self, view: View, values: torch.Tensor, gradients: torch.Tensor) -> dict[str, Number]:
        """The same over all slots, of which those that are not active count as 0, so that the host need not wait."""
        factor, p_before = view.tensors["penalty_factor"], view.tensors["penalty_p"]
        active, f = values > 0, values.double().clamp(min=SMALLEST)

        def total(p: Number) -> torch.Tensor:
            return torch.where(active, f.pow(p), 0.0).sum()

        own = total(view.p)
        before, now, n_active = view.ranks.sums(total(p_before), own.clone(), active.sum().double())
        factor.mul_(torch.where((p_before != view.p) & (n_active > 0), before / now.clamp(min=1e-300), 1.0))
        p_before.copy_(torch.where(n_active > 0, view.p, p_before))
        weight = self.objective.l1_coefficient * factor * view.sparsity * view.scale
        gradients += torch.where(active, (weight * view.p * f.pow(view.p - 1)).float(), 0.0)
        return {"l1": weight * own}

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Steers λ."""
        steer(view.tensors["penalty_factor"], mean_active(view, values), self.objective.target(view.k))

    def finish(self, tensors: Tensors) -> Finished:
        """ReLU."""
        return Finished("jumprelu", torch.zeros_like(tensors["encoder_bias"]))
