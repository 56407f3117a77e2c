"""AuxK and aux_zipf: dead or under-used latents learn to reconstruct what the others leave over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.gradients import LatentGradients
from lexite.kernels.keep import keep_largest
from lexite.kernels.numbers import Number, at_least, number
from lexite.kernels.product import DEVICE_TILE_BYTES, TILE_BYTES
from lexite.kernels.ranks import ALONE, Ranks
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Rule, View
from lexite.sae.zipf import zipf_targets
from lexite.training.config import TrainingConfig
from lexite.training.trackers import Trackers

LOOK_AHEAD = 64  # batches for which latents that may die are looked up at once, on an accelerator
MOST_UNDER_USED = 1024  # latents in aux_zipf per step, at most: the products of more would take most of the step


class Auxiliary:
    """The auxiliary loss of a run.

    Args:
        sae: sizes.
        objective: which latents take part, and the Zipf curve.
        config: weight of the term, and latents per token in it.
        rule: decides where the objective leaves it open.
        trackers: say which latents are dead or rare.
        ranks: the processes that share each batch.
    """

    def __init__(
        self,
        sae: SAEConfig,
        objective: ObjectiveConfig,
        config: TrainingConfig,
        rule: Rule,
        trackers: Trackers,
        ranks: Ranks = ALONE,
    ) -> None:
        self.sae, self.objective, self.config, self.trackers, self.ranks = sae, objective, config, trackers, ranks
        chosen = rule.auxiliary if objective.auxiliary == "auto" else objective.auxiliary
        self.kind = chosen if config.aux_loss_coefficient else "none"
        self._candidates = torch.empty(0, dtype=torch.int64)
        self.forget()

    def forget(self) -> None:
        """Looks for candidates anew at the next step; for when the trackers were changed by anything but a step."""
        self._tokens_left = -1

    def learners_on_accelerator(self, dead: torch.Tensor, n_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """:meth:`learners` where the host would wait for the number of dead latents: numbers of more latents than take part.

        The latents that can become dead over the next 64 batches are looked up once for all of these, which is the one time
        that the host waits. Those that are not dead at a step have a weight of 0 there.

        Args:
            dead: (n_latents,) bool.
            n_tokens: tokens of the step.

        Returns:
            Numbers of latents, ascending, and factors of their activations, 0 for those that do not take part.
        """
        if self.kind != "dead":
            rows, weights = self.learners(dead)
            return rows, dead.new_zeros(0, dtype=torch.float32) if weights is None else weights
        if self._tokens_left < 0:
            self._tokens_left = LOOK_AHEAD * n_tokens
            since = self.trackers.tensors["tokens_since_active"]
            self._candidates = (since + self._tokens_left >= self.trackers.dead_after_tokens).nonzero().squeeze(1)
        self._tokens_left -= n_tokens
        return self._candidates, dead[self._candidates].float()

    def learners(self, dead: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The latents that take part in a step.

        Args:
            dead: (n_latents,) bool.

        Returns:
            Numbers of the latents, ascending, and factors of their activations; None for 1.
        """
        if self.kind == "dead":
            return dead.nonzero().squeeze(1), None
        if self.kind == "none" or not self.trackers.seen_enough:
            return torch.empty(0, dtype=torch.int64, device=dead.device), None
        o, density = self.objective, self.trackers.tensors["density"]
        return under_used(density, self.sae.k, o.zipf_fraction, o.zipf_exponent, o.zipf_offset)

    def add(
        self,
        view: View,
        errors: torch.Tensor,
        out: LatentGradients,
        own_bias: torch.Tensor | None,
        losses: dict[str, Number],
    ) -> Number:
        """Adds the term and its gradients, in place.

        Args:
            view: of the step.
            errors: (n, d_model) x^ - x of the main reconstruction.
            out: gradients of the weights.
            own_bias: (n_latents,) derivatives by the encoder's bias, where the rule gives its own.
            losses: terms of the loss by name.

        Returns:
            The number of dead latents.
        """
        dead = self.trackers.dead()
        rows, weights = self.learners(dead) if on_cpu(dead) else self.learners_on_accelerator(dead, view.n_tokens)
        if len(rows):
            encoder, bias, decoder = (w[rows] for w in (view.encoder_weight, view.encoder_bias, view.decoder_weight))
            config, dtype = self.config, view.product.matrix.dtype
            scale = config.aux_loss_coefficient, self.ranks.totals([number(errors.square().sum())])[0]
            extra = auxiliary_gradients(view.states, errors, encoder, bias, decoder, config.k_aux, *scale, dtype, weights)
            taking_part = None if on_cpu(dead) or weights is None else weights > 0
            out.add_rows(rows, extra.encoder, extra.decoder, extra.bias, taking_part)
            if own_bias is not None:
                own_bias.index_add_(0, rows, extra.bias)
            losses["aux"] = extra.loss if taking_part is None else extra.loss * taking_part.any()
        return number(dead.sum())


