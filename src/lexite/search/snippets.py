"""Snippets: a text cut into runs of whole sentences, and the one that holds most of a document's score."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import heading_lines
from lexite.index.score_parts import ScoreParts
from lexite.scoring.words import LiteralConfig
from lexite.search.queries import Weigh

SNIPPET_CHARACTERS = 240
MOST_WEIGHED = 64  # snippets of a document that the model weighs; of more, the likeliest are chosen first
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*[-*#])")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document's text.

    Attributes:
        text: the part, with runs of white space as one blank, and headings without their marks.
        start: where it begins in the document's text, in characters.
        end: where it ends.
    """

    text: str
    start: int
    end: int


def snippets(text: str, characters: int = SNIPPET_CHARACTERS) -> list[Passage]:
    r"""Splits a text into runs of whole sentences of about ``characters``; a longer sentence is split between words.

    A heading alone tells little, so it stands before some of what follows it, unless it takes most of a snippet itself.

    >>> [passage.text for passage in snippets("One. Two is here. Three.", 14)]
    ['One.', 'Two is here.', 'Three.']
    >>> [passage.text for passage in snippets("## At night ##\n\nThe sea is #1.")]
    ['At night The sea is #1.']
    """
    found: list[Passage] = []
    words: list[str] = []
    size = begin = end = 0
    for piece, start, stop in _led(_pieces(text, characters), text, characters):
        if words and size + 1 + len(piece) <= characters:
            words.append(piece)
            size, end = size + 1 + len(piece), stop
            continue
        if words:
            found.append(Passage(" ".join(words), begin, end))
        words, size, begin, end = [piece], len(piece), start, stop
    return [*found, Passage(" ".join(words), begin, end)] if words else found


def _led(pieces: Iterable[tuple[str, int, int]], text: str, characters: int) -> Iterator[tuple[str, int, int]]:
    """Pieces, of which headings are put before what follows them; of a sentence that is too long for that, before a part."""
    lines = heading_lines(text)
    if not lines:
        yield from pieces
        return
    starts, marks = [line.start for line in lines], _marks(text)
    leading: tuple[str, int, int] | None = None
    for piece in pieces:
        above = bisect_right(starts, piece[1]) - 1
        if above >= 0 and piece[2] <= lines[above].end:
            if leading is not None and len(leading[0]) + 1 + len(piece[0]) > characters // 2:
                yield leading
                leading = None
            leading = piece if leading is None else _put_together(leading, piece)
        elif leading is None:
            yield piece
        else:
            short = len(leading[0]) + 1 + len(piece[0]) <= characters
            yield from [_put_together(leading, piece)] if short else _before_words(leading, piece, text, characters, marks)
            leading = None
    if leading is not None:
        yield leading


def _before_words(
    leading: tuple[str, int, int], piece: tuple[str, int, int], text: str, characters: int, marks: frozenset[int]
) -> Iterable[tuple[str, int, int]]:
    """A heading with as many words of the sentence that follows as fit, and the others."""
    if len(leading[0]) > characters // 2:
        return [leading, piece]
    return _joined([leading, *_words(text, piece[1], piece[2], characters, marks)], characters)


def _put_together(first: tuple[str, int, int], second: tuple[str, int, int]) -> tuple[str, int, int]:
    return f"{first[0]} {second[0]}", first[1], second[2]


def _pieces(text: str, characters: int) -> Iterator[tuple[str, int, int]]:
    """The sentences of a text with their places; those of more than ``characters`` in parts."""
    start, marks = 0, _marks(text)
    for end, following in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        sentence = text[start:end]
        short = " ".join(sentence.split())
        if len(short) > characters or (marks and any(start <= mark < end for mark in marks)):
            yield from _joined(_words(text, start, end, characters, marks), characters)
        elif short:
            begin = start + len(sentence) - len(sentence.lstrip())
            yield short, begin, start + len(sentence.rstrip())
        start = following


def _joined(words: Iterable[tuple[str, int, int]], characters: int) -> Iterator[tuple[str, int, int]]:
    """Words put together, as many as make no more than ``characters``."""
    piece, begin, end = "", 0, 0
    for word, start, stop in words:
        if piece and len(piece) + 1 + len(word) <= characters:
            piece, end = f"{piece} {word}", stop
            continue
        if piece:
            yield piece, begin, end
        piece, begin, end = word, start, stop
    if piece:
        yield piece, begin, end


def _marks(text: str) -> frozenset[int]:
    """Where the marks before and behind the words of headings begin: ``## At night ##``."""
    found: set[int] = set()
    for line in heading_lines(text) if "#" in text else ():
        end = line.start + len(text[line.start : line.end].rstrip())
        begin = text.find(line.words, line.start) + len(line.words)
        found |= {line.start, end - len(text[begin:end].strip())}
    return frozenset(found)


