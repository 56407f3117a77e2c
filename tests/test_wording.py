"""Text that is safe to print, and numbers for people."""

from __future__ import annotations

import ast
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.wording import counted, escaped, figure, one_line, size

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ODD = st.text(st.characters() | st.sampled_from([*map(chr, range(0xA0)), *BIDI, "\u2028", "\u2029"]))


def is_safe(text: str, but: str = "") -> bool:
    return not any((unicodedata.category(c) == "Cc" or c in BIDI or c in "\u2028\u2029") and c not in but for c in text)


@given(ODD)
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = escaped(text)
    assert is_safe(shown) and escaped(shown) == shown
    assert is_safe(escaped(text, lines=True), "\n\t") and escaped(text, lines=True).count("\n") == text.count("\n")
    assert is_safe(one_line(text)) and len(one_line(text).splitlines()) <= 1


@given(ODD)
def test_what_is_shown_is_what_python_would_read(text: str) -> None:
    plain = text.replace("\\", "").replace("'", "")
    readable = "".join(c for c in plain if not 0xD800 <= ord(c) < 0xE000)  # a surrogate cannot stand in a source
    assert ast.literal_eval(f"'{escaped(readable)}'") == readable


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Zl", "Zp"])))
def test_other_text_stays_as_it_is(text: str) -> None:
    assert escaped(text) == escaped(text, lines=True) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;mine\x07", r"\x1b]0;mine\x07"),
        ("a\x9b31mred\x7f", r"a\x9b31mred\x7f"),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("two\nlines\tand\r", r"two\nlines\tand\r"),
        ("Straße 東京 שלום 👩\u200d🔬", "Straße 東京 שלום 👩\u200d🔬"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.integers(0, 10**16))
def test_sizes_are_near_and_short(n_bytes: int) -> None:
    value, unit = size(n_bytes).split()
    factor = {"byte": 1, "bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}[unit]
    assert abs(float(value) * factor - n_bytes) <= 0.051 * n_bytes and len(value) <= 4


def test_numbers() -> None:
    assert [counted(n, "term") for n in (0, 1, 1234)] == ["0 terms", "1 term", "1,234 terms"]
    assert [figure(v) for v in (0.0, 172.83333333333334, 3.25, -0.5, 1e9)] == ["0", "172.8", "3.25", "-0.5", "1,000,000,000"]
