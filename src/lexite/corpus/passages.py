"""Passages: a long text cut into runs of whole paragraphs and sentences, each with the headings that it stands under."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.table_rows import row_groups
from lexite.corpus.text_fields import FieldCollector, FieldTexts, FieldWeights
from lexite.errors import ConfigError

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*|\n(?=#{1,6}[ \t])")
_HEADING = re.compile(r"(#{1,6})[ \t]+([^\n]*)(?:\n|\Z)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]?\s+|(?<=[。！？])|\n")
_WITHOUT_BLANKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_WITHOUT_BLANKS}]{{1,2}}|[^\s{_WITHOUT_BLANKS}]{{1,30}}")
_BEFORE_HEADING, _WITHIN_PARAGRAPH, _WITHIN_SENTENCE = -0.3, 0.4, 1.0  # what a cut there costs, beside :func:`_error`
_AFTER_HEADING = 100.0  # a heading stays with what follows
_PIECES = 16  # of a passage; shorter pieces are joined
TABLE_WORDS = 30  # of a passage of rows, where tables are asked for
_LONGEST_HEADINGS = 50  # words by which headings may make a passage longer than the longest


@dataclass(frozen=True, slots=True)
class PassageConfig:
    """How long texts are cut. ``docs/results/long-documents.md`` has the measurements behind the defaults.

    Attributes:
        words: words of a passage, about; the longest has a quarter more.
        longest_whole: a text with no more words than these is one passage.
        table_words: the rows of tables are passages too, beside those of the text, each value with the heads of its row and
            column: groups of about so many words. 0: they are not.

    >>> PassageConfig()
    PassageConfig(words=160, longest_whole=250, table_words=0)
    """

    words: int = 160
    longest_whole: int = 250
    table_words: int = 0

    def __post_init__(self) -> None:
        if self.words < 10 or self.longest_whole < self.words:
            raise ConfigError(
                f"Passages of {self.words} words, from texts of more than {self.longest_whole} words: a passage has at least "
                "10 words, and a text that is left whole no fewer than a passage."
            )
        if self.table_words < 0:
            raise ConfigError(f"Passages of {self.table_words} words of tables cannot be: write 0 for none.")

    @property
    def longest(self) -> int:
        """The most words of a passage."""
        return self.words + self.words // 4


def passages_of(given: object) -> PassageConfig | None:
    """Settings from what a person writes: ``auto``, ``none``, ``tables``, or a number of words.

    Raises:
        ConfigError: it is none of these.

    >>> passages_of("auto"), passages_of("none")
    (PassageConfig(words=160, longest_whole=250, table_words=0), None)
    >>> passages_of(120)
    PassageConfig(words=120, longest_whole=187, table_words=0)
    >>> passages_of("tables").table_words
    30
    """
    if given is None or isinstance(given, PassageConfig):
        return given
    if given == "auto":
        return PassageConfig()
    if given == "none":
        return None
    if given == "tables":
        return PassageConfig(table_words=TABLE_WORDS)
    if isinstance(given, bool) or not re.fullmatch(r"[0-9]+", str(given)):
        raise ConfigError(f"passages is {given!r}, but must be 'auto', 'none', 'tables', or the number of words of a passage.")
    words = int(str(given))
    return PassageConfig(words, words * 25 // 16)


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a text.

    Attributes:
        start: where it begins, in characters.
        end: where it ends.
        headings: the headings above it that it does not contain, the outermost first.
        rows: what is encoded in its place, where it is a group of rows of a table; else empty.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    rows: str = ""


def count_words(text: str) -> int:
    """Words of a text, for lengths. Two characters of a script without blanks are one, a longer word one for each thirty.

    >>> count_words("three short words"), count_words("四个汉字")
    (3, 2)
    """
    return sum(1 for _ in _WORD.finditer(text))


def cut_text(text: str, config: PassageConfig | None = None) -> list[Cut]:
    r"""Cuts a text into passages of about ``config.words`` words.

    Cuts lie between paragraphs where lengths allow it, else between sentences, and within a sentence only where that is longer
    than a passage. The lengths are as near to ``config.words`` as this allows.

    Args:
        text: any text.
        config: lengths.

    Returns:
        Passages in order, one at least; together they hold everything but white space.

    >>> text = "# Boiler\n\nThe valve is below. " + "It is red. " * 8 + "\n\n## Winter\n\n" + "Drain it in winter. " * 7
    >>> [(text[cut.start : cut.start + 12], cut.headings) for cut in cut_text(text, PassageConfig(30, 30))]
    [('# Boiler\n\nTh', ()), ('## Winter\n\nD', ('Boiler',))]
    """
    config = config or PassageConfig()
    if len(text) <= config.longest_whole or count_words(text) <= config.longest_whole:  # a word has a character at least
        return [Cut(0, len(text))]
    pieces = list(_joined(_pieces(text, config.longest), config.words // _PIECES))
    if not pieces:
        return [Cut(0, len(text))]
    firsts = _first_pieces([piece.words for piece in pieces], [piece.cost for piece in pieces], config)
    ends = [*firsts[1:], len(pieces)]
    return [
        Cut(pieces[first].start, pieces[end - 1].end, pieces[first].headings) for first, end in zip(firsts, ends, strict=True)
    ]


class TextOfDocument(Protocol):
    """What is read of a document; :class:`lexite.corpus.Document` has it."""

    @property
    def title(self) -> str:
        """Its title, may be empty."""
        ...

    @property
    def text(self) -> str:
        """Its text."""
        ...


@dataclass(frozen=True, slots=True)
class CutDocuments:
    """Documents with their passages.

    Attributes:
        texts: of all passages, as they are encoded: title and headings before the passage.
        bounds: (n_documents + 1,) int64; document i has the passages ``bounds[i]`` to below ``bounds[i + 1]``.
        spans: (n_passages, 2) int64, where each begins and ends in the text of its document, in characters.
        fields: title, headings and body of each passage, to be encoded apart in place of ``texts``; None: they are not.
    """

    texts: list[str]
    bounds: NDArray[np.int64]
    spans: NDArray[np.int64]
    fields: FieldTexts | None = None

    @property
    def encoded_texts(self) -> list[str]:
        """What is encoded: the passages, or their fields."""
        return self.texts if self.fields is None else self.fields.texts

    @property
    def encoded_bounds(self) -> NDArray[np.int64]:
        """(n_documents + 1,) the first of these texts of each document."""
        return self.bounds if self.fields is None else self.fields.text_bounds

    def part(self, start: int, stop: int) -> CutDocuments:
        """The documents from ``start`` to below ``stop``."""
        first, last = int(self.bounds[start]), int(self.bounds[stop])
        fields = None if self.fields is None else self.fields.part(start, stop, first, last)
        return CutDocuments(self.texts[first:last], self.bounds[start : stop + 1] - first, self.spans[first:last], fields)


def cut_documents(
    documents: Sequence[TextOfDocument], config: PassageConfig | None, weights: FieldWeights | None = None
) -> CutDocuments:
    """The passages of documents.

    Args:
        documents: the documents.
        config: how long texts are cut; None leaves all whole.
        weights: of title, headings and body, which are then apart; None leaves them together.
    """
    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    bounds = [0]
    collector = None if weights is None else FieldCollector(weights)
    for document in documents:
        cuts = [Cut(0, len(document.text))] if config is None else cut_text(document.text, config)
        if config is not None and config.table_words:
            cuts += _table_cuts(document.text, config.table_words)
        for cut in cuts:
            parts = (document.title, *cut.headings, cut.rows or document.text[cut.start : cut.end])
            texts.append(" ".join(part for part in parts if part).strip() if any(parts[:-1]) else parts[-1])
            spans.append((cut.start, cut.end))
        bounds.append(len(texts))
        if collector is not None:
            _collect_fields(collector, document, cuts)
    fields = None if collector is None else collector.collected()
    return CutDocuments(texts, np.array(bounds, dtype=np.int64), np.array(spans, dtype=np.int64).reshape(-1, 2), fields)


def _table_cuts(text: str, words: int) -> list[Cut]:
    """Groups of rows of tables, with the headings that they stand under."""
    groups = row_groups(text, words)
    headings = heading_lines(text) if groups else []
    cuts: list[Cut] = []
    for group in groups:
        above: list[HeadingLine] = []
        for line in headings:
            if line.end <= group.start:
                above = [other for other in above if other.level < line.level] + [line]
        cuts.append(Cut(group.start, group.end, tuple(line.words for line in above), group.text))
    return cuts


def _collect_fields(collector: FieldCollector, document: TextOfDocument, cuts: Sequence[Cut]) -> None:
    """Takes title, headings and body of each passage of a document."""
    collector.begin_document()
    headings = heading_lines(document.text)
    for cut in cuts:
        own = [heading for heading in headings if cut.start <= heading.start and heading.end <= cut.end]
        body = cut.rows or text_without(document.text, own, cut.start, cut.end)
        collector.add(document.title, [*cut.headings, *(heading.words for heading in own)], body)


@dataclass(frozen=True, slots=True)
class HeadingLine:
    """A heading in a text.

    Attributes:
        start: where its line begins, in characters.
        end: where the line ends.
        level: 1 for the outermost, to 6.
        words: what it says.
    """

    start: int
    end: int
    level: int
    words: str


def heading_lines(text: str) -> list[HeadingLine]:
    r"""The headings of a text: lines that begin with ``#``, as in Markdown.

    >>> [(line.level, line.words) for line in heading_lines("# Boiler\n## Winter ##\nDrain it.\n    # no heading")]
    [(1, 'Boiler'), (2, 'Winter')]
    """
    if "#" not in text:
        return []
    found = []
    for place, end in _between(text, _PARAGRAPH_END, 0, len(text)):
        while heading := _heading(text, place, end):
            level, words, after = heading
            found.append(HeadingLine(place, place + len(text[place:after].rstrip()), level, words))
            place = after
    return found


def text_without(text: str, headings: Sequence[HeadingLine], start: int, end: int) -> str:
    """A part of a text without the headings that lie in it, which are given in order."""
    if not headings:
        return text[start:end]
    begins, ends = [start, *(heading.end for heading in headings)], [*(heading.start for heading in headings), end]
    parts = (text[begin:stop].strip() for begin, stop in zip(begins, ends, strict=True))
    return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is never cut: a sentence, a heading, or a part of a long sentence. ``cost`` is that of a cut before it."""

    start: int
    end: int
    words: int
    cost: float
    headings: tuple[str, ...]


