"""Read-only access to the parts of a vocabulary, under short names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.config import Kind
    from lexite.backbone.states import TokenStates
    from lexite.sae import SparseAutoencoder, SparseCodes
    from lexite.scoring.config import BM25Config
    from lexite.terms.components import Components
    from lexite.terms.config import TermsConfig
    from lexite.terms.manifest import ModelDetails
    from lexite.terms.static import StaticTable
    from lexite.terms.token_decoder import TokenDecoder
    from lexite.terms.vocabulary import Vocabulary


class ComponentAccess:
    """Gives what an encoder holds; nothing here encodes.

    Attributes:
        components: the parts, checked against each other.
    """

    components: Components

    @property
    def backbone(self) -> Backbone:
        """The dense retriever."""
        return self.components.backbone

    @property
    def sae(self) -> SparseAutoencoder:
        """The sparse autoencoder."""
        return self.components.sae

    @property
    def terms(self) -> TermsConfig:
        """Pooling, the latents kept per token, the floors."""
        return self.components.terms

    @property
    def scoring(self) -> BM25Config:
        """How the weights are meant to be scored."""
        return self.components.scoring

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Frequencies and labels of the terms; None where they were not measured."""
        return self.components.vocabulary

    @property
    def details(self) -> ModelDetails:
        """Name, licence, data, recipe and results, for people."""
        return self.components.details

    @property
    def source(self) -> str:
        """Name or path that loads this encoder again; empty when it was never saved."""
        return self.components.source

    @property
    def prefix_size(self) -> int | None:
        """Number of latents here, the first ones of a :attr:`source` that has more; None where all are here."""
        return self.components.prefix_size

    @property
    def static(self) -> StaticTable | None:
        """The table that encodes queries without a model; None where it was not measured."""
        return self.components.static

    @property
    def token_decoder(self) -> TokenDecoder | None:
        """What turns the latents of a token into its state again, in few dimensions; None where there is none."""
        return self.components.token_decoder

    @property
    def name(self) -> str:
        """Its short name."""
        return self.details.name

    @property
    def n_latents(self) -> int:
        """Number of latents, which is the number of terms and of columns."""
        return self.components.n_latents

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides which terms a text gets: model, prompts, token policy, autoencoder, pooling.

        k is left out: it makes rows longer or shorter, but terms keep their meaning, so documents and queries of the same
        vocabulary at different k fit together. The scoring is left out too: it can be changed at search time.
        """
        return self.components.fingerprint

    def k_for(self, kind: Kind, k: int | None = None) -> int:
        """The number of latents kept per token: ``k`` where it is given, else the configured number, else the trained one.

        Raises:
            ConfigError: less than 1 or more than there are latents.
        """
        return self.components.k_for(kind, k)

    def floor_for(self, kind: Kind, floor: float | None = None) -> float:
        """The share of a text's heaviest term below which terms are dropped: ``floor``, or else the configured one.

        Raises:
            ConfigError: it is not from 0 to 1.
        """
        return self.components.floor_for(kind, floor)

    def portions(self, states: TokenStates) -> Iterator[TokenStates]:
        """The same texts in parts whose codes fit into memory. Where k is no bound, a token may have thousands of them."""
        return self.components.portions(states)

    def codes(self, states: TokenStates, k: int) -> SparseCodes:
        """The latents of each token, before pooling: ``(n_tokens, k)``.

        Raises:
            ModelError: the states are of another width than the autoencoder reads.
        """
        return self.components.codes(states, k)
