"""The static table: means of codes by word piece, queries encoded with it, its files, and that it needs no model."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lexite.errors import ArgumentError, ModelError
from lexite.terms import LatentTermEncoder, StaticTable, find_folder, load_static
from lexite.terms.manifest import seal_manifest
from lexite.terms.measure import measured
from lexite.terms.static import ARRAYS_NAME, TOKENIZER_NAME
from lexite.terms.static_counts import FLOOR, STEPS, StaticCounter, counter_for, table_for, table_of_corpus

PIECES, TERMS = 6, 9


def tokenizer() -> str:
    """Words are pieces; ``[CLS]`` stands before a text where special tokens are asked for."""
    words = {"[UNK]": 0, "red": 1, "green": 2, "blue": 3, "[CLS]": 4, "never": 5, "beyond": 6}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 4)])
    return str(made.to_str())


def dense_means(values, indices, token_ids):
    """The definition: for each piece the mean over its tokens of their codes as full vectors."""
    codes = np.zeros((len(token_ids), TERMS))
    for token, slot in np.ndindex(values.shape):
        if values[token, slot] > 0:
            codes[token, indices[token, slot]] += values[token, slot]
    means, counts = np.zeros((PIECES, TERMS)), np.zeros(PIECES, dtype=int)
    for piece in range(PIECES):
        rows = codes[token_ids == piece]
        counts[piece] = len(rows)
        means[piece] = rows.mean(0) if len(rows) else 0
    return means, counts


def same_above_the_floor(weights, means):
    """Whether a table holds means without the small ones; what is at the floor itself may be rounded either way."""
    floor = FLOOR * means.max(axis=1, keepdims=True, initial=0)
    clear = np.abs(means - floor) > 1e-6 * np.maximum(floor, 1)
    wanted = np.where(means >= floor, means, 0)
    np.testing.assert_allclose(weights.toarray()[clear], wanted[clear], rtol=1e-5, atol=1 / STEPS)  # sums are in such steps


@st.composite
def some_codes(draw):
    n = draw(st.integers(0, 30))
    values = draw(arrays(np.float32, (n, 3), elements=st.floats(0, 8, width=16)))
    indices = np.array([draw(st.permutations(range(TERMS)))[:3] for _ in range(n)], dtype=np.int32).reshape(n, 3)
    token_ids = draw(arrays(np.int32, n, elements=st.integers(-1, PIECES)))  # two of which no row has
    return values, indices, token_ids


def counted(*batches, entries=1000):
    counter = StaticCounter(PIECES, TERMS, entries)
    for batch in batches:
        counter.add(*batch)
    return counter


@given(some_codes(), some_codes())
def test_a_row_is_the_mean_code_of_its_piece(first, second):
    joined = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    means, counts = dense_means(*joined)
    table = counted(first, second).table(tokenizer())
    np.testing.assert_array_equal(table.counts, counts)
    same_above_the_floor(table.weights, means)
    assert table.weights.dtype == np.float32


@given(some_codes(), some_codes(), st.sampled_from([1, 20, np.inf]))
def test_a_table_moves_towards_other_text_by_the_formula(known, new, prior):
    table = counted(known).table(tokenizer())
    codes, counts = dense_means(*new)
    before = np.minimum(table.counts, prior)
    wanted = (codes * counts[:, None] + before[:, None] * table.weights.toarray()) / np.maximum(counts + before, 1)[:, None]
    moved = counted(new).moved(table, prior)
    same_above_the_floor(moved.weights, wanted)
    np.testing.assert_array_equal(moved.counts, counts + before)


def a_table(**choices) -> StaticTable:
    weights = np.zeros((PIECES, TERMS), np.float32)
    weights[1, [0, 3]], weights[2, [3, 8]], weights[4, 5], weights[0, 7] = (1, 2), (4, 0.5), 3, 0.25
    from scipy.sparse import csr_array

    return StaticTable(csr_array(weights), np.array([3, 2, 2, 0, 5, 0]), tokenizer(), **choices)


def test_a_query_is_the_sum_of_its_pieces():
    rows = a_table().encode(["red green red", "", "blue", "beyond red", "grün"])
    wanted = np.zeros((5, TERMS))
    wanted[0, [0, 3, 8]], wanted[3, [0, 3]], wanted[4, 7] = (2, 8, 0.5), (1, 2), 0.25
    np.testing.assert_array_equal(rows.toarray(), wanted)
    assert rows.has_sorted_indices
    assert rows.shape == (5, TERMS)
    assert a_table().encode([]).shape == (0, TERMS)


def test_a_query_may_take_the_largest_instead_count_special_tokens_and_be_cut():
    largest = a_table(pooling="max").encode(["red green red", ""]).toarray()
    np.testing.assert_array_equal(largest[0, [0, 3, 8]], [1, 4, 0.5])
    np.testing.assert_array_equal(largest[1], 0)
    assert a_table(pooling="max").encode([]).shape == (0, TERMS)
    special = a_table(special_tokens=True).encode(["red"]).toarray()
    np.testing.assert_array_equal(special[0, [0, 3, 5]], [1, 2, 3])
    cut = a_table(window=1).encode(["red green"]).toarray()
    np.testing.assert_array_equal(cut[0], a_table().encode(["red"]).toarray()[0])


@pytest.mark.parametrize("pooling", ["sum", "max"])
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("window", [None, 2])
def test_some_columns_are_those_of_all(pooling, special, window):
    table = a_table(pooling=pooling, special_tokens=special, window=window)
    texts = ["red green red", "", "blue", "beyond red", "grün green never"]
    for latents in ([3, 8, 0], [1], [], [7, 5]):
        wanted = table.encode(texts).toarray()[:, latents]
        np.testing.assert_array_equal(table.weights_of(texts, np.array(latents, dtype=np.int64)), wanted)
    assert table.weights_of([], np.array([3, 0])).shape == (0, 2)


def test_a_tokenizer_of_berts_kind_reads_queries_as_before():
    words = {"[UNK]": 0, "red": 1, "green": 2, "##s": 3, "[CLS]": 4}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    table = dataclasses.replace(a_table(), tokenizer=made.to_str())
    assert table._words is not None and a_table()._words is None
    plain = dataclasses.replace(table)
    plain.__dict__["_words"] = None
    texts = ["Reds green, RED\x1cgreen", "", "blue red\ud800", "green green"]
    for _ in range(2):
        np.testing.assert_array_equal(table.encode(texts).toarray(), plain.encode(texts).toarray())


@pytest.mark.parametrize(("texts", "said"), [("red", r"encode\(\[text\]\)"), ([1], "Text 0 is a int"), (["a", None], "Text 1")])
def test_what_is_no_list_of_texts_is_refused(texts, said):
    with pytest.raises(ArgumentError, match=said):
        a_table().encode(texts)


def test_a_lone_surrogate_is_read_as_an_unknown_letter():
    np.testing.assert_array_equal(a_table().encode(["\ud800"]).toarray(), a_table().encode(["?"]).toarray())


def test_memory_is_bounded_by_forgetting_what_is_small():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.full((50, 1), 100, np.float32), rng.random((50, 2), dtype=np.float32)], axis=1)
    indices = np.concatenate([np.zeros((50, 1), np.int32), rng.integers(1, TERMS, (50, 2), dtype=np.int32)], axis=1)
    batch = (values, indices, np.full(50, 2, np.int32))
    small, whole = counted(batch, batch, entries=2), counted(batch, batch)
    assert small.sums.nnz < whole.sums.nnz
    np.testing.assert_allclose(
        small.table(tokenizer()).weights.toarray(), whole.table(tokenizer()).weights.toarray(), rtol=1e-6
    )


def test_what_is_saved_comes_back(tmp_path):
    table = a_table(special_tokens=True, window=7, pooling="max")
    assert sorted(table.save(tmp_path)) == sorted([ARRAYS_NAME, TOKENIZER_NAME])
    loaded = StaticTable.load(tmp_path)
    np.testing.assert_array_equal(loaded.weights.toarray(), table.weights.toarray())
    np.testing.assert_array_equal(loaded.counts, table.counts)
    assert (loaded.special_tokens, loaded.window, loaded.pooling) == (True, 7, "max")
    texts = ["red green", "blue"]
    np.testing.assert_array_equal(loaded.encode(texts).toarray(), table.encode(texts).toarray())


def test_weights_beyond_half_precision_are_kept(tmp_path):
    table = a_table()
    table.weights.data *= 1e6
    table.save(tmp_path)
    np.testing.assert_allclose(StaticTable.load(tmp_path).weights.data, table.weights.data, rtol=1e-3)


@pytest.mark.parametrize("name", [ARRAYS_NAME, TOKENIZER_NAME])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    a_table().save(tmp_path)
    (tmp_path / name).write_bytes(b"\xff\xfe nothing")
    with pytest.raises(ModelError, match="damaged"):
        StaticTable.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match=f"{name} does not exist|{ARRAYS_NAME} does not exist"):
        StaticTable.load(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format_version": "9"}, "format version 9"),
        ({"pooling": "mean"}, "pooling is 'mean'"),
        ({"n_latents": "3"}, "damaged"),
        ({"scale": None}, "damaged"),
    ],
)
def test_facts_that_do_not_fit_are_refused(tmp_path, changed, said):
    a_table().save(tmp_path)
    path = tmp_path / ARRAYS_NAME
    facts = {"format_version": "1", "n_latents": str(TERMS), "scale": "1.0", "special_tokens": "0", "window": "0"}
    facts |= {"pooling": "sum", **changed}
    path.write_bytes(save(load_file(path), metadata={key: value for key, value in facts.items() if value is not None}))
    with pytest.raises(ModelError, match=said):
        StaticTable.load(tmp_path)


def test_a_damaged_tokenizer_is_refused_when_it_is_needed(tmp_path):
    a_table().save(tmp_path)
    (tmp_path / TOKENIZER_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="tokenizer of the static table is damaged"):
        StaticTable.load(tmp_path).encode(["red"])


def test_a_table_of_other_terms_is_not_moved_or_taken(encoder):
    with pytest.raises(ModelError, match="pieces and terms"):
        StaticCounter(PIECES, TERMS + 1).moved(a_table())
    with pytest.raises(ModelError, match="static table gives 9 terms"):
        LatentTermEncoder(encoder.backbone, encoder.sae, static=a_table())


def test_a_backbone_without_a_tokenizer_gets_no_table(encoder, texts, tmp_path):
    found = measured(encoder, encoder.iterate_states(texts, "document"))
    assert found.static is None
    assert found.vocabulary is not None
    assert encoder.vocabulary is None, "the encoder that was measured is left alone"
    found.save_pretrained(tmp_path / "saved")
    with pytest.raises(ModelError, match="no static table"):
        load_static(tmp_path / "saved")


@pytest.fixture
def with_table(encoder, texts, monkeypatch):
    """An encoder whose backbone has a tokenizer, measured."""
    encoder.backbone.encode(texts, "document")  # its pieces get their numbers
    pieces = {piece: number for number, piece in enumerate(encoder.backbone.pieces)}
    made = Tokenizer(models.WordPiece({**pieces, "[UNK]": len(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    monkeypatch.setattr(type(encoder.backbone), "fast_tokenizer", made, raising=False)
    return measured(encoder, encoder.iterate_states(texts, "document"))


def test_states_that_know_no_context_are_encoded_as_with_the_model(with_table, texts):
    """The backbone's states depend on the piece alone, so means are the codes themselves, but for the small ones."""
    static = with_table.static.encode([text.lower() for text in texts]).toarray()
    real = with_table.encode_documents(texts).toarray()
    assert (static > 0).sum() <= (real > 0).sum()
    np.testing.assert_allclose(static[static > 0], real[static > 0], rtol=0.3)
    assert static.sum() > 0.8 * real.sum()


