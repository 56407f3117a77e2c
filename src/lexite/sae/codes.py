"""Sparse codes of tokens: which latents are active, and how much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SparseCodes:
    """The active latents of each token.

    Attributes:
        values: (n, k) fp32, at least 0; 0 marks a slot that is not used.
        indices: (n, k) int32, latents; -1 in slots that are not used. No latent occurs twice in a row.
        n_latents: size of the dictionary.
    """

    values: torch.Tensor
    indices: torch.Tensor
    n_latents: int

    @property
    def l0(self) -> float:
        """Mean number of active latents per token: the count of values above zero over the number of tokens."""
        return float((self.values > 0).sum()) / max(len(self.values), 1)

    def first(self, k: int) -> SparseCodes:
        """The codes with the first ``k`` slots of each token, or all where there are no more.

        Activations fall from slot to slot, so they are what the autoencoder gives for that k.
        """
        return self if self.values.shape[1] <= k else replace(self, values=self.values[:, :k], indices=self.indices[:, :k])

    def signed(self, n_latents: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Signed activations by latent. Term ``n_latents + i`` is latent i with a negative sign.

        Args:
            n_latents: latents of the autoencoder; half the number of terms where each sign is a term.

        Returns:
            (n, k) activations, 0 in unused slots, and (n, k) int32 latents, -1 there.
        """
        import torch

        negative = self.indices >= n_latents
        values = torch.where(self.indices >= 0, self.values, 0.0)
        return torch.where(negative, -values, values), torch.where(negative, self.indices - n_latents, self.indices)

    def to_dense(self) -> torch.Tensor:
        """(n, n_latents) fp32; for looking at a few tokens, not for corpora."""
        import torch

        dense = torch.zeros(len(self.values), self.n_latents, device=self.values.device)
        return dense.scatter_add_(1, self.indices.clamp(min=0).long(), self.values)
