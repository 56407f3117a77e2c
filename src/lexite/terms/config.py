"""How the codes of tokens become the weights of a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lexite.config import from_dict, option
from lexite.errors import ConfigError
from lexite.scoring.config import EARLIER_SCORING
from lexite.terms.token_decoder import RANK

Pooling = Literal["sum", "max"]
_EARLIER = {"floor_documents": 0.0, "floor_queries": 0.0}  # for vocabularies that were saved before there were floors


@dataclass(frozen=True)
class TermsConfig:
    """How the codes of a text's tokens are made into its terms.

    Attributes:
        pooling: the raw weight of a latent in a text is the ``sum`` of its activations over the tokens, or their ``max``.
        k_documents: latents kept per token of a document; None takes the k of the sparse autoencoder.
        k_queries: the same for queries.
        floor_documents: weights of a document below this share of its largest raw weight are dropped; 0 drops none.
        floor_queries: the same for queries.

    >>> TermsConfig()
    TermsConfig(pooling='sum', k_documents=None, k_queries=None, floor_documents=0.015, floor_queries=0.08)
    """

    pooling: Pooling = option("sum", "Weight of a latent in a text: sum or max of its activations over the tokens.")
    k_documents: int | None = option(
        None, "Latents kept per token of a document; fewer make a smaller index (default: what the vocabulary says).", minimum=1
    )
    k_queries: int | None = option(None, "Latents kept per token of a query (default: what the vocabulary says).", minimum=1)
    floor_documents: float = option(
        0.015, "Drop terms of a document below this share of its heaviest; a smaller index.", minimum=0.0, maximum=1.0
    )
    floor_queries: float = option(0.08, "Drop terms of a query below this share of its heaviest.", minimum=0.0, maximum=1.0)


Profile = Literal["full", "small"]
PROFILES: Mapping[Profile, TermsConfig] = {
    "full": TermsConfig(k_documents=None, k_queries=None, floor_documents=0.0, floor_queries=0.0),
    "small": TermsConfig(k_documents=6, k_queries=3, floor_documents=0.03, floor_queries=0.125),
}
"""Ready choices beside a vocabulary's own: ``full`` drops nothing, ``small`` is for a small index and short queries."""


def with_profile(terms: TermsConfig, profile: Profile, k: int) -> TermsConfig:
    """Terms made as a profile says, and pooled as before.

    Args:
        terms: how the vocabulary makes terms.
        profile: which profile.
        k: latents per token that the vocabulary was trained with; a profile takes no more than these.

    >>> with_profile(TermsConfig(pooling="max"), "small", 4)
    TermsConfig(pooling='max', k_documents=4, k_queries=3, floor_documents=0.03, floor_queries=0.125)
    """
    if profile not in PROFILES:
        raise ConfigError(f"There is no profile {profile!r}. Choose one of {', '.join(PROFILES)}.")
    chosen = PROFILES[profile]
    return dataclasses.replace(
        chosen, pooling=terms.pooling, k_documents=min(chosen.k_documents or k, k), k_queries=min(chosen.k_queries or k, k)
    )


@dataclass(frozen=True)
class SavingConfig:
    """How a trained vocabulary is saved, and what its model card says.

    Attributes:
        name: short name, for tables and for an index to remember; the folder's by default.
        licence: SPDX identifier of the vocabulary.
        training_data: what it was trained on, with the licences of the text; Markdown.
        encoder_only: leave out the decoder, which encoding does not need; a small token decoder takes its place.
        weights: number format of the saved matrices. bf16 halves the file; rounding changes terms a little.
    """

    name: str | None = option(None, "Short name of the vocabulary (default: the folder's).")
    licence: str = option("apache-2.0", "Licence of the vocabulary, an SPDX identifier.")
    training_data: str = option("", "What it was trained on, and under which licence, for the model card.")
    encoder_only: bool = option(
        False, "Save without the decoder, which encoding does not need, but for a small one that MaxSim takes."
    )
    weights: Literal["fp32", "bf16"] = option("fp32", "Number format of the saved weights; bf16 halves the file.")


@dataclass(frozen=True)
class DecoderConfig:
    """How a token decoder is fitted; see :mod:`lexite.recipes.token_decoder`.

    Attributes:
        tokens: tokens that are read. Their codes are held in memory, their states are not.
        ridge: weight of the prior, as a share of the median latent's Σ value² over the tokens.
        rank: dimensions that are kept of a state.
        seed: chooses the passage that is read of each text.
    """

    tokens: int = option(1_000_000, "Tokens to fit to.", minimum=1, count=True)
    ridge: float = option(
        0.3, "Weight of what the encoder says of a latent, as a share of what tokens say of a middling one.", minimum=0.0
    )
    rank: int = option(RANK, "Dimensions to keep of a token state.", minimum=1)
    seed: int = option(0, "Chooses the passage that is read of each text.")


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a finished training. A key that an earlier version lacked gets the value that it worked with."""
    return {**_EARLIER, **EARLIER_SCORING, **settings}


def saved_terms(values: Mapping[str, Any], where: str) -> TermsConfig:
    """How a vocabulary makes terms, as it was saved in this version or an earlier one.

    Args:
        values: fields of :class:`TermsConfig` as they were saved.
        where: the file they were read from, for error messages.

    Raises:
        ConfigError: a field is unknown or has no valid value.
    """
    return from_dict(TermsConfig, {**_EARLIER, **values}, where)
