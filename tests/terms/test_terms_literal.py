from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.config import from_dict
from lexite.errors import ConfigError
from lexite.scoring.config import saved_scoring
from lexite.scoring.words import ENGLISH_STOP_WORDS, LONGEST_WORD, literal_words
from lexite.terms import BM25Config, LiteralConfig


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", {}),
        ("  ,;-_.!? \n", {}),
        ("The cat and THE Cat", {"cat": 2}),
        ("B12, 3.5 mg; ISO-8859-15 max_length v2.0.1", "b12 3 5 mg iso 8859 15 max length v2 0 1"),
        ("Straße STRASSE", {"strasse": 2}),
        ("ﬁle file ＦＩＬＥ", {"file": 3}),
        ("e\u0301te\u0301 été ÉTÉ", {"été": 3}),
        ("\u0390 \u0399\u0308\u0301", {"\u0390": 2}),  # folding takes the letter apart, normalising puts it together
        ("東京都に行く", {"東京都に行く": 1}),
        ("\U0001f600 \U0001f680moon", {"moon": 1}),
        ("a\ud800b \udfff", {"b": 1}),
        ("x²", {"x2": 1}),
        ("a" * LONGEST_WORD + " " + "b" * (LONGEST_WORD + 1), {"a" * LONGEST_WORD: 1}),
        ("nul\0byte", {"nul": 1, "byte": 1}),
    ],
)
def test_words(text: str, words: dict[str, int] | str) -> None:
    expected = dict.fromkeys(words.split(), 1) if isinstance(words, str) else words
    assert dict(literal_words(text)) == expected


def test_stop_words_are_lucenes_and_can_stay() -> None:
    assert len(ENGLISH_STOP_WORDS) == 33
    assert literal_words("To be or not to be") == {}
    assert literal_words("To be or not to be", "none") == {"to": 2, "be": 2, "or": 1, "not": 1}


@given(st.text(), st.sampled_from(["english", "none"]))
def test_any_text_has_words_that_are_found_again(text: str, stop_words: str) -> None:
    counts = literal_words(text, stop_words)  # type: ignore[arg-type]
    assert all(0 < len(word) <= LONGEST_WORD and n > 0 for word, n in counts.items())
    for word in counts:
        assert word.encode("utf-8") and unicodedata.is_normalized("NFKC", word)
        assert literal_words(word, stop_words) == {word: 1}  # type: ignore[arg-type]


def test_the_configuration_has_limits() -> None:
    for values in ({"literal_weight_documents": 0.0}, {"literal_weight_documents": -1}, {"literal_stop_words": "german"}):
        with pytest.raises(ConfigError):
            from_dict(LiteralConfig, values)
    for weight in (-0.1, 1e7, float("nan")):
        with pytest.raises(ConfigError, match="literal_weight"):
            from_dict(BM25Config, {"literal_weight": weight})


def test_scorings_from_before_literal_words_can_be_read() -> None:
    assert saved_scoring({"k1": 2.0}, "here") == BM25Config(k1=2.0, literal_weight=3.0, idf_power=1.0)
    assert saved_scoring({"literal_weight": 2.0, "idf_power": 0.5}, "here") == BM25Config(literal_weight=2.0, idf_power=0.5)
