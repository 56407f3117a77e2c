"""Bytes of files into text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from lexite.corpus.options import BadFile

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BLANKS = re.compile(r"\s+")


def decoded(data: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and notes about what had to be replaced.

    Args:
        data: all of it.
        declared: the encoding that the file says it has. Without one, it has to be UTF-8.

    Raises:
        BadFile: it says nothing and is not UTF-8.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], encoding)
    try:
        return data.decode(), ()
    except UnicodeDecodeError as problem:
        if declared is None:
            raise _not_utf8(data, problem) from None
    return _lenient(data, declared)


def decoded_strictly(data: bytes) -> str:
    r"""The text of a file that has to be UTF-8, with ``\n`` for line ends of any system.

    Raises:
        BadFile: it is not, or it is binary.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadFile("the text is UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8).", "not UTF-8")
    if b"\0" in data[:8192]:
        raise BadFile("this is a binary file, not text.", "binary")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as problem:
        raise _not_utf8(data, problem) from None


def one_line(text: str) -> str:
    """A text with each run of white space as one blank."""
    return _BLANKS.sub(" ", text).strip()


def joined(blocks: Iterable[str]) -> str:
    """Paragraphs and headings with a blank line between them."""
    return "\n\n".join(block for block in blocks if block.strip())


def without_title(blocks: list[str], title: str) -> list[str]:
    """Blocks without a first heading that says no more than the title."""
    if blocks and title and blocks[0].startswith("#") and one_line(blocks[0].lstrip("#")) == title:
        return blocks[1:]
    return blocks


def heading(text: str, level: int) -> str:
    """A heading as a Markdown line."""
    line = one_line(text)
    return f"{'#' * min(max(level, 1), 6)} {line}" if line else ""


def indented(code: str) -> str:
    """Code as a Markdown block, in which no line can be taken for a heading."""
    return "\n".join(f"    {line}".rstrip() for line in code.strip("\n").splitlines())


def replaced(data: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    """A text in which what is not valid in its encoding became U+FFFD, and a note about that."""
    try:
        text = data.decode(encoding, errors="replace")
    except (LookupError, ValueError):
        text = data.decode(errors="replace")
    bad = text.count("\ufffd")
    one = "character is" if bad == 1 else "characters are"
    return text, (f"{bad:,} {one} not valid {encoding} and became U+FFFD",) if bad else ()


def _lenient(data: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    try:
        return data.decode(encoding), ()
    except (LookupError, ValueError):
        return replaced(data, encoding)


def _not_utf8(data: bytes, problem: UnicodeDecodeError) -> BadFile:
    line = data.count(b"\n", 0, problem.start) + 1
    return BadFile(f"line {line}: not valid UTF-8 (byte 0x{data[problem.start]:02x}). Save the file as UTF-8.", "not UTF-8")
