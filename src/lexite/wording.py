r"""Text for people: control characters made visible, numbers with their nouns, sizes.

What lexite prints comes from other people's files. A title with an escape sequence could rename the terminal or write to
its clipboard, and an override of the writing direction could show a path that is another one. So these characters are
printed as Python would write them: ``\x1b``, ``\u202e``.
"""

from __future__ import annotations

import re

CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Inside a character class: C0, DEL, C1, marks and overrides of the writing direction, line and paragraph separators."""
_CONTROL = re.compile(f"[{CONTROLS}]")
_CONTROL_BUT_LINES = re.compile(f"(?![\t\n])[{CONTROLS}]")
_NAMES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escaped(text: str, *, lines: bool = False) -> str:
    r"""A text whose control characters are shown, not carried out.

    Args:
        text: any text.
        lines: whether line ends and tabs stay as they are; else the result is one line.

    >>> escaped("a\x1b]0;title\x07\nb"), escaped("a\nb", lines=True), escaped("\u202etxt.exe")
    ('a\\x1b]0;title\\x07\\nb', 'a\nb', '\\u202etxt.exe')
    """
    return (_CONTROL_BUT_LINES if lines else _CONTROL).sub(_written, text)


def one_line(text: str) -> str:
    r"""A text on one line: runs of white space as a blank, other control characters escaped.

    >>> one_line("Two\n  lines\x07")
    'Two lines\\x07'
    """
    return escaped(" ".join(text.split()))


def _written(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def counted(number: int, noun: str = "document", plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1), counted(2000), counted(1, "query", "queries"), counted(0, "term")
    ('1 document', '2,000 documents', '1 query', '0 terms')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(n_bytes: int) -> str:
    """A number of bytes in units that people use, a kB being 1,000 bytes.

    >>> size(1), size(999), size(364_112), size(999_999), size(5_100_000_000)
    ('1 byte', '999 bytes', '364 kB', '1.0 MB', '5.1 GB')
    """
    if n_bytes < 1000:
        return counted(n_bytes, "byte")
    value, unit = n_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.1f} {unit}"


def figure(value: float) -> str:
    """A number with the digits that people read: four, or all before the point.

    >>> figure(172.83333333333334), figure(0.75), figure(4.0), figure(12345.6), figure(1e-6)
    ('172.8', '0.75', '4', '12,346', '1e-06')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
