"""Counts of a few words in a text, against the count of all its words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.scoring.words import LiteralConfig

TEXTS = st.lists(
    st.sampled_from(
        [*"abz 1.-_,'", "the ", "plants ", "plant", "Éa", "ﬁ", "東京", "へ", "हिन्दी", "e\u0301", "\u2013", "\ufe0f", "ß"]
        + ["1,234 ", "x" * 65]
    ),
    max_size=25,
).map("".join)
WAYS = [
    LiteralConfig(),
    LiteralConfig(literal_stop_words="none"),
    LiteralConfig(literal_unspaced="whole"),
    LiteralConfig(literal_pairs=True),
    LiteralConfig(literal_numbers="normal"),
]


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(WAYS))
def test_a_few_words_are_counted_as_all_are(text: str, other: str, literal: LiteralConfig) -> None:
    words = [*literal.words_of(text + other), "the", "plant", "x" * 65, "1234", "é", ""]
    counts = literal.words_of(text)
    assert literal.counts_of(words, text) == [counts[word] for word in words]


def test_parts_of_compounds_are_counted() -> None:
    pytest.importorskip("HanTa", reason="needs the extra 'german'")
    text, literal = "Der Wasserhahn und der Hahn", LiteralConfig(literal_compounds="german")
    assert literal.counts_of(["hahn", "wasserhahn"], text) == [literal.words_of(text)[word] for word in ("hahn", "wasserhahn")]
