"""Free atoms: selecting on u · ‖d‖ and decoding with f / ‖d‖, as SAELens has it (``rescale_acts_by_decoder_norm``, 6.14).

That is an autoencoder with atoms d / ‖d‖ of unit norm whose encoder is W ‖d‖, b ‖d‖. A step works on these effective weights;
the gradients are then those of the weights behind them. At the end the effective weights are what is saved.
"""

from __future__ import annotations

import torch

from lexite.kernels.gradients import LatentGradients

SMALLEST_NORM = 1e-8


def effective(
    encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Effective encoder (n_latents, d_model), bias (n_latents,), atoms (n_latents, d_model), and the norms (n_latents,)."""
    norms = decoder.norm(dim=1).clamp(min=SMALLEST_NORM)
    return encoder * norms[:, None], bias * norms, decoder / norms[:, None], norms


def to_free(
    gradients: LatentGradients, encoder: torch.Tensor, bias: torch.Tensor, atoms: torch.Tensor, norms: torch.Tensor
) -> None:
    """Turns gradients by effective weights into those by the free ones, in place.

    With s = ‖d‖, d^ = d / s and G the given gradients: ``dW = s G_W``, ``db = s G_b`` and
    ``dd = (G_d - (G_d · d^) d^) / s + (G_W · W + G_b b) d^``.

    Args:
        gradients: of the effective weights; ``bias`` is that of the encoder's bias.
        encoder: (n_latents, d_model) free weights W.
        bias: (n_latents,) free bias b.
        atoms: (n_latents, d_model) d^.
        norms: (n_latents,) s.
    """
    rows = (gradients.counts > 0).nonzero().squeeze(1)
    scale, unit = norms[rows, None], atoms[rows]
    by_encoder, by_decoder, by_bias = gradients.encoder[rows], gradients.decoder[rows], gradients.bias[rows]
    by_norm = (by_encoder * encoder[rows]).sum(1, keepdim=True) + (by_bias * bias[rows])[:, None]
    along = (by_decoder * unit).sum(1, keepdim=True)
    gradients.decoder[rows] = (by_decoder - along * unit) / scale + by_norm * unit
    gradients.encoder[rows] = by_encoder * scale
    gradients.bias[rows] = by_bias * norms[rows]
