"""The encoder: rows, kinds, k, streaming, explanation, and arguments that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from lexite.backbone.config import BackboneConfig
from lexite.backbone.states import TokenStates
from lexite.errors import ArgumentError, BackboneError, ConfigError, LexiteError, ModelError
from lexite.index import BM25Index
from lexite.scoring.transform import drop_small
from lexite.terms import BM25Config, LatentTermEncoder, TermsConfig, Vocabulary, apply_transform
from lexite.terms.chunks import split_text


def reference_rows(encoder, texts, kind, k, pooling="sum"):
    """Raw weights the slow way: codes of each text alone, dense."""
    rows = np.zeros((len(texts), encoder.n_latents))
    for number, text in enumerate(texts):
        states = encoder.backbone.encode([text], kind)
        if states.n_tokens:
            codes = encoder.sae.encode(states.states, k).to_dense().double().numpy()
            rows[number] = codes.sum(axis=0) if pooling == "sum" else codes.max(axis=0)
    return rows


@pytest.mark.parametrize("pooling", ["sum", "max"])
def test_documents_are_pooled_codes(encoder, texts, pooling):
    terms = TermsConfig(pooling=pooling, floor_documents=0.0)
    encoder = LatentTermEncoder(encoder.backbone, encoder.sae, terms, BM25Config(document_transform="sqrt"))
    rows = encoder.encode_documents(texts)
    assert rows.shape == (len(texts), encoder.n_latents) and rows.dtype == np.float32
    assert rows[[1]].nnz == 0, "a text without a token has no terms"
    np.testing.assert_allclose(rows.toarray(), reference_rows(encoder, texts, "document", 4, pooling), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transform", ["sqrt", "log1p", "none"])
def test_documents_come_as_an_index_stores_them_and_a_transform_is_applied_apart(encoder, texts, transform):
    changed = encoder.replaced(scoring=BM25Config(document_transform=transform))
    rows = changed.encode_documents(texts)
    np.testing.assert_array_equal(rows.toarray(), encoder.encode_documents(texts).toarray())
    transformed = apply_transform(rows, changed.scoring.document_transform)
    function = {"sqrt": np.sqrt, "log1p": np.log1p, "none": np.positive}[transform]
    np.testing.assert_allclose(transformed.toarray(), function(rows.toarray()), rtol=1e-6)
    index = BM25Index.in_memory(rows, [str(number) for number in range(len(texts))], changed.scoring)
    np.testing.assert_array_equal(index.rows().toarray(), rows.toarray())
    assert index.average_length() == pytest.approx(transformed.sum(axis=1).mean(), rel=1e-6)


def test_queries_have_their_own_prompt_and_k(encoder, texts):
    terms = TermsConfig(k_documents=3, k_queries=2, floor_documents=0.0, floor_queries=0.0)
    encoder = LatentTermEncoder(encoder.backbone, encoder.sae, terms, BM25Config(query_transform="log1p"))
    queries = encoder.encode_queries(iter(texts))
    np.testing.assert_allclose(queries.to_csr().toarray(), reference_rows(encoder, texts, "query", 2), rtol=1e-5, atol=1e-5)
    assert queries.texts == tuple(texts)
    assert queries.fingerprint == encoder.fingerprint
    documents = encoder.encode_documents(texts)
    np.testing.assert_allclose(documents.toarray(), reference_rows(encoder, texts, "document", 3), rtol=1e-5, atol=1e-5)
    assert encoder.encode_documents(texts, k=1).nnz < documents.nnz


def test_small_terms_are_dropped_by_the_share_of_the_heaviest(encoder, texts):
    raw = encoder.encode_documents(texts).toarray()
    wanted = np.where(raw >= 0.3 * raw.max(axis=1, keepdims=True), raw, 0)
    assert 0 < np.count_nonzero(wanted) < np.count_nonzero(raw)
    np.testing.assert_array_equal(encoder.encode_documents(texts, floor=0.3).toarray(), wanted)
    configured = LatentTermEncoder(encoder.backbone, encoder.sae, TermsConfig(floor_documents=0.3, floor_queries=0.6))
    np.testing.assert_array_equal(configured.encode_documents(texts).toarray(), wanted)
    np.testing.assert_array_equal(configured.encode_documents(texts, floor=0).toarray(), raw)
    queries = encoder.encode_queries(texts).to_csr().toarray()
    kept = np.where(queries >= 0.6 * queries.max(axis=1, keepdims=True), queries, 0)
    np.testing.assert_array_equal(configured.encode_queries(texts).to_csr().toarray(), kept)
    states = encoder.backbone.encode(texts, "document")
    np.testing.assert_array_equal(configured.encode_states(states, "document").toarray(), wanted)
    assert configured.fingerprint == encoder.fingerprint
    with_defaults = LatentTermEncoder(encoder.backbone, encoder.sae)
    cut, cut_queries = (np.where(rows >= f * rows.max(1)[:, None], rows, 0) for rows, f in ((raw, 0.015), (queries, 0.08)))
    np.testing.assert_array_equal(with_defaults.encode_documents(texts).toarray(), cut)
    np.testing.assert_array_equal(with_defaults.encode_queries(texts).to_csr().toarray(), cut_queries)


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_a_floor_that_is_no_share_is_refused(encoder, floor):
    with pytest.raises(ConfigError, match="must be a share"):
        encoder.iterate_documents(["a"], floor=floor)


@given(arrays(np.float32, (4, 6), elements=st.sampled_from([0, 0.25, 0.5, 1, 2, 8])), st.sampled_from([0, 0.1, 0.25, 0.5, 1]))
def test_dropping_small_weights_keeps_what_reaches_the_share(rows, floor):
    kept = drop_small(csr_array(rows), floor)
    np.testing.assert_array_equal(kept.toarray(), np.where(rows >= floor * rows.max(axis=1, keepdims=True), rows, 0))
    assert kept.dtype == np.float32 and kept.has_sorted_indices


def test_any_chunking_gives_the_same_rows(encoder, texts):
    whole = encoder.encode_documents(texts)
    for size in (1, 2, 3):
        chunks = list(encoder.iterate_documents(iter(texts), texts_per_chunk=size))
        assert [chunk.shape[0] for chunk in chunks] == [min(size, len(texts) - i) for i in range(0, len(texts), size)]
    assert (encoder.encode_documents(iter(texts), texts_per_chunk=2) != whole).nnz == 0


def test_a_stream_is_read_no_further_than_needed(encoder):
    taken = []

    def stream():
        for number in range(10**9):
            taken.append(number)
            yield f"text {number}"

    chunks = encoder.iterate_documents(stream(), texts_per_chunk=5)
    next(chunks)
    assert len(taken) <= 6


@pytest.mark.parametrize("pooling", ["sum", "max"])
def test_a_huge_text_is_read_in_parts_that_add_up(make_backbone, make_sae, monkeypatch, pooling):
    text = "otter river bank interest " * 30
    make = lambda **options: LatentTermEncoder(make_backbone(**options), make_sae(), TermsConfig(pooling=pooling))  # noqa: E731
    whole = make().encode_documents([text, "small"]).toarray()
    monkeypatch.setattr("lexite.terms.chunks.CHARACTERS_PER_PART", 64)
    parted = make()
    rows = np.vstack([part.toarray() for part in parted.iterate_documents([text, "small"], texts_per_chunk=1)])
    assert len(parted.backbone.chunks) > 10 and max(parted.backbone.chunks) == 1
    np.testing.assert_allclose(rows, whole, rtol=1e-5)
    cut = make(config=BackboneConfig(model="fake-model", long="truncate"))
    cut.encode_documents([text], texts_per_chunk=1)
    assert cut.backbone.chunks == [1]  # cut by the model itself


@given(st.text(alphabet="ab \n\u2003", max_size=60), st.integers(1, 12))
def test_parts_are_bounded_and_make_up_the_text(text, size):
    parts = list(split_text(text, size))
    assert "".join(parts) == text and all(0 < len(part) <= size for part in parts)
    assert all(a[-1].isspace() or len(a) == size for a in parts[:-1])


def test_long_texts_make_smaller_chunks(encoder, monkeypatch):
    monkeypatch.setattr("lexite.terms.chunks.BYTES_PER_CHUNK", 40)
    assert encoder.encode_documents(["word " * 7, "ä" * 19, "aa", "b", "c " * 50]).shape[0] == 5
    assert encoder.backbone.chunks == [1, 2, 1, 1]


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode_documents([]).shape == (0, 64)
    queries = encoder.encode_queries(iter(()))
    assert queries.shape == (0, 64)
    assert queries.texts == ()


def test_states_that_are_there_already_give_the_same_rows(encoder, texts):
    states = encoder.backbone.encode(texts, "query")
    wanted = encoder.encode_queries(texts, k=3, floor=0.2)
    rows = encoder.encode_states(states, "query", k=3, floor=0.2)
    np.testing.assert_array_equal(rows.toarray(), wanted.to_csr().toarray())
    queries = encoder.queries_of_states(states, texts, k=3, floor=0.2)
    np.testing.assert_array_equal(queries.to_csr().toarray(), wanted.to_csr().toarray())
    same = (queries.texts, queries.fingerprint, queries.settings, queries.deliberate)
    assert same == (wanted.texts, wanted.fingerprint, wanted.settings, wanted.deliberate)


def test_a_query_is_explained_by_its_terms(encoder):
    counts = np.ones(64, dtype=np.int64)
    labels = tuple((f"word{i}", "x", "y", "z") for i in range(64))
    vocabulary = Vocabulary(counts, counts, 2, 3, 4, labels)
    encoder = LatentTermEncoder(encoder.backbone, encoder.sae, vocabulary=vocabulary)
    explained = encoder.query_terms("river bank")
    assert encoder.scoring.query_transform == "pow0.75"
    row = encoder.encode_queries(["river bank"]).to_csr().toarray()[0].astype(np.float64) ** 0.75
    wanted = {int(term): float(row[term]) for term in np.flatnonzero(row)}
    assert {term: weight for term, _, weight in explained} == pytest.approx(wanted, rel=1e-6)
    weights = [weight for _, _, weight in explained]
    assert weights == sorted(weights, reverse=True)
    assert all(label == f"word{term}, x, y" for term, label, _ in explained)


def test_without_a_vocabulary_terms_are_numbers(encoder):
    assert encoder.label(7) == "latent 7"
    assert encoder.query_terms("") == []


@pytest.mark.parametrize("call", ["encode_documents", "encode_queries", "iterate_documents"])
def test_one_text_instead_of_a_list_is_refused_with_advice(encoder, call):
    with pytest.raises(ArgumentError, match=rf"{call}\(\[text\]\)") as caught:
        getattr(encoder, call)("one text")
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, LexiteError)


def test_what_is_not_text_is_refused(encoder):
    with pytest.raises(ArgumentError, match="Text 1 .* is a NoneType"):
        encoder.encode_documents(["a", None])
    with pytest.raises(ArgumentError, match="not a int"):
        encoder.encode_documents(3)
    with pytest.raises(ArgumentError, match="one text"):
        encoder.query_terms(["a"])


@pytest.mark.parametrize("k", [0, 65])
def test_k_outside_the_latents_is_refused(encoder, k):
    with pytest.raises(ConfigError, match="between 1 and 64"):
        encoder.encode_documents(["a"], k=k)
    with pytest.raises(ConfigError, match="between 1 and 64"):
        LatentTermEncoder(encoder.backbone, encoder.sae, TermsConfig(k_queries=k))


def test_nan_states_are_refused_with_the_number_of_the_text(encoder):
    with pytest.raises(BackboneError, match="text 3"):
        encoder.encode_documents(["a", "b", "c", "d nan"], texts_per_chunk=2)


def test_parts_that_do_not_fit_are_refused(encoder, make_backbone, make_sae):
    with pytest.raises(ModelError, match="width 8"):
        LatentTermEncoder(make_backbone(), make_sae(d_model=8))
    counts = np.zeros(3, dtype=np.int64)
    with pytest.raises(ModelError, match="describes 3 terms"):
        LatentTermEncoder(make_backbone(), make_sae(), vocabulary=Vocabulary(counts, counts, 1, 1, 1, ((), (), ())))


def test_states_of_another_width_are_refused(encoder):
    narrow = TokenStates(torch.zeros(2, 8), np.array([0, 2]), np.zeros(2, dtype=np.int32))
    with pytest.raises(ModelError, match="width 8, but this vocabulary reads 12"):
        encoder.codes(narrow, 2)
    with pytest.raises(ModelError, match="width 8, but this vocabulary reads 12"):
        encoder.encode_states(narrow, "document")


def test_the_fingerprint_is_what_decides_terms_but_not_k(encoder, make_backbone, make_sae):
    def fingerprint(backbone=None, sae=None, **terms):
        return LatentTermEncoder(backbone or make_backbone(), sae or make_sae(), TermsConfig(**terms)).fingerprint

    same = {encoder.fingerprint, fingerprint(), fingerprint(k_documents=1, k_queries=2)}
    others = [
        fingerprint(pooling="max"),
        fingerprint(sae=make_sae(seed=1)),
        fingerprint(backbone=make_backbone(BackboneConfig(model="fake-model", document_prompt="passage: "))),
    ]
    assert len(same) == 1 and len({*same, *others}) == 4


def test_it_shows_what_it_is(encoder):
    assert repr(encoder) == "LatentTermEncoder('tiny', fake, 64 latents, k 4)"
    assert (encoder.name, encoder.n_latents, encoder.source, encoder.prefix_size) == ("tiny", 64, "", None)
