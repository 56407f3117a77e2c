"""Descriptions of latents: they come back as they were saved, follow their latents, and name what is damaged."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexite.errors import ModelError
from lexite.terms import Vocabulary
from lexite.terms.descriptions import CONTEXTS_NAME, KINDS, Context, Descriptions

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="⟦⟧")


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    text = draw(st.text(LETTERS, min_size=1, max_size=20))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    marks = tuple(zip(cuts[::2], cuts[1::2], strict=False))
    return Context(text, marks, draw(st.integers(0, 100)) / 100)


def vocabulary(own: list[tuple[Context, ...]], trust: list[float]) -> Vocabulary:
    n = len(own)
    described = Descriptions(
        (np.arange(n) % len(KINDS)).astype(np.uint8),
        np.array(trust, dtype=np.float32),
        np.array([[(i + 1) % n, -1] for i in range(n)], dtype=np.int32).reshape(n, 2),
        tuple(own),
        {"n_tokens": 7},
    )
    labels = tuple((f"name {i}", "more") for i in range(n))
    return Vocabulary(np.arange(n), np.arange(n) + 1, 10, 70, 2, labels, "notes", described)


@given(own=st.lists(st.lists(contexts(), max_size=3).map(tuple), min_size=1, max_size=5), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_descriptions_come_back_as_they_were_saved(own: list[tuple[Context, ...]], data: st.DataObject, tmp_path: Path) -> None:
    trust = [data.draw(st.sampled_from([float("nan"), 0.0, 0.5, 0.9, 1.0])) for _ in own]
    written = vocabulary(own, trust)
    written.save(tmp_path)
    loaded = Vocabulary.load(tmp_path).described
    assert loaded is not None and list(loaded.contexts) == own and loaded.made == {"n_tokens": 7}
    np.testing.assert_allclose(loaded.trust, trust, atol=0.002)
    assert written.described is not None
    np.testing.assert_array_equal(loaded.kinds, written.described.kinds)
    np.testing.assert_array_equal(loaded.related, written.described.related)


def test_a_trusted_name_is_shown_and_examples_where_there_is_none() -> None:
    some = vocabulary([(), (), ()], [0.95, 0.5, float("nan")])
    assert [some.label(term) for term in range(3)] == ["name 0", "e.g. “name 1”, “more”", "e.g. “name 2”, “more”"]
    about = some.about(0)
    assert (about.name, about.kind, about.trusted, about.related) == ("name 0", "lexical", True, (1,))
    assert some.about(2).trust is None and some.about(1).name == "" and not some.about(1).trusted
    assert about.document_frequency == 0 and some.about(2).posting_share == pytest.approx(2 / 3)
    assert some.about(2).idf == pytest.approx(np.log(1 + (10 - 2 + 0.5) / 2.5))
    assert some.about(1).to_json()["kind"] == "narrow"


def test_descriptions_follow_their_latents() -> None:
    own = [(Context(f"text {i}", ((0, 4),), 1.0),) for i in range(4)]
    some = vocabulary(own, [0.1, 0.9, 0.9, 0.1]).reordered(np.array([2, 1]))
    assert [some.label(term).split()[1] for term in (0, 1)] == ["2", "1"] and some.described is not None
    assert [some.about(term).contexts[0].text for term in (0, 1)] == ["text 2", "text 1"]
    assert [some.about(term).related for term in (0, 1)] == [(), (0,)], "latent 3 is gone, and 2 is now 0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"BZh9nonsense"), "is damaged and cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "is damaged and cannot be read"),
        (lambda path: path.write_bytes(bz2.compress(b"[]")), "has examples of 1 latents, but there are 2"),
        (lambda path: path.write_bytes(bz2.compress(b"[3]\n[]")), "the examples of latent 0 are damaged"),
        (lambda path: path.write_bytes(bz2.compress(b"[\n[]")), "the examples of latent 0 are damaged"),
    ],
)
def test_a_file_of_examples_that_is_damaged_is_named(tmp_path: Path, damage: object, message: str) -> None:
    vocabulary([(Context("a b", (), 1.0),), ()], [0.9, 0.1]).save(tmp_path)
    damage(tmp_path / CONTEXTS_NAME)  # type: ignore[operator]
    loaded = Vocabulary.load(tmp_path)
    assert loaded.label(0) == "name 0", "labels need no examples"
    with pytest.raises(ModelError, match=message):
        loaded.about(0)


def test_parts_of_different_lengths_are_refused() -> None:
    with pytest.raises(ModelError, match="different lengths"):
        Descriptions(np.zeros(2, np.uint8), np.zeros(3, np.float32), np.zeros((2, 1), np.int32), ((), ()), {})
