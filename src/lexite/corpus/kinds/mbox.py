"""Mailboxes (mbox): one document for each message, read one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.mail import message_of
from lexite.corpus.options import BadFile

_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """A document for each message, whose part is its number from 1."""
    for number, data in enumerate(_messages(file), 1):
        yield message_of(_QUOTED.sub(rb"\1", data), str(number))


def _messages(file: IO[bytes]) -> Iterator[bytes]:
    """The messages of a mailbox. Each begins behind a line ``From …``, which follows a blank line."""
    lines: list[bytes] = []
    begun = False
    blank = True
    for line in file:
        if blank and line.startswith(b"From "):
            if begun:
                yield b"".join(lines)
            lines, begun = [], True
        elif begun:
            lines.append(line)
        elif line.strip():
            raise BadFile("this is no mbox: it does not begin with a line 'From …'.", "malformed")
        blank = not line.strip()
    if begun:
        yield b"".join(lines)
