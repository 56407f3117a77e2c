"""Labels that are read when they are shown, against the whole file read at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexite.errors import ModelError
from lexite.terms import Vocabulary
from lexite.terms.label_lines import LabelLines
from lexite.terms.vocabulary import JSON_NAME

words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=5).map(tuple)


def vocabulary_of(labels: list[tuple[str, ...]]) -> Vocabulary:
    counts = np.arange(len(labels), dtype=np.int64)
    return Vocabulary(counts, counts + 1, 9, 90, 2, tuple(labels), 'a "sample", of\n notes')


@given(labels=st.lists(words, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_of_a_saved_vocabulary_come_back_whatever_their_letters(labels: list[tuple[str, ...]], tmp_path: Path) -> None:
    vocabulary_of(labels).save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    assert isinstance(loaded.labels, LabelLines)
    whole = json.loads((tmp_path / JSON_NAME).read_text(encoding="utf-8"))
    assert loaded.labels == tuple(map(tuple, whole["labels"])) == tuple(labels)
    assert [loaded.labels[number] for number in range(len(labels))] == labels
    assert loaded.labels[1:] == tuple(labels[1:]) and loaded.labels[-1] == labels[-1]
    assert loaded.labels != (*labels, ("more",))
    assert (loaded.source, loaded.n_latents) == (whole["source"], len(labels))


def test_a_file_of_another_layout_is_read_all_the_same(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank"), ()]).save(tmp_path)
    path = tmp_path / JSON_NAME
    path.write_text(json.dumps(json.loads(path.read_text())))
    loaded = Vocabulary.load(tmp_path)
    assert loaded.labels == (("river", "bank"), ()) and loaded.label(0) == "river, bank"


def test_a_vocabulary_without_latents_comes_back(tmp_path: Path) -> None:
    vocabulary_of([]).save(tmp_path)
    assert Vocabulary.load(tmp_path).labels == ()


def test_a_damaged_label_is_named_when_it_is_shown(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank"), ("moon",)]).save(tmp_path)
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace('["moon"]', '["moon]'))
    loaded = Vocabulary.load(tmp_path)
    assert loaded.label(0) == "river, bank"
    with pytest.raises(ModelError, match=r"vocabulary\.json: the label of latent 1 is damaged"):
        loaded.label(1)


def test_a_file_that_lacks_a_label_is_refused(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank"), ("moon",)]).save(tmp_path)
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace(',\n["moon"]', ""))
    with pytest.raises(ModelError, match="different lengths"):
        Vocabulary.load(tmp_path)
