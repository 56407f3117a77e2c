"""Markdown, with front matter in YAML where there is some."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import decoded_strictly, one_line

LONGEST_FRONT_MATTER = 1 << 16
"""Characters. What is longer is a text that begins with a line of three dashes."""

DEEPEST_FRONT_MATTER = 50
"""Lists and objects within each other."""

_FRONT = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"\s*#[ \t]+([^ \t\n][^\n]*)(?:\n|\Z)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_NO_HEADING = re.compile(r"\s*([-*+>|#]|\d+[.)]\s|$)|    |\t")
_LISTS = ("tags", "categories", "keywords", "labels", "aliases", "authors")


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document. Its title is that of the front matter, else the heading (``# …``) with which the text begins."""
    text = decoded_strictly(file.read()).strip()
    fields, text, notes = _front_matter(text)
    text = _with_marks(text)
    title = fields.pop("title", None)
    chosen = one_line(str(title)) if isinstance(title, (str, int, float)) and not isinstance(title, bool) else ""
    found = _HEADING.match(text)
    heading = _without_closing(found[1]) if found else ""
    if found and (not chosen or one_line(heading) == chosen):
        chosen, text = heading, text[found.end() :]
    yield Extracted(text.strip(), chosen, fields, notes=notes)


def _without_closing(heading: str) -> str:
    """A heading without blanks and marks at its end; one of marks alone is a single mark."""
    return heading.rstrip(" \t").rstrip("#").rstrip(" \t") or heading[:1]


def _front_matter(text: str) -> tuple[dict[str, object], str, tuple[str, ...]]:
    """The fields, the text behind them, and what is wrong with them."""
    found = _FRONT.match(text)
    if not found or len(found[1]) > LONGEST_FRONT_MATTER:
        return {}, text, ()
    import yaml

    rest = text[found.end() :].lstrip("\n")
    try:
        values = _loaded(found[1])
    except Exception as error:  # PyYAML fails in any way on values that do not fit their tags
        mark = getattr(error, "problem_mark", None)
        told = str(error) if isinstance(error, (yaml.YAMLError, ValueError, RecursionError)) else "a value does not fit its tag"
        reason = getattr(error, "problem", None) or (told.splitlines() or [type(error).__name__])[0]
        place = f"line {mark.line + 2}: " if mark else ""
        return {}, rest, (f"{place}the front matter is not valid YAML ({reason}); the text is read without it",)
    if values is None:
        return {}, rest, ()
    if not isinstance(values, dict):
        return {}, text, ()  # a text between two rules
    return {str(key): _listed(str(key), value) for key, value in values.items() if value != ""}, rest, ()


def _loaded(written: str) -> Any:
    """The value of a text in YAML, without what could end this process."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0  # deep nesting overflows libyaml's stack, and a few lines of aliases and merge keys take all memory there is
    for event in yaml.parse(written, Loader=loader):
        mark: Any = event.start_mark
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not read", problem_mark=mark)
        if depth > DEEPEST_FRONT_MATTER:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
    return yaml.load(written, Loader=loader)


def _listed(key: str, value: object) -> object:
    """The value of a key; one tag is a list of tags."""
    if key.lower() in _LISTS and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _with_marks(text: str) -> str:
    """The text with underlined headings as lines that begin with ``#``."""
    if "\n=" not in text and "\n--" not in text:
        return text
    lines, fence = text.split("\n"), ""
    written: list[str] = []
    for line in lines:
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        under = None if fence or not written else _UNDERLINE.fullmatch(line)
        above = written[-1] if written else ""
        alone = len(written) < 2 or not written[-2].strip() or written[-2].startswith("#")
        if under and alone and not _NO_HEADING.match(above):
            written[-1] = f"{'#' if under[1][0] == '=' else '##'} {above.strip()}"
        else:
            written.append(line)
    return "\n".join(written)
