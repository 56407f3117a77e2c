"""Size and kind of a sparse autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lexite.config import option
from lexite.errors import ConfigError

Normalisation = Literal["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"]


@dataclass(frozen=True)
class SAEConfig:
    """Shape of a sparse autoencoder, and the rule by which it was or will be trained.

    Attributes:
        d_model: width of a token state; the backbone's.
        n_latents: size of the dictionary, which is the size of the vocabulary.
        k: latents kept per token; for rules that keep a varying number, their average while training.
        rule: name of the selection rule (see :mod:`lexite.sae.rules`).
        apply_b_dec_to_input: whether the decoder's bias is subtracted from a state before it is encoded.
        normalize_activations: what happens to a state before that (see :mod:`lexite.sae.normalisation`).

    Raises:
        ConfigError: k is larger than the number of latents.

    >>> SAEConfig(d_model=384).n_latents
    16384
    """

    d_model: int = option(0, "Width of a token state.", minimum=1, hidden=True)
    n_latents: int = option(16384, "Latents in the dictionary: the size of the vocabulary.", minimum=1, count=True)
    k: int = option(8, "Latents kept per token while training.", minimum=1)
    rule: str = option("topk", "How latents are chosen while training; 'lexite info' lists the rules.", flag="--sae")
    apply_b_dec_to_input: bool = option(True, "Subtract the decoder's bias from the states before they are encoded.")
    normalize_activations: Normalisation = option("none", "How token states are scaled before they are encoded.")

    def __post_init__(self) -> None:
        check_k(self.k, self.n_latents)


def check_k(k: int, n_latents: int) -> int:
    """Returns ``k`` when so many latents can be kept.

    Raises:
        ConfigError: it is below 1 or above the number of latents.
    """
    if not 1 <= k <= n_latents:
        raise ConfigError(f"k is {k}, but must be from 1 to the number of latents, {n_latents}.")
    return k
