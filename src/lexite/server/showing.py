"""Hits, queries and examples as JSON values: the passage with its marks, the parts of the score, concepts with their labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexite.index.field_types import json_value
from lexite.search.queries import static_queries_of, weigher
from lexite.search.results import FoundHit, found_hits
from lexite.search.snippets import Weighing, snippets
from lexite.server.schemas import Json
from lexite.server.tokens import Mark, marks_of

if TYPE_CHECKING:
    from lexite.index.score_parts import TermScore
    from lexite.ranking.hits import Hit
    from lexite.search import Answer, Searcher
    from lexite.server.indexes import Snapshot
    from lexite.terms.queries import EncodedQueries

PARTS = 8
"""Terms of a hit that are told apart; what others add is one sum."""
EXAMPLE_CHARACTERS = 240


def described(
    snapshot: Snapshot, searcher: Searcher, query: EncodedQueries, answer: Answer, hits: Sequence[Hit], with_snippets: bool
) -> tuple[Sequence[TermScore], list[FoundHit]]:
    """What a query asks for, and its hits with passages and terms.

    The static table chooses passages where there is one, since it is quick.
    """
    quick = searcher.index.has_static and searcher.queries.kind != "static"
    encoder = static_queries_of(searcher.index) if quick else searcher.queries
    weigh = Weighing(weigher(encoder)) if with_snippets else None
    scoring = answer.options["scoring"]
    return found_hits(searcher.index, query, hits, scoring=scoring, kind=snapshot.concepts.kind, weighing=weigh)


def query_concepts(snapshot: Snapshot, asked: Sequence[TermScore]) -> list[Json]:
    """What a query asks for: its concepts and words with the share of each in the best score there could be."""
    folded, label = snapshot.concepts.is_folded, snapshot.searcher.label
    total = sum(worth for _, worth, _ in asked) or 1.0
    found: list[Json] = []
    for term, worth, word in asked:
        known = {"common": folded(term, word), "share": round(worth / total, 5)}
        if word is None:
            found.append({"kind": "concept", "concept": term, "label": label(term), **known})
        else:
            found.append({"kind": "word", "word": word, **known})
    return found


def hits_json(snapshot: Snapshot, hits: Sequence[FoundHit], with_marks: bool) -> list[Json]:
    """Hits as JSON values: the passage with its marks, and the parts of the score."""
    words = {term.term: term.word for found in hits for term in found.parts.terms}  # hits share them: those of the query
    folded = {term for term, word in words.items() if snapshot.concepts.is_folded(term, word)}
    return [_hit_json(snapshot, found, folded, with_marks) for found in hits]


def _hit_json(snapshot: Snapshot, found: FoundHit, folded: Collection[int], with_marks: bool) -> Json:
    hit, stored, passage = found.hit, found.stored, found.passage
    known = {
        "rank": hit.rank,
        "id": hit.id,
        "score": round(hit.score, 5),
        "coverage": round(found.parts.coverage, 5),
        "title": stored.title,
        "fields": {name: json_value(value) for name, value in stored.fields.items()},
        "passage": "" if passage is None else passage.text,
        "parts": _parts(snapshot, found, folded),
    }
    if passage is not None:
        known |= {"start": passage.start, "end": passage.end}
    if with_marks and passage is not None:
        known["marks"] = _marks(snapshot, passage.text, found, folded)
    return known


def _parts(snapshot: Snapshot, found: FoundHit, folded: Collection[int]) -> list[Json]:
    """The largest parts of a score, and what is left as two sums: of common words, and of smaller parts."""
    label = snapshot.searcher.label
    parts: list[Json] = []
    shown, common = found.shown(), found.common_share
    others, named = 0.0, sum(term.score for term in shown)
    in_common = named * common / (1.0 - common) if common < 1.0 else found.hit.score
    for term, score, word in shown:
        if term in folded:
            in_common += score
        elif len(parts) == PARTS:
            others += score
        elif word is None:
            parts.append({"kind": "concept", "concept": term, "label": label(term), "score": round(score, 5)})
        else:
            parts.append({"kind": "word", "word": word, "score": round(score, 5)})
    parts += [{"kind": "common", "score": round(in_common, 5)}] if in_common else []
    parts += [{"kind": "others", "score": round(others, 5)}] if others else []
    return parts


def _marks(snapshot: Snapshot, text: str, found: FoundHit, folded: Collection[int]) -> list[Mark]:
    plain = [term for term in found.shown() if term.term not in folded]
    latents = {term.term: term.score for term in plain if term.word is None}
    words = {term.word: term.score for term in plain if term.word is not None}
    literal = snapshot.index.literal
    return marks_of(text, latents, words, snapshot.index.static(), literal and literal.words_of)


def example_json(snapshot: Snapshot, number: int, hit: Hit, strength: str) -> Json:
    """A document in which a latent fires: the part of its text where it fires most, with marks."""
    stored, table = snapshot.index.stored(hit.document), snapshot.index.static()
    start, end = hit.span or (0, len(stored.text))
    pieces = snippets(stored.text[start:end], EXAMPLE_CHARACTERS)[:64]
    best = pieces[0].text if pieces else ""
    if table is not None and len(pieces) > 1:
        rows = table.encode_rows([piece.text for piece in pieces])
        owners = np.repeat(np.arange(len(pieces)), np.diff(rows.indptr))
        weights = np.bincount(owners, weights=np.where(rows.indices == number, rows.data, 0.0), minlength=len(pieces))
        best = pieces[int(np.argmax(weights))].text
    marks = marks_of(best, {number: 1.0}, {}, table)
    return {"id": stored.id, "title": stored.title, "strength": strength, "passage": best, "marks": marks}
