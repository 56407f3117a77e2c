"""What a run counts about each latent: when it was last active, how often it is, and in how many texts."""

from __future__ import annotations

import torch

from lexite.sae.rules.base import Tensors


class Trackers:
    """Counters over the tokens of a run.

    Args:
        n_latents: size of the dictionary.
        dead_after_tokens: a latent that was not active in this many tokens is dead.
        device: where the tensors are.

    Attributes:
        tensors: ``tokens_since_active`` (n_latents,); ``tokens_seen`` (), on the CPU, where the host
            decides by it; ``density`` (n_latents,), the running share of tokens
            that a latent is active on; ``text_share`` (n_latents,), the running share of texts, where the loss looks at texts.
    """

    def __init__(self, n_latents: int, dead_after_tokens: int, device: str | torch.device) -> None:
        self.dead_after_tokens = dead_after_tokens
        self.tensors: Tensors = {
            "tokens_since_active": torch.zeros(n_latents, dtype=torch.int64, device=device),
            "tokens_seen": torch.zeros((), dtype=torch.int64),
            "density": torch.zeros(n_latents, dtype=torch.float64, device=device),
            "text_share": torch.zeros(n_latents, dtype=torch.float64, device=device),
        }

    def dead(self) -> torch.Tensor:
        """(n_latents,) bool: the dead latents."""
        return self.tensors["tokens_since_active"] >= self.dead_after_tokens

    @property
    def seen_enough(self) -> bool:
        """Whether enough tokens were seen to call a latent rare."""
        return int(self.tensors["tokens_seen"]) >= self.dead_after_tokens

    def count(self, active: torch.Tensor, n_tokens: int, text_share: torch.Tensor | None) -> None:
        """Counts a batch.

        Args:
            active: (n_latents,) int64 tokens of the batch that each latent is active on.
            n_tokens: tokens in the batch.
            text_share: (n_latents,) share of the batch's texts with each latent, where that was counted.
        """
        get = self.tensors
        get["tokens_since_active"].add_(n_tokens).masked_fill_(active > 0, 0)
        get["tokens_seen"].add_(n_tokens)
        # A plain mean at first, then one over about as many tokens as a latent has before it counts as dead.
        share = max(n_tokens / int(get["tokens_seen"]), min(n_tokens / self.dead_after_tokens, 1.0))
        get["density"].lerp_(active.double() / n_tokens, share)
        if text_share is not None:
            get["text_share"].lerp_(text_share.double(), share)
