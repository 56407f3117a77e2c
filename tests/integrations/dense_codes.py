"""A sparse autoencoder written down as dense matrices that torch differentiates, to compare the sparse one with."""

from __future__ import annotations

from typing import Any

import torch

from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder

NAMES = ("W_enc", "b_enc", "b_pre", "W_dec", "theta")


def random_encoder(input_dim: int = 12, hidden_dim: int = 40, k: int = 5, seed: int = 0, **options: Any):
    """A token encoder with weights and biases that all matter."""
    torch.manual_seed(seed)
    module = SparseAutoEncoderTokenEncoder(input_dim, hidden_dim, k, **{"precision": "fp32", **options})
    with torch.no_grad():
        module.b_enc.normal_(0, 0.3)
        module.b_pre.normal_(0, 0.3)
        if module.W_dec is not None:
            module.W_dec.normal_(0, 0.4)
        if module.theta is not None:
            module.theta.uniform_(0.05, 0.8)
    return module


def weights_of(module: SparseAutoEncoderTokenEncoder) -> dict[str, torch.Tensor]:
    """Copies of the weights that gradients are asked for."""
    named = {name: getattr(module, name) for name in NAMES}
    return {name: tensor.detach().float().clone().requires_grad_() for name, tensor in named.items() if tensor is not None}


def prepared(states: torch.Tensor, normalize: str, rms_scale: float | None, data_mean: torch.Tensor | None) -> torch.Tensor:
    """States shifted or scaled, then normalised."""
    states = states.float()
    if data_mean is not None:
        states = states - data_mean
    elif rms_scale is not None:
        states = states * rms_scale
    if normalize == "constant_norm_rescale":
        return states * states.shape[1] ** 0.5 / states.norm(dim=1, keepdim=True)
    if normalize == "layer_norm":
        return (states - states.mean(1, keepdim=True)) / (states.std(1, keepdim=True) + 1e-5)
    return states


def preactivations(states: torch.Tensor, weights: dict[str, torch.Tensor], subtract: bool = True) -> torch.Tensor:
    return (states - weights["b_pre"] if subtract else states) @ weights["W_enc"].t() + weights["b_enc"]


def largest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """(n, F) mask of the k largest entries of each row."""
    k = min(k, scores.shape[1])
    return torch.zeros_like(scores).scatter(1, scores.topk(k, dim=1).indices, 1.0) > 0


def codes(u: torch.Tensor, k: int, theta: torch.Tensor | None = None, bandwidth: float = 0.05) -> torch.Tensor:
    """(n, F) dense codes; with thresholds, with their straight-through derivative."""
    if theta is None:
        return torch.where(largest(u.detach(), k), torch.relu(u), 0.0)
    active = u > theta
    window = ((u - theta).abs() < bandwidth / 2) & (u > 0)
    ranks = torch.where(active, u + 1e3, torch.where(window, u - theta, -1e3)).detach()  # those in the window come last
    chosen = largest(ranks, k) & (ranks > -1e2)
    straight = (-theta / bandwidth * window).detach() * (theta - theta.detach())  # zero, but with a derivative
    return torch.where(chosen, u * active + straight, 0.0)


def reconstruction(f: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return f @ weights["W_dec"] + weights["b_pre"]


def of_dead(u: torch.Tensor, dead: torch.Tensor, k_aux: int, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the k_aux largest dead latents add up to, without the bias."""
    among = torch.where(dead, torch.relu(u), 0.0)
    return torch.where(largest(among.detach(), k_aux), among, 0.0) @ weights["W_dec"]


def as_dense(values: torch.Tensor, indices: torch.Tensor, n_latents: int) -> torch.Tensor:
    """(n, F) from values and indices (n, k), where -1 marks unused slots."""
    wide = values.new_zeros(*values.shape[:-1], n_latents)
    return wide.scatter_add(-1, indices.clamp(min=0).long(), torch.where(indices >= 0, values, 0.0))
