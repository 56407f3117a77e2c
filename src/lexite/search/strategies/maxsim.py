"""MaxSim reranking: each token of the query looks for the token of a passage that is most like it.

Khattab and Zaharia 2020, arXiv 2004.12832, equation 3. The states of a passage's tokens come from the codes that the index
keeps, through the atoms of the autoencoder or of the vocabulary's token decoder, so that no model runs on documents; or from
the model; or a late-interaction model scores by itself.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.corpus.passages import cut_documents
from lexite.errors import ArgumentError
from lexite.ranking.fusion import Fusion
from lexite.ranking.hits import Hit
from lexite.search.strategies.candidates import check_settings, document_of, rescored, texts_of_queries
from lexite.search.strategies.query_tokens import QueryTokens, TokenWeights, model_of, query_tokens, unit_rows
from lexite.search.strategy import Answer

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.kernels.atom_products import Atoms
    from lexite.kernels.maxsim import LengthsBy
    from lexite.sae import SparseAutoencoder
    from lexite.terms import LatentTermEncoder
    from lexite.terms.token_decoder import TokenDecoder

Source: TypeAlias = Literal["codes", "states", "model"]
NAME = "maxsim"
LATE_INTERACTION = ("maxsim", "meanmaxsim")


@dataclass(frozen=True, eq=False)
class Decoder:
    """What turns codes into states again: ``bias + Σ value · atom``.

    Attributes:
        atoms: (n_latents, d) float32.
        bias: (d,) float32.
        projection: (d_model, d) float32, what takes the state of a query's token to where the atoms are; None: they are as wide
            as a state.
        levels: the same atoms as (n_latents, d) int8 and the step of each, float32, by which they are read faster; None where
            atoms are no such multiples.
    """

    atoms: NDArray[np.float32]
    bias: NDArray[np.float32]
    projection: NDArray[np.float32] | None = None
    levels: tuple[NDArray[np.int8], NDArray[np.float32]] | None = None

    @functools.cached_property
    def matrix(self) -> Atoms:
        """The atoms in the form in which this machine multiplies them fastest: int8, where they are so, bf16, or float32."""
        from lexite.kernels.atom_products import Levels
        from lexite.kernels.hardware import fast_bf16, fast_int8

        if self.levels is not None and fast_int8():
            return Levels.of(*self.levels)
        if not fast_bf16():
            return np.ascontiguousarray(self.atoms, dtype=np.float32)
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.atoms)).to(torch.bfloat16)

    @functools.cached_property
    def lengths_by(self) -> LengthsBy:
        """What lengths of tokens are computed by."""
        from lexite.kernels.maxsim import LengthsBy

        return LengthsBy(*(self.levels or (self.atoms, np.ones(len(self.atoms), dtype=np.float32))))

    def query_rows(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """States of a query's tokens, (n, d_model), of unit length, as the atoms are compared with them: (n, d), likewise."""
        return states if self.projection is None else unit_rows(states @ self.projection)


