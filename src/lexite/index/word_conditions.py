"""Which documents have words and phrases: the words by the posting lists of their terms, phrases by the stored texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import heading_lines, text_without
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import QueryError
from lexite.index.config import StoredDocument
from lexite.index.dictionary import Dictionary
from lexite.index.manifest import Commit
from lexite.index.numbering import Numbering
from lexite.index.numpy_search import passages_with
from lexite.scoring.words import words_in_order

Mask = NDArray[np.bool_]


class Phrase(NamedTuple):
    """A word or a phrase, as an index can look for it.

    Attributes:
        typed: what a person wrote.
        words: in order, all of them.
        indexed: those that indexes have as terms; stop words are none.
    """

    typed: str
    words: tuple[str, ...]
    indexed: tuple[str, ...]

    @property
    def is_a_term(self) -> bool:
        """Whether it is a single word that indexes have as a term, so that posting lists alone tell who has it."""
        return self.words == self.indexed and len(self.words) == 1


def phrase_finder(words: Sequence[str], in_order: Callable[[str], Sequence[str]]) -> Callable[[str], bool]:
    """What tells whether words follow one another in a text.

    Args:
        words: the words.
        in_order: cuts a text into its words.

    >>> stands_in = phrase_finder(["shut", "off"], words_in_order)
    >>> stands_in("The shut-off valve"), stands_in("Shut it off")
    (True, False)
    """
    wanted = f" {' '.join(words)} "
    plain = re.compile(rf"(?<![a-z0-9]){'[^a-z0-9]+'.join(words)}(?![a-z0-9])") if wanted.isascii() else None

    def stands_in(text: str) -> bool:
        if text.isascii():  # the same, some ten times as fast
            return plain is not None and plain.search(text.lower()) is not None
        return wanted in f" {' '.join(in_order(text))} "

    return stands_in


class WordConditions:
    """Evaluates which documents have words and phrases.

    Args:
        name: of the index, for messages.
        commit: says how its words were taken, and which fields of its texts have a weight: others are not looked at.
        numbering: of its documents.
        dictionary: its words.

    Raises:
        QueryError: the index has no literal words.
    """

    def __init__(self, name: object, commit: Commit, numbering: Numbering, dictionary: Dictionary) -> None:
        if commit.literal is None:
            raise QueryError(
                f"{name} has no literal words, so words cannot be required or excluded. Search with --no-operators, or "
                "build it again without --no-literal."
            )
        self._numbering, self._dictionary, self._n_latents = numbering, dictionary, commit.vocabulary.n_terms
        self._literal, self._weights = commit.literal, commit.field_weights or FieldWeights()

    def passing(self, required: Sequence[str], excluded: Sequence[str]) -> NDArray[np.int64]:
        """The living documents that have all of some words and phrases and none of others, ascending."""
        wanted = [(phrase, True) for phrase in self._phrases(required)]
        wanted += [(phrase, False) for phrase in self._phrases(excluded)]
        found = self._living()
        for phrase, has in sorted(wanted, key=lambda condition: not condition[0].is_a_term):  # what is quick comes first
            having = self._having(phrase, found)
            found &= having if has else ~having
        return np.flatnonzero(found)

    def missing(self, required: Sequence[str]) -> list[str]:
        """Those among words and phrases that no living document has."""
        return [phrase.typed for phrase in self._phrases(required) if not self._having(phrase, self._living()).any()]

    def _phrases(self, texts: Sequence[str]) -> Iterator[Phrase]:
        """What is looked for; a text without a letter or digit asks for nothing."""
        for text in texts:
            words = tuple(self._in_order(text))
            if words:  # what is derived from words is no word of a phrase
                indexed = self._literal.single_words.words_of(text)
                yield Phrase(text, words, tuple(indexed))

    def _in_order(self, text: str) -> list[str]:
        return words_in_order(text, self._literal.literal_unspaced)

    def _living(self) -> Mask:
        parts = [
            np.ones(each.n_documents, bool) if each.deleted is None else ~each.deleted for each in self._numbering.segments
        ]
        return np.concatenate([np.empty(0, bool), *parts])

    def _having(self, phrase: Phrase, among: Mask) -> Mask:
        """Which of some documents have a phrase."""
        found = among.copy()
        for term in self._dictionary.find(phrase.indexed).tolist():
            found &= self._with_term(term)
        if not phrase.is_a_term:
            stands_in = phrase_finder(phrase.words, self._in_order)
            for document in np.flatnonzero(found).tolist():
                found[document] = any(map(stands_in, self._texts(document, phrase)))
        return found

    def _with_term(self, word: int) -> Mask:
        """Which documents have a word, by its number; -1 for a word that no document ever had."""
        found = np.zeros(int(self._numbering.first_documents[-1]), dtype=bool)
        if word >= 0:
            for segment, first in zip(self._numbering.segments, self._numbering.first_documents, strict=False):
                found[segment.documents_of(passages_with(segment, self._n_latents + word)) + first] = True
        return found

    def _texts(self, document: int, phrase: Phrase) -> list[str]:
        """The texts of a document in which a phrase is looked for."""
        segment, local = self._numbering.place(document)
        if segment.texts is None:
            raise QueryError(
                f"The index keeps no texts (--no-text), so it cannot tell which documents have the phrase '{phrase.typed}'. "
                "Require or exclude single words."
            )
        stored, weights = segment.stored(local, {}), self._weights
        title = [stored.title] if weights.title else []
        return [*title, *_texts_of(stored, weights)]


def _texts_of(stored: StoredDocument, weights: FieldWeights) -> list[str]:
    """The parts of a document's text whose fields have a weight."""
    if weights.headings and weights.body:
        return [stored.text]
    headings = heading_lines(stored.text)
    if weights.headings:
        return [heading.words for heading in headings]
    return [text_without(stored.text, headings, 0, len(stored.text))] if weights.body else []
