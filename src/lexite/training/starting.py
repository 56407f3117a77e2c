"""A decoder for an autoencoder that was saved without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.sae.autoencoder import SparseAutoencoder

RIDGE = 30.0
"""Weight of staying at the first guess, in squared activations. With less, rare latents fit the noise of few states."""
ITERATIONS = 12  # of conjugate gradients; after these the error hardly changes
TOKENS = 100_000  # most tokens that a decoder is fitted to


def fit_decoder(autoencoder: SparseAutoencoder, states: torch.Tensor) -> torch.Tensor:
    """The decoder that gives token states back best from an encoder's codes, by ridge regression.

    With codes F (n, n_latents), states X (n, d_model) and E the encoder's rows at unit norm, it minimises

        |X - b_dec - F D|² + RIDGE · |D - E|²

    by conjugate gradients (:func:`ridge_solution`), and brings each atom to unit norm, which is what training keeps.

    Args:
        autoencoder: gives the encoder; its decoder, if there is one, is ignored.
        states: (n, d_model), as the autoencoder reads them; the first 100,000 are used.

    Returns:
        (n_latents, d_model), float32, rows of unit norm.
    """
    states = states[:TOKENS].float()
    codes = autoencoder.encode(states.to(autoencoder.device))
    kept = codes.indices >= 0
    bounds = np.r_[0, np.cumsum(kept.sum(dim=1).cpu().numpy())]
    parts = (codes.values[kept].cpu().numpy(), codes.indices[kept].cpu().numpy(), bounds)
    active = csr_array(parts, shape=(len(states), autoencoder.config.n_latents))
    guess = unit_rows(autoencoder.encoder_weight.cpu())
    wanted = (states.cpu() - autoencoder.decoder_bias.cpu()).numpy()
    missed = csr_array(active.T) @ (wanted - active @ guess.numpy())
    change = ridge_solution(active, missed, RIDGE)
    return unit_rows(guess + torch.from_numpy(change))


def ridge_solution(active: csr_array[Any], wanted: NDArray[np.float32], ridge: float) -> NDArray[np.float32]:
    """The C with (FᵀF + ridge · 1) C = wanted, by conjugate gradients from zero, all columns at once.

    They are preconditioned by the diagonal, since latents differ a thousandfold in how often they fire.

    Args:
        active: codes F, (n, n_latents).
        wanted: (n_latents, d) float32, Fᵀ times what is to be given back.
        ridge: weight of staying at zero, in squared activations.

    Returns:
        (n_latents, d) float32, after 12 steps.
    """
    across = csr_array(active.T)
    diagonal = (across.power(2).sum(axis=1) + ridge)[:, None].astype(np.float32)
    change, residual = np.zeros_like(wanted), wanted.copy()
    direction = residual / diagonal
    size = np.einsum("ij,ij->j", residual, direction)
    for _ in range(ITERATIONS):
        image = across @ (active @ direction) + ridge * direction
        step = size / np.maximum(np.einsum("ij,ij->j", direction, image), 1e-30)
        change += step * direction
        residual -= step * image
        scaled = residual / diagonal
        before, size = size, np.einsum("ij,ij->j", residual, scaled)
        direction = scaled + (size / np.maximum(before, 1e-30)) * direction
    return change


def unit_rows(matrix: torch.Tensor) -> torch.Tensor:
    """The rows of a matrix at unit norm; rows of zeros stay."""
    return torch.nn.functional.normalize(matrix, dim=1)
