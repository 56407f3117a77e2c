"""How a finished autoencoder chooses latents: one token at a time, whatever it was trained with.

Each function gives the codes of a block of tokens as ``values`` (n, m) fp32, above zero in slots that are used, and ``indices``
(n, m) int32, terms, -1 elsewhere; rows are sorted by falling value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from lexite.kernels.collect import sort_slots, threshold_patterns
from lexite.kernels.product import EncoderProduct
from lexite.kernels.sparse import selected_values

Activation = Literal["topk", "abs_topk", "jumprelu", "top_afa"]
Codes = tuple[torch.Tensor, torch.Tensor]
BF16_SLACK = 1 / 64  # lowers thresholds by this share, so that the rounding of a bf16 product loses no latent above them
AFA_SPARE = 1.05  # factor of the norm to reach, since products in bf16 may be too large


@dataclass(frozen=True, slots=True)
class Encoder:
    """The parts of an autoencoder that choose latents.

    Attributes:
        product: selects.
        exact: (n_latents, d_model) fp32 weights; None where the product's matrix holds them without rounding.
        bias: (n_latents,).
        thresholds: (n_latents,), for jumprelu.
    """

    product: EncoderProduct
    exact: torch.Tensor | None
    bias: torch.Tensor
    thresholds: torch.Tensor | None

    def values(self, centred: torch.Tensor, indices: torch.Tensor, *, signed: bool = False) -> torch.Tensor:
        """ReLU(u) of chosen latents in fp32, or u itself."""
        if self.exact is None:
            return self.product.values(centred, indices, self.bias, signed=signed)
        return selected_values(centred, indices, self.exact, self.bias, signed=signed)

    def largest(self, centred: torch.Tensor, k: int, *, magnitude: bool = False) -> torch.Tensor:
        """Indices (n, k) of the largest u, or |u|."""
        indices = torch.empty(len(centred), k, dtype=torch.int32, device=centred.device)
        self.product.select_block(centred, indices, magnitude=magnitude)
        return indices


def topk(encoder: Encoder, centred: torch.Tensor, k: int) -> Codes:
    """ReLU of the k largest pre-activations (Gao et al. 2024, arXiv 2406.04093, section 2.3)."""
    indices = encoder.largest(centred, k)
    values = encoder.values(centred, indices)
    return values, indices.masked_fill_(values <= 0, -1)


def abs_topk(encoder: Encoder, centred: torch.Tensor, k: int) -> Codes:
    """The k pre-activations of largest magnitude (arXiv 2510.00404).

    Term i stands for u_i > 0, term n_latents + i for u_i < 0.
    """
    indices = encoder.largest(centred, k, magnitude=True)
    values = encoder.values(centred, indices, signed=True)
    indices += encoder.product.n_latents * (values < 0).to(torch.int32)
    return values.abs_(), indices.masked_fill_(values == 0, -1)


def jumprelu(encoder: Encoder, centred: torch.Tensor, k: int) -> Codes:
    """f_i = u_i where u_i > θ_i, else 0 (Rajamanoharan et al. 2024, arXiv 2407.14435, equation 3); at most the k largest."""
    assert encoder.thresholds is not None
    dtype = encoder.product.matrix.dtype
    slack = BF16_SLACK if dtype == torch.bfloat16 else 1e-5
    indices = encoder.product.collect_block(centred, threshold_patterns(encoder.thresholds, dtype, slack))
    values = encoder.values(centred, indices)
    limits = encoder.thresholds.clamp(min=0)[indices.clamp(min=0).long()]
    values.masked_fill_(values <= limits, 0.0)
    return _largest_first(values, indices, k)


def top_afa(encoder: Encoder, centred: torch.Tensor, k: int) -> Codes:
    """As many of the largest ReLU(u) as bring their joint norm nearest to the state's norm (arXiv 2503.24277, section 4).

    With C_j the sum of the j largest squares, the first ``argmin_j |√C_j - ‖x - b_dec‖|`` latents are kept. √C_j only rises, so
    latents are sorted only until it has passed the norm.
    """
    norms = centred.norm(dim=1)
    indices = encoder.product.collect_energy(centred, (AFA_SPARE * norms).square())
    values, indices = _largest_first(encoder.values(centred, indices), indices, indices.shape[1])
    if not indices.shape[1]:
        return values, indices
    reached = values.double().square().cumsum(1).sqrt_()
    kept = (reached - norms.double().unsqueeze(1)).abs_().argmin(1) + 1
    values.masked_fill_(torch.arange(indices.shape[1], device=values.device) >= kept.unsqueeze(1), 0.0)
    most = min(k, int(kept.max()))
    return values[:, :most], indices[:, :most].masked_fill_(values[:, :most] <= 0, -1)


def _largest_first(values: torch.Tensor, indices: torch.Tensor, k: int) -> Codes:
    values, indices = values.contiguous(), indices.contiguous()
    sort_slots(values, indices)
    return values[:, :k], indices[:, :k]


@dataclass(frozen=True, slots=True)
class Selector:
    """An activation and what it can do.

    Attributes:
        choose: gives the codes of a block of tokens, at most k latents each.
        limited: whether k bounds the latents of a token; else the token's activations decide how many there are.
        signed: whether each sign of an activation is a term of its own.
        thresholds: whether each latent is compared with a threshold of its own, apart from all others.
        compares_norms: whether activations are compared with the norm of the state.
    """

    choose: Callable[[Encoder, torch.Tensor, int], Codes]
    limited: bool = False
    signed: bool = False
    thresholds: bool = False
    compares_norms: bool = False


ACTIVATIONS: dict[str, Selector] = {
    "topk": Selector(topk, limited=True),
    "abs_topk": Selector(abs_topk, limited=True, signed=True),
    "jumprelu": Selector(jumprelu, thresholds=True),
    "top_afa": Selector(top_afa, compares_norms=True),
}
