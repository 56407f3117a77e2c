"""What a strategy did to a query: which terms it changed by how much, and which hits moved.

:class:`Watched` stands around a strategy, and keeps what it changed::

    steered = Watched(Steer(boost=("word:water=1.5",)))
    searcher.search("the sea at night", then=[steered])
    print(steered.found[0])
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lexite.search.labels import numbered
from lexite.search.strategy import Answer, Strategy, name_of
from lexite.terms.queries import EncodedQueries
from lexite.wording import one_line

SHOWN = 10


@dataclass(frozen=True)
class TermChange:
    """A term of a query whose raw weight was changed.

    Attributes:
        label: words for a latent, or a literal word in quotation marks.
        before: its weight before; 0 where the query did not have it.
        after: its weight after.
        term: number of the latent; None for a literal word.
        word: the literal word; None for a latent.
    """

    label: str
    before: float
    after: float
    term: int | None = None
    word: str | None = None

    def to_json(self) -> dict[str, Any]:
        """It as JSON values."""
        named = {"term": self.term} if self.word is None else {"word": self.word}
        return {**named, "label": self.label, "before": round(float(self.before), 6), "after": round(float(self.after), 6)}


@dataclass(frozen=True)
class Move:
    """A document whose rank was changed.

    Attributes:
        id: of the document.
        before: its rank before; None where it was no hit.
        after: its rank after; None where it is no hit.
    """

    id: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Effect:
    """What was changed for one query. It prints as lines.

    Attributes:
        terms: changed terms, the largest changes first.
        moves: documents that moved, in the order of their new ranks, and then those that are gone.
    """

    terms: tuple[TermChange, ...]
    moves: tuple[Move, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {"terms": [each.to_json() for each in self.terms], "moves": [dataclasses.asdict(each) for each in self.moves]}

    def __str__(self) -> str:
        changes = [
            f"  {change.before:.2f} → {change.after:.2f}  {one_line(change.label)}"
            + ("" if change.term is None else f" ({change.term})")
            for change in self.terms[:SHOWN]
        ]
        moves = [f"  {move.before or '-'} → {move.after or '-'}  {one_line(move.id)}" for move in self.moves[:SHOWN]]
        parts = (("terms", changes, len(self.terms)), ("ranks", moves, len(self.moves)))
        lines = []
        for name, shown, total in parts:
            rest = [f"  and {total - len(shown)} more"] if total > len(shown) else []
            lines += [f"{name}:", *(shown or ["  none changed"]), *rest]
        return "\n".join(lines)


class Watched:
    """A strategy that keeps what it changed in its last search. It is not for several threads at once.

    Args:
        strategy: the strategy. Where it may stand, what it needs and how many hits it wants to see stay as they are.

    Attributes:
        found: what was changed, for each query of the last search.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.found: list[Effect] = []
        self.__name__ = name_of(strategy)
        self.candidates = getattr(strategy, "candidates", None)
        self.needs = getattr(strategy, "needs", ())
        self.static_first = getattr(strategy, "static_first", False)

    def __call__(self, answer: Answer) -> Answer:
        """Calls the strategy."""
        self.found = []
        found = self.strategy(answer)
        if isinstance(found, Answer) and len(found.rankings) == len(found.queries) == len(answer.queries):
            self.found = effects(answer, found)
        return found


def effects(before: Answer, after: Answer) -> list[Effect]:
    """What changed between two answers to the same queries, for each query.

    Args:
        before: the answer that a strategy was given.
        after: what it gave.
    """
    label = after.label or numbered
    return [
        Effect(_term_changes(old, new, before, label), _moves(list(was), list(now)))
        for old, new, was, now in zip(
            before.queries,
            after.queries,
            ([hit.id for hit in hits[: before.top_k]] for hits in before.rankings),
            ([hit.id for hit in hits[: after.top_k]] for hits in after.rankings),
            strict=True,
        )
    ]


def _term_changes(
    old: EncodedQueries, new: EncodedQueries, answer: Answer, label: Callable[[int], str]
) -> tuple[TermChange, ...]:
    latents = _latents(old), _latents(new)
    words = _words(old, answer), _words(new, answer)
    found = [
        TermChange(label(term), latents[0].get(term, 0.0), latents[1].get(term, 0.0), term)
        for term in sorted({*latents[0], *latents[1]})
    ]
    found += [
        TermChange(f'"{word}"', words[0].get(word, 0.0), words[1].get(word, 0.0), word=word)
        for word in _in_index({*words[0], *words[1]}, answer)
    ]
    changed = [each for each in found if abs(each.after - each.before) > 1e-5 * max(each.before, each.after)]
    return tuple(sorted(changed, key=lambda each: -abs(each.after - each.before)))


def _latents(query: EncodedQueries) -> dict[int, float]:
    return dict(zip(query.rows.indices.tolist(), map(float, query.rows.data), strict=True))


def _words(query: EncodedQueries, answer: Answer) -> Mapping[str, float]:
    """The literal words that a query is searched with."""
    own = None if query.word_weights is None else query.word_weights[0]
    literal = answer.backend.literal
    if own is not None or literal is None or query.texts is None:
        return own or {}
    return literal.words_of(query.texts[0])


def _in_index(words: Collection[str], answer: Answer) -> list[str]:
    """The words that a document has: others count for nothing, and a query that is asked again has lost them."""
    make, listed = getattr(answer.backend, "term_space", None), sorted(words)
    if make is None or not listed:
        return listed
    there = make(answer.options.get("scoring")).find_words(listed) >= 0
    return [word for word, known in zip(listed, there.tolist(), strict=True) if known]


def _moves(before: list[str], after: list[str]) -> tuple[Move, ...]:
    ranks = {each: rank for rank, each in enumerate(before, start=1)}
    found = [Move(each, ranks.pop(each, None), rank) for rank, each in enumerate(after, start=1)]
    gone = [Move(each, rank, None) for each, rank in ranks.items()]
    return tuple(move for move in (*found, *gone) if move.before != move.after)
