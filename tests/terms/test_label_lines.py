"""Labels that are read when they are shown, against the whole file read at once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexite.errors import ModelError
from lexite.terms import Vocabulary
from lexite.terms.label_lines import LABELS_BEGIN, LABELS_END, LABELS_NAME, LabelLines
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
    written = gzip.decompress((tmp_path / LABELS_NAME).read_bytes()).decode().split("\n")
    assert loaded.labels == tuple(tuple(json.loads(line)) for line in written) == tuple(labels)
    assert [loaded.labels[number] for number in range(len(labels))] == labels
    assert loaded.labels[1:] == tuple(labels[1:]) and loaded.labels[-1] == labels[-1]
    assert loaded.labels != (*labels, ("more",))
    assert (loaded.source, loaded.n_latents) == (whole["source"], len(labels))


def write_version_1(folder: Path, labels: list[tuple[str, ...]]) -> Path:
    """The files of the first version, which has the labels in the JSON file, one a line."""
    vocabulary_of(labels).save(folder)
    (folder / LABELS_NAME).unlink()
    path = folder / JSON_NAME
    values = {**json.loads(path.read_text()), "format_version": 1}
    lines = ",\n".join(json.dumps(list(words), separators=(",", ":")) for words in labels)
    path.write_text(f"{json.dumps(values, indent=1)[:-2]}{LABELS_BEGIN}{lines}{LABELS_END}")
    return path


@pytest.mark.parametrize("again", [str, lambda text: json.dumps(json.loads(text))], ids=["as written", "in another layout"])
def test_files_of_the_first_version_are_read(tmp_path: Path, again: Callable[[str], str]) -> None:
    path = write_version_1(tmp_path, [("river", "bank"), ()])
    path.write_text(again(path.read_text()))
    loaded = Vocabulary.load(tmp_path)
    assert loaded.labels == (("river", "bank"), ()) and loaded.label(0) == "river, bank" and loaded.kind(0) == ""


def test_a_vocabulary_without_latents_comes_back(tmp_path: Path) -> None:
    vocabulary_of([]).save(tmp_path)
    assert Vocabulary.load(tmp_path).labels == ()


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / LABELS_NAME
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new).encode()))


def test_a_damaged_label_is_named_when_it_is_shown(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank"), ("moon",)]).save(tmp_path)
    rewrite(tmp_path, '["moon"]', '["moon]')
    loaded = Vocabulary.load(tmp_path)
    assert loaded.label(0) == "river, bank"
    with pytest.raises(ModelError, match=r"labels\.gz: the label of latent 1 is damaged"):
        loaded.label(1)


def test_a_file_that_lacks_a_label_is_refused(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank"), ("moon",)]).save(tmp_path)
    rewrite(tmp_path, '\n["moon"]', "")
    with pytest.raises(ModelError, match="different lengths"):
        Vocabulary.load(tmp_path)


def test_a_file_of_labels_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    vocabulary_of([("river", "bank")]).save(tmp_path)
    path = tmp_path / LABELS_NAME
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"labels\.gz is damaged"):
        Vocabulary.load(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=r"labels\.gz does not exist"):
        Vocabulary.load(tmp_path)
