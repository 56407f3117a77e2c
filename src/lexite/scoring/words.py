"""Literal words: what a text says, beside the latent terms that say what it means.

Rare names, codes and numbers dissolve in the word pieces of a dense model. An index may therefore hold the words of its
documents as terms of their own; ``lexite.index`` keeps them, and scores them with the same BM25.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from lexite.config import option
from lexite.errors import ConfigError

StopWords = Literal["english", "none"]
LONGEST_WORD = 64  # characters; anything longer is data, such as base64, which nobody types
ENGLISH_STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to "
    "was will with".split()
)
"""The 33 of Lucene's EnglishAnalyzer."""
_WORD = re.compile(r"[^\W_]+")  # the underscore divides, so that the parts of max_length are found


@dataclass(frozen=True)
class LiteralConfig:
    """Literal words of an index.

    Attributes:
        literal: whether words are indexed.
        literal_weight_documents: s; a word that occurs n times in a document has the raw weight s · n there. It is fixed when
            the index is built; ``BM25Config.literal_weight`` may be another one in each search.
        literal_stop_words: which words are left out of documents and queries: 33 ``english`` ones, or ``none``.

    >>> LiteralConfig()
    LiteralConfig(literal=True, literal_weight_documents=4.0, literal_stop_words='english')
    """

    literal: bool = option(True, "Index the words of the text beside the latent terms.")
    literal_weight_documents: float = option(
        4.0, "Raw weight of each occurrence of a literal word in a document.", minimum=1e-6, maximum=1e6
    )
    literal_stop_words: StopWords = option("english", "Frequent words that are no literal words.")


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


def literal_words(text: str, stop_words: StopWords = "english") -> Counter[str]:
    """The words of a text, with how often each occurs.

    A word is a run of letters and digits after Unicode normalisation (NFKC) and case folding. Everything else divides words,
    underscores and points included, so that codes are found by their parts. Words of more than 64 characters are left out.
    Scripts that are written without blanks give long runs; combining marks that normalisation leaves divide words.

    Args:
        text: any text; lone surrogates are no letters.
        stop_words: words to leave out.

    >>> sorted(literal_words("The B12-level: 3.5 (max_level)").items())
    [('3', 1), ('5', 1), ('b12', 1), ('level', 2), ('max', 1)]
    """
    words = Counter(_WORD.findall(_folded(text)))
    for word in [word for word in words if len(word) > LONGEST_WORD]:
        del words[word]
    if stop_words == "english":
        for word in ENGLISH_STOP_WORDS.intersection(words):
            del words[word]
    return words


def _folded(text: str) -> str:
    if text.isascii():  # nothing to normalise
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded)  # folding takes a few letters apart
