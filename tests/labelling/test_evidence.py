"""Evidence and detection against plain counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lexite.labelling.contexts import aligned
from lexite.labelling.detection import Detector, auc, holdings, matched_negatives
from lexite.labelling.evidence import log_odds
from lexite.labelling.firings import Firings
from lexite.labelling.kinds import kind_of
from lexite.labelling.words import sample_words, word_stem
from lexite.terms.descriptions import KINDS


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_auc_is_that_of_mann_and_whitney(seed: int, n: int, m: int) -> None:
    generator = np.random.default_rng(seed)
    one, two = generator.integers(0, 5, (n, 3)).astype(float), generator.integers(0, 5, (m, 3)).astype(float)
    expected = [stats.mannwhitneyu(one[:, c], two[:, c]).statistic / (n * m) for c in range(3)]
    np.testing.assert_allclose(auc(one, two), expected)


def test_log_odds_are_those_of_the_paper() -> None:
    """Equations 16, 20 and 22 of Monroe, Colaresi and Quinn, word by word."""
    here, everywhere, n, total, prior = np.array([9.0, 1.0]), np.array([20.0, 400.0]), 50.0, 10_000.0, 300.0
    for place, value in enumerate(log_odds(here, n, everywhere, total, prior)):
        alpha = prior * everywhere[place] / total
        y, b = here[place] + alpha, everywhere[place] + alpha
        delta = np.log(y / (n + prior - y)) - np.log(b / (total + prior - b))
        assert value == pytest.approx(delta / np.sqrt(1 / y + 1 / b))


def firings_of(texts: list[str], fires: dict[int, list[tuple[int, float]]], n_latents: int) -> tuple[Firings, list[str]]:
    pieces = sorted({piece for text in texts for piece in text.split()})
    numbers = [[pieces.index(piece) for piece in text.split()] for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in numbers])]).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum([len(fires.get(latent, [])) for latent in range(n_latents)])]).astype(np.int64)
    listed = [pair for latent in range(n_latents) for pair in fires.get(latent, [])]
    tokens = np.array([token for token, _ in listed], dtype=np.int32)
    values = np.array([value for _, value in listed], dtype=np.float32)
    ids = np.concatenate(numbers).astype(np.int32)
    return Firings(texts, np.arange(len(texts)), ids, offsets, starts, tokens, values), pieces


def test_weights_are_sums_over_a_passage_and_small_ones_are_not_held() -> None:
    firings, _ = firings_of(["a b c", "d e"], {0: [(0, 1.0), (2, 2.0), (3, 0.1)], 1: [(4, 10.0)]}, 3)
    held = holdings(firings, 0.02)
    assert [each.tolist() for each in held.of(0)] == [[0, 1], [3.0, pytest.approx(0.1)], [True, False]]
    assert held.of(1)[0].tolist() == [1] and held.of(2)[0].tolist() == []


def test_negatives_do_not_fire_and_are_of_like_length() -> None:
    by_length = np.random.default_rng(0).permutation(1000).astype(np.int32)
    fires = np.sort(by_length[::3])
    positives = np.sort(by_length[300:400][np.isin(by_length[300:400], fires)])
    negatives = matched_negatives(positives, fires, by_length, np.random.default_rng(1))
    assert not set(negatives.tolist()) & set(fires.tolist()) and len(negatives) > 0.5 * len(positives)
    places = np.flatnonzero(np.isin(by_length, negatives))
    assert places.min() >= 300 - 1.6 * 64 and places.max() <= 400 + 1.6 * 64
    assert not len(matched_negatives(positives, np.sort(by_length), by_length, np.random.default_rng(1)))


def test_names_find_words_in_all_forms_and_parts_of_words() -> None:
    texts = ["she mod ##ified it", "a mod ##ification here", "ronald ##inho ran", "carl ##inho sat", "cat sat"]
    texts += [f"filler{number}" for number in range(9)]
    firings, pieces = firings_of(texts, {}, 1)
    words = sample_words(firings.token_ids, firings.offsets, texts, pieces.__getitem__)
    detector, all_of_them = Detector(words, None), np.arange(5, dtype=np.int32)
    scores = 5 * detector.scores(["modify", "-inho", "sat, cat", "ron-", "-ifi-", "nothing"], None, all_of_them)
    assert (scores[:, 0] > 0).tolist() == [True, True, False, False, False]
    assert (scores[:, 1] > 0).tolist() == [False, False, True, True, False]
    assert scores[4, 2] == pytest.approx(1) and 0 < scores[3, 2] < 0.5, "a rare word counts for more"
    assert (scores[:, 3] > 0).tolist() == [False, False, True, False, False]
    assert (scores[:, 4] > 0).tolist() == [True, True, False, False, False] and not scores[:, 5].any()


@given(st.lists(st.sampled_from(["Über", "café", "naïve", "x", "–", "A.B", "ﬁn", "日本"]), min_size=1, max_size=8))
def test_words_are_found_in_their_text_whatever_the_tokenizer_did(words: list[str]) -> None:
    import unicodedata

    text = "  ".join(words)
    plain = ["".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c)) for word in words]
    assert [text[start:end] for start, end in aligned(text, plain)] == words


def test_forms_of_a_word_share_a_stem() -> None:
    assert len({word_stem(word) for word in ("charge", "charged", "charges", "charging")}) == 1
    assert word_stem("bus") == "bus" and word_stem("as") == "as" and word_stem("日本") == "日本"


def test_the_rule_of_kinds() -> None:
    cases = {
        "dead": (0, 0, float("nan"), 0.0, 0.0, 0.0, ""),
        "function": (90, 60, 0.6, 0.0, 0.9, 0.4, "of"),
        "unclear": (90, 60, float("nan"), 0.9, 0.1, 0.0, "bank"),
        "lexical": (90, 60, 0.95, 0.6, 0.9, 0.4, "bank"),
        "broad": (90, 60, 0.95, 0.1, 0.9, 0.02, "football, league"),
        "narrow": (90, 60, 0.95, 0.1, 0.0, 0.001, "football, league"),
    }
    assert {kind: KINDS[kind_of(*values)] for kind, values in cases.items()} == {kind: kind for kind in cases}
    assert KINDS[kind_of(90, 60, 0.95, 0.1, 0.0, 0.001, "-inho")] == "lexical"
    assert KINDS[kind_of(90, 20, 0.6, 0.0, 0.5, 0.4, "of")] == "function"
    assert KINDS[kind_of(90, 19, 0.6, 0.0, 1.0, 0.4, "of")] == "unclear"  # seen too seldom to say
