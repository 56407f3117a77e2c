"""Plain text and source code: the file is the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import decoded_strictly


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document, without a title."""
    yield Extracted(decoded_strictly(file.read()).strip())
