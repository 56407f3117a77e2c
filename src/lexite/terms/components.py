"""What a vocabulary consists of: the dense model, the autoencoder, and how its codes become terms."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError, ModelError
from lexite.scoring.config import BM25Config
from lexite.terms.config import TermsConfig
from lexite.terms.manifest import ModelDetails
from lexite.terms.piece_counts import unread_pieces

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.config import Kind
    from lexite.backbone.states import TokenStates
    from lexite.sae import SparseAutoencoder, SparseCodes
    from lexite.terms.static import StaticTable
    from lexite.terms.token_decoder import TokenDecoder
    from lexite.terms.vocabulary import Vocabulary

MEASURED = ("vocabulary", "details", "static", "token_decoder")  # parts that no term depends on
TOKENS_AT_ONCE = 16_384  # whose codes are held together, where k does not bound the latents of a token


@dataclass(frozen=True, eq=False)
class Loaded:
    """The parts that a saved vocabulary has, to tell which of an encoder's are others.

    Attributes:
        revision: branch, tag or commit on the hub, where one was asked for.
        sae: the sparse autoencoder.
        vocabulary: frequencies and labels of the terms.
        details: name, licence, data, recipe and results.
        static: the table that encodes queries without the model.
        token_decoder: what turns the latents of a token into its state again, in few dimensions.
    """

    revision: str | None
    sae: SparseAutoencoder
    vocabulary: Vocabulary | None
    details: ModelDetails
    static: StaticTable | None
    token_decoder: TokenDecoder | None


@dataclass(frozen=True, eq=False)
class Components:
    """The parts of a vocabulary, checked against each other.

    Attributes:
        backbone: the dense retriever that gives token states.
        sae: the sparse autoencoder that turns a state into a few latents.
        terms: pooling, the latents kept per token, the floors.
        scoring: how the weights are meant to be scored.
        vocabulary: frequencies and labels of the terms, when they were measured.
        details: name, licence, data, recipe and results, for people.
        source: name or path that loads the vocabulary again; empty when it was never saved.
        prefix_size: number of latents here, the first ones of a ``source`` that has more; None where all are here.
        static: the table that encodes queries without a model, when it was measured.
        loaded: what ``source`` has; None when the parts were not loaded from there.
        token_decoder: what turns the latents of a token into its state again, in few dimensions, for MaxSim.

    Raises:
        ModelError: the autoencoder, the labels, the table or the token decoder do not fit.
        ConfigError: more latents per token are asked for than there are.
    """

    backbone: Backbone
    sae: SparseAutoencoder
    terms: TermsConfig = field(default_factory=TermsConfig)
    scoring: BM25Config = field(default_factory=BM25Config)
    vocabulary: Vocabulary | None = None
    details: ModelDetails = field(default_factory=ModelDetails)
    source: str = ""
    prefix_size: int | None = None
    static: StaticTable | None = None
    loaded: Loaded | None = None
    token_decoder: TokenDecoder | None = None

    def __post_init__(self) -> None:
        sae, vocabulary, static = self.sae, self.vocabulary, self.static
        if sae.config.d_model != self.backbone.d_model:
            raise ModelError(
                f"The sparse autoencoder reads states of width {sae.config.d_model}, "
                f"but {self.backbone.name} gives states of width {self.backbone.d_model}."
            )
        if vocabulary is not None and vocabulary.n_latents != self.n_latents:
            raise ModelError(f"The vocabulary describes {vocabulary.n_latents} terms, but there are {self.n_latents} latents.")
        if static is not None and static.n_latents != self.n_latents:
            raise ModelError(f"The static table gives {static.n_latents} terms, but there are {self.n_latents} latents.")
        decoder, size = self.token_decoder, (sae.config.n_latents, sae.config.d_model)
        if decoder is not None and (decoder.n_latents, decoder.d_model) != size:
            raise ModelError(
                f"The token decoder has {decoder.n_latents} atoms for states of width {decoder.d_model}, but there are "
                f"{size[0]} latents and the width is {size[1]}."
            )
        self.k_for("document")
        self.k_for("query")

    @property
    def n_latents(self) -> int:
        """Number of latents, which is the number of terms and of columns."""
        return int(self.sae.n_terms)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides which terms a text gets; see :attr:`LatentTermEncoder.fingerprint`."""
        digests = {"backbone": self.backbone.fingerprint, "sae": self.sae.fingerprint, "pooling": self.terms.pooling}
        return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()

    @functools.cached_property
    def unread_pieces(self) -> NDArray[np.bool_]:
        """For each token id, whether the vocabulary cannot read it; see :mod:`lexite.terms.piece_counts`."""
        return unread_pieces(self.backbone, self.static)

    @property
    def reading(self) -> Mapping[str, Any]:
        """What differs from the vocabulary in the way texts are read: ``long``, ``query_prompt``, ``document_prompt``."""
        return getattr(self.backbone, "reading", {})

    def k_for(self, kind: Kind, k: int | None = None) -> int:
        """The number of latents kept per token: ``k`` where it is given, else the configured number, else the trained one.

        Raises:
            ConfigError: less than 1 or more than there are latents.
        """
        own = self.terms.k_documents if kind == "document" else self.terms.k_queries
        chosen: Any = next((value for value in (k, own) if value is not None), int(self.sae.largest_k))
        most = self.sae.config.n_latents
        if isinstance(chosen, bool) or not isinstance(chosen, (int, np.integer)):
            raise ConfigError(f"k is {chosen!r}, but must be a whole number between 1 and {most}.")
        if not 1 <= chosen <= most:
            raise ConfigError(f"k is {chosen}, but must be between 1 and {most}, the number of latents.")
        return int(chosen)

    def floor_for(self, kind: Kind, floor: float | None = None) -> float:
        """The share of a text's heaviest term below which terms are dropped: ``floor``, or else the configured one.

        Raises:
            ConfigError: it is not from 0 to 1.
        """
        own = self.terms.floor_documents if kind == "document" else self.terms.floor_queries
        chosen: Any = own if floor is None else floor
        if not isinstance(chosen, (int, float, np.number)) or not 0 <= chosen <= 1:
            raise ConfigError(f"The floor is {chosen!r}, but must be a share, from 0 to 1.")
        return float(chosen)

    def portions(self, states: TokenStates) -> Iterator[TokenStates]:
        """The same texts in parts whose codes fit into memory. Where k is no bound, a token may have thousands of them."""
        return iter([states]) if self.sae.limited else states.pieces(TOKENS_AT_ONCE)

    def codes(self, states: TokenStates, k: int) -> SparseCodes:
        """The latents of each token, before pooling: ``(n_tokens, k)``.

        Raises:
            ModelError: the states are of another width than the autoencoder reads.
        """
        if states.d_model != self.sae.config.d_model:
            raise ModelError(f"The states have width {states.d_model}, but this vocabulary reads {self.sae.config.d_model}.")
        return self.sae.encode(states.states, k)
