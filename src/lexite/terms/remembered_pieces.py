"""Word pieces of texts, remembered word by word, since the same words come again and again.

A tokenizer of BERT's kind looks at nothing beyond a blank: its normaliser changes characters one by one, it divides at white
space and punctuation, and WordPiece cuts what is between. So the pieces of a text are those of its words one after the other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from lexite.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONGEST_WORD = 64  # characters; longer ones are looked up each time, so that memory has a bound
WORDS_REMEMBERED = 200_000
_JOINS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")  # Python divides a text at these, tokenizers leave them out


class RememberedPieces:
    """Looks up the pieces of texts, without special tokens.

    It is safe from several threads: what one of them forgets, another one looks up again.

    Args:
        tokenizer: of BERT's kind (:func:`divides_at_blanks`).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, Sequence[int]] = {}

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of the pieces of each text; a lone surrogate counts as a question mark."""
        if any(map(_JOINS.search, texts)):
            return self._looked_up(texts)
        words, known = [text.split() for text in texts], self._known
        try:
            return [list(chain.from_iterable(map(known.__getitem__, own))) for own in words]
        except KeyError:
            pass
        new = [word for word in set(chain.from_iterable(words)) if word not in known]
        found = dict(zip(new, map(tuple, self._looked_up(new)), strict=True))
        self._remember(found)
        return [list(chain.from_iterable(found[word] if word in found else known[word] for word in own)) for own in words]

    def _remember(self, found: Mapping[str, Sequence[int]]) -> None:
        """Keeps the pieces of words that are not long; where that makes too many words, the older half is forgotten."""
        self._known.update({word: ids for word, ids in found.items() if len(word) <= LONGEST_WORD})
        if len(self._known) > WORDS_REMEMBERED:
            self._known = dict(list(self._known.items())[-WORDS_REMEMBERED // 2 :])

    def _looked_up(self, texts: Sequence[str]) -> list[list[int]]:
        readable = [text.encode("utf-8", "replace").decode() for text in texts]  # no tokenizer takes lone surrogates
        return [one.ids for one in self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)]


@functools.lru_cache(maxsize=4)
def tokenizer_of(written: str) -> Tokenizer:
    """The tokenizer that JSON describes, which neither cuts nor fills texts up.

    It is kept: tables of one vocabulary, such as those of two commits of an index, have the same one.

    Raises:
        ModelError: the JSON is damaged.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(written)
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"The tokenizer of the static table is damaged: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@functools.lru_cache(maxsize=4)
def pieces_of(written: str) -> RememberedPieces | None:
    """What remembers the pieces of words by such a tokenizer; None where they are not told by the words alone."""
    tokenizer = tokenizer_of(written)
    return RememberedPieces(tokenizer) if divides_at_blanks(tokenizer) else None


def divides_at_blanks(tokenizer: Tokenizer) -> bool:
    """Whether the pieces of a text are those of its words, which is known of tokenizers of BERT's kind."""
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    kinds = tuple(type(part).__name__ for part in parts)
    added = tokenizer.get_added_tokens_decoder().values()
    plain = all(len(token.content.split()) == 1 and not (token.lstrip or token.rstrip) for token in added)
    return plain and kinds == ("BertNormalizer", "BertPreTokenizer", "WordPiece")
