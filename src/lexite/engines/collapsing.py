"""Hits of engines that give passages with scores, and neither collapse them nor say which of equal ones comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lexite.engines.driver import Found
from lexite.index.field_types import ID_FIELD


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that an engine found.

    Attributes:
        document: id of its document.
        number: order number of the document.
        ordinal: of the passage in the document.
        score: in lexite's numbers.
        span: of the passage; None where it is all of the text.
        fields: of the document, as JSON values; empty where they were not asked for.
    """

    document: str
    number: int
    ordinal: int
    score: float
    span: tuple[int, int] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def best_documents(
    ask: Callable[[int], Sequence[FoundPassage]],
    top_k: int,
    *,
    has_passages: bool,
    min_score: float | None = None,
    most: int | None = None,
) -> list[Found]:
    """The best documents, by their best passages; among equals those that were added first.

    It asks for a few more passages than documents are wanted, and for more again until the last of them is worse than the last
    document that is wanted.

    Args:
        ask: gives so many of the best passages, best first.
        top_k: documents that are wanted.
        has_passages: whether a document may be several passages.
        min_score: least score.
        most: passages that the engine gives at most; None: any number.
    """
    n = first_passages(top_k, has_passages, most)
    while True:
        passages = ask(n)
        best = collapsed(passages)[:top_k]
        last = passages[-1].score if passages else 0.0
        whole = len(passages) < n or n == most or (min_score is not None and last < min_score)
        if whole or (len(best) == top_k and last < best[-1].score):
            kept = [each for each in best if min_score is None or each.score >= min_score]
            return [Found(each.document, each.score, each.span) for each in kept]
        n = 4 * n if most is None else min(4 * n, most)


def first_passages(top_k: int, has_passages: bool, most: int | None = None) -> int:
    """How many passages :func:`best_documents` asks for at first; arguments as there."""
    n = top_k * (4 if has_passages else 1) + 10
    return n if most is None else min(n, most)


def collapsed(passages: Sequence[FoundPassage]) -> list[FoundPassage]:
    """The best passage of each document, best first."""
    ranked = sorted(passages, key=lambda each: (-each.score, each.number, each.ordinal))
    best: dict[str, FoundPassage] = {}
    for each in ranked:
        best.setdefault(each.document, each)
    return list(best.values())


def in_field_order(
    passages: Sequence[FoundPassage], sort: tuple[str, bool], top_k: int, min_score: float | None = None
) -> list[Found]:
    """Documents in the order of a field: those without it last, those of the same value by score.

    Args:
        passages: all that share a term with the query.
        sort: the field, and whether its largest values come first.
        top_k: documents that are wanted.
        min_score: least score.
    """
    field_name, descending = sort
    found = [each for each in collapsed(passages) if min_score is None or each.score >= min_score]

    def value(each: FoundPassage) -> Any:
        return each.document if field_name == ID_FIELD else each.fields.get(field_name)

    known = [each for each in found if value(each) is not None]
    known.sort(key=value, reverse=descending)  # keeps the order of equal ones, also in reverse
    rest = [each for each in found if value(each) is None]
    return [Found(each.document, each.score, each.span) for each in (*known, *rest)[:top_k]]


def in_given_order(
    ask: Callable[[int], Sequence[FoundPassage]], top_k: int, *, has_passages: bool, min_score: float | None, most: int
) -> list[Found]:
    """Documents in the order in which an engine sorted them; arguments as for ``best_documents``."""
    n = first_passages(top_k, has_passages, most)
    while True:
        passages = ask(n)
        best = {each.document: each for each in collapsed(passages)}
        kept = [best[name] for name in dict.fromkeys(each.document for each in passages)]
        kept = [each for each in kept if min_score is None or each.score >= min_score]
        if len(kept) >= top_k or len(passages) < n or n >= most:
            return [Found(each.document, each.score, each.span) for each in kept[:top_k]]
        n = min(4 * n, most)
