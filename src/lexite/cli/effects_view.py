"""``lexite search --effects``: what each second stage changed, for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.cli.output import WrongUsage
from lexite.search.effects import SHOWN, Effect, Watched
from lexite.search.strategies import STRATEGIES
from lexite.search.strategy import Strategy, name_of
from lexite.wording import counted, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = tuple[str, str, str]


@dataclass(frozen=True)
class EffectsView:
    """The second stages of a search whose effects are shown.

    Attributes:
        steps: the stages, in order; none where effects are not wanted.
    """

    steps: tuple[Watched, ...] = ()

    @classmethod
    def over(cls, stages: Sequence[Strategy], *, wanted: bool) -> tuple[list[Strategy], EffectsView]:
        """The stages to search with, and the view of what they change.

        Args:
            stages: of a chain or a preset.
            wanted: whether effects are to be shown.

        Raises:
            WrongUsage: they are, and there is no stage.
        """
        if not wanted:
            return list(stages), cls()
        if not stages:
            raise WrongUsage(
                "--effects shows what second stages change, and this search has none. Name some with --then, or a --preset "
                "that has some."
            )
        watched = tuple(map(Watched, stages))
        return list(watched), cls(watched)

    def to_json(self) -> dict[str, Any]:
        """What each step changed in the last search, as JSON values; nothing where that is not wanted."""
        found = [{"step": name, **effect.to_json()} for name, effect in self._found()]
        return {"effects": found} if self.steps else {}

    def show(self, out: Console) -> None:
        """Prints what each step changed in the last search: a table of terms and one of hits."""
        for name, effect in self._found():
            terms = [(f"{each.before:.2f}", f"{each.after:.2f}", _named(each.label, each.term)) for each in effect.terms]
            moves = [(str(each.before or "-"), str(each.after or "-"), one_line(each.id)) for each in effect.moves]
            _print(out, f"{name} changed {counted(len(terms), 'term')} of the query", "term", terms)
            _print(out, f"{name} moved {counted(len(moves), 'hit')}", "hit", moves)

    def _found(self) -> list[tuple[str, Effect]]:
        names = (STRATEGIES.name_of(name_of(step)) or name_of(step) for step in self.steps)
        return [(name, effect) for name, step in zip(names, self.steps, strict=True) for effect in step.found]


def _named(label: str, term: int | None) -> str:
    return one_line(label) if term is None else f"{one_line(label)} ({term})"


def _print(out: Console, title: str, what: str, rows: Sequence[Row]) -> None:
    """Prints the first rows of what was before and after, under a title."""
    from rich.text import Text

    out.print(Text(f"\n{title}{':' if rows else '.'}", "bold"))
    if rows:
        out.print(_table(what, rows[:SHOWN]))
    if len(rows) > SHOWN:
        out.print(Text(f"and {len(rows) - SHOWN:,} more", "dim"))


def _table(what: str, rows: Sequence[Row]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_column(what, overflow="fold")
    for before, after, name in rows:
        table.add_row(before, after, Text(name))
    return table
