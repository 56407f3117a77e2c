"""AdamW over both weight matrices in one pass, with the steps before and after it.

Per latent: the part of the decoder's gradient that is parallel to the atom is removed, both gradients are clipped by the
global norm, moments and weights are updated, the atom is brought back to unit norm, and the encoder's row is written to the
matrix that the product reads. Rows without a gradient count as having a gradient of zero, as in AdamW; no zeros are stored.

AdamW: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with the learning rate in front of the decay.
"""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import on_cpu, use_triton
from lexite.kernels.adam.cpu import remove_parallel_cpu, update_rows_cpu
from lexite.kernels.adam.reference import remove_parallel_reference, update_rows_reference
from lexite.kernels.adam.scalars import AdamStep
from lexite.kernels.gradients import LatentGradients
from lexite.kernels.numbers import Number, number

__all__ = ["AdamStep", "remove_parallel", "update_rows"]
NARROW = 16  # columns; rows of fewer are not worth a program each


def remove_parallel(atoms: torch.Tensor, gradients: LatentGradients, *, project: bool = True) -> Number:
    """Removes from each atom's gradient its part along the atom, in place; returns the squared norm of all gradients.

    Args:
        atoms: (n_latents, d_model) fp32, unit norm.
        gradients: of the step; ``decoder`` is changed.
        project: False only takes the norm, for atoms that are free.
    """
    compute = remove_parallel_cpu if on_cpu(atoms) else remove_parallel_reference
    return number(compute(atoms, gradients, project).double().sum())


def update_rows(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    *,
    unit_norm: bool = False,
    mirror: torch.Tensor | None = None,
) -> None:
    """AdamW on the rows of one matrix, in place.

    Args:
        weight: (n, d) fp32.
        first: (n, d) first moments.
        second: (n, d) second moments.
        gradient: (n, d); a row whose count is 0 counts as zero, whatever it holds.
        counts: (n,) int64.
        step: scalars of the update.
        unit_norm: bring each row back to norm 1 afterwards.
        mirror: (n, at least d) bf16 or fp32; its first d columns receive the new weights.
    """
    if on_cpu(weight):
        update_rows_cpu(weight, first, second, gradient, counts, step, unit_norm, mirror)
    elif use_triton(weight) and weight.shape[1] >= NARROW:
        from lexite.kernels.adam.triton import update_rows_triton

        update_rows_triton(weight, first, second, gradient, counts, step, unit_norm, mirror)
    else:
        update_rows_reference(weight, first, second, gradient, counts, step, unit_norm, mirror)
