"""What a search hands to people: hits with title, passage and matched terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lexite.errors import ArgumentError
from lexite.index import BM25Index, StoredDocument
from lexite.index.field_types import json_value
from lexite.index.score_parts import QueryParts, ScoreParts, TermScore
from lexite.search.labels import kinds_of
from lexite.search.queries import ModelQueries, QueryEncoder, static_queries_of, weigher
from lexite.search.snippets import Passage, Weighing, best_snippets

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue
    from lexite.index import EncodedQueries, Hit
    from lexite.scoring.config import BM25Config
    from lexite.search.strategy import Answer, Backend

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


def describe_answer(
    answer: Answer, label: Callable[[int], str], encoder: QueryEncoder, passages: bool, passages_per_hit: int
) -> list[list[SearchHit]]:
    """The hits of an answer with titles, passages and matched terms.

    Args:
        answer: what was asked and found.
        label: words for a latent term.
        encoder: what encodes queries, where the answer names nothing.
        passages: look for the snippet of each document that holds most of its score.
        passages_per_hit: how many whole passages are added.

    Raises:
        ArgumentError: ``passages_per_hit`` is no number of passages.
    """
    if isinstance(passages_per_hit, bool) or not isinstance(passages_per_hit, int) or passages_per_hit < 0:
        raise ArgumentError(f"passages_per_hit is {passages_per_hit!r}, but must be a whole number and not negative.")
    weighing = _weighing(answer.backend, answer.encoder or encoder) if passages else None
    scorings = answer.scorings or [answer.options["scoring"]] * len(answer.queries)
    return [
        describe_hits(
            answer.backend, query, hits, scoring=scoring, label=label, weighing=weighing, passages_per_hit=passages_per_hit
        )
        for query, hits, scoring in zip(answer.queries, answer.rankings, scorings, strict=True)
    ]


def _weighing(index: Backend, encoder: QueryEncoder) -> Weighing:
    """What chooses the snippets of hits: what encoded queries. The static table of an index sifts those of long texts."""
    if not isinstance(encoder, ModelQueries) or not isinstance(index, BM25Index) or not index.has_static:
        return Weighing(weigher(encoder))
    return Weighing(weigher(encoder), lambda texts, latents: static_queries_of(index).passage_weights(texts, latents))


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
    described = []
    for found in found_hits(index, query, hits, scoring=scoring, kind=kinds_of(label), weighing=weighing)[1]:
        hit, stored = found.hit, found.stored
        whole = _passages(index, query, hit, stored.text, scoring, passages_per_hit) if passages_per_hit and stored.text else ()
        described.append(
            SearchHit(
                hit.id,
                hit.score,
                hit.rank,
                stored.title,
                found.passage,
                matched_terms(found.shown(), label, n_terms),
                hit.document,
                found.parts.coverage,
                stored.fields,
                whole,
                found.common_share,
            )
        )
    return described


class FoundHit(NamedTuple):
    """A hit with what is known of it.

    Attributes:
        hit: the hit.
        stored: its document; without text where the index keeps none.
        passage: the snippet that is shown; None where there is no text.
        parts: of its BM25 score.
        common: latents that stand for function words and punctuation.
    """

    hit: Hit
    stored: StoredDocument
    passage: Passage | None
    parts: ScoreParts
    common: frozenset[int]

    @property
    def common_share(self) -> float:
        """The share of the score that function words and punctuation add."""
        return self.parts.share_of(self.common)

    def shown(self) -> tuple[TermScore, ...]:
        """The shared terms without those of function words and punctuation, the largest part first."""
        return tuple(term for term in self.parts.terms if term.word is not None or term.term not in self.common)


def found_hits(
    index: Backend,
    query: EncodedQueries,
    hits: Sequence[Hit],
    *,
    scoring: BM25Config | None = None,
    kind: Callable[[int], str],
    weighing: Weighing | None = None,
) -> tuple[Sequence[TermScore], list[FoundHit]]:
    """Looks up hits, takes their scores apart and chooses their snippets.

    Args:
        index: where the hits were found.
        query: one query.
        hits: what the search gave.
        scoring: what it was searched with.
        kind: the kind of a latent.
        weighing: gives raw weights of snippets.

    Returns:
        What each term of the query is worth, where an index was asked (``QueryParts.asked``); and the hits.
    """
    (asked, parts), stored = _looked_up(index, query, hits, scoring)
    latents = {term.term for each in parts for term in each.terms if term.word is None}
    common = frozenset(latent for latent in latents if kind(latent) == "function")
    spans = [hit.span or (0, len(document.text)) for hit, document in zip(hits, stored, strict=True)]
    shown = [document.text[start:end] for document, (start, end) in zip(stored, spans, strict=True)]
    best = best_snippets(shown, parts, weighing or Weighing(), index.literal)
    moved = [
        snippet and Passage(snippet.text, snippet.start + start, snippet.end + start)
        for snippet, (start, _) in zip(best, spans, strict=True)
    ]
    return asked, [FoundHit(*known, common) for known in zip(hits, stored, moved, parts, strict=True)]


def _looked_up(
    index: Backend, query: EncodedQueries, hits: Sequence[Hit], scoring: BM25Config | None
) -> tuple[QueryParts, list[StoredDocument]]:
    """The query and the score of each hit in parts, and its document; an index finds them by number, which is quicker."""
    if isinstance(index, BM25Index):
        numbers = [hit.document for hit in hits]
        return index.score_parts(query, numbers, scoring=scoring), [index.stored(number) for number in numbers]
    stored = [index.get(hit.id) or StoredDocument(hit.id, "", "") for hit in hits]
    return QueryParts((), [index.explain(query, hit.id, scoring=scoring).parts() for hit in hits]), stored


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
    terms: Sequence[TermScore], label: Callable[[int], str], n: int | None = TERMS_SHOWN
) -> tuple[MatchedTerm, ...]:
    """The first ``n`` of the terms of a score, with labels; None gives all."""
    return tuple(
        MatchedTerm(term.term, label(term.term) if term.word is None else f'"{term.word}"', term.score, term.word)
        for term in terms[:n]
    )
