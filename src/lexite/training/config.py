"""How a sparse autoencoder is trained. Everything is counted in tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lexite.config import option
from lexite.errors import ConfigError

STORAGE_ONLY = ("checkpoint_tokens", "log_tokens", "probe_tokens", "buffer")
"""Keys that may change when a run is resumed, since the result does not depend on them."""


@dataclass(frozen=True)
class TrainingConfig:
    """Recipe of a training run (after Latent Terms, arXiv 2605.29384, where it says).

    Attributes:
        tokens: tokens to train on in all; a shorter text is read again, at most ``epochs`` times.
        epochs: most times the text is read. A run that ends before ``tokens`` also ends with a learning rate of zero.
        batch_tokens: tokens per optimizer step.
        learning_rate: peak of AdamW's learning rate.
        warmup_tokens: tokens of linear warm-up, then cosine to zero; None for 5% of ``tokens``.
        weight_decay: AdamW's, on the weight matrices.
        clip_norm: largest norm of all gradients together.
        aux_loss_coefficient: weight of AuxK, the reconstruction of the error by dead latents (Gao et al. 2024).
        k_aux: dead latents used per token by AuxK.
        dead_after_tokens: a latent that was not active in this many tokens is dead.
        init_tokens: tokens whose mean state becomes the decoder's bias before the first step.
        buffer_tokens: tokens in the shuffled buffer; half of it is renewed at a time.
        buffer: where the buffer is.
        checkpoint_tokens: tokens between two checkpoints.
        log_tokens: tokens between two records of the metrics log.
        probe_tokens: tokens between two measurements on the probe, where there is one.
        seed: of the initial weights and the shuffling.
    """

    tokens: int = option(10_000_000, "Tokens to train on in all.", minimum=1, count=True)
    epochs: int = option(10, "Most times the text is read to reach that number of tokens.", minimum=1)
    batch_tokens: int = option(4096, "Tokens per optimizer step.", minimum=1, count=True)
    learning_rate: float = option(1e-3, "Peak learning rate of AdamW.", minimum=0.0)
    warmup_tokens: int | None = option(None, "Tokens of linear warm-up (default: 5% of all).", minimum=0, count=True)
    weight_decay: float = option(0.0, "Weight decay of AdamW.", minimum=0.0)
    clip_norm: float = option(1.0, "Largest norm of the gradients.", minimum=0.0)
    aux_loss_coefficient: float = option(1 / 32, "Weight of the auxiliary loss that revives dead latents.", minimum=0.0)
    k_aux: int = option(512, "Dead latents per token in the auxiliary loss.", minimum=1)
    dead_after_tokens: int = option(1_000_000, "A latent not active in so many tokens is dead.", minimum=1, count=True)
    init_tokens: int = option(200_000, "Tokens over which the mean state is taken at the start.", minimum=1, count=True)
    buffer_tokens: int = option(524_288, "Tokens in the shuffled buffer.", minimum=2, count=True)
    buffer: Literal["memory", "disk"] = option("memory", "Where the shuffled buffer is kept.")
    checkpoint_tokens: int = option(2_000_000, "Tokens between two checkpoints.", minimum=1, count=True)
    log_tokens: int = option(100_000, "Tokens between two records of the metrics log.", minimum=1, count=True)
    probe_tokens: int = option(1_000_000, "Tokens between two measurements on the probe.", minimum=1, count=True)
    seed: int = option(0, "Seed of the initial weights and of the shuffling.", minimum=0)

    def __post_init__(self) -> None:
        if self.buffer_tokens < 2 * self.batch_tokens:
            raise ConfigError(
                f"buffer_tokens is {self.buffer_tokens}, but must be at least twice batch_tokens, {self.batch_tokens}."
            )
        if self.warmup_tokens is not None and self.warmup_tokens > self.tokens:
            raise ConfigError(f"warmup_tokens is {self.warmup_tokens}, but there are only {self.tokens} tokens to train on.")
