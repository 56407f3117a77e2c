"""How hits are printed: title, score, the passage that explains a hit, and the terms that matched."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lexite.cli.field_view import FieldView, shown_value
from lexite.wording import escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from lexite.search import SearchHit


def print_hits(console: Console, hits: Sequence[SearchHit], view: FieldView | None = None) -> None:
    """Writes hits for people: wrapped on a terminal, a line for each part in a pipe.

    Args:
        console: where.
        hits: of one query.
        view: which fields are shown with each document; None: none are.
    """
    from rich.text import Text

    if not hits:
        limits = " and is within the limits that were given" if view is not None and view.limited else ""
        console.print(f"No document shares a term with the query{limits}.")
    names = () if view is None else view.names
    for hit in hits:
        title, identifier = one_line(hit.title), escaped(hit.id)
        head = Text.assemble((f"{hit.rank:>3}  ", "dim"), (title or identifier, "bold"), (f"  {hit.score:.2f}", "cyan"))
        head.append(f"  {hit.coverage:.0%}", "dim")
        if title and title != identifier:
            head.append(f"  {identifier}", "dim")
        console.print(head)
        known = " · ".join(f"{escaped(name)} {shown_value(hit.fields[name])}" for name in names if name in hit.fields)
        matched = " · ".join(f"{one_line(term.label)} {term.contribution:.2f}" for term in hit.terms)
        if hit.common_share >= 0.005:
            matched += f"{' · ' if matched else ''}common words {hit.common_share:.0%}"
        passage = "" if hit.passage is None else one_line(hit.passage.text)
        for text, style in ((known, "blue"), (passage, ""), (matched, "green")):
            for line in _wrapped(console, text):
                console.print(Text(f"     {line}", style))
        for found in hit.passages:
            for number, line in enumerate(_wrapped(console, one_line(found.text))):
                console.print(Text(f"     {'' if number else f'{found.score:.2f}  '}{line}", "dim"))


def _wrapped(console: Console, text: str) -> list[str]:
    return textwrap.wrap(text, max(console.width - 6, 20)) if console.is_terminal else [text] if text else []
