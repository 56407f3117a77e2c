"""What a step finds out: measures, losses, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lexite.kernels.gradients import LatentGradients
from lexite.kernels.numbers import Number, at_least, number
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.sparse import Centred
from lexite.sae import SparseCodes
from lexite.sae.rules.base import Selection, View


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one step measured; :meth:`read` gives it as plain numbers.

    Attributes:
        squared_error: Σ‖x - x^‖² over the batch, with the whole dictionary.
        variance: Σ‖x - mean(x)‖² over the batch; FVU is the ratio of the two.
        active: active latents, summed over the tokens.
        tokens: tokens in the batch.
        losses: each term of the loss by name, its weight included.
        gradient_norm: before clipping.
        n_dead: dead latents before the step.
    """

    squared_error: Number
    variance: Number
    active: Number
    tokens: int
    losses: dict[str, Number]
    gradient_norm: Number
    n_dead: Number

    def packed(self) -> StepMetrics:
        """The same with all numbers of an accelerator in one tensor, which is all that is kept until they are read."""
        on_device = [value for value in self._values() if isinstance(value, torch.Tensor)]
        if not on_device:
            return self
        together = torch.stack([value.double() for value in on_device])
        fresh = iter(together.unbind())
        return self._with([next(fresh) if isinstance(value, torch.Tensor) else value for value in self._values()])

    @staticmethod
    def read(steps: Sequence[StepMetrics]) -> list[StepMetrics]:
        """The same as plain numbers; for those of an accelerator the host waits once for all steps."""
        on_device = [value for step in steps for value in step._values() if isinstance(value, torch.Tensor)]
        if not on_device:
            return list(steps)
        known = iter(torch.stack([value.double() for value in on_device]).tolist())
        return [
            step._with([next(known) if isinstance(value, torch.Tensor) else value for value in step._values()])
            for step in steps
        ]

    def _values(self) -> list[Number]:
        return [self.squared_error, self.variance, self.active, self.gradient_norm, self.n_dead, *self.losses.values()]

    def _with(self, values: list[Number]) -> StepMetrics:
        error, variance, active, norm, n_dead, *losses = values
        return StepMetrics(error, variance, active, self.tokens, dict(zip(self.losses, losses, strict=True)), norm, n_dead)


@dataclass(frozen=True, slots=True)
class Gradients:
    """Codes, losses and gradients of a batch, before anything is changed.

    Where several processes share a batch, codes are those of this one's tokens, and :mod:`lexite.training.exchange` makes
    gradients, losses and measures those of the whole batch.

    Attributes:
        latents: by encoder, encoder bias and decoder, latent by latent; memory that the next step uses again.
        offset: (d_model,) by the decoder's bias.
        rule: (n_latents,) by the parameters that the rule brings, by name.
        losses: terms of the loss by name.
        view: what the rule saw.
        selection: what the rule chose.
        values: (slots,) activations.
        squared_error: see :class:`StepMetrics`.
        variance: likewise.
        n_dead: likewise.
        text_share: (n_latents,) share of the batch's texts with each latent, where the loss looks at texts.
    """

    latents: LatentGradients
    offset: torch.Tensor
    rule: dict[str, torch.Tensor]
    losses: dict[str, Number]
    view: View
    selection: Selection
    values: torch.Tensor
    squared_error: Number
    variance: Number
    n_dead: Number
    text_share: torch.Tensor | None

    @property
    def codes(self) -> SparseCodes:
        """Activations and latents of each token, signed where the rule keeps signs."""
        values, indices = self.selection.slots.padded(self.values)
        return SparseCodes(values, indices, len(self.latents.counts))

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """All gradients by the name of their parameter, dense, zero where nothing was chosen; for looking at small models."""
        used = self.latents.counts > 0
        matrices = {"encoder_weight": self.latents.encoder, "decoder_weight": self.latents.decoder}
        dense = {name: torch.where(used[:, None], matrix, 0.0) for name, matrix in matrices.items()}
        bias = torch.where(used, self.latents.bias, 0.0)
        return {**dense, "encoder_bias": bias, "decoder_bias": self.offset.clone(), **self.rule}


def variance_and_squares(
    centred: Centred, bias: torch.Tensor, n_tokens: int | None = None, ranks: Ranks = ALONE
) -> tuple[Number, Number]:
    """Σ‖x - mean(x)‖² and Σ‖x‖² over a batch, from the sums over its centred states c = x - b.

    Σ‖x - mean(x)‖² = Σ‖c‖² - ‖Σc‖² / n, and Σ‖x‖² = Σ‖c‖² + 2 b·Σc + n‖b‖². All in fp64.

    Args:
        centred: of the batch, or this rank's part of it.
        bias: (d_model,), what was subtracted.
        n_tokens: tokens of the batch; None for those in ``centred``.
        ranks: the processes that have the batch.
    """
    n, b = len(centred.states) if n_tokens is None else n_tokens, bias.double()
    total, squares = ranks.sums(centred.totals.sum(0).double(), centred.squared.sum(dtype=torch.float64))
    squared = number(squares)
    variance = squared - number(total @ total) / max(n, 1)
    return at_least(variance, 0.0), squared + 2 * number(b @ total) + n * number(b @ b)
