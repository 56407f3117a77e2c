"""What a search hands to people: hits with title, passage and matched terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.index.explanation import Explanation
from lexite.search.passages import Passage, best_passages

if TYPE_CHECKING:
    from lexite.index import EncodedQueries, Hit
    from lexite.scoring.config import BM25Config
    from lexite.scoring.rows import SparseRows
    from lexite.search.strategy import Backend

TERMS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """A term that a document shares with the query.

    Attributes:
        term: number of the latent, or after those of a literal word.
        label: words for people; a literal word in quotation marks.
        contribution: its part of the document's score; the parts of all shared terms add up to it.
        word: the literal word; None for a latent.
    """

    term: int
    label: str
    contribution: float
    word: str | None = None


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A document that was found.

    Attributes:
        id: of the document.
        score: its score: BM25's, or what the last strategy gave.
        rank: its place, from 1.
        title: its title; empty where it has none, or the index keeps no text.
        passage: the part of its text that holds most of the score; None where the index keeps no text.
        terms: the five shared terms that add most to BM25's score, the largest part first.
        document: its number in the opened index (``BM25Index.stored``, ``BM25Index.explain``).
    """

    id: str
    score: float
    rank: int
    title: str
    passage: Passage | None
    terms: tuple[MatchedTerm, ...]
    document: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, with the numbers rounded to what float32 carries."""
        terms = [
            {"term": term.term, "label": term.label, "contribution": round(term.contribution, 6)}
            | ({} if term.word is None else {"word": term.word})
            for term in self.terms
        ]
        place = {} if self.passage is None else {"start": self.passage.start, "end": self.passage.end}
        snippet = "" if self.passage is None else self.passage.text
        known = {"rank": self.rank, "id": self.id, "score": round(self.score, 6), "title": self.title, "snippet": snippet}
        return {**known, **place, "terms": terms}


def describe_hits(
    index: Backend,
    query: EncodedQueries,
    hits: Sequence[Hit],
    *,
    scoring: BM25Config | None = None,
    label: Callable[[int], str],
    weigh: Callable[[Sequence[str]], SparseRows] | None = None,
) -> list[SearchHit]:
    """Adds titles, passages and matched terms to hits.

    Args:
        index: where the hits were found: an index or an engine.
        query: one query.
        hits: what the search gave.
        scoring: what it was searched with.
        label: words for a latent term.
        weigh: gives raw weights of passages, with which the best one of each document is looked for; without it, each document
            shows its beginning.
    """
    explanations = [index.explain(query, hit.id, scoring=scoring) for hit in hits]
    stored = [index.get(hit.id) for hit in hits]
    best = best_passages([document.text if document else "" for document in stored], explanations, weigh, index.literal)
    return [
        SearchHit(
            hit.id,
            hit.score,
            hit.rank,
            document.title if document else "",
            passage,
            matched_terms(explanation, label),
            hit.document,
        )
        for hit, document, passage, explanation in zip(hits, stored, best, explanations, strict=True)
    ]


def matched_terms(explanation: Explanation, label: Callable[[int], str], n: int = TERMS_SHOWN) -> tuple[MatchedTerm, ...]:
    """The ``n`` terms of an explanation that add most."""
    return tuple(
        MatchedTerm(term.term, label(term.term) if term.word is None else term.label, term.score, term.word)
        for term in explanation.terms[:n]
    )
