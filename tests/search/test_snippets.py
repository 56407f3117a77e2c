"""Snippets: how texts are cut, and which one holds most of a score, against a plain count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.index.score_parts import ScoreParts, TermScore
from lexite.scoring.rows import columns_of
from lexite.scoring.words import LiteralConfig
from lexite.search.queries import weigher
from lexite.search.snippets import Passage, Weighing, best_snippets, snippets

LITERAL = LiteralConfig()
N_LATENTS = 5
VOWELS = "aeiou"
TEXTS = st.lists(
    st.sampled_from(
        ["Cow ", "gives milk. ", "a sea! ", "moon", "\n\n", "  ", "## At night ##\n\n", "# 1\n", "x" * 30, "e\u0301? "]
    ),
    max_size=25,
).map("".join)


def letters(texts: Sequence[str]) -> csr_array:
    """Latent i fires as often as the i-th vowel stands in a text."""
    return csr_array(np.array([[text.count(vowel) for vowel in VOWELS] for text in texts], dtype=np.float32).reshape(-1, 5))


def weigh(texts: Sequence[str], latents: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return columns_of(letters(texts), latents)


@settings(deadline=None)
@given(TEXTS, st.integers(4, 60))
def test_snippets_are_the_words_of_a_text_in_order(text: str, characters: int) -> None:
    found = snippets(text, characters)
    assert all(0 < len(piece.text) <= characters for piece in found)
    if "#" not in text:
        assert "".join("".join(piece.text.split()) for piece in found) == "".join(text.split())
        assert all("".join(text[piece.start : piece.end].split()) == "".join(piece.text.split()) for piece in found)
    assert all(before.end <= after.start for before, after in zip(found, found[1:], strict=False))


def test_where_snippets_begin_and_end() -> None:
    assert snippets(" One.  Two is\nhere. ", 12) == [Passage("One.", 1, 5), Passage("Two is here.", 7, 19)]
    assert snippets("## Three ##\n\nfour four four", 12) == [
        Passage("Three four", 3, 17),
        Passage("four four", 18, 27),
    ]


SENTENCE = "The cow gives milk to all who come by in the morning"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# At night\n\nThe cow sleeps.", ["At night The cow sleeps."]),
        (
            f"Before it.\n\n# At night\n\n{SENTENCE}.",
            ["Before it.", "At night The cow gives milk to all who come by in the", "morning."],
        ),
        (
            f"# Farm\n\n## At night ##\n\n{SENTENCE}. Moo.",
            ["Farm At night The cow gives milk to all who come by in the", "morning. Moo."],
        ),
        (f"# Farm\n## At night\n{SENTENCE}.", ["Farm At night The cow gives milk to all who come by in the", "morning."]),
        ("# " + "A long heading of " * 3 + "it\n\nThe cow sleeps.", ["A long heading of " * 3 + "it", "The cow sleeps."]),
        ("The cow sleeps.\n\n# The end", ["The cow sleeps. The end"]),
        ("# Farm\n\n# Field", ["Farm Field"]),
    ],
)
def test_a_heading_stands_before_what_follows_it(text: str, wanted: list[str]) -> None:
    assert [piece.text for piece in snippets(text, 60)] == wanted


def plainly(text: str, why: ScoreParts) -> Passage | None:
    """The definition: each term's part is shared among the snippets in proportion to its weight in each."""
    pieces = snippets(text)
    shares = [0.0] * len(pieces)
    for term in why.terms:
        if term.word is None:
            weights = [float(piece.text.count(VOWELS[term.term])) for piece in pieces]
        else:
            weights = [float(LITERAL.words_of(piece.text)[term.word]) for piece in pieces]
        if sum(weights):
            shares = [share + term.score * weight / sum(weights) for share, weight in zip(shares, weights, strict=True)]
    close = [place for place, share in enumerate(shares) if share >= max(shares, default=0.0) - 1e-9]
    return pieces[close[0]] if pieces and len(close) == 1 else None  # None: two hold as much


LONG = st.lists(st.sampled_from(["The cow gives milk. ", "Over the moon! ", "A sea of words. ", "u " * 40]), max_size=40).map(
    "".join
)
SCORES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, N_LATENTS - 1), st.floats(0.1, 9), st.none()),
        st.tuples(st.just(N_LATENTS), st.floats(0.1, 9), st.sampled_from(["milk", "moon", "words", "titled"])),
    ),
    max_size=6,
    unique_by=lambda term: (term[0], term[2]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(LONG, SCORES), max_size=4))
def test_the_snippet_is_the_one_that_holds_most_of_the_score(hits: list[Any]) -> None:
    texts = [text for text, _ in hits]
    whys = [ScoreParts(1.0, 1.0, tuple(TermScore(*term) for term in terms)) for _, terms in hits]
    found = best_snippets(texts, whys, Weighing(weigh), LITERAL)
    for text, why, best in zip(texts, whys, found, strict=True):
        wanted = plainly(text, why)
        assert best is None if not snippets(text) else wanted is None or best == wanted
    assert best_snippets(texts, whys, Weighing(), LITERAL) == [next(iter(snippets(text)), None) for text in texts]


def test_latents_that_no_snippet_has_tell_nothing() -> None:
    why = ScoreParts(1.0, 1.0, (TermScore(3, 1.0, None),))
    text = " ".join(["The tea is red."] * 40)
    assert best_snippets([text], [why], Weighing(weigh), LITERAL) == [snippets(text)[0]]


def test_of_many_snippets_the_likeliest_are_weighed() -> None:
    text = " ".join(f"{'Number':>6} {n} {'o' if n != 150 else 'i'}{'x' * 220}." for n in range(200))
    asked: list[int] = []

    def counting(texts: Sequence[str], latents: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        asked.append(len(texts))
        return weigh(texts, latents)

    why = ScoreParts(1.0, 1.0, (TermScore(2, 1.0, None),))
    (best,) = best_snippets([text], [why], Weighing(counting, weigh), LITERAL)
    assert best is not None and "Number 150" in best.text and asked == [64]


def test_an_encoder_without_a_quick_way_gives_the_same_weights() -> None:
    class Plain:
        def encode_passages(self, texts: Sequence[str]) -> csr_array:
            return letters(texts)

    quick: Any = Plain()
    latents = np.array([4, 0])
    found = weigher(quick)(["a sea", "uu", ""], latents)
    np.testing.assert_array_equal(found, [[0, 2], [2, 0], [0, 0]])