def test_documents_are_counted_while_they_are_encoded(with_table, texts):
    counter = counter_for(with_table.backbone, with_table.n_latents)
    rows = with_table.encode_documents(texts, static=counter, texts_per_chunk=2)
    np.testing.assert_array_equal(rows.toarray(), with_table.encode_documents(texts).toarray())
    assert counter.counts.sum() == with_table.vocabulary.n_tokens
    np.testing.assert_allclose(counter.sums.sum(0), rows.sum(0), rtol=1e-5)
    own = table_for(counter, with_table.backbone, "sum")
    np.testing.assert_allclose(own.weights.toarray(), with_table.static.weights.toarray(), rtol=1e-5)


def test_a_stream_of_documents_is_counted_too(with_table, texts):
    counter, whole = (counter_for(with_table.backbone, with_table.n_latents) for _ in range(2))
    chunks = list(with_table.iterate_documents(iter(texts), static=counter, texts_per_chunk=2))
    assert len(chunks) == 3
    with_table.encode_documents(texts, static=whole)
    np.testing.assert_array_equal(counter.counts, whole.counts)
    np.testing.assert_allclose(counter.sums.toarray(), whole.sums.toarray(), rtol=1e-6)


def test_the_table_of_a_corpus_is_that_of_the_vocabulary_moved_to_it(with_table, texts):
    counter = counter_for(with_table.backbone, with_table.n_latents)
    with_table.encode_documents(texts[:2], static=counter)
    moved = table_of_corpus(counter, with_table.static, with_table.backbone, "sum")
    np.testing.assert_array_equal(moved.weights.toarray(), counter.moved(with_table.static).weights.toarray())
    own = table_of_corpus(counter, None, with_table.backbone, "sum")
    np.testing.assert_array_equal(own.counts, counter.counts)
    np.testing.assert_allclose(own.weights.sum(), table_for(counter, with_table.backbone, "sum").weights.sum())


