"""A console of rich that shows control characters of other people's texts, and lets a closed pipe end the command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lexite.wording import escaped


class SafeConsole(Console):
    """Prints what it is given with control characters escaped; line ends and tabs stay.

    Colours and other sequences that rich itself writes are no part of the text, and stay too.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints objects; texts are escaped before rich looks at them, since it drops some control characters."""
        super().print(*(escaped(one, lines=True) if isinstance(one, str) else one for one in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of whatever is printed, with their texts escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text, lines=True))

    def on_broken_pipe(self) -> None:
        """Lets the error through: the command line ends quietly, where rich would end it with status 1."""
        raise BrokenPipeError