@dataclass(frozen=True, slots=True)
class AuxiliaryGradients:
    """Loss and gradients of AuxK, for the rows of the dead latents only.

    Attributes:
        loss: the term as it is added to the main loss, coefficient included.
        encoder: (n_dead, d_model).
        bias: (n_dead,).
        decoder: (n_dead, d_model).
    """

    loss: Number
    encoder: torch.Tensor
    bias: torch.Tensor
    decoder: torch.Tensor


def auxiliary_gradients(
    states: torch.Tensor,
    errors: torch.Tensor,
    encoder: torch.Tensor,
    bias: torch.Tensor,
    decoder: torch.Tensor,
    k_aux: int,
    coefficient: float,
    squared: Number | None = None,
    dtype: torch.dtype = torch.float32,
    weights: torch.Tensor | None = None,
) -> AuxiliaryGradients:
    """``coefficient · ‖ê - E‖² / ‖E‖²``, with ``E = x - x^`` held fixed and ``ê = W_dec TopK_kaux(ReLU(u))`` without a bias.

    Gao et al. 2024 (arXiv 2406.04093), appendix A.2. Works on tiles of tokens: tokens × dead latents never exist at once.
    With ``weights`` s the codes are s ReLU(u): latents count by how much they are under-used (see :func:`under_used`).

    Args:
        states: (n, d_model) fp32, centred.
        errors: (n, d_model) x^ - x of the main reconstruction.
        encoder: (n_dead, d_model) rows of the dead latents.
        bias: (n_dead,).
        decoder: (n_dead, d_model).
        k_aux: dead latents per token.
        coefficient: weight of the term.
        squared: ‖E‖² of the batch; None for that of ``errors``.
        dtype: number format of the products.
        weights: (n_dead,) from 0 to 1; None for 1.
    """
    n_dead = len(encoder)
    scale = coefficient / at_least(number(errors.square().sum()) if squared is None else squared, 1e-30)
    encoder_low, decoder_low = encoder.to(dtype), decoder.to(dtype)
    loss: Number = 0.0
    gradients = [torch.zeros_like(encoder), torch.zeros_like(bias), torch.zeros_like(decoder)]
    rows = max(64, (TILE_BYTES if on_cpu(states) else DEVICE_TILE_BYTES) // (4 * n_dead))
    for start in range(0, len(states), rows):
        part, target = states[start : start + rows], -errors[start : start + rows]
        codes = torch.relu((part.to(dtype) @ encoder_low.t()).float() + bias)
        if weights is not None:
            codes *= weights
        if k_aux < n_dead:
            codes = keep_largest(codes, k_aux)
        residual = (codes.to(dtype) @ decoder_low).float() - target
        loss = loss + number(residual.square().sum()) * scale
        residual_low = residual.to(dtype)
        code_gradient = (residual_low @ decoder_low.t()).float().mul_(2 * scale).mul_(codes > 0)
        if weights is not None:
            code_gradient *= weights
        gradients[0] += (code_gradient.to(dtype).t() @ part.to(dtype)).float()
        gradients[1] += code_gradient.sum(0)
        gradients[2] += (codes.to(dtype).t() @ residual_low).float() * (2 * scale)
    return AuxiliaryGradients(loss, *gradients)


def under_used(
    density: torch.Tensor, k: float, fraction: float, exponent: float, offset: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents that fire more rarely than a Zipf curve says, and their shortfall (after Ayonrinde 2024, arXiv 2411.02124).

    The source extends AuxK from dead latents to all under-used ones, but gives no formula. Ours: the latent of rank r by
    density has a target proportional to (r + β)^-α; all targets add up to k. A latent is under-used below a fraction of its
    target, and its weight is the shortfall, 1 - density / (fraction · target). Where all under-used latents are dead, this is
    AuxK. At most 1,024 latents are taken, the most under-used.

    Args:
        density: (n_latents,) running share of tokens that each latent fires on.
        k: what densities add up to.
        fraction: of the target.
        exponent: α.
        offset: β.

    Returns:
        Numbers of the latents, ascending, and their weights.
    """
    targets = _targets(len(density), k, exponent, offset, density.device)
    limits = torch.empty_like(targets)
    limits[torch.argsort(density, descending=True, stable=True)] = fraction * targets
    shortfall = torch.where(density < limits, 1 - density / limits.clamp(min=1e-30), 0.0)
    if not on_cpu(density):  # always as many, some of them with a weight of 0: the host would wait for their number
        rows = shortfall.topk(min(MOST_UNDER_USED, len(shortfall))).indices.sort().values
        return rows, shortfall[rows].float()
    rows = (shortfall > 0).nonzero().squeeze(1)
    if len(rows) > MOST_UNDER_USED:
        worst = torch.argsort(shortfall[rows], descending=True, stable=True)[:MOST_UNDER_USED]
        rows = rows[worst].sort().values
    return rows, shortfall[rows].float()


@lru_cache(maxsize=4)  # a run has one, on its device
def _targets(n_latents: int, k: float, exponent: float, offset: float, device: torch.device) -> torch.Tensor:
    """(n_latents,) fp64 target densities by rank; not to be changed."""
    return torch.from_numpy(zipf_targets(n_latents, k, exponent, offset)).to(device)
