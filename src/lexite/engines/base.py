"""What an engine is: five verbs, and what it says about itself.

An engine holds the documents of an index, and answers the same encoded queries with the same ranking. A ``Searcher`` over
an engine gives the hits, explanations and strategies that it gives over an index: ``Searcher(engine, queries)``.
:class:`lexite.engines.live.LiveEngine` is one over a driver, which says how a server is spoken to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lexite.index.config import DocumentLike, VocabularyInfo
from lexite.ranking.hits import Hit
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import SparseRows
from lexite.scoring.words import LiteralConfig
from lexite.search.strategy import Backend


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Callers read it, and never ask which engine it is.

    Attributes:
        exact: whether its ranking is BM25's own, up to rounding.
        live_statistics: whether document frequencies are counted by the engine, so that they are right after each change.
        among: whether a search can be limited to some documents.
        exclude: whether a search can leave one document out for each query.
        fields: whether it keeps the fields of documents, and takes ``where``, ``sort`` and ``min_score``.
        side_data: what it keeps of passages for second stages: ``vectors``, ``token_codes``, both or neither.
        most_terms: terms of a query that it takes at most; None: any number. The lightest are cut.
        most_hits: hits of a search that it gives at most; None: any number.
        word_weights: whether it searches the weights that queries give words (``EncodedQueries.word_weights``).
        keeps_terms: whether it can give the terms of a document back or not, as it is told (``keep_terms``).
    """

    exact: bool = True
    live_statistics: bool = True
    among: bool = False
    exclude: bool = False
    fields: bool = False
    side_data: frozenset[str] = frozenset()
    most_terms: int | None = None
    most_hits: int | None = None
    word_weights: bool = False
    keeps_terms: bool = False


@dataclass(frozen=True, slots=True)
class EngineHit(Hit):
    """A document that an engine found. ``document`` is -1: an engine has no numbers.

    Attributes:
        n_cut: terms of the query that were left out because the engine takes no more.
    """

    n_cut: int = 0


class Engine(Backend, Protocol):
    """A search engine that holds the documents of a vocabulary: create, add, delete, search, close."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def create(self, vocabulary: VocabularyInfo, scoring: BM25Config, literal: LiteralConfig | None = None) -> None:
        """Makes an empty collection.

        Args:
            vocabulary: what makes its terms; it is kept with the documents.
            scoring: how searches score.
            literal: how words are indexed beside latent terms; None: they are not.
        """
        ...

    def add(self, documents: Sequence[DocumentLike], rows: SparseRows) -> Any:
        """Adds documents.

        Args:
            documents: with ids that it does not have.
            rows: raw weights of their latent terms, ``(len(documents), n_latents)``.

        Returns:
            What the engine has to say of it; nothing, or :class:`lexite.engines.loading.Loaded`.
        """
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Deletes documents; says how many there were."""
        ...

    def close(self) -> None:
        """Ends the connection. The documents stay."""
        ...
