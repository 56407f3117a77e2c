"""The scalars of an update by AdamW."""

from __future__ import annotations

from dataclasses import dataclass

from lexite.kernels.numbers import Number


@dataclass(frozen=True, slots=True)
class AdamStep:
    """Scalars of one update.

    Attributes:
        learning_rate: of this step, after warm-up and decay.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled; 0 for none.
        step: number of this update, from 1 (for bias correction).
        gradient_scale: what gradients are multiplied by (clipping).
    """

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    step: int
    gradient_scale: Number = 1.0