def _pieces(text: str, longest: int) -> Iterator[_Piece]:
    """The pieces of a text, with the headings that are above each."""
    stack: list[tuple[int, str]] = []
    cost = 0.0
    for begin, end in _between(text, _PARAGRAPH_END, 0, len(text)):
        place = begin
        while heading := _heading(text, place, end):
            level, words, after = heading
            while stack and stack[-1][0] >= level:
                stack.pop()
            above = tuple(other for _, other in stack)
            length = len(text[place:after].rstrip())
            yield _Piece(place, place + length, count_words(text[place:after]), cost + _BEFORE_HEADING, above)
            stack.append((level, words))
            place, cost = after, _AFTER_HEADING
        above = tuple(words for _, words in stack)
        for start, stop in _between(text, _SENTENCE_END, place, end):
            for piece in _parts(text, start, stop, longest, cost, above):
                yield piece
                cost = _WITHIN_PARAGRAPH
        cost = _AFTER_HEADING if place >= end and stack else 0.0


def _heading(text: str, place: int, end: int) -> tuple[int, str, int] | None:
    """Level, words and end of the heading that begins at a place; None where there is none, as in indented code."""
    found = _HEADING.match(text, place, end) if place == 0 or text[place - 1] == "\n" else None
    words = "" if found is None else found[2].strip(" \t").rstrip("#").rstrip(" \t")
    if found is None or not words or count_words(words) > _LONGEST_HEADINGS:  # which is a paragraph, for all its signs
        return None
    return len(found[1]), words, found.end()


