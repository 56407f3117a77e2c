"""The interface of a selection rule, which chooses the latents of a batch in training and says how the finished model does.

A rule sees pre-activations only through :class:`View`, which never makes the tokens × latents matrix. Its functions are called
once per step in this order: ``select``, ``activate``, ``penalties``, ``backward``, ``wider_code``, ``observe``. ``start`` is
called once before the first step, ``finish`` at the end. Everything that a rule remembers from step to step is in ``tensors``,
which checkpoints keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from lexite.kernels.collect import threshold_patterns
from lexite.kernels.gradients import Reconstruction
from lexite.kernels.largest import SLACK
from lexite.kernels.numbers import Number
from lexite.kernels.product import EncoderProduct
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.slots import Slots, slot_values
from lexite.sae.activations import Activation
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class View:
    """What a rule sees of a step.

    Attributes:
        states: (n, d_model) fp32 centred states c = x - b_dec.
        product: the wide product; selects without keeping pre-activations.
        encoder_weight: (n_latents, d_model), effective: rescaled where that is asked for.
        encoder_bias: (n_latents,), likewise.
        decoder_weight: (n_latents, d_model), likewise.
        tensors: all that is trained or tracked, by name; a rule changes its own.
        k: latents per token at this moment.
        scale: 1 / Σ‖x - mean(x)‖² of the batch; a tensor without dimensions on an accelerator.
        sparsity: what the weights of penalties are multiplied by at this moment (warm-up).
        p: exponent of relu_l1's penalty at this moment.
        offsets: (passages + 1,) int64 on the CPU, where the batch is made of whole passages; else None.
        reconstruct: ``reconstruct(slots, values)`` gives errors and gradients of ``scale · Σ‖x^ - x‖²`` by the values.
        n_tokens: tokens of the batch: n, or more where several processes share a batch.
        ranks: these processes. ``states``, ``offsets`` and slots are the part of this one, and gradients and losses that a
            rule gives are added up over all of them.
    """

    states: torch.Tensor
    product: EncoderProduct
    encoder_weight: torch.Tensor
    encoder_bias: torch.Tensor
    decoder_weight: torch.Tensor
    tensors: Tensors
    k: int
    scale: Number
    sparsity: float
    p: float
    offsets: torch.Tensor | None
    reconstruct: Callable[[Slots, torch.Tensor], Reconstruction]
    n_tokens: int
    ranks: Ranks = ALONE

    def largest(self, k: int, *, magnitude: bool = False) -> Slots:
        """The k largest pre-activations above zero (or magnitudes) of each token, the largest first."""
        return Slots.of_rows(self.product.select(self.states, min(k, self.product.n_latents), magnitude=magnitude))

    def above(self, thresholds: torch.Tensor) -> Slots:
        """All latents whose pre-activations are above thresholds (n_latents,), and perhaps a few just below."""
        return self.product.collect(self.states, threshold_patterns(thresholds, self.product.matrix.dtype, SLACK))

    def preactivations(self, slots: Slots) -> torch.Tensor:
        """(slots,) exact u of chosen latents."""
        return slot_values(self.states, slots, self.encoder_weight, self.encoder_bias)


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen latents of a batch.

    Attributes:
        slots: which latents of which tokens.
        preactivations: (slots,) exact u, or whatever the rule uses in its place.
    """

    slots: Slots
    preactivations: torch.Tensor


@dataclass(frozen=True, slots=True)
class Backward:
    """Gradients behind the activations.

    Attributes:
        preactivations: (slots,) derivative of the loss by w·c of each slot; 0 where there is none.
        parameters: (n_latents,) derivatives by the rule's own parameters, by name; also ``encoder_bias``, where its derivative
            is not the sum over ``preactivations`` (both by effective parameters).
        losses: terms that the rule adds, by name.
    """

    preactivations: torch.Tensor
    parameters: Tensors = field(default_factory=dict)
    losses: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WiderCode:
    """A second code of the same slots, whose reconstruction error is added to the loss.

    Attributes:
        name: of the term.
        weight: of the term.
        values: (slots,) activations of the second code, at least 0.
    """

    name: str
    weight: float
    values: torch.Tensor


@dataclass(frozen=True, slots=True)
class Finished:
    """How the trained autoencoder chooses, one token at a time.

    Attributes:
        activation: see :mod:`lexite.sae.activations`.
        thresholds: (n_latents,), for jumprelu.
        encoder_factor: (n_latents,) by which encoder rows are multiplied first; None for 1.
    """

    activation: Activation
    thresholds: torch.Tensor | None = None
    encoder_factor: torch.Tensor | None = None


class Rule:
    """TopK unless a function is replaced: the k largest pre-activations of each token, then ReLU.

    Args:
        sae: sizes.
        objective: settings.
    """

    parameters: ClassVar[tuple[str, ...]] = ()
    """Names of its tensors that are trained; each has a number per latent."""
    learning_rate_factor: ClassVar[float] = 1.0
    """Factor of the learning rate for these tensors."""
    needs_passages: ClassVar[bool] = False
    """Whether batches must be made of whole passages."""
    product_bias: ClassVar[str] = "encoder_bias"
    """The tensor that the wide product adds."""
    auxiliary: ClassVar[Literal["dead", "zipf"]] = "dead"
    """What ``auxiliary: auto`` means."""
    starts_from: ClassVar[tuple[Activation, ...]] = ()
    """Activations of finished autoencoders whose weights a training by this rule can begin with; none by default."""

    def __init__(self, sae: SAEConfig, objective: ObjectiveConfig) -> None:
        self.sae, self.objective = sae, objective

    def tensors(self) -> Tensors:
        """What it trains or tracks, as it is at the start, on the CPU."""
        return {}

    def start(self, view: View) -> None:
        """Called before the first step, with the first batch."""

    def select(self, view: View) -> Selection:
        """Chooses latents; no gradient goes through the choice."""
        slots = view.largest(view.k)
        return Selection(slots, view.preactivations(slots))

    def activate(self, view: View, selection: Selection) -> torch.Tensor:
        """(slots,) activations f; 0 for a slot that is not active."""
        return torch.relu(selection.preactivations)

    def backward(self, view: View, selection: Selection, values: torch.Tensor, gradients: torch.Tensor) -> Backward:
        """From derivatives by the activations to those by pre-activations and own parameters.

        Args:
            view: of the step.
            selection: what was chosen.
            values: (slots,) activations.
            gradients: (slots,) derivative of the loss by each activation, also of slots that are not active; penalties
                included.
        """
        return Backward(torch.where(values != 0, gradients, 0.0))

    def wider_code(self, selection: Selection) -> WiderCode | None:
        """A second, wider code of what was selected, for a rule that is trained on two; None by default."""
        return None

    def penalties(self, view: View, slots: Slots, values: torch.Tensor, gradients: torch.Tensor) -> dict[str, Number]:
        """Adds derivatives of terms on the activations to ``gradients`` in place; returns the terms by name."""
        return {}

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        """Called at the end of a step, when the weights have moved: updates thresholds and the like."""

    def finish(self, tensors: Tensors) -> Finished:
        """How the trained autoencoder chooses."""
        return Finished("topk")
