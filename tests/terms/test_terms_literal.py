from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.config import from_dict, to_dict
from lexite.errors import ConfigError, MissingExtraError
from lexite.scoring.compounds import german_analyser, german_parts
from lexite.scoring.config import saved_scoring
from lexite.scoring.words import ENGLISH_STOP_WORDS, LONGEST_WORD, literal_words, saved_literal
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
        ("東京都に行く", "東京 京都 都に に行 行く 東 京 都 行"),
        ("7月のカード東京abc", "7 月の のカ カー ード ド東 東京 月 東 京 abc"),
        ("猫", {"猫": 1}),
        ("학교에서 공부", "학교 교에 에서 공부"),
        ("น้ำ", {"น้ํา": 1}),
        ("ไม้", {"ไม้": 1}),
        ("กาแฟ", "กา าแ แฟ"),
        ("हिन्दी में", {"हिन्दी": 1, "में": 1}),
        ("葛\U000e0100城 ❤\ufe0f", {"葛城": 1, "葛": 1, "城": 1}),
        ("x\u0302 1\ufe0f\u20e3", {"x\u0302": 1, "1": 1}),
        ("字" * (LONGEST_WORD + 9), {"字字": LONGEST_WORD + 8, "字": LONGEST_WORD + 9}),
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


SCRIPTS = st.text(st.characters(categories=["L", "M", "N", "Zs"])) | st.text("กาแฟน้ำ東京カー가학a7 \u0301\ufe0f")


@given(st.text() | SCRIPTS, st.sampled_from(["english", "none"]), st.sampled_from(["pairs", "whole"]))
def test_any_text_has_words_that_are_found_again(text: str, stop_words: str, unspaced: str) -> None:
    counts = literal_words(text, stop_words, unspaced)  # type: ignore[arg-type]
    assert all(0 < len(word) <= LONGEST_WORD and n > 0 for word, n in counts.items())
    for word in counts:
        assert word.encode("utf-8") and unicodedata.is_normalized("NFKC", word)
        alone = literal_words(word, stop_words, unspaced)  # type: ignore[arg-type]
        assert alone[word] == 1 and (unspaced == "pairs" or len(alone) == 1)


@given(st.text(st.characters(codec="latin-1")))
def test_words_of_western_languages_are_what_they_were(text: str) -> None:
    assert literal_words(text) == literal_words(text, unspaced="whole")


@given(
    st.text("東京都大学生命", min_size=1, max_size=9),
    st.text("東京都大学生命", max_size=9),
    st.text("東京都大学生命", max_size=9),
)
def test_a_word_is_found_whatever_stands_around_it(word: str, before: str, after: str) -> None:
    assert set(literal_words(word)) <= set(literal_words(before + word + after))


def test_whole_runs_are_the_words_of_earlier_indexes() -> None:
    assert literal_words("東京都に行く น้ำ हिन्दी", unspaced="whole") == {
        "東京都に行く": 1,
        "น": 1,
        "า": 1,
        "ह": 1,
        "न": 1,
        "द": 1,
    }


def test_how_words_were_taken_is_read_from_earlier_indexes() -> None:
    saved = {"literal": True, "literal_weight_documents": 2.0, "literal_stop_words": "none"}
    assert saved_literal(saved, "here") == LiteralConfig(True, 2.0, "none", "whole", "none")
    derived = LiteralConfig(literal_compounds="german", literal_pairs=True, literal_numbers="normal")
    for literal in (LiteralConfig(), LiteralConfig(literal_unspaced="whole"), derived):
        assert saved_literal(to_dict(literal), "here") == literal
    with pytest.raises(ConfigError, match="literal_compounds"):
        saved_literal({**saved, "literal_compounds": "dutch"}, "here")


def test_parts_of_german_compounds_are_words() -> None:
    pytest.importorskip("HanTa")
    german = LiteralConfig(literal_compounds="german")
    assert german.words_of("Das Heizungsventil, das Ventil") == {
        "das": 2, "heizungsventil": 1, "heizung": 1, "ventil": 2,
    }  # fmt: skip
    assert set(german.words_of("Haftpflichtversicherung")) == {"haftpflichtversicherung", "haft", "pflicht", "versicherung"}
    assert german.words_of("Tisch Versicherung QZ4471 Berlin") == {"tisch": 1, "versicherung": 1, "qz4471": 1, "berlin": 1}
    assert LiteralConfig().words_of("Heizungsventil") == {"heizungsventil": 1}


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)
    german_analyser.cache_clear()
    german_parts.cache_clear()
    literal = LiteralConfig(literal_compounds="german")
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'lexite[german]'")):
        literal.words_of("Heizungsventil")
    with pytest.raises(MissingExtraError, match="HanTa"):
        literal.check_installed()
    LiteralConfig(False, literal_compounds="german").check_installed()


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
