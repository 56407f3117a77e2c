"""How a hit is shown: title, score, the passage that explains it, and the terms that matched."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.words import literal_words

if TYPE_CHECKING:
    from rich.console import Console
    from scipy.sparse import csr_array

    from lexite.index import BM25Index, Hit
    from lexite.scoring.rows import SparseRows
    from lexite.terms import BM25Config

PASSAGE_CHARACTERS = 240
MOST_PASSAGES = 64
TERMS_SHOWN = 5
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*[-*#])")


@dataclass(frozen=True)
class MatchedTerm:
    """A term that a document shares with the query.

    Attributes:
        term: number of the latent, or after those of a literal word.
        label: words for people; a literal word in quotation marks.
        contribution: its part of the document's score; the parts of all shared terms add up to it.
        word: the literal word; None for a latent.
    """

    term: int
    label: str
    contribution: float
    word: str | None = None


@dataclass(frozen=True)
class ShownHit:
    """A hit with what people want to see of it; ``snippet`` is empty when the index keeps no text."""

    rank: int
    id: str
    score: float
    title: str
    snippet: str
    terms: list[MatchedTerm]

    def to_json(self) -> dict[str, Any]:
        """JSON values, with the numbers rounded to what float32 carries."""
        values = asdict(self)
        values["score"] = round(self.score, 6)
        for term in values["terms"]:
            term["contribution"] = round(term["contribution"], 6)
            if term["word"] is None:
                del term["word"]
        return values


def passages(text: str, characters: int = PASSAGE_CHARACTERS) -> list[str]:
    """Splits a text into runs of whole sentences of about ``characters``; a longer sentence is split between words.

    >>> passages("One. Two is here. Three.", 14)
    ['One.', 'Two is here.', 'Three.']
    """
    parts: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        words = " ".join(sentence.split())
        while len(words) > characters:
            cut = words.rfind(" ", 1, characters)
            cut = characters if cut < 1 else cut
            parts.append(words[:cut])
            words = words[cut:].lstrip()
        if words:
            parts.append(words)
    joined: list[str] = []
    for part in parts:
        if joined and len(joined[-1]) + 1 + len(part) <= characters:
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    return joined[:MOST_PASSAGES]


def show_hits(
    index: BM25Index,
    label: Callable[[int], str],
    query: SparseRows,
    text: str,
    hits: Sequence[Hit],
    scoring: BM25Config,
    weigh: Callable[[Sequence[str]], csr_array[Any]] | None = None,
) -> list[ShownHit]:
    """Adds titles, snippets and matched terms to hits.

    Args:
        index: where the hits were found.
        label: words for a latent term.
        query: raw weights of the query, one row.
        text: of the query, whose literal words were searched too.
        hits: what the search gave.
        scoring: what it was searched with.
        weigh: gives raw weights of passages, ``(n_passages, n_latents)``, with which the best one of each document is looked
            for; without it, the beginning is shown.
    """
    explained = [index.explain(query, hit.document, scoring=scoring, texts=[text]) for hit in hits]
    stored = [index.stored(hit.document) for hit in hits]
    parts = [passages(document.text) for document in stored]
    best = _best_passages(index, weigh, parts, explained) if weigh else [0] * len(hits)
    shown = []
    for hit, document, contributions, pieces, number in zip(hits, stored, explained, parts, best, strict=True):
        terms = [_matched(index, label, term, value) for term, value in contributions[:TERMS_SHOWN]]
        shown.append(ShownHit(hit.rank, hit.id, hit.score, document.title, pieces[number] if pieces else "", terms))
    return shown


def _matched(index: BM25Index, label: Callable[[int], str], term: int, contribution: float) -> MatchedTerm:
    if term < index.n_latents:
        return MatchedTerm(term, label(term), contribution)
    word = index.word(term)
    return MatchedTerm(term, f'"{word}"', contribution, word)


def _best_passages(
    index: BM25Index,
    weigh: Callable[[Sequence[str]], csr_array[Any]],
    parts: Sequence[Sequence[str]],
    explained: Sequence[Sequence[tuple[int, float]]],
) -> list[int]:
    """For each document, the passage that holds the largest share of its score.

    A term's contribution to the score is shared among the passages in proportion to the term's raw weight in each.
    """
    texts = [text for pieces in parts if len(pieces) > 1 for text in pieces]
    if not texts:
        return [0] * len(parts)
    weights = weigh(texts)
    best, row = [], 0
    for pieces, contributions in zip(parts, explained, strict=True):
        if len(pieces) < 2:
            best.append(0)
            continue
        own = weights[row : row + len(pieces)]
        row += len(pieces)
        share = np.zeros(own.shape[1])
        for term, value in contributions:
            if term < len(share):
                share[term] = value
        totals: NDArray[np.float64] = np.asarray(own.sum(axis=0), dtype=np.float64).ravel()
        share = np.divide(share, totals, out=np.zeros_like(share), where=totals > 0)
        best.append(int(np.argmax(np.asarray(own @ share) + _shares_of_words(index, pieces, contributions))))
    return best


def _shares_of_words(
    index: BM25Index, pieces: Sequence[str], contributions: Sequence[tuple[int, float]]
) -> NDArray[np.float64]:
    """What the literal words of each passage hold of the score; a word that only the title has belongs to none."""
    shares = np.zeros(len(pieces))
    values = {index.word(term): value for term, value in contributions if term >= index.n_latents}
    if values and index.literal:
        counts = [literal_words(piece, index.literal.literal_stop_words) for piece in pieces]
        for word, value in values.items():
            found = np.array([count[word] for count in counts], dtype=np.float64)
            shares += value * found / max(found.sum(), 1.0)
    return shares


def print_hits(console: Console, hits: Sequence[ShownHit]) -> None:
    """Writes hits for people: wrapped on a terminal, a line for each part in a pipe."""
    from rich.text import Text

    if not hits:
        console.print("No document shares a term with the query.")
    for hit in hits:
        head = Text.assemble((f"{hit.rank:>3}  ", "dim"), (hit.title or hit.id, "bold"), (f"  {hit.score:.2f}", "cyan"))
        if hit.title and hit.title != hit.id:
            head.append(f"  {hit.id}", "dim")
        console.print(head)
        matched = " · ".join(f"{term.label} {term.contribution:.2f}" for term in hit.terms)
        for text, style in ((hit.snippet, ""), (matched, "green")):
            for line in _wrapped(console, text):
                console.print(Text(f"     {line}", style))


def _wrapped(console: Console, text: str) -> list[str]:
    return textwrap.wrap(text, max(console.width - 6, 20)) if console.is_terminal else [text] if text else []
