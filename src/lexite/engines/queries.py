"""Encoded queries as engines take them: terms with the weights of a route, the lightest cut where an engine has a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.engines.routes import Route, query_weights
from lexite.engines.statistics import Statistics

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.terms import EncodedQueries


@dataclass(frozen=True, slots=True)
class EngineQuery:
    """A query as an engine takes it.

    Attributes:
        terms: (n,) int32, ascending.
        weights: (n,) float32, above 0: what the engine multiplies each of them by.
        pivot: k1 of an engine that saturates.
        n_cut: terms that were left out because the engine takes no more.
    """

    terms: NDArray[np.int32]
    weights: NDArray[np.float32]
    pivot: float
    n_cut: int = 0


def engine_queries(
    index: BM25Index,
    queries: EncodedQueries,
    route: Route,
    statistics: Statistics,
    *,
    most_terms: int | None = None,
) -> list[EngineQuery]:
    """Queries as an engine takes them.

    Args:
        index: whose words and document frequencies are looked up.
        queries: the queries.
        route: what the engine holds.
        statistics: what the engine counts, where it multiplies an idf of its own; and the scoring.
        most_terms: terms that the engine takes at most. The lightest are cut: those whose factor is smallest, of equal ones
            the later.
    """
    scoring = statistics.scoring
    rows = index.query_factors(queries, scoring=scoring)
    found = []
    for begin, end in zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True):
        terms, factors = rows.indices[begin:end], rows.data[begin:end]
        n_cut = 0 if most_terms is None else max(0, len(terms) - most_terms)
        if n_cut:
            kept = np.sort(np.argsort(-factors, kind="stable")[:most_terms])
            terms, factors = terms[kept], factors[kept]
        known = statistics.document_frequency[terms]
        weights = query_weights(route, factors, known, statistics.n_filled, scoring)
        found.append(EngineQuery(terms.astype(np.int32), weights, route.pivot(scoring), n_cut))
    return found
