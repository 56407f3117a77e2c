"""Reading JSON that is not one object a line: an array of objects, or objects over many lines."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

from lexite.corpus.options import DamagedSource
from lexite.corpus.sources import Source
from lexite.corpus.streams import DAMAGE, Stream, damaged, not_utf8

LONGEST_VALUE = 1 << 27
"""Characters of one value; what does not end before is taken for damaged."""

_FIRST_READ = 1 << 16
_ARRAY = re.compile(rb"\s*\[\s*(\{|\]|\Z)")
_OPEN_OBJECT = re.compile(rb'\s*(\{[^\n]*)\n\s*["}]')
_BLANK = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")


def is_array(head: bytes) -> bool:
    """Whether a file that begins like this is a JSON array of objects."""
    return bool(_ARRAY.match(head))


def is_spread_out(head: bytes) -> bool:
    """Whether a file that begins like this is JSON in which an object takes several lines."""
    if is_array(head):
        return True
    found = _OPEN_OBJECT.match(head)
    if not found:
        return False
    try:
        json.loads(found[1])
    except ValueError:
        return True
    return False


def read_values(source: Source, stream: Stream) -> Iterator[tuple[int, object]]:
    """The values of a file with the lines at which they begin; those of an array one by one, in bounded memory.

    Raises:
        DamagedSource: it is no JSON from some place on.
    """
    text = _Ahead(source, stream)
    try:
        inside = False
        while text.skip(_BETWEEN if inside else _BLANK):
            if not inside and text.take("["):
                inside = True
            elif inside and text.take("]"):
                inside = False
            else:
                line = text.line
                yield line, text.value()
        if inside:
            raise DamagedSource(f"{source.at(text.line)}: the JSON array is never closed.")
    except DAMAGE as error:
        raise damaged(source.name, text.line, error) from error
    except UnicodeDecodeError as problem:
        raise DamagedSource(f"{source.name}, after line {text.line}: {not_utf8(problem)}") from problem


class _Ahead:
    """A text that is read as far as its next value needs."""

    def __init__(self, source: Source, stream: Stream) -> None:
        self._source, self._file = source, stream.file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at, self._ended = "", 0, False
        self.line = 1

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Passes what matches; False at the end of the text."""
        while True:
            found = pattern.match(self._text, self._at)
            self._pass(found.end() if found else self._at)
            if self._at < len(self._text):
                return True
            if not self._more():
                return False

    def take(self, mark: str) -> bool:
        """Passes a mark that stands here."""
        if not self._text.startswith(mark, self._at):
            return False
        self._pass(self._at + len(mark))
        return True

    def value(self) -> object:
        """The value that begins here."""
        decode = json.JSONDecoder().raw_decode
        while True:
            try:
                value, end = decode(self._text, self._at)
            except json.JSONDecodeError as problem:
                cut_off = problem.msg.startswith(("Unterminated", "Invalid \\")) or problem.pos >= len(self._text) - 16
                if not cut_off or len(self._text) - self._at > LONGEST_VALUE or not self._more():
                    line = self.line + self._text.count("\n", self._at, problem.pos)
                    raise DamagedSource(f"{self._source.at(line)}: not valid JSON ({problem.msg}).") from None
            except (ValueError, RecursionError) as problem:
                reason = "nested too deeply" if isinstance(problem, RecursionError) else problem
                raise DamagedSource(f"{self._source.at(self.line)}: not usable JSON ({reason}).") from None
            else:
                if end < len(self._text) or not self._more():  # a number may go on
                    self._pass(end)
                    return value

    def _pass(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Reads as much as was not passed yet, so that a long value is parsed a few times only; False at the end."""
        if self._ended:
            return False
        self._text, self._at = self._text[self._at :], 0
        data = self._file.read(max(_FIRST_READ, len(self._text)))
        self._ended = not data
        self._text += self._decoder.decode(data, final=self._ended)
        return not self._ended
