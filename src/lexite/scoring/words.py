"""Literal words: what a text says, beside the latent terms that say what it means.

Rare names, codes and numbers dissolve in the word pieces of a dense model. An index may therefore hold the words of its
documents as terms of their own; ``lexite.index`` keeps them, and scores them with the same BM25.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lexite.config import from_dict, option
from lexite.errors import ConfigError
from lexite.scoring.compounds import german_analyser, german_parts
from lexite.scoring.numbers import number_words
from lexite.scoring.unspaced import is_unspaced, units_in_order, words_in_pairs

StopWords = Literal["english", "none"]
Unspaced = Literal["pairs", "whole"]
Compounds = Literal["none", "german"]
Numbers = Literal["written", "normal"]
EARLIER_LITERAL = {
    "literal_unspaced": "whole",
    "literal_compounds": "none",
    "literal_pairs": False,
    "literal_numbers": "written",
}
"""How words were taken in indexes that do not say it, for they are from before there was a choice."""
LONGEST_WORD = 64  # characters; anything longer is data, such as base64, which nobody types
ENGLISH_STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to "
    "was will with".split()
)
"""The 33 of Lucene's EnglishAnalyzer."""
_WORD = re.compile(r"[^\W_]+")  # the underscore divides, so that the parts of max_length are found
_UNPAIRED = re.compile("[\x00-\u02ff\u2010-\u2027\u2030-\u205e]*")  # Latin and punctuation: no marks, no script without blanks


@dataclass(frozen=True)
class LiteralConfig:
    """Literal words of an index.

    Attributes:
        literal: whether words are indexed.
        literal_weight_documents: s; a word that occurs n times in a document has the raw weight s · n there. It is fixed when
            the index is built; ``BM25Config.literal_weight`` may be another one in each search.
        literal_stop_words: which words are left out of documents and queries: 33 ``english`` ones, or ``none``.
        literal_unspaced: what the words are of scripts that are written without blanks: ``pairs`` of characters, or ``whole``
            runs. With ``pairs``, marks belong to their letter, in all scripts; with ``whole`` they divide words.
        literal_compounds: whether the parts of ``german`` compounds are words too, or of ``none``.
        literal_pairs: whether each two neighbouring words are a word too, "net income" beside "net" and "income".
        literal_numbers: what the words of numbers are: runs of digits, as ``written``, or the ``normal`` form of each number
            too (:mod:`lexite.scoring.numbers`).

    >>> LiteralConfig().literal_weight_documents
    4.0
    """

    literal: bool = option(True, "Index the words of the text beside the latent terms.")
    literal_weight_documents: float = option(
        4.0, "Raw weight of each occurrence of a literal word in a document.", minimum=1e-6, maximum=1e6
    )
    literal_stop_words: StopWords = option("english", "Frequent words that are no literal words.")
    literal_unspaced: Unspaced = option(
        "pairs", "Words of Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese: pairs of characters, or whole runs."
    )
    literal_compounds: Compounds = option("none", "Compounds whose parts are literal words too.")
    literal_pairs: bool = option(False, "Index each two neighbouring words as a literal word too.")
    literal_numbers: Numbers = option(
        "written", "Numbers as they are written alone, or in their normal form too: 1,234 as 1234, (5) as -5."
    )

    def words_of(self, text: str) -> Counter[str]:
        """The words of a text as documents and queries of the index have them; see :func:`literal_words`."""
        return literal_words(
            text,
            self.literal_stop_words,
            self.literal_unspaced,
            self.literal_compounds,
            pairs=self.literal_pairs,
            numbers=self.literal_numbers,
        )

    def counts_of(self, words: Sequence[str], text: str) -> list[int]:
        """How often words occur in a text, as :meth:`words_of` counts them; quicker where few are asked for.

        Args:
            words: as an index has them.
            text: any text.

        >>> LiteralConfig().counts_of(["level", "the", "leve"], "The B12-level: 3.5 (max_level)")
        [2, 0, 0]
        """
        folded = _folded(text)
        derived = self.literal_compounds != "none" or self.literal_pairs or self.literal_numbers != "written"
        if derived or not (folded.isascii() or self.literal_unspaced == "whole" or _UNPAIRED.fullmatch(folded)):
            counts = self.words_of(text)
            return [counts[word] for word in words]
        left_out = ENGLISH_STOP_WORDS if self.literal_stop_words == "english" else frozenset[str]()
        kept = [word in folded and word not in left_out and len(word) <= LONGEST_WORD for word in words]
        if not any(kept):
            return [0] * len(words)
        found = _WORD.findall(folded)
        return [found.count(word) if may else 0 for word, may in zip(words, kept, strict=True)]

    @property
    def single_words(self) -> LiteralConfig:
        """The same without what is derived from words: parts of compounds, pairs, normal forms of numbers."""
        return replace(self, literal_compounds="none", literal_pairs=False, literal_numbers="written")

    def check_installed(self) -> None:
        """Raises MissingExtraError where words are cut by a package that is not installed."""
        if self.literal and self.literal_compounds == "german":
            german_analyser()


