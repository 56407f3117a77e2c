"""Hybrid search: the dense model's scores for the candidates of a first stage, alone or together with the scores so far.

No nearest-neighbour index is needed: vectors are read for the candidates alone. For a small corpus, an exhaustive dense ranking
lets in documents that the first stage missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.errors import ArgumentError
from lexite.ranking.fusion import Fusion, fused
from lexite.ranking.hits import Hit
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategies.dense_scores import FROM_TEXT_HELP, candidate_scores, exhaustive_rankings, needs_of
from lexite.search.strategies.newcomers import allowed_documents, has_numbers, newcomers
from lexite.search.strategies.rescoring import ranked_anew, scores_of

if TYPE_CHECKING:
    from lexite.search.strategy import Answer

EXHAUSTIVE_LIMIT = 100_000
CANDIDATES_HELP = "Hits of each query that get a dense score."


@dataclass(frozen=True)
class Rescore:
    """Ranks candidates by their dense scores alone: the cosine of the query and the best passage of each document.

    Candidates without a passage come last; hits beyond the candidates follow as they were.
    """

    candidates: int = option(100, CANDIDATES_HELP, minimum=1)
    from_text: bool = option(False, FROM_TEXT_HELP)

    def __post_init__(self) -> None:
        check_settings(self, "rescore")

    @property
    def needs(self) -> frozenset[str]:
        """The model for queries, and vectors unless they are made from texts."""
        return needs_of(self.from_text)

    def __call__(self, answer: Answer) -> Answer:
        """Ranks anew."""
        heads = [list(hits[: self.candidates]) for hits in answer.rankings]
        scores = candidate_scores(answer, heads, self.from_text)
        return answer.with_rankings(
            [
                ranked_anew(head, np.where(np.isnan(new), -1.0, new), hits[len(head) :])
                for head, new, hits in zip(heads, scores, answer.rankings, strict=True)
            ]
        )


@dataclass(frozen=True)
class Candidates:
    """What a hybrid ranking of one query is made from.

    Attributes:
        hits: the candidates.
        scores: of each so far; NaN for documents that the rankings so far do not have.
        dense: of each; NaN for documents without a passage.
        rest: hits beyond the candidates.
    """

    hits: Sequence[Hit]
    scores: NDArray[np.float64]
    dense: NDArray[np.float64]
    rest: Sequence[Hit]


@dataclass(frozen=True)
class Hybrid:
    """Adds dense scores to the scores so far: ``normalised(score) + weight · normalised(dense score)``.

    Both are normalised over the candidates of a query (:mod:`lexite.ranking.fusion`). Hits beyond the candidates follow as they
    were. With ``exhaustive``, the best documents of an exhaustive dense ranking are candidates too, as many of them as of the
    first stage, in so far as the search allows them (``where``, ``among``, ``exclude``).
    """

    weight: float = option(1.0, "Weight of the dense score, where the score so far has 1.", minimum=0.0, maximum=1e6)
    fusion: Fusion = option("minmax", "How both are brought to one scale: least to greatest, reciprocal ranks, deviations.")
    candidates: int = option(100, CANDIDATES_HELP, minimum=1)
    exhaustive: bool = option(False, "Let documents in that the first stage missed, from a dense ranking of all vectors.")
    limit: int = option(EXHAUSTIVE_LIMIT, "Documents of an index above which an exhaustive ranking is refused.", minimum=1)
    from_text: bool = option(False, FROM_TEXT_HELP)

    def __post_init__(self) -> None:
        check_settings(self, "hybrid")

    @property
    def needs(self) -> frozenset[str]:
        """The model for queries, and vectors unless they are made from texts."""
        return needs_of(self.from_text)

    def __call__(self, answer: Answer) -> Answer:
        """Ranks anew."""
        return answer.with_rankings(
            [
                ranked_anew(each.hits, fused(each.scores, each.dense, self.weight, self.fusion), each.rest)
                for each in self.parts(answer)
            ]
        )

    def parts(self, answer: Answer) -> list[Candidates]:
        """Both scores of the candidates of each query.

        Raises:
            ArgumentError: there are no vectors, texts or model to make them from; or an exhaustive ranking cannot be made.
        """
        heads = [list(hits[: self.candidates]) for hits in answer.rankings]
        rests = [list(hits[self.candidates :]) for hits in answer.rankings]
        scores = [scores_of(head) for head in heads]
        if self.exhaustive:
            self._check_exhaustive(answer)
            allowed = allowed_documents(answer)
            for query, text in enumerate(answer.queries.texts or ()):
                if not text.strip():  # the vector of nothing resembles some documents, and means none
                    allowed[query] = allowed[query][:0]
            found = exhaustive_rankings(answer, allowed, self.candidates)
            for query, ranking in enumerate(found):
                numbers = set(ranking.documents.tolist())
                risen = [hit for hit in rests[query] if hit.document in numbers]
                new = newcomers(answer, answer.rankings[query], ranking.documents.tolist())
                heads[query] += [*risen, *new]
                rests[query] = [hit for hit in rests[query] if hit.document not in numbers]
                scores[query] = np.concatenate([scores[query], scores_of(risen), np.full(len(new), np.nan)])
        dense = candidate_scores(answer, heads, self.from_text)
        return [Candidates(*each) for each in zip(heads, scores, dense, rests, strict=True)]

    def _check_exhaustive(self, answer: Answer) -> None:
        """Refuses an exhaustive ranking that cannot be made, or would take long."""
        name, n_documents = type(answer.backend).__name__, answer.backend.n_documents
        if self.from_text:
            raise ArgumentError("An exhaustive ranking reads the vectors of an index, so from_text has no place beside it.")
        if not has_numbers(answer):
            raise ArgumentError(f"{name} is no index, so it has no exhaustive dense ranking. Leave exhaustive out.")
        if n_documents > self.limit:
            raise ArgumentError(
                f"The index has {n_documents:,} documents, and an exhaustive dense ranking reads all their vectors. "
                f"Leave exhaustive out, or allow so many: limit={n_documents} (--hybrid-limit {n_documents})."
            )
