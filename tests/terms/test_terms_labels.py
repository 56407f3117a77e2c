"""Words from pieces, labels against a plain count, and the measured vocabulary with its files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import CorpusError, ModelError
from lexite.terms import Vocabulary, measure_vocabulary
from lexite.terms.labels import LabelCounter
from lexite.terms.word_pieces import WordPieces


def words_of(pieces, token_ids=None, offsets=None):
    """The words of a text of the given pieces, as text."""
    table = WordPieces(lambda token: pieces[token])
    ids = np.arange(len(pieces), dtype=np.int32) if token_ids is None else np.array(token_ids, dtype=np.int32)
    words = table.split(ids, np.array([0, len(ids)] if offsets is None else offsets))
    ends = [*words.first_row[1:], len(ids)]
    return [table.text(tuple(ids[start:end].tolist())) for start, end in zip(words.first_row, ends, strict=True)]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["photo", "##syn", "##thesis", ",", "sun", "-", "light"], ["photosynthesis", ",", "sun", "-", "light"]),
        (["[CLS]", "a", "##b", "[SEP]"], ["", "ab", ""]),
        (["▁Photo", "synthesis", "▁is", ".", "Next"], ["Photosynthesis", "is", ".", "Next"]),
        (["▁", "2024", "▁(", "dog", "s", ")"], ["", "2024", "(", "dogs", ")"]),
        (["▁中", "国", "人"], ["中", "国", "人"]),
        (["Otter", "s", "ĠcafÃ©", "s", "Ġeat", "."], ["Otters", "cafés", "eat", "."]),
        (["<s>", "▁a", "</s>"], ["", "a", ""]),
        (["x" * 25], [""]),
    ],
)
def test_pieces_become_words(pieces, expected):
    assert words_of(pieces) == expected


def test_a_word_ends_with_its_text_and_unknown_tokens_are_no_word():
    assert words_of(["a", "##b"], offsets=[0, 1, 1, 2]) == ["a", "b"]
    table = WordPieces(["a", "##b"].__getitem__)
    keys = table.split(np.array([0, 1, -1, 0, 1, 0], dtype=np.int32), np.array([0, 6])).keys
    assert keys[0] == keys[2] != keys[3] and keys[1] == 0
    assert len(table.split(np.zeros(0, dtype=np.int32), np.array([0, 0])).keys) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_labels_have_the_highest_scores_of_the_formula(seed, n_batches):
    rng = np.random.default_rng(seed)
    n_latents, names = 6, [f"w{i}" for i in range(9)]
    counter = LabelCounter(n_latents, names.__getitem__)
    sums, seen = defaultdict(float), defaultdict(int)
    for _ in range(n_batches):
        token_ids = rng.integers(0, 9, 20).astype(np.int32)
        values = (rng.exponential(size=(20, 2)) * (rng.random((20, 2)) < 0.6)).astype(np.float32)
        indices = np.array([rng.permutation(n_latents)[:2] for _ in range(20)], dtype=np.int32)
        indices[values == 0] = -1
        counter.add(values, indices, token_ids, np.array([0, 12, 20]))
        for token, row, latents in zip(token_ids, values, indices, strict=True):
            seen[token] += 1
            for value, latent in zip(row, latents, strict=True):
                if value > 0:
                    sums[latent, token] += float(value)
    for latent, label in enumerate(counter.labels()):
        total = sum(value for (i, _), value in sums.items() if i == latent)
        scores = {names[w]: s / (seen[w] + 3) * s / total for (i, w), s in sums.items() if i == latent}
        assert list(label) == sorted(scores, key=lambda name: -scores[name])[:5]


def test_labels_stay_right_when_memory_is_short():
    rng = np.random.default_rng(0)
    names = [f"w{i}" for i in range(400)]
    counter = LabelCounter(4, names.__getitem__, pairs_in_memory=80)
    for _ in range(30):
        token_ids = np.concatenate([rng.integers(4, 400, 150), np.repeat(np.arange(4), 5)]).astype(np.int32)
        latents = np.where(token_ids < 4, token_ids, rng.integers(0, 4, len(token_ids))).astype(np.int32)
        values = np.where(token_ids < 4, 5.0, 0.5).astype(np.float32)
        counter.add(values[:, None], latents[:, None], token_ids, np.array([0, len(token_ids)]))
    assert len(counter._keys) <= 80
    assert [label[0] for label in counter.labels()] == ["w0", "w1", "w2", "w3"]


def test_a_word_of_several_pieces_is_counted_by_its_tokens():
    counter = LabelCounter(1, ["photo", "##syn", "##thesis", "sun"].__getitem__)
    counter.add(np.ones((4, 1), np.float32), np.zeros((4, 1), np.int32), np.arange(4, dtype=np.int32), np.array([0, 4]))
    assert sorted(counter.word_counts[:2].tolist()) == [1, 3] and counter.labels() == (("photosynthesis", "sun"),)
    assert sorted(counter._sums.tolist()) == [1.0, 3.0]


def test_any_number_of_words_is_counted():
    counter = LabelCounter(1, "w{}".format)
    ids = np.arange(3000, dtype=np.int32)
    counter.add(ids[:, None].astype(np.float32), np.zeros((3000, 1), np.int32), ids, np.array([0, 3000]))
    assert counter.labels()[0][0] == "w2999" and counter.word_counts[:3000].tolist() == [1] * 3000


def test_words_beyond_the_limit_go_unlabelled(monkeypatch):
    monkeypatch.setattr("lexite.terms.labels.WORDS_IN_MEMORY", 1)
    counter = LabelCounter(2, ["first", "second"].__getitem__)
    ones = np.ones((2, 1), dtype=np.float32)
    counter.add(ones, np.array([[0], [1]], dtype=np.int32), np.array([0, 1], dtype=np.int32), np.array([0, 2]))
    assert counter.labels() == (("first",), ())


def test_spellings_that_differ_in_case_only_are_one_word():
    counter = LabelCounter(1, ["Bank", "bank", "river"].__getitem__)
    ids = np.array([0, 1, 1, 2], dtype=np.int32)
    counter.add(np.ones((4, 1), np.float32), np.zeros((4, 1), np.int32), ids, np.array([0, 4]))
    assert counter.labels() == (("bank", "river"),)


def test_the_measured_vocabulary_counts_documents_and_tokens(encoder, texts):
    vocabulary = measure_vocabulary(encoder, iter(texts), source="five sentences", texts_per_chunk=2)
    weights = encoder.encode_documents(texts)
    states = encoder.backbone.encode(texts, "document")
    fired = encoder.sae.encode(states.states).to_dense().numpy() > 0
    np.testing.assert_array_equal(vocabulary.document_counts, (weights.toarray() > 0).sum(0))
    np.testing.assert_array_equal(vocabulary.token_counts, fired.sum(0))
    assert (vocabulary.n_documents, vocabulary.n_tokens, vocabulary.k) == (5, states.n_tokens, 4)
    np.testing.assert_allclose(vocabulary.document_frequency, (weights.toarray() > 0).mean(0))
    np.testing.assert_allclose(vocabulary.token_density, fired.mean(0))
    assert vocabulary.n_used == sum(bool(label) for label in vocabulary.labels)
    assert any("photosynthesis" in label for label in vocabulary.labels)
    assert all(len(label) <= 5 for label in vocabulary.labels)
    assert vocabulary.summary()["terms_per_document"] == round(weights.nnz / 5, 2)


def test_any_chunking_measures_the_same(encoder, texts):
    first, second = (measure_vocabulary(encoder, texts, texts_per_chunk=size) for size in (1, 5))
    assert first.labels == second.labels and first.document_counts.tolist() == second.document_counts.tolist()


def test_nothing_to_measure_is_an_error(encoder):
    with pytest.raises(CorpusError, match="no text"):
        measure_vocabulary(encoder, [])


def make_vocabulary(n_latents=3):
    counts = np.arange(n_latents, dtype=np.int64)
    labels = (("río", 'quo"te'), (), *[("w",)] * (n_latents - 2))
    return Vocabulary(counts, counts * 2, 5, 9, 4, labels, "a sample")


def test_a_vocabulary_is_read_as_it_was_saved(tmp_path):
    written = make_vocabulary()
    assert sorted(written.save(tmp_path)) == sorted(path.name for path in tmp_path.iterdir())
    read = Vocabulary.load(tmp_path)
    for name in ("n_documents", "n_tokens", "k", "labels", "source"):
        assert getattr(read, name) == getattr(written, name)
    assert read.document_counts.tolist() == [0, 1, 2] and read.token_counts.dtype == np.int64
    assert read.label(0) == 'río, quo"te' and read.label(0, words=1) == "río" and read.label(1) == "latent 1"
    assert json.loads((tmp_path / "vocabulary.json").read_text())["terms_per_document"] == 0.6


def test_punctuation_is_quoted_in_a_label():
    counts = np.ones(1, dtype=np.int64)
    assert Vocabulary(counts, counts, 1, 1, 1, ((",", "comma", "."),), "").label(0) == "“,”, comma, “.”"


def test_files_of_16384_latents_are_small(tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 10**7, 16384)
    labels = tuple(tuple("".join(rng.choice(list("abcdefgh"), 9)) for _ in range(5)) for _ in range(16384))
    Vocabulary(counts, counts, 10**6, 10**8, 16, labels).save(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1.0e6


@pytest.mark.parametrize("term", [-1, 3])
def test_a_term_that_is_not_there_has_no_label(term):
    with pytest.raises(ModelError, match="no term"):
        make_vocabulary().label(term)


def test_counts_and_labels_must_be_of_one_length():
    with pytest.raises(ModelError, match="different lengths"):
        Vocabulary(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), 1, 1, 1, ())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "vocabulary.json").unlink(), "vocabulary.json does not exist"),
        (lambda folder: (folder / "vocabulary.json").write_text("{"), "line 1: not valid JSON"),
        (lambda folder: (folder / "vocabulary.json").write_text("[]"), "does not hold the labels"),
        (lambda folder: change_json(folder, format_version=99), "format version 99"),
        (lambda folder: change_json(folder, n_tokens="many"), "damaged"),
        (lambda folder: change_json(folder, format_version=1, labels=3), "damaged"),
        (lambda folder: change_json(folder, format_version=1, labels=[]), "different lengths"),
        (lambda folder: (folder / "vocabulary.safetensors").unlink(), "vocabulary.safetensors does not exist"),
        (lambda folder: (folder / "vocabulary.safetensors").write_bytes(b"12"), "vocabulary.safetensors is damaged"),
    ],
)
def test_damaged_vocabulary_files_are_refused(tmp_path, damage, message):
    make_vocabulary().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=message):
        Vocabulary.load(tmp_path)


def change_json(folder, **changes):
    path = folder / "vocabulary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_labels_and_scoring_are_read_without_torch(tmp_path):
    make_vocabulary().save(tmp_path)
    code = (
        "import sys; from lexite.terms import BM25Config, Vocabulary, apply_transform, read_manifest, find_folder;"
        f"print(Vocabulary.load({str(tmp_path)!r}).label(0), 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.split()[-2:] == ["False", "False"]


def test_an_unknown_name_of_the_room_is_an_attribute_error():
    import lexite.terms

    assert "Vocabulary" in dir(lexite.terms)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lexite.terms.no_such_name
