"""Queries for an engine that is asked without an index beside it: its own counts give what each term is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.engines.driver import Counts
from lexite.engines.queries import EngineQuery
from lexite.engines.record import CollectionRecord
from lexite.engines.routes import Route, query_weights
from lexite.errors import ArgumentError, ConfigError
from lexite.index.checks import check_queries, check_weights
from lexite.index.ranker import words_of_queries
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import inverse_document_frequency, query_factors, worth_of_terms
from lexite.scoring.transform import transform_weights
from lexite.terms.queries import EncodedQueries


@dataclass(frozen=True)
class WordNumbers:
    """Numbers of the words of some queries: behind the latents, in the order in which they occur.

    An engine has no dictionary, so such a number means something within one search alone.

    Attributes:
        n_latents: number of latent terms.
        words: the words.
    """

    n_latents: int
    words: tuple[str, ...]

    def word(self, term: int) -> str:
        """The word of a term."""
        return self.words[term - self.n_latents]


@dataclass(frozen=True, eq=False)
class AskedQuery:
    """A query with every number that a term's part of a score is made of.

    Attributes:
        terms: (n,) int64, ascending; the terms that some document has.
        weights: (n,) transformed weights in the query.
        frequency: (n,) in how many passages each term occurs.
        idf: (n,) its inverse document frequency.
        worth: (n,) what the idf comes to.
        factors: (n,) float32, what an impact is multiplied by; above 0.
    """

    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    frequency: NDArray[np.int64]
    idf: NDArray[np.float64]
    worth: NDArray[np.float64]
    factors: NDArray[np.float32]

    def heaviest(self, most: int | None) -> AskedQuery:
        """The query with ``most`` terms at most: those of the largest factors, of equal ones the earlier."""
        if most is None or len(self.terms) <= most:
            return self
        kept = np.sort(np.argsort(-self.factors, kind="stable")[:most])
        return AskedQuery(
            self.terms[kept],
            self.weights[kept],
            self.frequency[kept],
            self.idf[kept],
            self.worth[kept],
            self.factors[kept],
        )

    def for_engine(self, route: Route, n_filled: int, scoring: BM25Config, n_cut: int = 0) -> EngineQuery:
        """The query in the numbers of a route."""
        weights = query_weights(route, self.factors, self.frequency, n_filled, scoring)
        return EngineQuery(self.terms.astype(np.int32), weights, route.pivot(scoring), n_cut)


def asked_queries(
    where: str,
    queries: EncodedQueries,
    record: CollectionRecord,
    scoring: BM25Config,
    counts: Counts,
    frequencies: Callable[[WordNumbers, NDArray[np.int64]], NDArray[np.int64]],
) -> tuple[list[AskedQuery], WordNumbers]:
    """Queries with what their terms are worth.

    Args:
        where: what is asked, for messages.
        queries: as for ``BM25Index.search``.
        record: of the collection.
        scoring: of the search.
        counts: of the collection.
        frequencies: gives the document frequencies of terms.

    Raises:
        ArgumentError, IndexFormatError, ModelError: as ``BM25Index.search`` for queries that do not fit. A negative weight is
            a ModelError: no engine takes one.
    """
    check_queries(where, record.vocabulary, queries)
    n_latents = record.vocabulary.n_terms
    rows = check_weights(queries.rows, n_latents, lambda row: f"query number {row + 1}")
    words = _words(where, queries, record, scoring, rows.n_rows)
    numbers = WordNumbers(n_latents, tuple(dict.fromkeys(word for own in words for word in own)))
    places = {word: n_latents + place for place, word in enumerate(numbers.words)}
    own_terms, own_weights = [], []
    for row, given in enumerate(words):
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        word_terms = np.array(sorted(places[word] for word in given), dtype=np.int64)
        word_weights = np.array([given[numbers.word(term)] for term in word_terms.tolist()], dtype=np.float32)
        own_terms.append(np.concatenate([rows.terms[part].astype(np.int64), word_terms]))
        own_weights.append(np.concatenate([rows.values[part], word_weights]))
    together = np.unique(np.concatenate([np.empty(0, np.int64), *own_terms]))
    known = frequencies(numbers, together)
    idf = inverse_document_frequency(counts.n_passages, known, scoring.idf)
    worth = worth_of_terms(counts.n_passages, known, int(np.searchsorted(together, n_latents)), scoring)
    found = []
    for terms, raw in zip(own_terms, own_weights, strict=True):
        at = np.searchsorted(together, terms)
        factors = query_factors(raw, worth[at], scoring)
        kept = factors > 0
        at, weights = at[kept], transform_weights(raw[kept], scoring.query_transform)
        found.append(AskedQuery(terms[kept], weights, known[at], idf[at], worth[at], factors[kept]))
    return found, numbers


def _words(
    where: str, queries: EncodedQueries, record: CollectionRecord, scoring: BM25Config, n_rows: int
) -> Sequence[dict[str, float]]:
    """For each query its literal words with their weights above 0."""
    if record.literal is None and any(queries.word_weights or ()):
        raise ArgumentError(
            f"{where} has no literal words, so the weights that these queries give words can have no effect. "
            "Leave word_weights out, or load an index with words."
        )
    silent = queries.texts is None and queries.word_weights is None
    if record.literal is None or not scoring.literal_weight or silent:
        return [{} for _ in range(n_rows)]
    given = words_of_queries(queries, record.literal)
    return [{word: weight for word, weight in own.items() if np.float32(weight) > 0} for own in given]


def check_search_scoring(where: str, record: CollectionRecord, scoring: BM25Config) -> None:
    """Refuses a scoring that differs from the collection's in what was baked into documents.

    Raises:
        ConfigError: it does.
    """
    baked = ["b", "document_transform"]
    if record.route.name != "saturation":
        baked.append("k1")
    if "bm25+" in (record.scoring.idf, scoring.idf):
        baked += ["idf", "delta"]
    other = [name for name in baked if getattr(scoring, name) != getattr(record.scoring, name)]
    if other:
        there, here = (" and ".join(f"{name} {getattr(each, name)}" for name in other) for each in (record.scoring, scoring))
        raise ConfigError(
            f"{where} holds documents that were written with {there}, so a search there cannot have {here}. "
            "Load the index again with that scoring."
        )
