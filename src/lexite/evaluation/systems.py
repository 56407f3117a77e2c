"""Retrieval systems under comparison: each ranks a judged collection and says what its index costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lexite.evaluation.judged import JudgedCollection
from lexite.ranking.rankings import Ranking


@dataclass(frozen=True)
class Costs:
    """What an index of a collection costs.

    Attributes:
        postings_per_document: entries of the posting lists (pairs of a term and a document) divided by the number of documents.
            A dense index has no posting lists: 0. None where it is not known: a run from a file.
        terms_per_query: mean number of distinct terms with a weight above 0 in a query, whether or not a document has them.
            Dense: 0. None likewise.
        bytes_per_document: bytes that ranking reads, divided by the number of documents. Latent terms: the compressed posting
            lists with their directory, as they lie on the disk; not the raw weights (``BM25Index.weight_bytes``), of which a
            search reads few. BM25: the arrays of bm25s, not its dictionary of words. BM25F and weights of other models: 8 bytes
            a posting and the directory, not compressed. Dense: fp32 vectors. Ids and stored texts are not counted. None where
            it is not known: a late-interaction backbone, a run from a file.
    """

    postings_per_document: float | None
    terms_per_query: float | None
    bytes_per_document: float | None


@dataclass(frozen=True)
class SystemResult:
    """Rankings of a collection's queries by one system, and its costs.

    Attributes:
        rankings: one per query, in the order of the queries; documents that share no term with the query are left out.
        costs: of the index.
        static: the result of static queries on the same index; None where they were not asked for.
        chains: the results of second stages on the same index, by the name of the chain.
        milliseconds: mean time of a query, searching and all stages together, without encoding; None where it was not measured.
    """

    rankings: list[Ranking]
    costs: Costs
    static: SystemResult | None = None
    chains: Mapping[str, SystemResult] = field(default_factory=dict)
    milliseconds: float | None = None


class System(Protocol):
    """A retrieval system under test.

    It may have two more methods: ``check(collection)``, which finds out before anything is run that files do not fit the
    collection, and ``cut_to(cut)``, which gives the same system with fewer terms (:class:`lexite.evaluation.baselines.Cut`).
    """

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Ranks the collection's documents for each of its queries, ``top_k`` at most."""
        ...
