"""Help texts with the options under headings, readable in a narrow window and in a pipe; options that take several words."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class SectionedCommand(TyperCommand):
    """A command whose ``--help`` lists the options of each configuration under its own heading.

    An option that may be given several times takes all words up to the next option: ``--collections a b`` is
    ``--collections a --collections b``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the name of such an option before each of its words."""
        several = {name for p in self.get_params(ctx) if getattr(p, "multiple", False) for name in p.opts}
        return super().parse_args(ctx, _repeat_names(args, several))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments, then the verb's own options, then one section per configuration."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = "Arguments" if parameter.param_type_name == "argument" else "Options"
                heading = getattr(parameter, "rich_help_panel", None) or heading
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _repeat_names(words: list[str], several: set[str]) -> list[str]:
    """Puts the name of an option of several values before each of them.

    >>> _repeat_names(["r.yaml", "--on", "a", "b", "-o", "d"], {"--on"})
    ['r.yaml', '--on', 'a', '--on', 'b', '-o', 'd']
    """
    repeated: list[str] = []
    current = ""  # the option that takes the words at hand
    for number, word in enumerate(words):
        if word.startswith("-") and word != "-":
            name = word.partition("=")[0]
            current = name if name in several else ""
            if word == "--":
                return repeated + words[number:]
        elif current and repeated[-1] != current:
            repeated.append(current)
        repeated.append(word)
    return repeated
