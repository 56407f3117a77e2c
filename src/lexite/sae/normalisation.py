"""What happens to a token state before the autoencoder sees it, under the names of SAELens.

- ``none``: nothing.
- ``expected_average_only_in``: one factor for all states, √d_model / mean‖x‖ (Anthropic, April 2024). It is estimated before
  training and folded into the weights at the end, so that a trained autoencoder takes states as they are.
- ``constant_norm_rescale``: each state is brought to the norm √d_model; a state of zeros stays as it is.
- ``layer_norm``: each state gets mean 0 and standard deviation 1 (with n - 1 in the denominator, plus 1e-5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from lexite.sae.config import Normalisation

LAYER_NORM_EPSILON = 1e-5


def normalise(states: torch.Tensor, kind: Normalisation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States as the autoencoder sees them, and what undoes it: ``x = x~ · scale + shift``.

    Args:
        states: (n, d_model) fp32.
        kind: one of those above; "none" and "expected_average_only_in" leave states as they are.

    Returns:
        (n, d_model) states; (n, 1) scale; (n, 1) shift.
    """
    ones, zeros = states.new_ones(len(states), 1), states.new_zeros(len(states), 1)
    if kind == "constant_norm_rescale":
        scale = states.norm(dim=1, keepdim=True) / states.shape[1] ** 0.5
        scale = scale.masked_fill(scale == 0, 1.0)
        return states / scale, scale, zeros
    if kind == "layer_norm":
        shift = states.mean(dim=1, keepdim=True)
        centred = states - shift
        scale = centred.std(dim=1, keepdim=True) + LAYER_NORM_EPSILON
        return centred / scale, scale, shift
    return states, ones, zeros


def average_norm_scale(mean_norm: float, d_model: int) -> float:
    """The factor of ``expected_average_only_in``: √d_model over the mean norm of the states."""
    return float(d_model**0.5 / max(mean_norm, 1e-12))
