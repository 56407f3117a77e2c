"""Answers to encoded queries over an opened index: rankings of documents, passages of a document, reasons for a score."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexite.errors import ArgumentError, ModelError
from lexite.index.checks import check_queries, check_top_k, check_weights
from lexite.index.dictionary import Dictionary
from lexite.index.document_ids import Among, DocumentIds
from lexite.index.explanation import Explanation, explain_document
from lexite.index.filtering import DocumentFields, read_sort
from lexite.index.manifest import Commit
from lexite.index.numbering import Numbering, TopDocuments, top_documents
from lexite.index.score_parts import QueryParts, score_parts
from lexite.index.scorer import Scorer
from lexite.index.selection import Asked
from lexite.ranking.hits import Hit, PassageHit
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.rows import Rows
from lexite.scoring.words import LiteralConfig
from lexite.terms.queries import EncodedQueries, WordWeights

if TYPE_CHECKING:
    from lexite.index.filters import Where

APPROXIMATE_SHARE = 0.6
AT_ONCE = 256  # documents whose best passage is looked for together


class Ranker:
    """Checks encoded queries, and answers them. Its arguments are those of the methods of ``BM25Index``.

    Args:
        name: of the index, for messages.
        commit: says how the index was made.
        words: its literal words.
        scorer: of its passages.
        numbering: which passage belongs to which document.
        ids: of its documents.
        fields: of its documents.
    """

    def __init__(
        self,
        name: object,
        commit: Commit,
        words: Dictionary,
        scorer: Scorer,
        numbering: Numbering,
        ids: DocumentIds,
        fields: DocumentFields,
    ) -> None:
        self._name, self._commit, self.words = name, commit, words
        self.scorer, self.numbering, self.ids, self._fields = scorer, numbering, ids, fields
        self._n_documents, self.literal = len(ids), commit.literal

    def top(
        self,
        queries: EncodedQueries,
        top_k: int,
        scoring: BM25Config | None,
        exclude: Sequence[str | None] | None,
        among: Among | None,
        approximate: bool,
        where: Where | None = None,
        sort: str | None = None,
        min_score: float | None = None,
        min_coverage: float | None = None,
    ) -> TopDocuments:
        """The rankings of ``BM25Index.search``."""
        check_top_k(top_k)
        scoring = scoring_of(scoring, self._commit.scoring)
        rows = self.rows(queries, scoring)
        excluded = np.full(rows.n_rows, -1, dtype=np.int64)
        if exclude is not None:
            left_out = [exclude] if isinstance(exclude, str) else list(exclude)
            if len(left_out) != rows.n_rows:
                raise ModelError(f"Documents to exclude are given for {len(left_out)} queries, but {rows.n_rows} are asked.")
            wanted = [(i, identifier) for i, identifier in enumerate(left_out) if identifier is not None]
            excluded[[i for i, _ in wanted]] = self.ids.find([identifier for _, identifier in wanted])
        allowed = None if among is None else self.ids.allowed(among, rows.n_rows)
        share, top_k = APPROXIMATE_SHARE if approximate else 1.0, min(int(top_k), self._n_documents)
        needed = where is not None or sort is not None or min_coverage is not None
        passing = self._fields.passing(where) if needed else None
        asked = Asked(self.scorer, self.numbering, rows, scoring, excluded, share, allowed, passing)
        if not top_k or not rows.n_rows:
            return asked.best(top_k)
        if sort is not None and (by := read_sort(sort)):
            sorted_by = self._fields.order(*by)
            assert passing is not None
            return asked.in_order(top_k, sorted_by, passing.all_documents, min_score, min_coverage)
        if min_score is None and min_coverage is None:
            return asked.best(top_k)
        return asked.within_limits(top_k, min_score, min_coverage)

    def hits(self, best: TopDocuments) -> list[list[Hit]]:
        """The hits of rankings, best first."""
        numbering = self.numbering
        return [
            [
                Hit(numbering.id(document), score, rank, document, numbering.span(passage))
                for rank, (document, score, passage) in enumerate(zip(*(row.tolist() for row in rows), strict=True), start=1)
                if document >= 0
            ]
            for rows in zip(*best, strict=True)
        ]

    def factors(self, queries: EncodedQueries, scoring: BM25Config | None) -> Rows:
        """What the impact of each term of queries is multiplied by; terms that are worth nothing are left out."""
        scoring = scoring_of(scoring, self._commit.scoring)
        rows = self.rows(queries, scoring)
        factors = self.scorer.factors(rows, scoring)
        kept = factors > 0
        bounds = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
        return Rows(bounds.astype(np.int64), rows.terms[kept], factors[kept])

    def explain(
        self, query: EncodedQueries, document: int | str, scoring: BM25Config | None, word: Callable[[int], str]
    ) -> Explanation:
        """Which terms made the score of a document; ``word`` gives the literal word of a term."""
        return self.explanations(query, [document], scoring, word)[0]

    def explanations(
        self,
        query: EncodedQueries,
        documents: Sequence[int | str],
        scoring: BM25Config | None,
        word: Callable[[int], str],
    ) -> list[Explanation]:
        """The same of several documents; the query is read once."""
        scoring = scoring_of(scoring, self._commit.scoring)
        rows = self._one_row(query, scoring, "explain a hit")
        passages = self._scored_passages(rows, documents, scoring)
        return [explain_document(self.scorer, rows, passage, scoring, word) for passage in passages]

    def parts(
        self,
        query: EncodedQueries,
        documents: Sequence[int | str],
        scoring: BM25Config | None,
        word: Callable[[int], str],
    ) -> QueryParts:
        """What a query asks for, and what each term adds to the scores of several documents."""
        scoring = scoring_of(scoring, self._commit.scoring)
        rows = self._one_row(query, scoring, "explain a hit")
        return score_parts(self.scorer, rows, self._scored_passages(rows, documents, scoring), scoring, word)

    def _scored_passages(self, query: Rows, documents: Sequence[int | str], scoring: BM25Config) -> list[int]:
        """The passage of each document that its score is of; the first one where none shares a term."""
        numbers = self.ids.numbers(documents)
        bounds = [self.numbering.passages(number) for number in numbers.tolist()]
        found = [begin for begin, _ in bounds]
        several = [place for place, (begin, end) in enumerate(bounds) if end - begin > 1]
        together = AT_ONCE if "numba" in sys.modules else 1  # several queries load the compiled kernels, which takes longer
        for start in range(0, len(several), together):
            some = several[start : start + together]
            own = [numbers[place : place + 1] for place in some]
            nothing = np.full(len(some), -1)
            best = top_documents(self.scorer, self.numbering, _repeated(query, len(some)), 1, scoring, nothing, among=own)
            for place, passage in zip(some, best.passages[:, 0].tolist(), strict=True):
                found[place] = max(passage, found[place])
        return found

    def passages(self, query: EncodedQueries, document: int | str, scoring: BM25Config | None) -> list[PassageHit]:
        """The passages of a document that share a term with a query, best first."""
        scoring = scoring_of(scoring, self._commit.scoring)
        rows = self._one_row(query, scoring, "rank the passages of a document")
        own = np.arange(*self.numbering.passages(int(self.ids.numbers([document])[0])), dtype=np.int64)
        (found,), (scores,) = self.scorer.top(rows, len(own), scoring, np.array([-1]), among=[own])
        return [
            PassageHit(score, self.numbering.span(passage))
            for passage, score in zip(found.tolist(), scores.tolist(), strict=True)
            if passage >= 0
        ]

    def _one_row(self, query: EncodedQueries, scoring: BM25Config, purpose: str) -> Rows:
        rows = self.rows(query, scoring)
        if rows.n_rows != 1:
            raise ArgumentError(f"One query is needed to {purpose}, not {rows.n_rows}.")
        return rows

    def rows(self, queries: EncodedQueries, scoring: BM25Config) -> Rows:
        """The checked weights of queries, with their literal words."""
        made_by, literal = self._commit.vocabulary, self._commit.literal
        check_queries(self._name, made_by, queries)
        rows = check_weights(queries.rows, made_by.n_terms, lambda row: f"query number {row + 1}")
        if literal is None and any(queries.word_weights or ()):
            raise ArgumentError(
                f"{self._name} has no literal words, so the weights that these queries give words can have no effect. "
                "Leave word_weights out, or build the index with words."
            )
        if literal is None or not scoring.literal_weight or (queries.texts is None and queries.word_weights is None):
            return rows
        return self.words.add_to(rows, made_by.n_terms, words_of_queries(queries, literal))


def _repeated(query: Rows, times: int) -> Rows:
    """One query so many times."""
    n_terms = len(query.terms)
    return Rows(np.arange(times + 1, dtype=np.int64) * n_terms, np.tile(query.terms, times), np.tile(query.values, times))


def words_of_queries(queries: EncodedQueries, literal: LiteralConfig) -> list[WordWeights]:
    """For each query the literal words that are searched, with their raw weights: its own, else those of its text."""
    texts = queries.texts or [""] * len(queries)
    given = queries.word_weights or [None] * len(queries)
    return [literal.words_of(text) if own is None else own for text, own in zip(texts, given, strict=True)]
