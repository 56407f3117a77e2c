"""Folding: taking a factor into the weights, so that the autoencoder gives the same codes without it.

SAELens (6.14) folds the same two factors; what would change the selection is refused.
"""

from __future__ import annotations

import torch

from lexite.config import to_dict
from lexite.errors import ModelError
from lexite.kernels.rescaling import SMALLEST_NORM
from lexite.sae.activations import ACTIVATIONS, Activation
from lexite.sae.autoencoder import SparseAutoencoder
from lexite.sae.config import SAEConfig


def fold_input_scale(sae: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """An autoencoder that gives for states x the codes that ``sae`` gives for ``scale · x``.

    W_enc is multiplied by s, W_dec and b_dec are divided by s: W_enc s (x - b_dec / s) + b_enc = W_enc (s x - b_dec) + b_enc.
    The reconstruction of s x is divided by s. top_afa compares activations with the norm of the state, so there only the biases
    are divided by s. Its activations are then in the scale of x: those for s x, divided by s.

    Raises:
        ModelError: the scale is not a positive finite number, or states are brought to one scale anyway.
    """
    if not 0 < scale < float("inf"):
        raise ModelError(f"States cannot be scaled by {scale}; a scale is a positive number.")
    values = to_dict(sae.config)
    if values["normalize_activations"] not in ("none", "expected_average_only_in"):
        raise ModelError(f"A scale of the input has no effect under normalize_activations {values['normalize_activations']}.")
    values["normalize_activations"] = "none"
    unit = scale if ACTIVATIONS[sae.activation].compares_norms else 1.0  # activations are divided by it
    decoder = sae.decoder_weight
    parts = (
        sae.encoder_weight * (scale / unit),
        sae.encoder_bias / unit,
        None if decoder is None else decoder * (unit / scale),
        sae.decoder_bias / scale,
    )
    return _rebuilt(sae, SAEConfig(**values), *parts, thresholds=sae.thresholds)


def fold_decoder_norm(sae: SparseAutoencoder, *, rescaled: bool = False) -> SparseAutoencoder:
    """An autoencoder with atoms of unit norm that gives the same reconstructions.

    W_enc, b_enc, the threshold and so the activation of latent i are multiplied by ‖d_i‖, and d_i is divided by it; ‖d_i‖
    counts as at least 1e-8.

    Args:
        sae: has a decoder.
        rescaled: whether it was trained to select on u · ‖d‖ (``rescale_acts_by_decoder_norm``), so that folding makes its
            codes right. Otherwise folding would change which latents are the largest.

    Raises:
        ModelError: there is no decoder, or the selection would change.
    """
    if sae.decoder_weight is None:
        raise ModelError("The norms of atoms cannot be folded: this autoencoder was saved without its decoder.")
    norms = sae.decoder_weight.norm(dim=1).clamp(min=SMALLEST_NORM)
    selector = ACTIVATIONS[sae.activation]
    common = norms.new_ones(()) if selector.compares_norms else norms[0]  # a common factor changes what is compared
    equal = bool(((norms - common).abs() <= 1e-6 * common).all())
    if not selector.thresholds and not rescaled and not equal:
        raise ModelError(
            f"The norms of atoms cannot be folded into an autoencoder that selects by {sae.activation} and was trained "
            "without rescale_acts_by_decoder_norm: it would select other latents. Use it as it is."
        )
    encoder, decoder = sae.encoder_weight * norms[:, None], sae.decoder_weight / norms[:, None]
    thresholds = None if sae.thresholds is None else sae.thresholds * norms
    return _rebuilt(sae, sae.config, encoder, sae.encoder_bias * norms, decoder, sae.decoder_bias, thresholds=thresholds)


def _rebuilt(
    sae: SparseAutoencoder,
    config: SAEConfig,
    encoder_weight: torch.Tensor,
    encoder_bias: torch.Tensor,
    decoder_weight: torch.Tensor | None,
    decoder_bias: torch.Tensor,
    *,
    thresholds: torch.Tensor | None,
) -> SparseAutoencoder:
    activation: Activation = sae.activation
    return SparseAutoencoder(
        config,
        encoder_weight,
        encoder_bias,
        decoder_weight,
        decoder_bias,
        activation=activation,
        thresholds=thresholds,
        precision="bf16" if sae.precision == "bf16" else "fp32",
    )