def test_a_table_has_the_same_bytes_each_time() -> None:
    """The safetensors library alone gives its facts another order each time."""
    table = a_table()
    contents = {table.to_bytes() for _ in range(20)}
    assert len(contents) == 1
    (content,) = contents
    again = StaticTable.from_bytes(content, table.tokenizer, "a file")
    assert again.to_bytes() == content and again.window == table.window and again.pooling == table.pooling
    np.testing.assert_array_equal(again.rows.data, table.rows.data)


def test_bytes_that_are_no_table_are_named():
    content = a_table().to_bytes()
    for broken in (b"", b"x", content[:40], content[:-1]):
        with pytest.raises(ModelError, match="here.bin is damaged"):
            StaticTable.from_bytes(broken, tokenizer(), "here.bin")
    again = StaticTable.from_bytes(content, tokenizer(), "here.bin")
    np.testing.assert_array_equal(again.weights.toarray(), a_table().weights.toarray())


def test_a_saved_vocabulary_brings_its_table_along(with_table, texts, tmp_path, make_backbone):
    folder = with_table.save_pretrained(tmp_path / "saved")
    loaded = LatentTermEncoder.from_pretrained(folder, backbone=make_backbone())
    table, manifest = load_static(folder)
    assert manifest["fingerprint"] == loaded.fingerprint
    for one in (loaded.static, table):
        np.testing.assert_allclose(one.weights.toarray(), with_table.static.weights.toarray(), rtol=1e-3)
    (folder / TOKENIZER_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=TOKENIZER_NAME):
        load_static(folder)


