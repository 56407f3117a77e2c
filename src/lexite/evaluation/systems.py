"""What is compared: a retrieval system that ranks a judged collection and says what its index costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lexite.evaluation.judged import JudgedCollection
from lexite.ranking.rankings import Ranking


@dataclass(frozen=True)
class Costs:
    """What an index of a collection costs.

    Attributes:
        postings_per_document: entries of the posting lists (pairs of a term and a document) divided by the number of documents.
            A dense index has no posting lists: 0.
        terms_per_query: mean number of distinct terms with a weight above 0 in a query, whether or not a document has them.
            Dense: 0.
        bytes_per_document: bytes of all that ranking reads, divided by the number of documents: for latent terms the
            compressed posting lists with their directory, as they lie on the disk, without the raw weights, of which a search
            reads those of a few documents (``BM25Index.weight_bytes``); for BM25 the arrays of bm25s, without its dictionary
            of words; for dense fp32 vectors. Ids and stored texts are not counted. None where it is not known: a
            late-interaction backbone.
    """

    postings_per_document: float
    terms_per_query: float
    bytes_per_document: float | None


@dataclass(frozen=True)
class SystemResult:
    """Rankings of a collection's queries by one system, and its costs.

    Attributes:
        rankings: one per query, in the order of the queries; documents that match in nothing are not in it.
        costs: of the index.
        static: of the same index, searched with static queries; None where that was not asked for.
    """

    rankings: list[Ranking]
    costs: Costs
    static: SystemResult | None = None


class System(Protocol):
    """A retrieval system under test."""

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Ranks the collection's documents for each of its queries, ``top_k`` at most."""
        ...
