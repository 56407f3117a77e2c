"""The optimizer in torch's own operations, for any device."""

from __future__ import annotations

import torch

from lexite.kernels.adam.scalars import AdamStep
from lexite.kernels.gradients import LatentGradients


def remove_parallel_reference(atoms: torch.Tensor, gradients: LatentGradients, project: bool) -> torch.Tensor:
    """The plain definition of :func:`lexite.kernels.adam.remove_parallel`: squared norms of latents, (n_latents,)."""
    if project:
        gradients.decoder.sub_((gradients.decoder * atoms).sum(1, keepdim=True) * atoms)
    both = gradients.encoder.square().sum(1) + gradients.decoder.square().sum(1) + gradients.bias.square()
    return torch.where(gradients.counts > 0, both, 0.0)


def update_rows_reference(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    unit_norm: bool,
    mirror: torch.Tensor | None,
) -> None:
    """The plain definition of :func:`lexite.kernels.adam.update_rows`."""
    gradient = torch.where((counts > 0).unsqueeze(1), gradient * step.gradient_scale, 0.0)
    first.mul_(step.beta1).add_(gradient, alpha=1 - step.beta1)
    second.mul_(step.beta2).addcmul_(gradient, gradient, value=1 - step.beta2)
    denominator = (second / (1 - step.beta2**step.step)).sqrt_().add_(step.epsilon)
    weight.mul_(1 - step.learning_rate * step.weight_decay)
    weight.addcdiv_(first, denominator, value=-step.learning_rate / (1 - step.beta1**step.step))
    if unit_norm:
        weight.div_(weight.norm(dim=1, keepdim=True).clamp(min=1e-8))
    if mirror is not None:
        mirror[:, : weight.shape[1]] = weight
