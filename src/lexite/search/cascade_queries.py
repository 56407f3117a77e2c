"""Queries through a static table, with a model that is loaded when a query needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.rows import SparseRows
from lexite.search.queries import ModelQueries, StaticQueries, encoder_of, static_queries_of
from lexite.search.strategies.cascade import Cascade
from lexite.terms.queries import SETTINGS, EncodedQueries

if TYPE_CHECKING:
    from lexite.backbone.states import TokenStates
    from lexite.index import BM25Index, VocabularyInfo
    from lexite.sae import SparseCodes
    from lexite.search.strategy import Strategy
    from lexite.terms import LatentTermEncoder


@dataclass(frozen=True, eq=False)
class CascadeQueries:
    """Static queries, and those of the model for whoever asks for them. Until then neither torch nor transformers is loaded.

    Attributes:
        static: encodes queries and passages.
        made_by: which vocabulary made the index.
        vocabulary: where it is now, or its encoder; None for where it was when the index was built.
        model: how the model runs, as for ``Searcher.open``.
        strategies: what every search runs first.
        kind: ``cascade``.
    """

    static: StaticQueries
    made_by: VocabularyInfo
    vocabulary: str | Path | LatentTermEncoder | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    strategies: tuple[Strategy, ...] = (Cascade(),)
    kind: str = "cascade"
    _loaded: list[ModelQueries] = field(default_factory=list, init=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary."""
        return self.static.fingerprint

    @property
    def has_model(self) -> bool:
        """Whether the model is loaded."""
        return bool(self._loaded)

    @property
    def encoder(self) -> LatentTermEncoder:
        """The vocabulary with its model, which is loaded the first time; raises as :meth:`by_model`."""
        return self._queries_by_model.encoder

    def encode(
        self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries through the table; raises as :meth:`StaticQueries.encode`."""
        return self.static.encode(texts, k_queries=k_queries, floor_queries=floor_queries)

    def encode_passages(self, texts: Sequence[str]) -> SparseRows:
        """Raw weights of passages through the table."""
        return self.static.encode_passages(texts)

    def passage_weights(self, texts: Sequence[str], latents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some columns of :meth:`encode_passages`."""
        return self.static.passage_weights(texts, latents)

    def by_model(self, texts: Sequence[str], *, floor_queries: float | None = None) -> EncodedQueries:
        """Encodes queries through the model, which is loaded the first time.

        Raises:
            IndexFormatError: the vocabulary is another one than the index's.
            ModelError, BackboneError: it cannot be loaded.
        """
        return self._queries_by_model.encode(texts, floor_queries=floor_queries)

    def dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of queries, by the model; raises as :meth:`by_model`."""
        return self._queries_by_model.dense(texts)

    def dense_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of passages, by the model; raises as :meth:`by_model`."""
        return self._queries_by_model.dense_passages(texts)

    def token_states(self, texts: Sequence[str]) -> TokenStates:
        """States of the tokens of queries, by the model; raises as :meth:`by_model`."""
        return self._queries_by_model.token_states(texts)

    def token_codes(self, texts: Sequence[str]) -> SparseCodes:
        """Codes of the tokens of queries, by the model; raises as :meth:`by_model`."""
        return self._queries_by_model.token_codes(texts)

    @property
    def _queries_by_model(self) -> ModelQueries:
        if not self._loaded:
            encoder = encoder_of(self.made_by, self.vocabulary, **self.model)
            self._loaded.append(ModelQueries(encoder, frozenset(self.model).intersection(SETTINGS)))
        return self._loaded[0]

    @classmethod
    def around(cls, queries: ModelQueries, index: BM25Index) -> CascadeQueries:
        """The table of an index in front of a model that is loaded; the chain of each search brings its own cascade."""
        made = cls(static_queries_of(index), index.vocabulary, strategies=())
        made._loaded.append(queries)
        return made

    def of_newer(self, index: BM25Index) -> CascadeQueries:
        """The table of the newer commit, and a model that is loaded already."""
        newer = CascadeQueries(
            static_queries_of(index, self.static.vocabulary), index.vocabulary, self.vocabulary, self.model, self.strategies
        )
        newer._loaded.extend(queries.of_newer(index) for queries in self._loaded)
        return newer
