"""Which prefixes of the dictionary a step reconstructs with (Matryoshka: Bussmann et al. 2025, arXiv 2503.17547)."""

from __future__ import annotations

import numpy as np
import torch

from lexite.sae.objective import ObjectiveConfig


def prefix_groups(objective: ObjectiveConfig, n_latents: int, step: int, seed: int) -> torch.Tensor:
    """Group of each latent: how many of the step's prefixes it is not part of.

    Prefixes are those of ``objective.widths``, or drawn anew at each step: a prefix ends behind latent i with a probability
    proportional to √((i + 1) / F) - √(i / F), so that short ones are frequent (Nabeshima 2024); the whole dictionary is always
    one.

    Args:
        objective: says how.
        n_latents: F.
        step: number of the step; with the seed it decides what is drawn.
        seed: of the run.

    Returns:
        (n_latents,) uint8, ascending from 0.
    """
    if objective.matryoshka == "sampled":
        generator = np.random.default_rng((seed, step))
        # The distribution function is √((i + 1) / F): its inverse at a uniform number.
        drawn = np.floor(n_latents * generator.random(objective.matryoshka_prefixes - 1) ** 2).astype(np.int64) + 1
        widths = sorted({int(width) for width in drawn} | {n_latents})
    else:
        widths = objective.widths(n_latents)
    return torch.from_numpy(np.searchsorted(widths, np.arange(n_latents), side="right").astype(np.uint8))