def test_another_order_of_latents_reorders_the_table_and_a_prefix_drops_it(with_table):
    order = np.random.default_rng(0).permutation(with_table.n_latents)
    before, after = with_table.static.weights.toarray(), with_table.reordered(order).static.weights.toarray()
    np.testing.assert_array_equal(after, before[:, order])
    assert with_table.prefix(32).static is None


def test_neither_torch_nor_transformers_are_imported(with_table, tmp_path):
    folder = with_table.save_pretrained(tmp_path / "saved")
    code = (
        "import sys\nfrom lexite.terms import load_static\n"
        f"table, _ = load_static({str(folder)!r})\nassert table.encode(['the bank of the river']).nnz\n"
        "assert not {'torch', 'transformers', 'numba', 'sentence_transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_manifest_is_checked_before_the_table_is_read(with_table, tmp_path):
    folder = with_table.save_pretrained(tmp_path / "saved")
    _, manifest = load_static(folder)
    manifest.pop("sha256")
    manifest["files"].pop(ARRAYS_NAME)
    seal_manifest(folder, manifest)
    with pytest.raises(ModelError, match="no static table"):
        load_static(folder)
    assert find_folder(folder) == folder


def test_counters_merge_to_the_same_sums_in_any_order() -> None:
    generator = np.random.default_rng(3)
    values = (generator.random((600, 4)) * 10).astype(np.float32)
    indices, tokens = generator.integers(0, 9, (600, 4)).astype(np.int32), generator.integers(0, 20, 600).astype(np.int32)
    whole, merged = StaticCounter(20, 9), StaticCounter(20, 9)
    whole.add(values, indices, tokens)
    for part in generator.permutation(6):
        own = slice(100 * part, 100 * part + 100)
        counter = StaticCounter(20, 9)
        for start in range(own.start, own.stop, 7):
            end = min(start + 7, own.stop)
            counter.add(values[start:end], indices[start:end], tokens[start:end])
        merged.merge(StaticCounter.from_bytes(counter.to_bytes(), 9, "file"))
    assert (merged.sums != whole.sums).nnz == 0 and np.array_equal(merged.counts, whole.counts)
    with pytest.raises(ModelError, match="other of"):
        merged.merge(StaticCounter(20, 8))
    with pytest.raises(ModelError, match="file is damaged"):
        StaticCounter.from_bytes(whole.to_bytes()[:-9], 9, "file")
