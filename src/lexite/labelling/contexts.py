"""Examples of a latent's use: a few words around where it fires, from the strongest passage down to the weak ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.labelling.detection import Holdings
from lexite.labelling.firings import Firings
from lexite.labelling.words import SampleWords
from lexite.terms.descriptions import CLOSING, OPENING, Context

LOOK_AHEAD = 40  # characters in which the next word must be found
_AROUND = " ,.;:()\"'"  # signs that an example neither begins nor ends with, but where they fire
MARKED = 0.5  # share of the passage's largest activation from which a word is marked


class ContextFinder:
    """Finds examples in a sample.

    Args:
        firings: of the sample.
        words: of the sample.
        held: which passages hold which latent.
        n_contexts: examples of each latent.
        n_words: words of an example, about.
    """

    def __init__(self, firings: Firings, words: SampleWords, held: Holdings, n_contexts: int, n_words: int) -> None:
        self._firings, self._words, self._held = firings, words, held
        self._n_contexts, self._around = n_contexts, max(n_words // 2, 1)
        self._first_word = np.searchsorted(words.passages, np.arange(firings.n_passages + 1))
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def of(self, latent: int) -> tuple[Context, ...]:
        """A latent's strongest passage, and passages at equal steps of rank below it, no two of one document."""
        return self.spread(latent, self._n_contexts)

    def spread(self, latent: int, n: int, usable: NDArray[np.bool_] | None = None) -> tuple[Context, ...]:
        """As many examples as are wanted, the strongest first, of the passages that may be used; of all where it is None."""
        passages, weights, _ = self._held.of(latent)
        if usable is not None:
            passages, weights = passages[usable[passages]], weights[usable[passages]]
        if not len(passages) or not n:
            return ()
        order = passages[np.argsort(-weights, kind="stable")]
        largest = float(self._firings.of(latent)[1].max())
        steps = np.linspace(0, 1, n + 1)[:-1] * len(order)
        found: list[Context] = []
        documents: set[int] = set()
        for place in steps.astype(int).tolist():
            for passage in order[place : place + 20].tolist():
                document = int(self._firings.documents[passage])
                context = None if document in documents else self._context(latent, passage, largest)
                if context is not None and context.text not in {each.text for each in found}:
                    found.append(context)
                    documents.add(document)
                    break
        return tuple(sorted(found, key=lambda each: -each.strength))

    def _context(self, latent: int, passage: int, largest: float) -> Context | None:
        tokens, values = self._firings.of(latent)
        first, last = np.searchsorted(tokens, self._firings.offsets[passage : passage + 2])
        tokens, values = tokens[first:last], values[first:last]
        if not len(tokens):
            return None
        best = float(values.max())
        begin = int(self._first_word[passage])
        spans = self._spans_of(passage)
        fired = sorted({int(word) - begin for word in self._words.of_token[tokens[values >= MARKED * best]]})
        centre = int(self._words.of_token[tokens[int(np.argmax(values))]]) - begin
        text = self._firings.passages[passage]
        low = _first_known(spans, max(centre - self._around, 0), centre)
        high = _last_known(spans, min(centre + self._around, len(spans) - 1), centre)
        if spans[centre][0] < 0 or low < 0 or high < 0:
            return None
        start, end = spans[low][0], spans[high][1]
        marks = tuple((spans[w][0] - start, spans[w][1] - start) for w in fired if low <= w <= high and spans[w][0] >= 0)
        piece = text[start:end]
        if OPENING in piece or CLOSING in piece:
            return None
        return Context(*_one_line(piece, marks), best / largest)

    def _spans_of(self, passage: int) -> list[tuple[int, int]]:
        """Where each word of a passage lies in its text; (-1, -1) for words that are not found in it."""
        if passage not in self._spans:
            words = slice(int(self._first_word[passage]), int(self._first_word[passage + 1]))
            forms = [self._words.form_texts[form] for form in self._words.forms[words].tolist()]
            self._spans[passage] = aligned(self._firings.passages[passage], forms)
        return self._spans[passage]


def short_phrase(context: Context) -> Context | None:
    """The first word that is marked in a context, with a word at either side; None where no word is.

    >>> short_phrase(Context("they sat on the river bank in June", ((22, 26),), 1.0)).marked()
    'river [bank] in'
    """
    if not context.marks:
        return None
    start, end = context.marks[0]
    before, after = context.text[:start].split(" "), context.text[end:].split(" ")
    left = " ".join([*before[:-1][-1:], before[-1]]).lstrip(_AROUND)
    right = " ".join([after[0], *after[1:][:1]]).rstrip(_AROUND)
    return Context(left + context.text[start:end] + right, ((len(left), len(left) + end - start),), context.strength)


def _first_known(spans: list[tuple[int, int]], at: int, stop: int) -> int:
    return next((place for place in range(at, stop + 1) if spans[place][0] >= 0), -1)


def _last_known(spans: list[tuple[int, int]], at: int, stop: int) -> int:
    return next((place for place in range(at, stop - 1, -1) if spans[place][0] >= 0), -1)


def aligned(text: str, words: list[str]) -> list[tuple[int, int]]:
    """Where words lie in the text that a tokenizer took them from, whatever it did to case and accents.

    Args:
        text: the text.
        words: its words in order; "" for what was left out.

    >>> aligned("Café Müller, Wuppertal", ["cafe", "muller", ",", "", "wuppertal"])
    [(0, 4), (5, 11), (11, 12), (-1, -1), (13, 22)]
    """
    letters, places = _plain_letters(text)
    spans: list[tuple[int, int]] = []
    at = 0
    for word in words:
        wanted, _ = _plain_letters(word)
        found = letters.find(wanted, at, at + LOOK_AHEAD + len(wanted)) if wanted else -1
        if found < 0:
            spans.append((-1, -1))
            continue
        at = found + len(wanted)
        spans.append((places[found], places[at - 1] + 1))
    return spans


def _plain_letters(text: str) -> tuple[str, Sequence[int]]:
    """A text without case and accents, and the place in it that each letter is from."""
    if text.isascii():
        return text.lower(), range(len(text))
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        for part in unicodedata.normalize("NFD", letter.lower()):
            if unicodedata.category(part) != "Mn":
                letters.append(part)
                places.append(place)
    return "".join(letters), places


def _one_line(text: str, marks: tuple[tuple[int, int], ...]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A text with each white space a blank, which moves no mark."""
    return "".join(" " if letter.isspace() or not letter.isprintable() else letter for letter in text), marks
