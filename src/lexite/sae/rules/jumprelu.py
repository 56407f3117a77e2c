"""JumpReLU: f = u where u is above a threshold that is learned per latent (Rajamanoharan et al. 2024, arXiv 2407.14435).

Thresholds get their gradients straight through a window of width ε around them (equations 11 and 12):
``df/dθ = -(θ/ε) 1[|u - θ| < ε/2]`` and, for the step H that L0 counts, ``dH/dθ = -(1/ε) 1[|u - θ| < ε/2]``. The kernel acts on
u, not on f. The penalty is (L0 / target - 1)², so the number of active latents is set directly.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from lexite.errors import ConfigError
from lexite.kernels.accelerator import on_cpu
from lexite.kernels.largest import largest_of_batch
from lexite.kernels.numbers import number
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Backward, Finished, Rule, Selection, Tensors, View


class JumpReLU(Rule):
    """u where it is above the latent's own threshold.

    Raises:
        ConfigError: ``l0_target`` is 0.
    """

    parameters: ClassVar[tuple[str, ...]] = ("threshold",)
    # AdamW moves a threshold by about the learning rate per step, a thousandth of its size. In the thousand steps of a short
    # run that would leave L0 far from its target.
    learning_rate_factor: ClassVar[float] = 10.0

    def __init__(self, sae: SAEConfig, objective: ObjectiveConfig) -> None:
        super().__init__(sae, objective)
        if objective.l0_target == 0:
            raise ConfigError("The rule jumprelu needs an L0 to aim at: l0_target must be above 0.")

    def tensors(self) -> Tensors:
        """A threshold per latent."""
        return {"threshold": torch.full((self.sae.n_latents,), self.objective.jumprelu_init_threshold or 0.0)}

    def start(self, view: View) -> None:
        """Sets all thresholds to the value at which the first batch has the target L0, unless they were given."""
        if self.objective.jumprelu_init_threshold is None:
            total, level = round(self.objective.target(view.k) * view.n_tokens), torch.tensor(0.0)
            *_, smallest = largest_of_batch(view.product, view.states, view.preactivations, total, level, view.ranks)
            view.tensors["threshold"].fill_(float(smallest))

    def select(self, view: View) -> Selection:
        """All latents above their thresholds, and those in the window below, as far as their u is above zero."""
        lowest = (view.tensors["threshold"] - self.objective.jumprelu_bandwidth / 2).clamp(min=0)
        slots = view.above(lowest)
        return Selection(slots, view.preactivations(slots))

    def activate(self, view: View, selection: Selection) -> torch.Tensor:
        """U above the threshold, else 0."""
        u = selection.preactivations
        return torch.where((u > self._thresholds(view, selection)) & (u > 0), u, 0.0)

    def backward(self, view: View, selection: Selection, values: torch.Tensor, gradients: torch.Tensor) -> Backward:
        """Straight through the step for u, through the window for θ; with the L0 term."""
        epsilon, target = self.objective.jumprelu_bandwidth, self.objective.target(view.k)
        u, thresholds = selection.preactivations, self._thresholds(view, selection)
        window = (u - thresholds).abs() < epsilon / 2
        coefficient = self.objective.l0_coefficient * view.sparsity
        n = max(view.n_tokens, 1)
        excess = view.ranks.totals([number((values > 0).sum().double())])[0] / n / target - 1
        each = gradients * -(thresholds / epsilon) - coefficient * 2 * excess / (target * n) / epsilon
        threshold = torch.zeros_like(view.tensors["threshold"])
        if on_cpu(window):
            threshold.index_add_(0, selection.slots.indices[window].long(), each[window])
        else:  # the host would wait for the number of those in the window
            threshold.index_add_(0, selection.slots.indices.long(), torch.where(window, each, 0.0))
        direct = torch.where(values != 0, gradients, 0.0)
        return Backward(direct, {"threshold": threshold}, {"l0": coefficient * excess**2 / view.ranks.size})

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Keeps thresholds at zero or above."""
        view.tensors["threshold"].clamp_(min=0)

    def finish(self, tensors: Tensors) -> Finished:
        """The thresholds as they were learned."""
        return Finished("jumprelu", tensors["threshold"].clamp(min=0).clone())

    @staticmethod
    def _thresholds(view: View, selection: Selection) -> torch.Tensor:
        return view.tensors["threshold"][selection.slots.indices.long()]