def _words(text: str, start: int, end: int, characters: int, marks: frozenset[int]) -> Iterator[tuple[str, int, int]]:
    """The words of a part of a text, without marks of headings; those of more than ``characters`` cut."""
    for match in _WORD.finditer(text, start, end):
        if match.start() in marks:
            continue
        for begin in range(match.start(), match.end(), characters):
            stop = min(begin + characters, match.end())
            yield text[begin:stop], begin, stop


@dataclass(frozen=True, slots=True)
class Weighing:
    """What gives raw weights of latents in snippets (:data:`lexite.search.queries.Weigh`).

    Attributes:
        weigh: as documents are encoded; None: a document's first snippet is taken.
        sift: a quicker way, which chooses among many; None: words choose.
    """

    weigh: Weigh | None = None
    sift: Weigh | None = None


def best_snippets(
    texts: Sequence[str], scores: Sequence[ScoreParts], weighing: Weighing, literal: LiteralConfig | None
) -> list[Passage | None]:
    """For each text, the snippet that holds the largest share of its score; None where there is no text.

    A term's part of the score is shared among the snippets in proportion to the term's raw weight in each. Of more than 64
    snippets, the 64 with the largest shares by the quicker way are weighed.

    Args:
        texts: of the documents, or of their best passages.
        scores: their scores, in parts.
        weighing: what gives raw weights of snippets.
        literal: how words are indexed; None: they are not.
    """
    parts = [snippets(text) for text in texts]
    if weighing.weigh is None:
        return [pieces[0] if pieces else None for pieces in parts]
    parts = [_likeliest(pieces, why, weighing, literal) for pieces, why in zip(parts, scores, strict=True)]
    best = [pieces[0] if pieces else None for pieces in parts]
    several = [place for place, pieces in enumerate(parts) if len(pieces) > 1]
    if several:
        chosen, own = [parts[place] for place in several], [scores[place] for place in several]
        shares = _shares_of_latents(chosen, own, weighing.weigh)
        for place, pieces, why, latents in zip(several, chosen, own, shares, strict=True):
            best[place] = pieces[int(np.argmax(latents + _shares_of_words(pieces, why, literal)))]
    return best


def _likeliest(pieces: list[Passage], why: ScoreParts, weighing: Weighing, literal: LiteralConfig | None) -> list[Passage]:
    """The 64 snippets that promise most, in their order; where nothing tells them apart, evenly spread ones."""
    if len(pieces) <= MOST_WEIGHED:
        return pieces
    shares = _shares_of_words(pieces, why, literal)
    if weighing.sift is not None:
        shares = shares + _shares_of_latents([pieces], [why], weighing.sift)[0]
    spread = np.zeros(len(pieces))
    spread[np.linspace(0, len(pieces) - 1, MOST_WEIGHED).round().astype(int)] = 1.0
    chosen = np.sort(np.lexsort((-spread, -shares))[:MOST_WEIGHED])
    return [pieces[place] for place in chosen.tolist()]


def _shares_of_latents(
    parts: Sequence[Sequence[Passage]], scores: Sequence[ScoreParts], weigh: Weigh
) -> list[NDArray[np.float64]]:
    """What the latents of each snippet hold of the score of its text; an array for each text."""
    entries = [(text, term.term, term.score) for text, why in enumerate(scores) for term in why.terms if term.word is None]
    sizes = [len(pieces) for pieces in parts]
    bounds = np.cumsum(sizes)[:-1]
    if not entries:
        return [np.zeros(size) for size in sizes]
    texts, terms, amounts = (np.array(column) for column in zip(*entries, strict=True))
    latents, columns = np.unique(terms, return_inverse=True)
    weights = weigh([piece.text for pieces in parts for piece in pieces], latents)
    values = np.zeros((len(parts), len(latents)))
    values[texts, columns] = amounts
    rows, places = np.nonzero(weights)
    raw = weights[rows, places].astype(np.float64)
    keys = np.repeat(np.arange(len(parts)), sizes)[rows] * len(latents) + places
    totals = np.bincount(keys, weights=raw, minlength=values.size)
    unit = np.divide(values.ravel(), totals, out=np.zeros(values.size), where=totals > 0)
    shares = np.bincount(rows, weights=raw * unit[keys], minlength=len(weights)).astype(np.float64)  # whole numbers if empty
    return np.split(shares, bounds)


def _shares_of_words(pieces: Sequence[Passage], why: ScoreParts, literal: LiteralConfig | None) -> NDArray[np.float64]:
    """What the literal words of each snippet hold of the score; a word that only the title has belongs to none."""
    shares = np.zeros(len(pieces))
    values = {term.word: term.score for term in why.terms if term.word is not None}
    if values and literal is not None:
        counts = np.array([literal.counts_of(list(values), piece.text) for piece in pieces], dtype=np.float64)
        for column, value in zip(counts.T, values.values(), strict=True):
            shares += value * column / max(column.sum(), 1.0)
    return shares