def _joined(pieces: Iterator[_Piece], least: int) -> Iterator[_Piece]:
    """The pieces, those of a few words with the next: there are fewer of them then, in a list of short lines."""
    last: _Piece | None = None
    for piece in pieces:
        if last is not None and last.words < least and last.cost >= 0.0 and 0.0 <= piece.cost < _AFTER_HEADING - 1.0:
            last = _Piece(last.start, piece.end, last.words + piece.words, last.cost, last.headings)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _between(text: str, divider: re.Pattern[str], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts between dividers, without white space around them; empty ones are left out."""
    matches = [(match.start(), match.end()) for match in divider.finditer(text, begin, end)]
    for start, stop in zip([begin, *(after for _, after in matches)], [*(before for before, _ in matches), end], strict=True):
        part = text[start:stop]
        if part and not part.isspace():
            yield start + len(part) - len(part.lstrip()), stop - len(part) + len(part.rstrip())


def _parts(text: str, start: int, end: int, longest: int, cost: float, headings: tuple[str, ...]) -> Iterator[_Piece]:
    """A sentence, or the parts of one that has more words than a passage may have."""
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    n_parts = max(1, math.ceil(len(words) / longest))
    for part in range(n_parts):
        own = words[len(words) * part // n_parts : len(words) * (part + 1) // n_parts]
        yield _Piece(
            own[0][0], own[-1][1] if part < n_parts - 1 else end, len(own), cost if not part else _WITHIN_SENTENCE, headings
        )


def _first_pieces(words: Sequence[int], costs: Sequence[float], config: PassageConfig) -> list[int]:
    """The first piece of each passage: the cuts whose errors of length and costs have the smallest sum.

    No passage has more than ``config.longest`` words, but for the headings above its first sentence.
    """
    best, before = [0.0], [0]  # of the pieces up to a place: the smallest sum, and where the last passage begins
    for end in range(1, len(words) + 1):
        total, chosen, least = 0, end - 1, math.inf
        for first in range(end - 1, -1, -1):
            total += words[first]
            over = total - config.longest
            if over > 0 and first < end - 1 and (costs[first + 1] < _AFTER_HEADING - 1.0 or over > _LONGEST_HEADINGS):
                break
            cost = best[first] + (costs[first] if first else 0.0) + _error(total / config.words)
            if cost < least:
                chosen, least = first, cost
        best.append(least)
        before.append(chosen)
    firsts, place = [], len(words)
    while place:
        place = before[place]
        firsts.append(place)
    return firsts[::-1]


def _error(length: float) -> float:
    """How bad a length is, as a share of the one that is wanted: the square of its logarithm, for each word of it."""
    return length * math.log(max(length, 1e-3)) ** 2
