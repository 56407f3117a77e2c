"""Queries of a collection that are encoded once: terms, dense vectors and token states, from a cache where there is one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack

from lexite.evaluation.judged import JudgedCollection
from lexite.search.queries import ModelQueries
from lexite.terms.queries import EncodedQueries

if TYPE_CHECKING:
    from lexite.backbone import TokenStates
    from lexite.evaluation.cache import StateCache
    from lexite.index import BM25Index
    from lexite.sae import SparseCodes
    from lexite.scoring.rows import SparseRows
    from lexite.terms import LatentTermEncoder


class KeptQueries:
    """Encodes the queries of a collection as they were encoded before, and other texts by the model.

    So the time of a chain is its own, and with a cache no model runs on the collection's queries.

    Args:
        model: what encodes other texts.
        collection: whose queries are kept.
        queries: these queries, encoded.
        cache: where their dense vectors and token states are kept; None lets the model make them, at first need.
    """

    kind = "model"

    def __init__(
        self, model: ModelQueries, collection: JudgedCollection, queries: EncodedQueries, cache: StateCache | None = None
    ) -> None:
        self.model, self.collection, self.queries, self.cache = model, collection, queries, cache
        self._places = {text: place for place, text in enumerate(collection.query_texts)}

    @property
    def encoder(self) -> LatentTermEncoder:
        """The vocabulary with its model, for strategies that look into it."""
        return self.model.encoder

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary."""
        return self.model.fingerprint

    def encode(
        self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries."""
        places = self._known(texts)
        if places is None or k_queries is not None or floor_queries is not None or not places:
            return self.model.encode(texts, k_queries=k_queries, floor_queries=floor_queries)
        rows = vstack([self.queries[place].to_csr() for place in places], format="csr")
        kept = self.queries
        return EncodedQueries(rows, list(texts), kept.fingerprint, kept.settings, kept.deliberate)

    def encode_passages(self, texts: Sequence[str]) -> SparseRows:
        """Raw weights of passages, by the model."""
        return self.model.encode_passages(texts)

    def dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of queries, ``(n, d)``."""
        places = self._known(texts)
        return self.model.dense(texts) if places is None else np.asarray(self._vectors[places], dtype=np.float32)

    def dense_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of passages, by the model."""
        return self.model.dense_passages(texts)

    def token_states(self, texts: Sequence[str]) -> TokenStates:
        """States of the tokens of queries."""
        places = self._known(texts)
        return self.model.token_states(texts) if places is None else _taken(self._states, places)

    def token_codes(self, texts: Sequence[str]) -> SparseCodes:
        """Codes of the tokens of queries."""
        places = self._known(texts)
        if places is None:
            return self.model.token_codes(texts)
        import torch

        rows = torch.from_numpy(_rows(self._states.offsets, places)[1])
        return dataclasses.replace(self._codes, values=self._codes.values[rows], indices=self._codes.indices[rows])

    def of_newer(self, index: BM25Index) -> KeptQueries:
        """The same: an evaluation changes no index."""
        return self

    def prepare(self, needs: frozenset[str]) -> None:
        """Makes what a chain will ask for, so that its time is not measured with the chain's."""
        if "vectors" in needs:
            _ = self._vectors
        if "token_codes" in needs:
            _ = self._codes

    def _known(self, texts: Sequence[str]) -> list[int] | None:
        """The places of texts among the queries; None where one is another text."""
        places = [self._places.get(text) for text in texts]
        return None if None in places else [place for place in places if place is not None]

    @functools.cached_property
    def _vectors(self) -> NDArray[np.float32]:
        if self.cache is not None:
            return self.cache.vectors(self.collection, "query")
        return self.model.dense(self.collection.query_texts)

    @functools.cached_property
    def _states(self) -> TokenStates:
        if self.cache is None:
            return self.model.token_states(self.collection.query_texts)
        from lexite.backbone.states import concatenate

        return concatenate(list(self.cache.states(self.collection, "query")))

    @functools.cached_property
    def _codes(self) -> SparseCodes:
        return self.encoder.codes(self._states, self.encoder.k_for("query"))


def _taken(states: TokenStates, places: Sequence[int]) -> TokenStates:
    """Some of the texts of a batch of states."""
    from lexite.backbone import TokenStates

    offsets, rows = _rows(states.offsets, places)
    return TokenStates(states.states[rows], offsets, states.token_ids[rows])


def _rows(offsets: NDArray[np.int64], places: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets of some of the texts of a batch among themselves, and the rows of their tokens in the batch."""
    begins, sizes = offsets[:-1][list(places)], np.diff(offsets)[list(places)]
    own = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return own, np.arange(own[-1]) + np.repeat(begins - own[:-1], sizes)
