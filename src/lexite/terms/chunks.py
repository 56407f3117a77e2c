"""Cutting a stream of texts into chunks that fit in memory, and a huge text into parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lexite.errors import ArgumentError

BYTES_PER_CHUNK = 1 << 19  # of text; about 130,000 tokens of English, whose states at width 768 take 200 MB in bf16
CHARACTERS_PER_PART = 1 << 19  # of a single text; its token states take some 100 MB at width 384


def text_chunks(texts: Iterable[str], texts_per_chunk: int) -> Iterator[Sequence[str]]:
    """Groups texts so that a group is bounded in number and in bytes; a group holds at least one text."""
    chunk: list[str] = []
    size = 0
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ArgumentError(f"Text {number} (counted from 0) is a {type(text).__name__}, not text.")
        length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if chunk and (len(chunk) >= texts_per_chunk or size + length > BYTES_PER_CHUNK):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += length
    if chunk:
        yield chunk


def split_text(text: str, size: int | None = None) -> Iterator[str]:
    """Cuts a text into parts of at most ``size`` characters, between words where there are any.

    >>> list(split_text("one two three four", 9))
    ['one two ', 'three ', 'four']
    """
    size = size or CHARACTERS_PER_PART
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            spaces = re.finditer(r"\s", text[start:end])
            end = start + max((space.end() for space in spaces), default=size)
        yield text[start:end]
        start = end