@dataclass(frozen=True)
class MaxSim:
    """Ranks candidates again by the sum, over the query's tokens, of the best cosine to a token of their best passage."""

    source: Source = option(
        "codes",
        "Where token states of candidates come from: the codes in the index, the model (states), or the vectors and scores of "
        "a late-interaction model (model).",
    )
    candidates: int = option(100, "Hits of the ranking before that are scored again.", minimum=1)
    weight: float = option(0.5, "Weight beside the current scores, both brought to one scale.", minimum=0.0, maximum=1e6)
    fusion: Fusion = option("minmax", "How both are brought to one scale: least to greatest, reciprocal ranks, deviations.")
    alone: bool = option(False, "Leave the current scores out.")
    token_weights: TokenWeights = option(
        "none", "What a token of the query counts: 1 (none), or the mean idf of its latents; without effect on source model."
    )
    decoder: Decoder | None = option(
        None, "The decoder of codes; None takes the vocabulary's: its autoencoder's, else its token decoder.", hidden=True
    )
    states: Mapping[str, Sequence[NDArray[Any]]] | None = option(
        None,
        "Token states by id of the document, an array (n_tokens, d) for each passage; what a dict lacks is computed and kept "
        "there. None computes all and keeps nothing.",
        hidden=True,
    )

    def __post_init__(self) -> None:
        check_settings(self, NAME)

    @property
    def needs(self) -> frozenset[str]:
        """The model, and the codes where states come from them."""
        return frozenset({"model", "token_codes"} if self.source == "codes" else {"model"})

    def __call__(self, answer: Answer) -> Answer:
        """The same hits, the candidates of each query by their new scores.

        Raises:
            ArgumentError: the index keeps no codes, or no texts where the model must read them; queries without texts; static
                queries; a vocabulary without decoder.
        """
        texts = texts_of_queries(answer, NAME)
        candidates = [hits[: self.candidates] for hits in answer.rankings]
        if self.source == "model":
            scores = _scores_of_model(answer, texts, candidates)
        else:
            from_codes = self.source == "codes"
            queries = query_tokens(answer, texts, NAME, self.token_weights, normalised=from_codes)
            score = self._scores_of_codes if from_codes else self._scores_of_states
            scores = [score(answer, query, hits) for query, hits in zip(queries, candidates, strict=True)]
        weight = None if self.alone else self.weight
        return answer.with_rankings(
            [rescored(hits, new, weight, self.fusion) for hits, new in zip(answer.rankings, scores, strict=True)]
        )

    def _scores_of_codes(self, answer: Answer, query: QueryTokens, hits: Sequence[Hit]) -> NDArray[np.float32]:
        """Scores of documents from the codes of their tokens."""
        from lexite.kernels.maxsim import maxsim_codes

        if not hits:
            return np.zeros(0, dtype=np.float32)
        codes = answer.backend.token_codes(hits)
        encoder = model_of(answer, NAME)
        decoder = _decoder_of(encoder) if self.decoder is None else _checked(self.decoder, encoder)
        own = self.decoder is None and decoder.projection is None  # an index keeps norms by the autoencoder's decoder, if any
        passages = maxsim_codes(
            decoder.query_rows(query.states),
            query.weights,
            decoder.matrix,
            decoder.bias,
            codes.tokens,
            codes.entries,
            codes.latents,
            codes.values,
            codes.norms if own and not np.isnan(codes.norms).any() else decoder.lengths_by,
        )
        return _best_of(passages, codes.bounds)

    def _scores_of_states(self, answer: Answer, query: QueryTokens, hits: Sequence[Hit]) -> NDArray[np.float32]:
        """Scores of documents from the states of their tokens."""
        from lexite.kernels.maxsim import maxsim_vectors

        if not hits:
            return np.zeros(0, dtype=np.float32)
        known = {hit.id: self.states[hit.id] for hit in hits if self.states is not None and hit.id in self.states}
        computed = _states_of(answer, [hit for hit in hits if hit.id not in known])
        if isinstance(self.states, MutableMapping):
            self.states.update(computed)
        known |= computed
        passages = [np.asarray(passage) for hit in hits for passage in known[hit.id]]
        tokens = np.cumsum([0, *map(len, passages)])
        width = query.states.shape[1]
        wrong = next((passage for passage in passages if passage.ndim != 2 or passage.shape[1] != width), None)
        if wrong is not None:
            raise ArgumentError(f"Token states given to MaxSim have the shape {wrong.shape}, but must be (n_tokens, {width}).")
        vectors = unit_rows(np.concatenate([np.zeros((0, width), dtype=np.float32), *passages]))
        bounds = np.cumsum([0, *(len(known[hit.id]) for hit in hits)])
        return _best_of(maxsim_vectors(query.states, query.weights, vectors, tokens), bounds)


