"""Patterns of LIKE in the languages that Lucene has for patterns."""

from __future__ import annotations

from collections.abc import Callable


def pattern_parts(pattern: str) -> list[tuple[str, bool]]:
    """The characters of a pattern of LIKE, each with whether it is a wildcard."""
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append((pattern[at], False))
        else:
            parts.append((pattern[at], pattern[at] in "%_"))
        at += 1
    return parts


def wildcard_pattern(pattern: str, escaped: Callable[[str], str] | None = None) -> str:
    r"""A pattern of LIKE with the wildcards of Lucene.

    Args:
        pattern: the pattern.
        escaped: writes a character that stands for itself; None: what Lucene's own wildcards need.

    >>> print(wildcard_pattern("100\\% *_%"))
    100% \*?*
    """
    plain = escaped or (lambda character: f"\\{character}" if character in "*?\\" else character)
    return "".join({"%": "*", "_": "?"}[character] if wild else plain(character) for character, wild in pattern_parts(pattern))


def like_regex(pattern: str, *, any_case: bool) -> str:
    r"""A pattern of LIKE as a regular expression of Lucene.

    >>> print(like_regex("a_c\\%%", any_case=False), like_regex("a1%", any_case=True))
    a.c\%.* (A|a)1.*
    """
    parts = []
    for character, wild in pattern_parts(pattern):
        if wild:
            parts.append({"%": ".*", "_": "."}[character])
            continue
        forms = _forms(character) if any_case else [character]
        written = [form if form.isalnum() else f"\\{form}" for form in forms]
        parts.append(written[0] if len(written) == 1 else f"({'|'.join(written)})")
    return "".join(parts)


def _forms(character: str) -> list[str]:
    """A character in the capitals and small letters that are one character long."""
    forms = {character, character.lower(), character.upper(), character.casefold(), character.title()}
    return sorted(form for form in forms if len(form) == 1)
