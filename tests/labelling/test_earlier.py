"""What a vocabulary knew of its latents stays where new text has too little of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_label_run import N_LATENTS, KnownEncoder, sample

from lexite.labelling import LabelConfig, label_firings
from lexite.labelling.earlier import Earlier
from lexite.terms import Vocabulary
from lexite.terms.descriptions import KINDS, TRUSTED, Context, Descriptions


def known(trust: list[float], labels: list[tuple[str, ...]], bar: float = TRUSTED) -> Vocabulary:
    n = len(labels)
    kinds = np.full(n, KINDS.index("lexical"), dtype=np.uint8)
    related = np.tile(np.array([1, 2, -1, -1], dtype=np.int32), (n, 1))
    contexts = tuple((Context(f"the castle {latent} stood", ((4, 10),), 1.0),) for latent in range(n))
    made = {"n_tokens": 500, "trusted_from": bar}
    described = Descriptions(kinds, np.array(trust, dtype=np.float32), related, contexts, made)
    return Vocabulary(np.full(n, 9), np.full(n, 99), 100, 1000, 4, tuple(labels), "notes", described)


class EncoderThatKnows(KnownEncoder):
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary  # type: ignore[assignment]


@pytest.fixture(scope="module")
def again() -> Vocabulary:
    labels = [
        ("shore", "sand"),
        ("money", "coin"),
        ("a [b] c",),
        ("a [b] c",),
        ("castle, keep", "moat"),
        (),
        ("keep",),
        ("tower",),
    ]
    trust = [0.9, 0.96, 0.3, 0.3, 0.92, float("nan"), 0.86, 0.95]
    encoder = EncoderThatKnows(known(trust, labels, bar=0.85))
    return label_firings(encoder, sample(), LabelConfig(contexts=1, context_words=6))  # type: ignore[arg-type]


def test_names_that_cannot_be_tried_stay_and_others_are_tried_anew(again: Vocabulary) -> None:
    assert again.label(4) == "castle, keep" and again.about(4).trust == pytest.approx(0.92, abs=0.003)
    assert again.kind(4) == "lexical" and again.labels[4][1] == "moat" and again.about(4).related == (1, 2)
    assert again.label(0) == "bank", "shore tells no passage"
    assert set(again.label(1).split(", ")) == {"money", "bread"} and again.labels[1][1:] != ()
    assert again.described is not None and again.described.made["earlier_tokens"] == 500


def test_a_trusted_name_stays_where_too_few_passages_could_confirm_another() -> None:
    encoder = EncoderThatKnows(known([0.92] * N_LATENTS, [("shore",), ("coin",), *[("keep",)] * (N_LATENTS - 2)]))
    few = label_firings(encoder, sample(n=180), LabelConfig(contexts=1))  # type: ignore[arg-type]
    assert (few.label(0), few.kind(0), few.about(0).trust) == ("shore", "lexical", pytest.approx(0.92, abs=0.003))


def test_a_name_below_the_bar_of_today_becomes_examples(again: Vocabulary) -> None:
    assert again.label(6) == "e.g. “the [castle] 6”" and again.kind(6) == "unclear"
    assert again.label(7) == "tower" and again.described is not None and again.described.bar == TRUSTED


def test_kinds_stay_where_a_latent_is_hardly_seen_and_the_dead_that_fire_are_unclear() -> None:
    before = known([float("nan")] * N_LATENTS, [("a [b] c",)] * N_LATENTS)
    assert before.described is not None
    kinds = np.array(
        [KINDS.index(kind) for kind in ["unclear", "function", "unclear", "dead", "dead", *["function"] * 3]], np.uint8
    )
    encoder = EncoderThatKnows(replace(before, described=replace(before.described, kinds=kinds)))
    few = label_firings(encoder, sample(n=20), LabelConfig(contexts=1))  # type: ignore[arg-type]
    assert [few.kind(latent) for latent in range(5)] == ["unclear", "function", "unclear", "unclear", "dead"]
    many = label_firings(encoder, sample(), LabelConfig(contexts=1))  # type: ignore[arg-type]
    assert (many.kind(1), many.kind(2)) == ("lexical", "function")


def test_an_older_vocabulary_is_read_by_its_own_bar() -> None:
    some = known([0.86, 0.84], [("name", "more"), ("a [b] c",)])
    assert some.described is not None and [some.label(term) for term in (0, 1)] == ["e.g. “name”, “more”", "e.g. “a [b] c”"]
    older = replace(some, described=replace(some.described, made={"n_tokens": 7}))
    assert [older.label(term) for term in (0, 1)] == ["name", "e.g. “a [b] c”"]


def test_words_of_before_are_those_of_names_and_never_of_examples() -> None:
    earlier = Earlier(known([0.95, 0.2], [("castle, high keep", "moat"), ("the [castle] stood",)]))
    assert earlier.words(0) == ("castle", "high keep", "moat") and earlier.words(1) == ()
    assert earlier.name(1) is None and Earlier(None).words(0) == () and Earlier(None).kind(0, named=True) is None
    bare = replace(known([0.1], [("castle", ",")]), described=None)
    assert Earlier(bare).words(0) == ("castle",) and Earlier(bare).name(0) is None, "words that were counted are candidates"
    found = np.full((N_LATENTS, 4), -1, dtype=np.int32)
    np.testing.assert_array_equal(Earlier(None).related(found), found)
