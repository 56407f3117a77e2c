"""What a search hands to people: hits with title, passage and matched terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lexite.index import BM25Index
from lexite.index.explanation import Explanation
from lexite.index.field_types import json_value
from lexite.search.labels import kinds_of
from lexite.search.snippets import Passage, Weighing, best_snippets

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue
    from lexite.index import EncodedQueries, Hit, StoredDocument
    from lexite.scoring.config import BM25Config
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
class MatchedPassage:
    """A passage of a document that shares terms with the query.

    Attributes:
        text: the passage.
        start: where it begins in the document's text, in characters.
        end: where it ends.
        score: BM25's score of it.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A document that was found.

    Attributes:
        id: of the document.
        score: its score: BM25's, or what the last strategy gave.
        rank: its place, from 1.
        title: its title; empty where it has none, or the index keeps no text.
        passage: the part of its text that holds most of the score, some 240 characters of its best passage; None where the
            index keeps no text.
        terms: the shared terms that add most to BM25's score, the largest part first: five, unless more were asked for. Latents
            that stand for function words and punctuation are not among them.
        document: its number in the opened index (``BM25Index.stored``, ``BM25Index.explain``).
        coverage: the share of the query that it covers, from 0 to 1: what the shared terms are worth of what all terms of the
            query are worth (:func:`lexite.scoring.formula.coverage`).
        fields: what else is known of it, by name: year, author, tags.
        passages: whole passages that match, the best first, as many as were asked for (``passages_per_hit``).
        common_share: share of BM25's score that latents of function words and punctuation add.
    """

    id: str
    score: float
    rank: int
    title: str
    passage: Passage | None
    terms: tuple[MatchedTerm, ...]
    document: int
    coverage: float = 0.0
    fields: Mapping[str, FieldValue] = field(default_factory=dict, hash=False)
    passages: tuple[MatchedPassage, ...] = ()
    common_share: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON values, with the numbers rounded to what float32 carries."""
        terms = [
            {"term": term.term, "label": term.label, "contribution": round(term.contribution, 6)}
            | ({} if term.word is None else {"word": term.word})
            for term in self.terms
        ]
        place = {} if self.passage is None else {"start": self.passage.start, "end": self.passage.end}
        snippet = "" if self.passage is None else self.passage.text
        known = {"rank": self.rank, "id": self.id, "score": round(self.score, 6), "coverage": round(self.coverage, 6)}
        known |= {"title": self.title, "fields": {name: json_value(value) for name, value in self.fields.items()}}
        known |= {"snippet": snippet}
        passages = [
            {"start": each.start, "end": each.end, "score": round(each.score, 6), "text": each.text} for each in self.passages
        ]
        known |= {"common_share": round(self.common_share, 6)}
        return {**known, **place, "terms": terms, **({"passages": passages} if passages else {})}


def describe_hits(
    index: Backend,
    query: EncodedQueries,
    hits: Sequence[Hit],
    *,
    scoring: BM25Config | None = None,
    label: Callable[[int], str],
    weighing: Weighing | None = None,
    passages_per_hit: int = 0,
    n_terms: int | None = TERMS_SHOWN,
) -> list[SearchHit]:
    """Adds titles, passages and matched terms to hits.

    Args:
        index: where the hits were found: an index or an engine.
        query: one query.
        hits: what the search gave.
        scoring: what it was searched with.
        label: words for a latent term.
        weighing: gives raw weights of snippets, with which the best one of each document is looked for; without it, each
            document shows the beginning of its best passage.
        passages_per_hit: how many whole passages are added.
        n_terms: how many matched terms are shown; None shows all.
    """
    kind = kinds_of(label)
    found, stored = _looked_up(index, query, hits, scoring)
    explanations = [explanation.folded(kind) for explanation in found]
    texts = [document.text if document else "" for document in stored]
    spans = [hit.span or (0, len(text)) for hit, text in zip(hits, texts, strict=True)]
    shown = [text[start:end] for text, (start, end) in zip(texts, spans, strict=True)]
    best = best_snippets(shown, explanations, weighing or Weighing(), index.literal)
    return [
        SearchHit(
            hit.id,
            hit.score,
            hit.rank,
            document.title if document else "",
            None if snippet is None else replace(snippet, start=snippet.start + span[0], end=snippet.end + span[0]),
            matched_terms(explanation, label, n_terms),
            hit.document,
            explanation.coverage,
            document.fields if document else {},
            _passages(index, query, hit, text, scoring, passages_per_hit) if passages_per_hit and text else (),
            explanation.common_share,
        )
        for hit, document, text, span, snippet, explanation in zip(hits, stored, texts, spans, best, explanations, strict=True)
    ]


def _looked_up(
    index: Backend, query: EncodedQueries, hits: Sequence[Hit], scoring: BM25Config | None
) -> tuple[list[Explanation], list[StoredDocument | None]]:
    """Explanation and stored document of each hit; an index finds them by number, which is quicker."""
    if isinstance(index, BM25Index):
        numbers = [hit.document for hit in hits]
        return index.explanations(query, numbers, scoring=scoring), [index.stored(number) for number in numbers]
    return [index.explain(query, hit.id, scoring=scoring) for hit in hits], [index.get(hit.id) for hit in hits]


def _passages(
    index: Backend, query: EncodedQueries, hit: Hit, text: str, scoring: BM25Config | None, most: int
) -> tuple[MatchedPassage, ...]:
    """The best passages of a document."""
    found = []
    for passage in index.passages(query, hit.id, scoring=scoring)[:most]:
        start, end = passage.span or (0, len(text))
        found.append(MatchedPassage(text[start:end], start, end, passage.score))
    return tuple(found)


def matched_terms(
    explanation: Explanation, label: Callable[[int], str], n: int | None = TERMS_SHOWN
) -> tuple[MatchedTerm, ...]:
    """The ``n`` terms of an explanation that add most, without those of function words and punctuation; None gives all."""
    return tuple(
        MatchedTerm(term.term, label(term.term) if term.word is None else term.label, term.score, term.word)
        for term in explanation.shown()[:n]
    )
