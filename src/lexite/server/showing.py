"""Hits, queries and examples as JSON values: the passage with its marks, the parts of the score, concepts with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexite.index.field_types import json_value
from lexite.search.queries import static_queries_of
from lexite.search.results import SearchHit, describe_hits
from lexite.search.snippets import Weighing, snippets
from lexite.server.schemas import Json
from lexite.server.tokens import Mark, marks_of

if TYPE_CHECKING:
    from lexite.ranking.hits import Hit
    from lexite.scoring.config import BM25Config
    from lexite.search import Answer, Searcher
    from lexite.server.indexes import Snapshot
    from lexite.terms.queries import EncodedQueries

PARTS = 8
"""Terms of a hit that are told apart; what others add is one sum."""
EXAMPLE_CHARACTERS = 240


def described(
    searcher: Searcher, query: EncodedQueries, answer: Answer, hits: Sequence[Hit], with_snippets: bool
) -> list[SearchHit]:
    """Hits with passages and terms. The static table chooses passages where there is one, since it is quick."""
    quick = searcher.index.has_static and searcher.queries.kind != "static"
    encoder = static_queries_of(searcher.index) if quick else searcher.queries
    weigh = Weighing(encoder.encode_passages) if with_snippets else None
    return describe_hits(
        searcher.index,
        query,
        hits,
        scoring=answer.options["scoring"],
        label=searcher.label,
        weighing=weigh,
        n_terms=None,
    )


def query_concepts(snapshot: Snapshot, query: EncodedQueries, scoring: BM25Config | None) -> list[Json]:
    """What a query asks for: its concepts and words with the share of each in the best score there could be."""
    factors = snapshot.index.query_factors(query, scoring=scoring)
    total = float(factors.data.sum()) or 1.0
    found = []
    for place in np.argsort(-factors.data, kind="stable").tolist():
        term, share = int(factors.indices[place]), round(float(factors.data[place]) / total, 5)
        if term < snapshot.index.n_latents:
            known = {"concept": term, "label": snapshot.searcher.label(term), "common": snapshot.concepts.is_common(term)}
            found.append({"kind": "concept", **known, "share": share})
        else:
            word = snapshot.index.word(term)
            found.append({"kind": "word", "word": word, "common": snapshot.concepts.is_folded(term, word), "share": share})
    return found


def hit_json(snapshot: Snapshot, hit: SearchHit, with_marks: bool) -> Json:
    """A hit as JSON values: the passage with its marks, and the parts of the score."""
    folded = snapshot.concepts.is_folded
    parts: list[Json] = []
    others, named = 0.0, sum(term.contribution for term in hit.terms)
    in_common = named * hit.common_share / (1.0 - hit.common_share) if hit.common_share < 1.0 else hit.score
    for term in hit.terms:
        if folded(term.term, term.word):
            in_common += term.contribution
        elif len(parts) == PARTS:
            others += term.contribution
        elif term.word is None:
            parts.append({"kind": "concept", "concept": term.term, "label": term.label, "score": round(term.contribution, 5)})
        else:
            parts.append({"kind": "word", "word": term.word, "score": round(term.contribution, 5)})
    parts += [{"kind": "common", "score": round(in_common, 5)}] if in_common else []
    parts += [{"kind": "others", "score": round(others, 5)}] if others else []
    passage = hit.passage
    known = {
        "rank": hit.rank,
        "id": hit.id,
        "score": round(hit.score, 5),
        "coverage": round(hit.coverage, 5),
        "title": hit.title,
        "fields": {name: json_value(value) for name, value in hit.fields.items()},
        "passage": "" if passage is None else passage.text,
        "parts": parts,
    }
    if passage is not None:
        known |= {"start": passage.start, "end": passage.end}
    if with_marks and passage is not None:
        known["marks"] = _marks(snapshot, passage.text, hit)
    return known


def _marks(snapshot: Snapshot, text: str, hit: SearchHit) -> list[Mark]:
    plain = [term for term in hit.terms if not snapshot.concepts.is_folded(term.term, term.word)]
    latents = {term.term: term.contribution for term in plain if term.word is None}
    words = {term.word: term.contribution for term in plain if term.word is not None}
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