def saved_literal(values: Mapping[str, Any], where: str) -> LiteralConfig:
    """How words were indexed, as an index of this version or an earlier one recorded it.

    Args:
        values: its fields as they were saved.
        where: the file they were read from, for error messages.

    Raises:
        ConfigError: a field is unknown or has no valid value.
    """
    return from_dict(LiteralConfig, {**EARLIER_LITERAL, **values}, where)


def literal_of(given: LiteralConfig | bool) -> LiteralConfig:
    """How words are indexed: all settings, or whether there are words at all.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, bool):
        return LiteralConfig(literal=given)
    if not isinstance(given, LiteralConfig):
        raise ConfigError(f"literal is a {type(given).__name__}. Give True, False or a LiteralConfig.")
    return given


def literal_words(
    text: str,
    stop_words: StopWords = "english",
    unspaced: Unspaced = "pairs",
    compounds: Compounds = "none",
    *,
    pairs: bool = False,
    numbers: Numbers = "written",
) -> Counter[str]:
    """The words of a text, with how often each occurs.

    A word is a run of letters and digits after Unicode normalisation (NFKC) and case folding. Everything else divides words,
    underscores and points included, so that codes are found by their parts. Words of more than 64 characters are left out.

    Args:
        text: any text; lone surrogates are no letters.
        stop_words: words to leave out.
        unspaced: what is a word in scripts that are written without blanks (:mod:`lexite.scoring.unspaced`).
        compounds: compounds whose parts are words beside the whole.
        pairs: whether each two neighbouring words are one too, with a blank between them. Stop words that are left out do not
            part neighbours. Two runs of digits are no pair, nor are characters of scripts without blanks.
        numbers: whether numbers have their ``normal`` form as a word too.

    Raises:
        MissingExtraError: German compounds are to be split, but the package for it is not installed.

    >>> sorted(literal_words("The B12-level: 3.5 (max_level)").items())
    [('3', 1), ('5', 1), ('b12', 1), ('level', 2), ('max', 1)]
    >>> sorted(literal_words("Rent and rates: 1,234", pairs=True, numbers="normal"))
    ['1', '1234', '234', 'rates', 'rates 1', 'rent', 'rent rates']
    """
    folded = _folded(text)
    plain = unspaced == "whole" or folded.isascii()
    words = Counter(_WORD.findall(folded) if plain else words_in_pairs(folded))
    for word in [word for word in words if len(word) > LONGEST_WORD]:
        del words[word]
    if compounds == "german":
        for word, n in list(words.items()):
            words.update(dict.fromkeys(german_parts(word), n))
    if stop_words == "english":
        for word in ENGLISH_STOP_WORDS.intersection(words):
            del words[word]
    if pairs:
        words.update(_neighbours(_WORD.findall(folded) if plain else units_in_order(folded), stop_words))
    if numbers == "normal":
        words.update(number_words(folded))
    return words


def _neighbours(words: Sequence[str], stop_words: StopWords) -> Iterator[str]:
    """Each two words that follow one another."""
    left_out = ENGLISH_STOP_WORDS if stop_words == "english" else frozenset[str]()
    kept = [word for word in words if word not in left_out and len(word) <= LONGEST_WORD]
    for first, second in zip(kept, kept[1:], strict=False):
        if not (first.isdigit() and second.isdigit()) and not (is_unspaced(first) or is_unspaced(second)):
            yield f"{first} {second}"


def word_form(text: str) -> str | None:
    """A word that a person wrote, in the form that some index has; None where none has it.

    Two neighbouring words and a number's normal form are words too, as of an index with ``literal_pairs`` and normal numbers.

    >>> word_form("Solar"), word_form("東京"), word_form("Solar power"), word_form("-5"), word_form("words of more than two")
    ('solar', '東京', 'solar power', '-5', None)
    """
    form = _folded(text)
    ways: tuple[Unspaced, ...] = ("pairs", "whole")
    found = any(form in literal_words(form, "none", way, pairs=True, numbers="normal") for way in ways)
    return form if found else None


def words_in_order(text: str, unspaced: Unspaced = "pairs") -> list[str]:
    """The words of a text one after the other, also those that indexes leave out: stop words and long ones.

    Args:
        text: any text.
        unspaced: as for :func:`literal_words`; with ``pairs``, each character of scripts without blanks comes alone.

    >>> words_in_order("The B12-level"), words_in_order("東京へ")
    (['the', 'b12', 'level'], ['東', '京', 'へ'])
    """
    folded = _folded(text)
    return _WORD.findall(folded) if unspaced == "whole" or folded.isascii() else units_in_order(folded)


def _folded(text: str) -> str:
    if text.isascii():  # nothing to normalise
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)  # folding takes a few letters apart
