"""The nearest tokens of passages against a plain loop, and examples that are chosen by them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexite.backbone.states import TokenStates
from lexite.errors import BackboneError
from lexite.labelling.contexts import short_phrase
from lexite.labelling.detection import Detector
from lexite.labelling.examples import choose_examples
from lexite.labelling.firings import collect_firings
from lexite.labelling.meaning import embedder, marked_vectors
from lexite.labelling.naming import Trial
from lexite.labelling.tokens import TokenVectors, centred, in_bytes, mean_nearest, mean_state
from lexite.labelling.words import sample_words
from lexite.terms import LatentTermEncoder
from lexite.terms.descriptions import Context

PIECES = ["river", "bank", "##s", ",", ".", "the", "money", "tree", "cloud"]


class OneHot:
    """A model whose state of a piece is one number of its own, whatever stands around it."""

    encoded = 0

    def describe_token(self, token: int) -> str:
        return PIECES[token]

    def encode(self, texts: list[str], kind: str) -> TokenStates:
        rows = [[PIECES.index(piece) for piece in text.replace(",", " ,").split() if piece in PIECES] for text in texts]
        self.encoded += len(texts)
        ids = np.array([token for row in rows for token in row], dtype=np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return TokenStates(torch.eye(len(PIECES))[torch.from_numpy(ids).long()], offsets, ids)


def vectors_of(states: NDArray[np.float32], lengths: list[int], mean: NDArray[np.float32]) -> TokenVectors:
    rows, scales = in_bytes(centred(states, mean))
    return TokenVectors(rows, scales, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), mean)


def test_a_state_that_is_the_mean_is_near_nothing() -> None:
    states = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    for state in states:
        assert not centred(state[None] * np.float32(3.0), mean_state(state[None])).any()


@given(st.integers(0, 10**6), st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=40)
def test_the_nearest_token_is_that_of_a_plain_loop(seed: int, lengths: list[int], n: int) -> None:
    generator = np.random.default_rng(seed)
    states = generator.normal(size=(sum(lengths), 8)).astype(np.float32) + 0.5
    mean = mean_state(states) if len(states) else np.zeros(8, np.float32)
    tokens, wanted = vectors_of(states, lengths, mean), centred(generator.normal(size=(n, 8)).astype(np.float32), mean)
    passages = generator.permutation(len(lengths)).astype(np.int32)
    found = tokens.nearest(wanted, passages)
    for row, passage in enumerate(passages.tolist()):
        own = states[tokens.starts[passage] : tokens.starts[passage + 1]]
        for column in range(n):
            each = [state / np.linalg.norm(state) - mean for state in own]
            sizes = [float(np.linalg.norm(away)) for away in each]  # of a state that is the mean, only rounding is left
            cosines = [float(a @ wanted[column]) / size if size > 1e-5 else 0.0 for a, size in zip(each, sizes, strict=True)]
            assert found[row, column] == pytest.approx(max(cosines, default=0.0), abs=0.02)
    means = mean_nearest(tokens, [wanted, wanted[:0], wanted[:1]], passages)
    np.testing.assert_allclose(means, np.stack([found.mean(1), 0 * found[:, 0], found[:, 0]], axis=1), atol=1e-5)


def test_signs_of_a_name_are_left_out_unless_there_is_nothing_else() -> None:
    tokens = vectors_of(np.eye(len(PIECES), dtype=np.float32), [len(PIECES)], np.zeros(len(PIECES), np.float32))
    embed = embedder(OneHot(), tokens)  # type: ignore[arg-type]
    assert embed is not None
    assert [own.argmax(1).tolist() for own in embed(["river, bank", ",", "nothing known"])] == [[0, 1], [3], []]
    assert embedder(OneHot(), None) is None  # type: ignore[arg-type]


def test_a_model_that_reads_no_names_leaves_words_alone() -> None:
    def encode(texts: list[str], kind: str) -> Any:
        raise BackboneError("states were computed beforehand")

    tokens = vectors_of(np.eye(2, dtype=np.float32), [2], np.zeros(2, np.float32))
    assert embedder(SimpleNamespace(encode=encode), tokens) is None  # type: ignore[arg-type]


def test_of_an_example_the_marked_tokens_count() -> None:
    tokens = vectors_of(np.eye(len(PIECES), dtype=np.float32), [len(PIECES)], np.zeros(len(PIECES), np.float32))
    examples = [
        Context("the river bank", ((4, 9),), 1.0),
        Context("the money", (), 1.0),
        Context("tree, cloud", ((4, 5),), 1.0),
    ]
    found = marked_vectors(OneHot(), tokens, examples)  # type: ignore[arg-type]
    assert [own.argmax(1).tolist() for own in found] == [[0], [5, 6], [3]]


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [
        ("they sat on the river bank in June", (22, 26), "river [bank] in"),
        ("the month of March. The album", (18, 19), "of March[.] The"),
        ("(“distinct”) (i.e. so)", (13, 14), "“distinct”) [(]i.e. so"),
        ("Bank", (0, 4), "[Bank]"),
        ("in Sandbank, (which", (7, 11), "in Sand[bank], (which"),
        ("so, bank, (", (4, 8), "so, [bank]"),
    ],
)
def test_short_examples_mark_the_word_that_fires(text: str, mark: tuple[int, int], expected: str) -> None:
    phrase = short_phrase(Context(text, (mark,), 0.5))
    assert phrase is not None and phrase.marked() == expected
    assert phrase.text[slice(*phrase.marks[0])] == text[slice(*mark)] and phrase.strength == 0.5
    assert short_phrase(Context(text, (), 0.5)) is None


def test_states_are_kept_of_the_documents_that_are_wanted(tiny_vocabulary: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    passages = [(0, "the cat"), (1, "a dog sat"), (2, ""), (3, "the cat sat")]
    firings = collect_firings(encoder, passages, n_tokens=1, keeps_states=lambda document: document % 2 == 1)
    tokens = firings.states
    assert tokens is not None and collect_firings(encoder, passages, n_tokens=1).states is None
    lengths = np.diff(firings.offsets)
    assert np.diff(tokens.starts).tolist() == [0, lengths[1], 0, lengths[3]] and tokens.rows.dtype == np.int8
    embed = embedder(encoder.backbone, tokens)
    assert embed is not None
    nearest = mean_nearest(tokens, embed(["a dog sat"]), np.arange(4, dtype=np.int32))[:, 0]
    assert nearest[1] == pytest.approx(1, abs=0.01) and nearest[[0, 2]].tolist() == [0, 0] and nearest[3] < 0.98


def test_examples_are_taken_that_tell_passages() -> None:
    texts = ["the bank", "bank , tree", "the tree", "cloud , tree", "money", "river money"]
    model, passages = OneHot(), np.arange(4, dtype=np.int32)
    states = model.encode(texts, "document")
    tokens = vectors_of(states.states.numpy(), np.diff(states.offsets).tolist(), np.zeros(len(PIECES), np.float32))
    words = sample_words(states.token_ids, states.offsets, texts, model.describe_token)
    detector, trial = Detector(words, tokens), Trial(passages, 2)
    pool = (
        Context("tree , the", ((0, 4),), 1.0),
        Context("the money", ((4, 9),), 0.9),
        Context("river bank", ((6, 10),), 0.8),
        Context("River bank", ((6, 10),), 0.7),
    )
    further = (Context("the cloud", ((4, 9),), 1.0),)
    pools, trials, others = [pool, pool, pool[:1]], [trial, None, trial], [further] * 3
    found = choose_examples(pools, trials, others, detector, model, tokens)  # type: ignore[arg-type]
    assert found[0][0] == "river [bank]" and len(found[0]) == 2, "it alone is in the passages that hold the latent"
    assert found[1] == ("[tree]", "the [money]"), "without a trial the strongest are shown"
    assert found[2] == ("the [cloud]", "[tree]"), "and where there is nothing to choose from"
    assert choose_examples([pool], [trial], [()], Detector(words, None), model, None) == [found[1]]  # type: ignore[arg-type]
