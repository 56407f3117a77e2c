"""Pieces of words that are remembered, against the tokenizer itself on whole texts."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from lexite.terms import remembered_pieces
from lexite.terms.remembered_pieces import LONGEST_WORD, RememberedPieces, divides_at_blanks

PIECES = ["[UNK]", "[MASK]", "a", "b", "c", "##a", "##b", "##c", "ab", "##bc", ".", ",", "1", "##1", "東", "é", "e", "##e", "?"]

ODD = {"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"}


def tokenizer(**normalizer: bool) -> Tokenizer:
    """Of BERT's kind."""
    made = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[MASK]"])
    return made


def whole(split: Tokenizer, text: str) -> list[int]:
    ids: list[int] = split.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
    return ids


letters = st.sampled_from([*"abcé .,1東?\t\n\x0b\u00a0\u2009\u200b\u0301\x1c\x1f\x85\ud800\ufffdΣ", "[MASK]", "ab", "x" * 101])
lines = st.lists(letters, max_size=30).map("".join)


@settings(deadline=None)
@given(st.lists(lines, max_size=4), st.booleans())
def test_pieces_are_those_of_the_whole_text(texts: list[str], lowercase: bool) -> None:
    split = tokenizer(lowercase=lowercase)
    pieces = RememberedPieces(split)
    assert pieces.ids(texts) == pieces.ids(texts) == [whole(split, text) for text in texts]


def test_blanks_marks_and_what_is_not_printed_divide_alike() -> None:
    split = tokenizer()
    odd = [letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(letter) in ODD]
    texts = [f"ab{letter}c a {letter}" for letter in odd]
    assert [RememberedPieces(split).ids([text])[0] for text in texts] == [whole(split, text) for text in texts]


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_pieces, "WORDS_REMEMBERED", 6)
    split = tokenizer()
    pieces = RememberedPieces(split)
    for text in ("a b c", "ab bc abc", "a" * (LONGEST_WORD + 1), "a b c ab bc abc abca", "a b"):
        assert pieces.ids([text]) == [whole(split, text)]
        assert len(pieces._known) <= 6 and all(len(word) <= LONGEST_WORD for word in pieces._known)


def test_tokenizers_that_may_look_beyond_a_blank_are_told_apart() -> None:
    assert divides_at_blanks(tokenizer())
    spaced = tokenizer()
    spaced.pre_tokenizer = pre_tokenizers.Metaspace()
    folding = tokenizer()
    folding.normalizer = normalizers.NFKC()
    two_words = tokenizer()
    two_words.add_tokens(["new york"])
    eager = tokenizer()
    eager.add_tokens([AddedToken("sea", lstrip=True)])
    assert not any(map(divides_at_blanks, (spaced, folding, two_words, eager)))
