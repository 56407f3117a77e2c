"""What a strategy did to a query: which terms it changed by how much, and which hits moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lexite.search.labels import numbered
from lexite.search.strategy import Answer
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
    """

    label: str
    before: float
    after: float
    term: int | None = None


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
        TermChange(f'"{word}"', words[0].get(word, 0.0), words[1].get(word, 0.0)) for word in sorted({*words[0], *words[1]})
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


def _moves(before: list[str], after: list[str]) -> tuple[Move, ...]:
    ranks = {each: rank for rank, each in enumerate(before, start=1)}
    found = [Move(each, ranks.pop(each, None), rank) for rank, each in enumerate(after, start=1)]
    gone = [Move(each, rank, None) for each, rank in ranks.items()]
    return tuple(move for move in (*found, *gone) if move.before != move.after)
