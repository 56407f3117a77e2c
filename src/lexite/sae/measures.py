"""Measures of sparse autoencoders: frequency of latents, likeness of atoms, error of reconstructions.

The fits of power laws are in :mod:`lexite.sae.zipf`, and can be had from here too. The number of active latents per token is
:attr:`lexite.sae.codes.SparseCodes.l0`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lexite.errors import ConfigError, ModelError
from lexite.sae.zipf import ZipfFit, fit_zipf, fit_zipf_mandelbrot, zipf_counts, zipf_targets

if TYPE_CHECKING:
    import torch

__all__ = [
    "Coherence",
    "ErrorSums",
    "ZipfFit",
    "decoder_coherence",
    "density_histogram",
    "fit_zipf",
    "fit_zipf_mandelbrot",
    "fvu",
    "zipf_counts",
    "zipf_targets",
]
LOWEST_DECADE = -7
BINS_PER_DECADE = 2
_ATOMS_AT_ONCE = 256  # atoms whose cosines with all others are computed together


def density_histogram(counts: ArrayLike, n_tokens: int) -> dict[str, Any]:
    """How many latents fire how often, in bins of half a decade from 10^-7 to 1 (as in Gao et al. 2024, arXiv 2406.04093).

    The density of a latent is ``counts / n_tokens``, the share of tokens on which it is active. A bin holds densities from its
    lower edge to below its upper edge. The last bin also holds 1, and the first everything rarer than its edge.

    Args:
        counts: ``(n_latents,)`` tokens on which each latent was active.
        n_tokens: tokens that were counted.

    Returns:
        JSON values: ``log10_density``, the 15 edges of the bins as decimal logarithms; ``latents``, the number of latents in
        each of the 14 bins; ``never``, the number of latents that never fired. Bins and ``never`` sum to all latents.

    Raises:
        ConfigError: there are no tokens, or a count is below 0 or above the number of tokens.

    >>> histogram = density_histogram([0, 1, 20, 500, 1000], 1000)
    >>> histogram["never"], dict(zip(histogram["log10_density"], histogram["latents"]))[-3.0], histogram["latents"][-1]
    (1, 1, 2)
    """
    fired = np.asarray(counts)
    if n_tokens < 1:
        raise ConfigError("Densities need at least one token. Measure on some text.")
    if fired.size and not (fired.min() >= 0 and fired.max() <= n_tokens):
        raise ConfigError(f"A latent's count is not between 0 and {n_tokens:,}, the number of tokens. Check what was counted.")
    n_bins = -LOWEST_DECADE * BINS_PER_DECADE
    used = fired[fired > 0]
    bins = np.floor((np.log10(used / n_tokens) - LOWEST_DECADE) * BINS_PER_DECADE + 1e-9).astype(np.int64)  # edges fall short
    latents = np.bincount(np.clip(bins, 0, n_bins - 1), minlength=n_bins)
    edges = LOWEST_DECADE + np.arange(n_bins + 1) / BINS_PER_DECADE
    return {"log10_density": edges.tolist(), "latents": latents.tolist(), "never": int(fired.size - used.size)}


@dataclass(frozen=True, slots=True)
class Coherence:
    """How alike the atoms of a dictionary are.

    Attributes:
        largest: mean over the sampled atoms of their largest |cosine| with another atom; 1 where each has a copy.
        mean: mean |cosine| of a sampled atom with another one.
        atoms: how many atoms were sampled.
    """

    largest: float
    mean: float
    atoms: int


def decoder_coherence(decoder_weight: torch.Tensor, sample: int = 2048, seed: int = 0) -> Coherence:
    """How alike the atoms of a dictionary are, from a sample of them, each compared with all the others.

    With d_i the atoms and S the sample, ``largest = mean_{i in S} max_{j ≠ i} |cos(d_i, d_j)|`` and
    ``mean = mean_{i in S, j ≠ i} |cos(d_i, d_j)|``. Both are from 0 to 1; of atoms in random directions of d dimensions the
    second is about √(2/πd). (The maximum over all pairs is the mutual coherence of compressed sensing; the mean of each atom's
    maximum does not hang on a single pair.)

    Args:
        decoder_weight: ``(n_latents, d_model)``, an atom per row; those of norm 0 are left out.
        sample: atoms compared, at most; drawn without repetition.
        seed: of the draw.

    Raises:
        ModelError: fewer than two atoms have a norm above 0.
    """
    import torch

    atoms = decoder_weight.detach().float()
    norms = atoms.norm(dim=1)
    atoms = atoms[norms > 0] / norms[norms > 0].unsqueeze(1)
    n_atoms = len(atoms)
    if n_atoms < 2:
        raise ModelError("The likeness of atoms needs at least two atoms whose norm is above 0.")
    drawn = np.sort(np.random.default_rng(seed).permutation(n_atoms)[: max(sample, 1)])
    largest = total = 0.0
    for rows in torch.split(torch.from_numpy(drawn).to(atoms.device), _ATOMS_AT_ONCE):
        cosines = (atoms[rows] @ atoms.T).abs_().clamp_(max=1.0)
        cosines[torch.arange(len(rows), device=atoms.device), rows] = 0.0
        largest += float(cosines.amax(1).double().sum())
        total += float(cosines.sum(dtype=torch.float64))
    return Coherence(largest / len(drawn), total / (len(drawn) * (n_atoms - 1)), len(drawn))


def fvu(states: torch.Tensor, reconstruction: torch.Tensor) -> float:
    """Fraction of variance unexplained, ``Σ‖x - x^‖² / Σ‖x - mean(x)‖²`` over all tokens given, with their common mean.

    0 is a perfect reconstruction, 1 what the mean alone would reach. It is 0 for states that are all equal and reconstructed
    exactly, and infinite for such states otherwise.

    Args:
        states: ``(n, d_model)``.
        reconstruction: ``(n, d_model)`` in the same space.
    """
    sums = ErrorSums()
    sums.add(states, states - reconstruction)
    return sums.fvu


class ErrorSums:
    """The sums behind :func:`fvu`, gathered block by block in double precision.

    Attributes:
        n_tokens: tokens so far.
        squared_error: Σ‖x - x^‖².
    """

    def __init__(self) -> None:
        self.n_tokens = 0
        self.squared_error = 0.0
        self._squared_norm = 0.0
        self._total: torch.Tensor | None = None

    def add(self, states: torch.Tensor, errors: torch.Tensor) -> None:
        """Adds the tokens of a block: states and x - x^, each ``(n, d_model)``."""
        exact = states.detach().double()
        total = exact.sum(0)
        self._total = total if self._total is None else self._total + total
        self._squared_norm += float(exact.square().sum())
        self.squared_error += float(errors.detach().double().square().sum())
        self.n_tokens += len(states)

    @property
    def variance(self) -> float:
        """Σ‖x - mean(x)‖², which is Σ‖x‖² - ‖Σ x‖² / n."""
        if self._total is None or not self.n_tokens:
            return 0.0
        rest = self._squared_norm - float(self._total.square().sum()) / self.n_tokens
        return rest if rest > 1e-12 * self._squared_norm else 0.0  # what is left of equal states is rounding

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained; see :func:`fvu`."""
        if not self.variance:
            return 0.0 if not self.squared_error else float("inf")
        return self.squared_error / self.variance
