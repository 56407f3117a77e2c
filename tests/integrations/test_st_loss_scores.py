"""The differentiable BM25 ranks as the index does; what losses are told wrongly is answered; what they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dense_losses import N_LATENTS, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling

from lexite.errors import ArgumentError, ConfigError, ModelError
from lexite.index import BM25Index
from lexite.integrations.sentence_transformers import BM25Similarity, LatentTermsSparseEncoder
from lexite.integrations.sentence_transformers.losses import (
    DenseDistillationLoss,
    LatentTermsLoss,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
)
from lexite.integrations.sentence_transformers.losses.latent_terms import BM25Scores, flops, ranking_loss, smoothed_idf
from lexite.scoring.config import BM25Config
from lexite.terms import EncodedQueries

WEIGHTS = st.one_of(st.just(0.0), st.floats(2.0**-6, 64.0, width=32))
SCORINGS = st.builds(
    BM25Config,
    k1=st.sampled_from([0.0, 0.5, 2.5, 100.0]),
    b=st.sampled_from([0.0, 0.4, 1.0]),
    idf=st.sampled_from(["lucene", "robertson", "bm25+"]),
    idf_power=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    delta=st.sampled_from([0.0, 1.0, 1.5]),
    document_transform=st.sampled_from(["none", "sqrt", "log1p"]),
    query_transform=st.sampled_from(["none", "sqrt", "log1p", "pow0.75"]),
)
LOSSES = (DenseDistillationLoss, LatentTermsLoss, SupervisedContrastiveLoss, TokenReconstructionLoss)
TEXTS = ["the cat drinks milk", "snow on the lake", "parse a json file"]


@st.composite
def collections(draw: Any) -> tuple[Any, Any]:
    n_terms = draw(st.integers(1, 7))
    shapes = (draw(st.integers(1, 8)), n_terms), (draw(st.integers(1, 4)), n_terms)
    documents, queries = (draw(arrays.arrays(np.float32, shape, elements=WEIGHTS)) for shape in shapes)
    return documents, queries


def index_scores(documents: Any, queries: Any, scoring: BM25Config) -> Any:
    """Scores of BM25Index; 0 for documents that are no hits."""
    index = BM25Index.in_memory(sparse.csr_array(documents), [str(i) for i in range(len(documents))], scoring)
    found, values = index.search_arrays(EncodedQueries(sparse.csr_array(queries)), len(documents))
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for row, (numbers, given_scores) in enumerate(zip(found, values, strict=True)):
        scores[row, numbers[numbers >= 0]] = given_scores[numbers >= 0]
    return scores


@given(collections(), SCORINGS)
@settings(max_examples=60)
def test_scores_are_those_of_the_index_over_what_the_query_could_get(matrices: Any, scoring: BM25Config):
    documents, queries = matrices
    similarity = BM25Similarity(scoring, raw_embeddings=True).fit(documents)
    scores = BM25Scores(scoring, similarity)
    shares = scores(torch.from_numpy(queries), torch.from_numpy(documents)).numpy()
    assert shares.min() >= 0 and shares.max() <= 1 + 1e-6
    powers = {"none": queries, "sqrt": queries**0.5, "log1p": np.log1p(queries), "pow0.75": queries**0.75}
    most = (powers[scoring.query_transform] * scores.worth.numpy()).sum(1, keepdims=True)
    if scoring.idf == "bm25+":
        most = most * (scoring.k1 + 1 + scoring.delta)
    expected = index_scores(documents, queries, scoring)
    np.testing.assert_allclose(shares * most, expected, rtol=1e-4, atol=1e-6)


def test_documents_are_ranked_as_in_the_index(tiny_model: Path):
    model = make_model(tiny_model, train_backbone=False).eval()
    texts = [*TEXTS, "a dog and a horse", "the moon and the sun", "sort the list by key", "rain falls in the river"]
    documents, queries = (getattr(model, f"encode_{kind}")(texts).to_dense() for kind in ("document", "query"))
    raw = torch.from_numpy(model.encode_csr(texts, task="query", raw=True).toarray())
    assert not torch.allclose(raw, queries)
    shares = BM25Scores(model.scoring, model.bm25(documents))(raw, documents).numpy()
    expected = index_scores(documents.numpy(), raw.numpy(), model.scoring)
    np.testing.assert_array_equal(np.argsort(-shares, axis=1), np.argsort(-expected, axis=1))
    factors = expected / shares
    np.testing.assert_allclose(factors, factors[:, :1].repeat(len(texts), axis=1), rtol=1e-4)


def test_without_statistics_all_terms_are_worth_the_same():
    draw = np.random.default_rng(0)
    documents, queries = draw.gamma(1.0, size=(5, 9)), draw.gamma(1.0, size=(3, 9))
    scoring = BM25Config(idf_power=0.0)
    documents, queries = torch.tensor(documents).float(), torch.tensor(queries).float()
    expected = BM25Scores(scoring, BM25Similarity(scoring, raw_embeddings=True).fit(documents))(queries, documents)
    torch.testing.assert_close(BM25Scores(BM25Config())(queries, documents), expected)


def test_texts_without_terms_have_no_score_and_finite_gradients():
    queries = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    documents = torch.tensor([[0.0, 3.0], [0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    scores = BM25Scores(BM25Config())(queries, documents)
    assert scores[0].tolist() == [0, 0, 0] and scores[1, 1].item() == 0 < scores[1, 0].item()
    (ranking_loss(scores) + flops(queries, torch.ones(2)) + flops(documents, torch.ones(2))).backward()
    assert bool(torch.isfinite(queries.grad).all()) and bool(torch.isfinite(documents.grad).all())


def test_the_idf_of_the_penalty_stays_above_zero():
    share = torch.tensor([0.0, 0.25, 1.0])
    lucene = torch.log1p((4 - 4 * share + 0.5) / (4 * share + 0.5))
    torch.testing.assert_close(smoothed_idf(share, 4), lucene)
    assert smoothed_idf(share, 10**6)[2].item() == pytest.approx(np.log1p(1e-3 / 1.001), rel=1e-3)
    assert torch.isfinite(smoothed_idf(torch.zeros(2), 0)).all()


def test_statistics_of_other_terms_are_refused(tiny_model: Path):
    model = make_model(tiny_model)
    statistics = BM25Similarity().fit(np.ones((3, N_LATENTS + 1), dtype=np.float32))
    for kind in (LatentTermsLoss, DenseDistillationLoss):
        with pytest.raises(ArgumentError, match=f"of {N_LATENTS + 1} terms, but the model has {N_LATENTS}"):
            kind(model, statistics)
        with pytest.raises(ModelError, match="knows no collection"):
            kind(model, BM25Similarity())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (TokenReconstructionLoss, {"multi_topk_coefficient": -1.0}, "multi_topk_coefficient is -1.0, but must be 0 or more"),
        (TokenReconstructionLoss, {"aux_coefficient": -0.1}, "aux_coefficient is -0.1"),
        (TokenReconstructionLoss, {"shuffle_tokens": -1}, "shuffle_tokens is -1"),
        (LatentTermsLoss, {"scale": 0.0}, "scale is 0.0, but must be above 0"),
        (LatentTermsLoss, {"reconstruction_weight": -1.0}, "reconstruction_weight is -1.0"),
        (LatentTermsLoss, {"query_flops_weight": -1.0}, "query_flops_weight is -1.0"),
        (LatentTermsLoss, {"document_flops_weight": -1.0}, "document_flops_weight is -1.0"),
        (DenseDistillationLoss, {"scale": -1.0}, "scale is -1.0"),
        (DenseDistillationLoss, {"teacher_temperature": 0.0}, "teacher_temperature is 0.0"),
        (DenseDistillationLoss, {"reconstruction_weight": -1.0}, "reconstruction_weight is -1.0"),
        (SupervisedContrastiveLoss, {"temperature": 0.0}, "temperature is 0.0"),
        (SupervisedContrastiveLoss, {"weight": -1.0}, "weight is -1.0"),
        (SupervisedContrastiveLoss, {"reconstruction_weight": -1.0}, "reconstruction_weight is -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(tiny_model: Path, kind: Any, options: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        kind(make_model(tiny_model), **options)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_missing_decoder_is_named_where_it_is_needed(tiny_model: Path, kind: Any):
    model = LatentTermsSparseEncoder.from_dense(str(tiny_model), hidden_dim=N_LATENTS, k=4, has_decoder=False)
    weight = {} if kind is TokenReconstructionLoss else {"reconstruction_weight": 1.0}
    with pytest.raises(ModelError, match=r"no decoder.*fit_decoder\(model, texts\)"):
        kind(model, **weight)
    if kind is not TokenReconstructionLoss:
        columns = [model.preprocess(TEXTS), model.preprocess(TEXTS)]
        terms = kind(model.train(), reconstruction_weight=0.0)(columns)
        assert len(terms) == 1
        next(iter(terms.values())).backward()
        assert model.token_encoder.W_enc.grad is not None


def test_wrong_columns_are_named(tiny_model: Path):
    model = make_model(tiny_model)
    features = model.preprocess(TEXTS)
    with pytest.raises(ArgumentError, match="LatentTermsLoss needs two columns or more"):
        LatentTermsLoss(model)([features])
    with pytest.raises(ArgumentError, match="a column of integer labels, or two columns of texts"):
        SupervisedContrastiveLoss(model)([features])
    for kind in LOSSES:
        with pytest.raises(ArgumentError, match="no column of texts"):
            kind(model)([])


@pytest.mark.parametrize("labels", [torch.tensor([1.0, 0.5, 1.0]), torch.tensor([[1, 0], [0, 1], [1, 1]])])
def test_labels_that_are_no_classes_are_refused(tiny_model: Path, labels: torch.Tensor):
    model = make_model(tiny_model)
    columns = [model.preprocess(TEXTS), model.preprocess(TEXTS)]
    for kind in (LatentTermsLoss, SupervisedContrastiveLoss):
        with pytest.raises(ArgumentError, match="one integer per row"):
            kind(model)(columns, labels)
    for kind in (DenseDistillationLoss, TokenReconstructionLoss):  # which use no labels
        assert kind(model)(columns, labels)


@pytest.fixture
def splade(tmp_path: Path) -> SparseEncoder:
    """A SPLADE model of two small layers, which has no latent terms."""
    from latent_models import save_transformer, wordpiece
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = wordpiece()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder = save_transformer(tmp_path, BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes)), tokenizer)
    return SparseEncoder(modules=[Transformer(str(folder), transformer_task="fill-mask"), SpladePooling("max")], device="cpu")


def test_a_model_without_latent_terms(splade: SparseEncoder):
    for kind in (DenseDistillationLoss, LatentTermsLoss, TokenReconstructionLoss):
        with pytest.raises(ArgumentError, match="must have a SparseAutoEncoderTokenEncoder"):
            kind(splade)
    terms = SupervisedContrastiveLoss(splade.train())([splade.preprocess(TEXTS)], torch.tensor([0, 1, 0]))
    assert set(terms) == {"contrastive"} and bool(terms["contrastive"] > 0)
    terms["contrastive"].backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in splade.parameters())


def test_the_task_that_a_collator_names_is_taken(tiny_model: Path):
    model = make_model(tiny_model, query_k=1)
    seen: list[Any] = []
    model.token_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("task")), with_kwargs=True
    )
    features = model.preprocess(TEXTS)
    TokenReconstructionLoss(model)([features, features, {**features, "task": "query"}])
    TokenReconstructionLoss(model)([features])
    assert seen == ["query", "document", "query", None]


def test_losses_of_one_model_do_not_disturb_each_other(tiny_model: Path):
    model = make_model(tiny_model)
    more, plain = TokenReconstructionLoss(model, multi_topk_coefficient=0.125), TokenReconstructionLoss(model)
    features = [model.preprocess(TEXTS)]
    assert [set(loss(features)) for loss in (more, plain, more)] == [{"fvu", "fvu_4k"}, {"fvu"}, {"fvu", "fvu_4k"}]


def test_the_buffer_is_stated_as_it_is_used(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    model = make_model(tiny_model, train_backbone=False)
    alone, off = TokenReconstructionLoss(model, shuffle_tokens=77), TokenReconstructionLoss(model, shuffle_tokens=0)
    assert alone.get_config_dict()["shuffle_tokens"] == 77 and off.get_config_dict()["shuffle_tokens"] == 0
    beside = [
        LatentTermsLoss(model, reconstruction_weight=1.0, reconstruction=alone),
        DenseDistillationLoss(model, reconstruction=alone),
        SupervisedContrastiveLoss(model, reconstruction=alone),
    ]
    for loss in beside:
        stated = loss.get_config_dict()
        assert "reconstruction_shuffle_tokens" not in stated and stated["reconstruction_aux_coefficient"] == 1 / 32
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    assert alone.get_config_dict()["shuffle_tokens"] == 0
    monkeypatch.undo()
    for parameter in model[0].parameters():
        parameter.requires_grad_(True)
    assert alone.get_config_dict()["shuffle_tokens"] == 0


def test_what_losses_say_of_themselves(tiny_model: Path):
    model = make_model(tiny_model)
    statistics = model.bm25(model.eval().encode_document(TEXTS))
    losses = [
        TokenReconstructionLoss(model, multi_topk_coefficient=0.5),
        LatentTermsLoss(model, statistics, scale=3.0, query_flops_weight=0.25),
        DenseDistillationLoss(model, teacher_temperature=0.5),
        SupervisedContrastiveLoss(model, temperature=0.75),
    ]
    usual = {
        "reconstruction_multi_topk_coefficient": 0.0, "reconstruction_aux_coefficient": 1 / 32,
        "reconstruction_normalize_decoder": True,
    }  # fmt: skip
    assert losses[0].get_config_dict() == {
        "multi_topk_coefficient": 0.5, "aux_coefficient": 1 / 32, "normalize_decoder": True, "shuffle_tokens": 0,
    }  # fmt: skip
    assert losses[1].get_config_dict() == {
        "scale": 3.0, "reconstruction_weight": 0.0, "query_flops_weight": 0.25, "document_flops_weight": 0.0,
        "statistics": True,
    }  # fmt: skip
    assert losses[2].get_config_dict() == {
        "scale": 40.0, "teacher_temperature": 0.5, "reconstruction_weight": 1.0, "statistics": False,
        "teacher": "mean token states", **usual,
    }  # fmt: skip
    assert losses[3].get_config_dict() == {
        "temperature": 0.75, "weight": 1.0, "reconstruction_weight": 1.0, **usual,
    }  # fmt: skip
    sources = [["2605.29384", "2406.04093"], ["2605.29384"], ["2605.29384"], ["2503.01776", "2602.05735"]]
    for loss, ids in zip(losses, sources, strict=True):
        assert all(f"eprint={{{number}}}" in loss.citation for number in ids) and loss.citation.count("@misc{") == len(ids)