def _checked(decoder: Decoder, encoder: LatentTermEncoder) -> Decoder:
    """A decoder that was given, where it fits the vocabulary.

    Raises:
        ArgumentError: it does not.
    """
    projection = decoder.projection
    fits = projection is None or (projection.ndim == 2 and len(projection) == encoder.sae.config.d_model)
    width = encoder.sae.config.d_model if projection is None else projection.shape[-1]
    shape = (encoder.sae.config.n_latents, width)
    if not fits or decoder.atoms.shape != shape or decoder.bias.shape != shape[1:]:
        raise ArgumentError(
            f"The decoder has atoms of the shape {decoder.atoms.shape} and a bias of {decoder.bias.shape}; the vocabulary "
            f"'{encoder.name}' needs {shape} and {shape[1:]}."
        )
    return decoder


def _best_of(scores: NDArray[np.float32], bounds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The best score among the passages of each document; minus infinity for a document without a token."""
    best = np.full(len(bounds) - 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, np.repeat(np.arange(len(best)), np.diff(bounds)), scores)
    return best


_decoders: weakref.WeakKeyDictionary[SparseAutoencoder | TokenDecoder, Decoder] = weakref.WeakKeyDictionary()


def _decoder_of(encoder: LatentTermEncoder) -> Decoder:
    """The decoder of a vocabulary: its autoencoder's, else its token decoder.

    Codes are compared in the space of states as the autoencoder sees them.

    Raises:
        ArgumentError: it has neither.
    """
    sae = encoder.sae
    atoms = sae.decoder_weight
    if atoms is not None:
        if sae not in _decoders:
            _decoders[sae] = Decoder(atoms.cpu().numpy(), sae.decoder_bias.cpu().numpy())
        return _decoders[sae]
    small = encoder.token_decoder
    if small is None:
        raise ArgumentError(
            f"The vocabulary '{encoder.name}' was saved without a decoder, through which codes become states. Fit one with "
            "'lexite fit-decoder', give MaxSim a decoder, or take source='states'."
        )
    if small not in _decoders:
        _decoders[small] = Decoder(small.atoms, small.bias, small.projection, small.levels)
    return _decoders[small]


def _passages_of(answer: Answer, hits: Sequence[Hit]) -> list[list[str]]:
    """The passages of candidates, cut as the index cut them and as they are encoded."""
    documents = [document_of(answer.backend, hit, NAME) for hit in hits]
    cut = cut_documents(documents, getattr(answer.backend, "passages_config", None))
    bounds = cut.bounds.tolist()
    return [cut.texts[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]


def _states_of(answer: Answer, hits: Sequence[Hit]) -> dict[str, list[NDArray[np.float32]]]:
    """Token states of candidates, computed by the model."""
    passages = _passages_of(answer, hits)
    texts = [text for own in passages for text in own]
    if not texts:
        return {}
    states = model_of(answer, NAME).backbone.encode(texts, "document").check()
    rows, found, place = states.to_numpy(), {}, 0
    for hit, own in zip(hits, passages, strict=True):
        ends = states.offsets[place : place + len(own) + 1].tolist()
        found[hit.id] = [rows[start:stop] for start, stop in zip(ends[:-1], ends[1:], strict=True)]
        place += len(own)
    return found


def _scores_of_model(answer: Answer, texts: Sequence[str], candidates: Sequence[Sequence[Hit]]) -> list[NDArray[np.float32]]:
    """Scores of documents by a late-interaction model: its own vectors, query expansion, masks and lengths."""
    backbone: Backbone = model_of(answer, NAME).backbone
    scoring = backbone.info().get("scoring")
    if scoring not in LATE_INTERACTION:
        raise ArgumentError(
            f"The model '{backbone.name}' scores by {scoring}, not by late interaction. Take source='codes' or source='states'."
        )
    scores = []
    for text, hits in zip(texts, candidates, strict=True):
        passages = _passages_of(answer, hits)
        bounds = np.cumsum([0, *map(len, passages)])
        (row,) = backbone.dense_scores([text], [passage for own in passages for passage in own])
        scores.append(_best_of(row, bounds))
    return scores
