"""A sparse autoencoder written out densely in double precision: tokens × latents matrices, full sorts, no code of lexite's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass
class Weights:
    """What an autoencoder is made of, as double-precision tensors, and how it treats states.

    ``thresholds`` are for jumprelu only.
    """

    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    decoder_bias: torch.Tensor
    thresholds: torch.Tensor | None = None
    apply_b_dec_to_input: bool = True
    normalise: str = "none"

    def __post_init__(self) -> None:
        for name in ("encoder", "encoder_bias", "decoder", "decoder_bias", "thresholds"):
            tensor = getattr(self, name)
            setattr(self, name, None if tensor is None else tensor.double())


def normalised(weights: Weights, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised states, and by row the factor and the summand that undo it."""
    x = states.double()
    factors, summands = torch.ones(len(x), 1, dtype=torch.double), torch.zeros(len(x), 1, dtype=torch.double)
    if weights.normalise == "constant_norm_rescale":
        factors = (x * x).sum(1, keepdim=True).sqrt() / math.sqrt(x.shape[1])
    elif weights.normalise == "layer_norm":
        summands = x.sum(1, keepdim=True) / x.shape[1]
        factors = ((x - summands) ** 2).sum(1, keepdim=True).div(x.shape[1] - 1).sqrt() + 1e-5
    return (x - summands) / factors, factors, summands


def centred(weights: Weights, states: torch.Tensor) -> torch.Tensor:
    """(n, d) what the encoder's matrix is multiplied with."""
    known = normalised(weights, states)[0]
    return known - weights.decoder_bias if weights.apply_b_dec_to_input else known


def preactivations(weights: Weights, states: torch.Tensor) -> torch.Tensor:
    """(n, latents) u."""
    return centred(weights, states) @ weights.encoder.t() + weights.encoder_bias


def _largest(scores: torch.Tensor, number: int) -> list[int]:
    """Up to so many entries above zero, the largest first, ties to the lower number."""
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    return [i for i in order if scores[i] > 0][:number]


def chosen(weights: Weights, activation: str, states: torch.Tensor, k: int) -> list[list[tuple[int, float]]]:
    """By token the terms that are active and their values, the largest first."""
    rows = []
    everything = centred(weights, states)
    for x, u in zip(everything, preactivations(weights, states), strict=True):
        if activation == "topk":
            rows.append([(i, float(u[i])) for i in _largest(u, k)])
        elif activation == "abs_topk":
            rows.append([(i if u[i] > 0 else len(u) + i, abs(float(u[i]))) for i in _largest(u.abs(), k)])
        elif activation == "jumprelu":
            assert weights.thresholds is not None
            passed = torch.where(u > weights.thresholds.clamp(min=0), u, 0.0)
            rows.append([(i, float(u[i])) for i in _largest(passed, k)])
        else:
            order = _largest(u, len(u))
            wanted, squares, gaps = math.sqrt(float(x @ x)), 0.0, []
            for i in order:
                squares += float(u[i]) ** 2
                gaps.append(abs(math.sqrt(squares) - wanted))
            number = min(gaps.index(min(gaps)) + 1, k) if gaps else 0
            rows.append([(i, float(u[i])) for i in order[:number]])
    return rows


def dense(rows: list[list[tuple[int, float]]], n_terms: int) -> torch.Tensor:
    """(n, terms) double."""
    codes = torch.zeros(len(rows), n_terms, dtype=torch.double)
    for token, row in enumerate(rows):
        for term, value in row:
            codes[token, term] = value
    return codes


def reconstruction(weights: Weights, activation: str, states: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d) as the autoencoder sees states, and with the normalisation undone."""
    n_latents = len(weights.encoder)
    codes = dense(chosen(weights, activation, states, k), n_latents * (2 if activation == "abs_topk" else 1))
    if activation == "abs_topk":
        codes = codes[:, :n_latents] - codes[:, n_latents:]
    decoded = codes @ weights.decoder + weights.decoder_bias
    _, factors, summands = normalised(weights, states)
    return decoded, decoded * factors + summands
