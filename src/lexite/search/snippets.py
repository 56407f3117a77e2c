"""Snippets: a text cut into runs of whole sentences, and the one that holds most of a document's score."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import heading_lines
from lexite.index.explanation import Explanation
from lexite.scoring.rows import SparseRows, slice_rows
from lexite.scoring.words import LiteralConfig

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

    >>> [passage.text for passage in snippets("One. Two is here. Three.", 14)]
    ['One.', 'Two is here.', 'Three.']
    >>> [passage.text for passage in snippets("## At night ##\n\nThe sea is #1.")]
    ['At night The sea is #1.']
    """
    found: list[Passage] = []
    for piece in _pieces(text, characters):
        last = found[-1] if found else None
        if last is not None and len(last.text) + 1 + len(piece.text) <= characters:
            found[-1] = Passage(f"{last.text} {piece.text}", last.start, piece.end)
        else:
            found.append(piece)
    return found


def _pieces(text: str, characters: int) -> Iterator[Passage]:
    """The sentences of a text; those of more than ``characters`` in parts."""
    start, marks = 0, _marks(text)
    for end, following in [*((match.start(), match.end()) for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        sentence = text[start:end]
        short = " ".join(sentence.split())
        if len(short) <= characters and not any(start <= mark < end for mark in marks):
            if short:
                begin = start + len(sentence) - len(sentence.lstrip())
                yield Passage(short, begin, start + len(sentence.rstrip()))
            start = following
            continue
        piece: Passage | None = None
        for word in _words(text, start, end, characters, marks):
            if piece is None:
                piece = word
            elif len(piece.text) + 1 + len(word.text) <= characters:
                piece = Passage(f"{piece.text} {word.text}", piece.start, word.end)
            else:
                yield piece
                piece = word
        if piece is not None:
            yield piece
        start = following


def _marks(text: str) -> frozenset[int]:
    """Where the marks before and behind the words of headings begin: ``## At night ##``."""
    found: set[int] = set()
    for line in heading_lines(text) if "#" in text else ():
        end = line.start + len(text[line.start : line.end].rstrip())
        begin = text.find(line.words, line.start) + len(line.words)
        found |= {line.start, end - len(text[begin:end].strip())}
    return frozenset(found)


def _words(text: str, start: int, end: int, characters: int, marks: frozenset[int]) -> Iterator[Passage]:
    """The words of a part of a text, without marks of headings; those of more than ``characters`` cut."""
    for match in _WORD.finditer(text, start, end):
        if match.start() in marks:
            continue
        for begin in range(match.start(), match.end(), characters):
            stop = min(begin + characters, match.end())
            yield Passage(text[begin:stop], begin, stop)


@dataclass(frozen=True, slots=True)
class Weighing:
    """What gives raw weights of snippets, ``(n_snippets, n_latents)``.

    Attributes:
        weigh: as documents are encoded; None: a document's first snippet is taken.
        sift: a quicker way, which chooses among many; None: words choose.
    """

    weigh: Callable[[Sequence[str]], SparseRows] | None = None
    sift: Callable[[Sequence[str]], SparseRows] | None = None


def best_snippets(
    texts: Sequence[str], explanations: Sequence[Explanation], weighing: Weighing, literal: LiteralConfig | None
) -> list[Passage | None]:
    """For each text, the snippet that holds the largest share of its score; None where there is no text.

    A term's part of the score is shared among the snippets in proportion to the term's raw weight in each. Of more than 64
    snippets, the 64 with the largest shares by the quicker way are weighed.

    Args:
        texts: of the documents, or of their best passages.
        explanations: of their scores.
        weighing: what gives raw weights of snippets.
        literal: how words are indexed; None: they are not.
    """
    parts = [snippets(text) for text in texts]
    if weighing.weigh is not None:
        parts = [_likeliest(pieces, why, weighing, literal) for pieces, why in zip(parts, explanations, strict=True)]
    several = [part.text for pieces in parts if len(pieces) > 1 for part in pieces]
    if weighing.weigh is None or not several:
        return [pieces[0] if pieces else None for pieces in parts]
    weights = weighing.weigh(several)
    best: list[Passage | None] = []
    row = 0
    for pieces, explanation in zip(parts, explanations, strict=True):
        if len(pieces) < 2:
            best.append(pieces[0] if pieces else None)
            continue
        own = slice_rows(weights, row, row + len(pieces))
        row += len(pieces)
        shares = _shares_of_latents(own, explanation) + _shares_of_words(pieces, explanation, literal)
        best.append(pieces[int(np.argmax(shares))])
    return best


def _likeliest(
    pieces: list[Passage], explanation: Explanation, weighing: Weighing, literal: LiteralConfig | None
) -> list[Passage]:
    """The 64 snippets that promise most, in their order; where nothing tells them apart, evenly spread ones."""
    if len(pieces) <= MOST_WEIGHED:
        return pieces
    shares = _shares_of_words(pieces, explanation, literal)
    if weighing.sift is not None:
        shares = shares + _shares_of_latents(weighing.sift([piece.text for piece in pieces]), explanation)
    spread = np.zeros(len(pieces))
    spread[np.linspace(0, len(pieces) - 1, MOST_WEIGHED).round().astype(int)] = 1.0
    chosen = np.sort(np.lexsort((-spread, -shares))[:MOST_WEIGHED])
    return [pieces[place] for place in chosen.tolist()]


def _shares_of_latents(weights: SparseRows, explanation: Explanation) -> NDArray[np.float64]:
    """What the latents of each snippet hold of the score."""
    n_passages, n_latents = weights.shape
    share = np.zeros(n_latents)
    for term in explanation.terms:
        if term.kind == "latent":
            share[term.term] = term.score
    totals = np.bincount(weights.indices, weights=weights.data, minlength=n_latents)
    share = np.divide(share, totals, out=np.zeros_like(share), where=totals > 0)
    passage = np.repeat(np.arange(n_passages), np.diff(weights.indptr))
    parts = weights.data * share[weights.indices]
    return np.asarray(np.bincount(passage, weights=parts, minlength=n_passages), dtype=np.float64)


def _shares_of_words(pieces: Sequence[Passage], explanation: Explanation, literal: LiteralConfig | None) -> NDArray[np.float64]:
    """What the literal words of each snippet hold of the score; a word that only the title has belongs to none."""
    shares = np.zeros(len(pieces))
    values = {term.word: term.score for term in explanation.terms if term.word is not None}
    if values and literal is not None:
        counts = [literal.words_of(piece.text) for piece in pieces]
        for word, value in values.items():
            found = np.array([count[word] for count in counts], dtype=np.float64)
            shares += value * found / max(found.sum(), 1.0)
    return shares
