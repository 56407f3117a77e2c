"""What a step is given: a batch of states, and where it stands in the run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lexite.sae.objective import ObjectiveConfig


@dataclass(frozen=True, slots=True)
class Batch:
    """Token states of a step.

    Attributes:
        states: (n, d_model), any float type.
        offsets: (passages + 1,) int64; passage i has the states ``offsets[i]:offsets[i + 1]``. None where tokens are shuffled.
        whole: tokens of the batch where other processes have a part of it; None where all of them are here.
    """

    states: torch.Tensor
    offsets: torch.Tensor | None = None
    whole: int | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens of the batch, over all processes that share it."""
        return len(self.states) if self.whole is None else self.whole


@dataclass(frozen=True, slots=True)
class Moment:
    """What changes over a run, apart from the learning rate.

    Attributes:
        k: latents per token; None for the final k.
        sparsity: what the weights of penalties are multiplied by.
        p: exponent of relu_l1's penalty.
    """

    k: int | None = None
    sparsity: float = 1.0
    p: float = 1.0


def moment(objective: ObjectiveConfig, k: int, done: int, total: int) -> Moment:
    """The state of all anneals after ``done`` of ``total`` tokens.

    k falls linearly from ``k_anneal_from`` to ``k`` over ``k_anneal_share`` of the run, then holds (CSRv2); penalties rise
    linearly over ``sparsity_warm_up_tokens``; p falls linearly from 1 to ``p_anneal_to`` over the second half.

    >>> annealed = ObjectiveConfig(k_anneal_from=64, p_anneal_to=0.5, sparsity_warm_up_tokens=20)
    >>> [(m.k, m.sparsity, m.p) for m in (moment(annealed, 8, done, 100) for done in (0, 10, 70, 100))]
    [(64, 0.0, 1.0), (56, 0.5, 1.0), (8, 1.0, 0.8), (8, 1.0, 0.5)]
    """
    progress = done / max(total, 1)
    now = k
    if objective.k_anneal_from is not None:
        left = max(1 - progress / objective.k_anneal_share, 0.0) if objective.k_anneal_share else 0.0
        now = round(k + (objective.k_anneal_from - k) * left)
    warm_up = objective.sparsity_warm_up_tokens
    sparsity = min(done / warm_up, 1.0) if warm_up else 1.0
    p = 1 - (1 - objective.p_anneal_to) * min(max(2 * progress - 1, 0.0), 1.0)
    return Moment(now, sparsity, p)
