from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.scoring.numbers import number_words
from lexite.scoring.words import ENGLISH_STOP_WORDS, LiteralConfig, literal_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("no digits", []),
        ("1234", []),
        ("1,234", ["1234"]),
        ("about ~1,234,567.", ["1234567"]),
        ("1,452.40", ["1452.4"]),
        ("3.0", []),
        ("3.5", ["3.5"]),
        ("007", ["7"]),
        ("(5)", ["-5"]),
        ("-5", ["-5"]),
        ("\u22125", ["-5"]),
        ("$ (1,618)", ["1618", "-1618"]),
        ("($1,618)", ["1618", "-1618"]),
        ("-$5", ["-5"]),
        ("(5 apples)", []),
        ("4.00%", ["4%"]),
        ("4 percent", ["4%"]),
        ("(1)%", ["1%", "-1%", "-1"]),
        ("(13%)", ["13%", "-13%", "-13"]),
        ("$1.5 million", ["1.5", "1500000"]),
        ("$1.5m", ["1.5", "1500000"]),
        ("us$2bn", ["2000000000"]),
        ("2 thousand", ["2000"]),
        ("5 m", []),
        ("fy19", ["fy2019", "2019"]),
        ("fy2019", ["fy2019", "2019"]),
        ("fy 2019", ["fy2019"]),
        ("fiscal year 2019", ["fy2019"]),
        ("2018/19", ["2019"]),
        ("1999/00", ["2000"]),
        ("2018-2019", []),
        ("2019-04-12 at 10:30", []),
        ("v2.0.1", []),
        ("b12", []),
        ("1,23", []),
        ("9" * 40, []),
    ],
)
def test_forms_of_numbers(text: str, words: list[str]) -> None:
    assert sorted(number_words(text)) == sorted(words)


@given(
    st.integers(0, 10**12), st.sampled_from(["{}", "${}", "({})", "-{}", "rent | {} |", "{}%", "\u20ac {}.", "[{}]", "{}, and"])
)
def test_a_number_is_found_with_commas_and_without(number: int, frame: str) -> None:
    with_commas = literal_words(frame.format(f"{number:,}"), numbers="normal")
    without = literal_words(frame.format(str(number)), numbers="normal")
    assert str(number) in with_commas and str(number) in without
    assert set(number_words(frame.format(f"{number:,}"))) >= set(number_words(frame.format(str(number))))


@given(st.integers(1, 10**9), st.sampled_from([("thousand", 10**3), ("million", 10**6), ("billion", 10**9), ("m", 10**6)]))
def test_scales_are_multiplied_out(number: int, scale: tuple[str, int]) -> None:
    assert str(number * scale[1]) in number_words(f"${number:,} {scale[0]}")


@given(st.text(st.sampled_from("0123456789,.()-$% |mfy/k'\u20ac")))
def test_any_text_has_words_without_error(text: str) -> None:
    assert all(n >= 1 and word for word, n in number_words(text).items())


PLAIN = st.lists(st.sampled_from("net income the of 2019 5 cash rent Cash".split()), max_size=12)


@given(PLAIN, st.sampled_from([("english", ENGLISH_STOP_WORDS), ("none", frozenset[str]())]))
def test_pairs_are_those_of_a_plain_loop(words: list[str], stop: tuple[str, frozenset[str]]) -> None:
    text = ", ".join(words)
    kept = [word.lower() for word in words if word not in stop[1]]
    expected = dict(literal_words(text, stop[0]))  # type: ignore[arg-type]
    for place in range(len(kept) - 1):
        if not (kept[place].isdigit() and kept[place + 1].isdigit()):
            pair = kept[place] + " " + kept[place + 1]
            expected[pair] = expected.get(pair, 0) + 1
    assert dict(literal_words(text, stop[0], pairs=True)) == expected  # type: ignore[arg-type]


def test_scripts_without_blanks_have_no_further_pairs() -> None:
    assert literal_words("東京へ行く", pairs=True) == literal_words("東京へ行く")
    assert "red car" in literal_words("東京 red car", pairs=True)


def test_single_words_are_without_what_is_derived() -> None:
    config = LiteralConfig(literal_pairs=True, literal_numbers="normal", literal_stop_words="none")
    assert config.single_words == LiteralConfig(literal_stop_words="none")
    assert sorted(config.words_of("the rent 1,5 and (7)")) == sorted(
        [*"the rent 1 5 and 7".split(), "the rent", "rent 1", "5 and", "and 7", "-7"]
    )
