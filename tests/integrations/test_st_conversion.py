"""A vocabulary and the sparse encoder made from it give the same terms, and nothing is lost on the way there and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_models import N_LATENTS, SAVERS, K, make_vocabulary
from scipy.sparse import csr_array
from sentence_transformers import SparseEncoder

from lexite import LatentTermEncoder
from lexite.backbone.precomputed import PrecomputedBackbone
from lexite.backbone.store import StateStore
from lexite.errors import ArgumentError, ModelError, StorageError
from lexite.integrations.sentence_transformers import (
    LatentTermsSparseEncoder,
    from_sentence_transformers,
    save_dense,
    to_sentence_transformers,
)
from lexite.sae import SparseAutoencoder
from lexite.scoring import BM25Config
from lexite.terms import apply_transform, measure_vocabulary
from lexite.terms.static import StaticTable
from lexite.terms.static_counts import counter_for, table_for

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "",
    "rain falls in spain, mostly on the plain. it does not fall elsewhere; the cat knows",
    "zebra",
    "Cats and dogs sat in the rain",
]
KINDS = ("bert", "decoder", "late")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a dense model, by kind."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = SAVERS[kind](tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


def same_rows(one: csr_array, other: Any, atol: float = 1e-5) -> None:
    expected = one.toarray()
    assert (expected != 0).any(), "a comparison of nothing"
    actual = other.toarray() if hasattr(other, "toarray") else other.to_dense().numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)


def same_terms(encoder: LatentTermEncoder, model: LatentTermsSparseEncoder, texts: list[str] = TEXTS) -> None:
    """Documents and queries, dense and sparse, transformed and raw, alone and in batches."""
    scoring = encoder.scoring
    for task, raw, transform, library in (
        ("document", encoder.encode_documents(texts), scoring.document_transform, model.encode_document),
        ("query", encoder.encode_queries(texts).rows, scoring.query_transform, model.encode_query),
    ):
        rows = apply_transform(raw, transform)
        same_rows(rows, library(texts))
        same_rows(rows, library(texts, batch_size=2))
        same_rows(rows, torch.stack([library(text) for text in texts]))
        same_rows(rows, model.encode_csr(texts, task=task, batch_size=2))
        same_rows(raw, model.encode_csr(texts, task=task, raw=True))


def same_vocabulary(one: LatentTermEncoder, other: LatentTermEncoder) -> None:
    assert other.fingerprint == one.fingerprint
    assert (other.terms, other.scoring, other.details) == (one.terms, one.scoring, one.details)
    assert other.sae.config == one.sae.config and other.sae.activation == one.sae.activation
    assert other.backbone.config.model == one.backbone.config.model
    for name in ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias", "thresholds"):
        mine, theirs = getattr(one.sae, name), getattr(other.sae, name)
        assert (mine is None and theirs is None) or torch.equal(mine, theirs), name
    same_rows(one.encode_documents(TEXTS), other.encode_documents(TEXTS))
    same_rows(one.encode_queries(TEXTS).rows, other.encode_queries(TEXTS).rows)


def through_a_folder(model: LatentTermsSparseEncoder, folder: Path) -> LatentTermsSparseEncoder:
    model.save_pretrained(str(folder))
    return LatentTermsSparseEncoder(str(folder), device="cpu")


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all tokens": {"special_tokens": "keep", "prompt_tokens": "keep"},
    "other prompts": {"query_prompt": "the cat", "document_prompt": ""},
    "encoder alone": {"decoder": False, "sae": {"normalize_activations": "layer_norm", "apply_b_dec_to_input": False}},
    "jumprelu": {"activation": "jumprelu"},
    "jumprelu of few": {"activation": "jumprelu", "terms": {"k_documents": 3, "k_queries": 2}},
    "short": {
        "terms": {"pooling": "max", "k_documents": 4, "k_queries": 2, "floor_documents": 0.1, "floor_queries": 0.3},
        "scoring": BM25Config(k1=1.2, b=0.4, idf_power=1.0, document_transform="sqrt", query_transform="log1p"),
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_terms_there_and_back(dense, tmp_path: Path, kind: str, name: str) -> None:
    encoder = make_vocabulary(dense(kind), **OPTIONS[name])
    model = to_sentence_transformers(encoder)
    same_terms(encoder, model)
    assert model.scoring == encoder.scoring
    loaded = through_a_folder(model, tmp_path / "sparse")
    same_terms(encoder, loaded)
    same_vocabulary(encoder, from_sentence_transformers(loaded, precision="fp32"))
    same_vocabulary(encoder, from_sentence_transformers(loaded))
    same_vocabulary(encoder, from_sentence_transformers(str(tmp_path / "sparse")))


def test_labels_static_table_and_details_come_back(dense, tmp_path: Path) -> None:
    encoder = make_vocabulary(dense("bert"))
    details = dataclasses.replace(encoder.details, licence="cc0-1.0", training_data="Six sentences.")
    counter = counter_for(encoder.backbone, N_LATENTS)
    assert counter is not None
    encoder.encode_documents(TEXTS, static=counter)
    static = table_for(counter, encoder.backbone, "sum")
    encoder = encoder.replaced(vocabulary=measure_vocabulary(encoder, TEXTS), static=static, details=details)
    loaded = through_a_folder(to_sentence_transformers(encoder), tmp_path / "sparse")
    back = from_sentence_transformers(loaded)
    same_vocabulary(encoder, back)
    assert encoder.vocabulary is not None and encoder.static is not None
    assert back.vocabulary is not None and back.static is not None
    assert [back.label(i) for i in range(N_LATENTS)] == [encoder.label(i) for i in range(N_LATENTS)]
    assert back.vocabulary.summary() == encoder.vocabulary.summary()
    encoder.static.save(tmp_path)
    same_rows(StaticTable.load(tmp_path).encode(TEXTS), back.static.encode(TEXTS))
    np.testing.assert_array_equal(back.static.counts, encoder.static.counts)
    saved = back.save_pretrained(tmp_path / "vocabulary")
    same_vocabulary(encoder, LatentTermEncoder.from_pretrained(saved))


def test_converting_leaves_the_vocabulary_alone(dense) -> None:
    encoder = make_vocabulary(dense("bert"))
    before = encoder.encode_documents(TEXTS)
    model = to_sentence_transformers(encoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    same_rows(before, encoder.encode_documents(TEXTS))


def test_rounded_weights_keep_their_fingerprint(dense, tmp_path: Path) -> None:
    folder = make_vocabulary(dense("bert")).save_pretrained(tmp_path / "vocabulary", dtype="bf16", encoder_only=True)
    encoder = LatentTermEncoder.from_pretrained(folder)
    back = from_sentence_transformers(through_a_folder(to_sentence_transformers(encoder), tmp_path / "sparse"))
    assert back.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_dense_model_is_saved_and_gives_its_own_terms(dense, tmp_path: Path, kind: str) -> None:
    model = to_sentence_transformers(make_vocabulary(dense(kind)))
    with torch.no_grad():
        next(model.token_encoder.parameters()).mul_(1.1)
        for parameter in model[0].parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    with pytest.raises(ModelError, match="dense_folder") as caught:
        from_sentence_transformers(model)
    assert "\n" not in str(caught.value)
    encoder = from_sentence_transformers(model, dense_folder=tmp_path / "dense")
    same_terms(encoder, model)
    again = LatentTermEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "vocabulary"))
    same_terms(again, model)
    same_vocabulary(encoder, from_sentence_transformers(through_a_folder(to_sentence_transformers(again), tmp_path / "sparse")))
    with pytest.raises(StorageError, match="dense"):
        from_sentence_transformers(model, dense_folder=tmp_path / "dense")
    from_sentence_transformers(model, dense_folder=tmp_path / "dense", overwrite=True)


def test_a_new_model_becomes_a_vocabulary(dense, tmp_path: Path) -> None:
    model = LatentTermsSparseEncoder.from_dense(str(dense("bert")), hidden_dim=48, k=3, precision="fp32")
    encoder = from_sentence_transformers(model, dense_folder=tmp_path / "dense", precision="fp32")
    same_terms(encoder, model)
    assert (encoder.n_latents, encoder.k_for("document")) == (48, 3)
    assert save_dense(model, tmp_path / "other") == tmp_path / "other"


def test_other_prompts_are_another_way_to_read_texts(dense) -> None:
    encoder = make_vocabulary(dense("bert"))
    model = to_sentence_transformers(encoder)
    model.prompts["query"] = "the dog "
    back = from_sentence_transformers(model)
    assert back.fingerprint == encoder.fingerprint
    same_terms(back, model)


def test_other_tokens_are_another_vocabulary(dense, tmp_path: Path) -> None:
    model = to_sentence_transformers(make_vocabulary(dense("bert")))
    model.set_pooling_include_prompt(True)
    with pytest.raises(ModelError, match="what it leaves out of a text"):
        from_sentence_transformers(model)
    same_terms(from_sentence_transformers(model, dense_folder=tmp_path / "dense"), model)


def test_another_k_goes_along(dense) -> None:
    encoder = make_vocabulary(dense("bert"), terms={"k_queries": 2})
    model = to_sentence_transformers(encoder)
    assert from_sentence_transformers(model).terms == encoder.terms
    model.token_encoder.k, model.token_encoder.query_k = 3, None
    back = from_sentence_transformers(model)
    assert (back.k_for("document"), back.k_for("query"), back.sae.config.k) == (3, 3, K)
    same_terms(back, model)


def test_scales_and_means_of_the_input_are_folded(dense) -> None:
    model = to_sentence_transformers(make_vocabulary(dense("bert")))
    model.token_encoder.rms_scale = 2.5
    back = from_sentence_transformers(model)
    same_terms(back, model)
    states = back.backbone.encode(TEXTS, "document").states
    scaled = model.token_encoder.decode_tokens(model.token_encoder.encode_tokens(states))
    torch.testing.assert_close(back.sae.reconstruct(states) * 2.5, scaled, rtol=1e-4, atol=1e-4)
    model.token_encoder.data_mean = torch.linspace(-0.5, 0.5, 32)
    shifted = from_sentence_transformers(model)  # the scale has no effect beside a mean
    same_terms(shifted, model)
    assert shifted.encode_documents(TEXTS).nnz and (shifted.fingerprint != back.fingerprint)
    model.token_encoder.data_mean, model.token_encoder.normalize = None, "constant_norm_rescale"
    same_terms(from_sentence_transformers(model), model)
    model.token_encoder.data_mean = torch.ones(32)
    with pytest.raises(ModelError, match="data_mean"):
        from_sentence_transformers(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model.token_pooling, "pooling_strategy", "max_log1p"), "sum or max, not max_log1p"),
        (lambda model: setattr(model.token_pooling, "transform", "pow0.75"), "no transform pow0.75 for documents"),
        (lambda model: setattr(model, "max_active_dims", 20), "max_active_dims"),
    ],
)
def test_what_lexite_does_not_have_is_refused(dense, change, message) -> None:
    model = to_sentence_transformers(make_vocabulary(dense("bert")))
    change(model)
    with pytest.raises(ModelError, match=message):
        from_sentence_transformers(model)


def test_a_model_of_another_kind_is_refused(dense) -> None:
    library = SparseEncoder(modules=list(to_sentence_transformers(make_vocabulary(dense("bert")))), device="cpu")
    with pytest.raises(ArgumentError, match="not a SparseEncoder. Save that model"):
        from_sentence_transformers(library)


def test_what_sentence_transformers_does_not_have_is_refused(dense, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="activation abs_topk has no counterpart"):
        to_sentence_transformers(make_vocabulary(dense("bert"), activation="abs_topk"))
    encoder = make_vocabulary(dense("bert"))
    states = encoder.backbone.encode(["a cat"], "document")
    store = StateStore.write(tmp_path / "states", [states], backbone_info=encoder.backbone.info(), kind="document")
    with pytest.raises(ModelError, match="precomputed states"):
        to_sentence_transformers(encoder.replaced(backbone=PrecomputedBackbone(store)))


def test_a_prefix_is_converted_as_it_is(dense) -> None:
    encoder = make_vocabulary(dense("bert")).prefix(20)
    model = to_sentence_transformers(encoder)
    assert model.get_embedding_dimension() == 20
    same_terms(encoder, model)
    same_vocabulary(encoder, from_sentence_transformers(model))


@pytest.mark.slow
def test_the_default_vocabulary_gives_the_same_terms(tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained("default", precision="fp32", long="truncate")
    texts = [
        "How do tides follow the moon?",
        "A sparse autoencoder turns each token state into a few latents. BM25 ranks documents by them.",
        "",
        "deoxyribonucleic acid " * 200,
    ]
    model = to_sentence_transformers(encoder)
    model.token_encoder.precision = "fp32"
    same_terms(encoder, model, texts)
    loaded = through_a_folder(model, tmp_path / "sparse")
    same_terms(encoder, loaded, texts)
    back = from_sentence_transformers(loaded, precision="fp32")
    assert isinstance(back.sae, SparseAutoencoder) and back.fingerprint == encoder.fingerprint
    assert (back.terms, back.scoring, back.details) == (encoder.terms, encoder.scoring, encoder.details)
    assert [back.label(i) for i in (0, 9, 16383)] == [encoder.label(i) for i in (0, 9, 16383)]
