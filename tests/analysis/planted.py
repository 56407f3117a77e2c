"""Corpora with known differences, pairs and clusters."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from lexite.analysis import Corpus


def background(n: int, n_latents: int, seed: int, longer: float = 0.0) -> np.ndarray:
    """Documents whose latents are independent, some more frequent than others, in documents of different length."""
    generator = np.random.default_rng(seed)
    frequency = 0.3 / (1 + np.arange(n_latents) % 12)
    length = np.exp(generator.normal(longer, 0.35, n))
    return (generator.random((n, n_latents)) < np.minimum(length[:, None] * frequency[None], 0.95)).astype(np.float32)


def corpus(present: np.ndarray, name: str = "some", seed: int = 0) -> Corpus:
    weights = np.random.default_rng(seed).gamma(2.0, 1.0, present.shape)
    rows = csr_array((present * weights).astype(np.float32))
    return Corpus(rows, name, lambda latent: f"concept {latent}", lambda place: (f"{name}-{place}", f"text {place} of {name}"))
