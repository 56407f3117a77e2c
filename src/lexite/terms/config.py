"""How the codes of tokens become the weights of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lexite.config import option, to_dict
from lexite.terms.scoring import BM25Config

Pooling = Literal["sum", "max"]
_NEWER_KEYS = ("floor_documents", "floor_queries", "literal_weight", "idf_power")  # that runs of earlier versions do not know


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
    TermsConfig(pooling='sum', k_documents=None, k_queries=None, floor_documents=0.0, floor_queries=0.0)
    """

    pooling: Pooling = option("sum", "Weight of a latent in a text: sum or max of its activations over the tokens.")
    k_documents: int | None = option(
        None, "Latents kept per token of a document; fewer make a smaller index (default: what the vocabulary says).", minimum=1
    )
    k_queries: int | None = option(None, "Latents kept per token of a query (default: what the vocabulary says).", minimum=1)
    floor_documents: float = option(
        0.0, "Drop terms of a document below this share of its heaviest; a smaller index.", minimum=0.0, maximum=1.0
    )
    floor_queries: float = option(0.0, "Drop terms of a query below this share of its heaviest.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class SavingConfig:
    """How a trained vocabulary is saved, and what its model card says.

    Attributes:
        name: short name, for tables and for an index to remember; the folder's by default.
        licence: SPDX identifier of the vocabulary.
        training_data: what it was trained on, with the licences of the text; Markdown.
        encoder_only: leave out the decoder, which encoding does not need.
        weights: number format of the saved matrices. bf16 halves the file; rounding changes terms a little.
    """

    name: str | None = option(None, "Short name of the vocabulary (default: the folder's).")
    licence: str = option("apache-2.0", "Licence of the vocabulary, an SPDX identifier.")
    training_data: str = option("", "What it was trained on, and under which licence, for the model card.")
    encoder_only: bool = option(False, "Save without the decoder, which encoding does not need.")
    weights: Literal["fp32", "bf16"] = option("fp32", "Number format of the saved weights; bf16 halves the file.")


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a training without the newer keys that have their defaults: a run from before they were there is the same."""
    defaults = {**to_dict(TermsConfig()), **to_dict(BM25Config())}
    return {key: value for key, value in settings.items() if key not in _NEWER_KEYS or value != defaults[key]}
