"""The tokens of queries as late interaction takes them: their states, and what each of them counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError
from lexite.scoring.formula import inverse_document_frequency
from lexite.search.strategy import Answer, Backend

if TYPE_CHECKING:
    import torch

    from lexite.backbone.base import Backbone
    from lexite.sae import SparseCodes
    from lexite.terms import LatentTermEncoder

TokenWeights: TypeAlias = Literal["none", "idf"]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QueryTokens:
    """The tokens of a query.

    Attributes:
        states: (n_tokens, d) of unit length.
        weights: (n_tokens,) what each of them counts.
    """

    states: Floats
    weights: Floats


def model_of(answer: Answer, name: str) -> LatentTermEncoder:
    """The vocabulary with its model that encodes the queries.

    Args:
        answer: the question.
        name: of the strategy, for the message.

    Raises:
        ArgumentError: queries are encoded without a model.
    """
    encoder: LatentTermEncoder | None = getattr(answer.encoder, "encoder", None)
    if encoder is None:
        raise ArgumentError(f"The strategy {name} needs the model that encodes queries. Search without static queries.")
    return encoder


def query_tokens(
    answer: Answer, texts: Sequence[str], name: str, weighting: TokenWeights, normalised: bool
) -> list[QueryTokens]:
    """The tokens of each query, special ones left out.

    A token weighs 1, or the mean idf of its latents, each counted as strongly as the token has it. Latents have an idf in every
    index, also where a token is part of a word or words are not indexed.

    Args:
        answer: the question.
        texts: of its queries.
        name: of the strategy, for messages.
        weighting: ``none`` or ``idf``.
        normalised: whether states are taken as the autoencoder sees them (``normalize_activations``), to compare with codes.
    """
    encoder = model_of(answer, name)
    assert answer.encoder is not None  # it has the model
    found = answer.encoder.token_states(texts)
    kept = ~np.isin(found.token_ids, _special_ids(encoder.backbone))
    states = found.states[_tensor_of(kept, found.states)].float()
    if weighting == "none":
        weights = np.ones(len(states), dtype=np.float32)
    else:
        codes_of = getattr(answer.encoder, "token_codes", None)
        codes = encoder.codes(found, encoder.k_for("query")) if codes_of is None else codes_of(texts)
        weights = _idf(encoder, answer.backend, codes)[kept]
    if normalised:
        from lexite.sae.normalisation import normalise

        states = normalise(states, encoder.sae.config.normalize_activations)[0]
    rows = unit_rows(states.cpu().numpy())
    bounds = np.concatenate([[0], np.cumsum(kept)])[found.offsets]
    return [QueryTokens(rows[start:stop], weights[start:stop]) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]


def unit_rows(rows: NDArray[Any]) -> Floats:
    """Rows of length 1 in float32; rows of zeros stay as they are."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    result: Floats = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return result


def _tensor_of(kept: NDArray[np.bool_], states: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(kept).to(states.device)


def _special_ids(backbone: Backbone) -> list[int]:
    """Token ids of special tokens, where a vocabulary keeps their states."""
    if backbone.config.special_tokens == "drop":
        return []
    tokenizer = getattr(getattr(backbone, "model", None), "tokenizer", None)
    return [int(i) for i in getattr(tokenizer, "all_special_ids", ())]


def _idf(encoder: LatentTermEncoder, backend: Backend, codes: SparseCodes) -> Floats:
    """For each token the mean idf of its latents, weighted by their activations; 0 for a token without a latent."""
    values, latents = codes.values.cpu().numpy(), codes.indices.cpu().numpy()
    idf = _idf_of_latents(encoder, backend, np.maximum(latents, 0))
    totals = values.sum(axis=1)
    sums = np.einsum("ij,ij->i", values, np.where(latents >= 0, idf, 0.0))
    result: Floats = np.divide(sums, totals, out=np.zeros_like(totals), where=totals > 0)
    return result


def _idf_of_latents(encoder: LatentTermEncoder, backend: Backend, latents: NDArray[np.int32]) -> Floats:
    """The idf of latents in the index; where that does not count (an engine), in the sample of the vocabulary.

    Raises:
        ArgumentError: neither counts them.
    """
    counts, total = getattr(backend, "document_frequency", None), getattr(backend, "n_passages", None)
    if counts is None or total is None:
        if encoder.vocabulary is None:
            raise ArgumentError(
                "token_weights 'idf' needs the frequencies of latents, which neither the engine nor the vocabulary counts. "
                "Take token_weights='none'."
            )
        counts, total = encoder.vocabulary.document_counts, encoder.vocabulary.n_documents
    return inverse_document_frequency(int(total), np.asarray(counts)[latents], backend.scoring.idf).astype(np.float32)
