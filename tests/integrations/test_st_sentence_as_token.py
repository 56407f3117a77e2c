"""Sparse codes of whole texts are those of a dense autoencoder over sentence embeddings; they are trained, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from dense_codes import codes, preactivations
from latent_models import save_bert
from sentence_transformers import SentenceTransformer, SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments

from lexite.errors import ConfigError, ModelError
from lexite.integrations.sentence_transformers import (
    KAnnealingCallback,
    LatentTermsSparseEncoder,
    SentenceAsToken,
    SparseAutoEncoderTokenEncoder,
    SparseTokenPooling,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
    center_on,
    from_sentence_transformers,
)

N_LATENTS, K = 48, 2
TEXTS = ["the cat sat on the mat", "a dog", "", "rain falls in spain, mostly on the plain", "zebra", "Cats and dogs"]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return SentenceTransformer(
        str(save_bert(tmp_path_factory.mktemp("dense"))), device="cpu", prompts={"query": "", "document": ""}
    )


@pytest.fixture
def model(dense: SentenceTransformer) -> LatentTermsSparseEncoder:
    torch.manual_seed(0)
    encoder = SparseAutoEncoderTokenEncoder(32, N_LATENTS, K, precision="fp32", dead_after_tokens=40)
    with torch.no_grad():
        encoder.b_enc.normal_(0, 0.1)
        encoder.b_pre.normal_(0, 0.1)
    pooling = SparseTokenPooling(N_LATENTS, transform="none")
    return LatentTermsSparseEncoder(modules=[*dense, SentenceAsToken(32), encoder, pooling], device="cpu")


def expected_rows(model: Any, dense: SentenceTransformer, texts: list[str]) -> torch.Tensor:
    embeddings = torch.from_numpy(dense.encode(texts))
    weights = {name: getattr(model.token_encoder, name).detach() for name in ("W_enc", "b_enc", "b_pre")}
    return codes(preactivations(embeddings, weights), K)


def test_the_state_of_the_only_token_is_the_embedding():
    embeddings = torch.randn(3, 5)
    module = SentenceAsToken(5)
    features = module({"sentence_embedding": embeddings, "input_ids": torch.zeros(3, 9), "prompt_length": 4})
    assert set(features) == {"token_embeddings", "attention_mask", "dense_embedding"}, "nothing of the former tokens is left"
    assert torch.equal(features["token_embeddings"][:, 0], embeddings) and features["token_embeddings"].shape == (3, 1, 5)
    assert features["attention_mask"].tolist() == [[1], [1], [1]] and torch.equal(features["dense_embedding"], embeddings)
    assert module.get_embedding_dimension() == 5


def test_codes_are_those_of_dense_matrices(model: LatentTermsSparseEncoder, dense: SentenceTransformer):
    expected = expected_rows(model, dense, TEXTS)
    assert ((expected > 0).sum(1) <= K).all() and (expected > 0).any(1).all()
    torch.testing.assert_close(model.encode_document(TEXTS).to_dense(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.encode_csr(TEXTS, batch_size=2).toarray(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_prompt_is_part_of_the_embedding(model: LatentTermsSparseEncoder, dense: SentenceTransformer):
    expected = expected_rows(model, dense, [f"query: {text}" for text in TEXTS])
    torch.testing.assert_close(model.encode(TEXTS, prompt="query: ").to_dense(), expected, rtol=1e-4, atol=1e-5)


def test_saved_models_load(model: LatentTermsSparseEncoder, tmp_path: Path):
    model.save(str(tmp_path / "model"))
    expected = model.encode_document(TEXTS).to_dense()
    for again in (
        LatentTermsSparseEncoder(str(tmp_path / "model"), device="cpu"),
        SparseEncoder(str(tmp_path / "model"), device="cpu", trust_remote_code=True),
    ):
        assert [type(module) for module in again] == [type(module) for module in model]
        torch.testing.assert_close(again.encode_document(TEXTS).to_dense(), expected)


def test_codes_of_whole_texts_are_no_vocabulary(model: LatentTermsSparseEncoder, tmp_path: Path):
    with pytest.raises(ModelError, match="terms of tokens, not of whole texts"):
        from_sentence_transformers(model, dense_folder=tmp_path / "dense")
    assert not (tmp_path / "dense").exists()


def test_reconstruction_is_of_embeddings(model: LatentTermsSparseEncoder, dense: SentenceTransformer):
    center_on(model, TEXTS)
    embeddings = torch.from_numpy(dense.encode(TEXTS))
    torch.testing.assert_close(model.token_encoder.b_pre.detach(), embeddings.mean(0), rtol=1e-4, atol=1e-6)
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    terms = TokenReconstructionLoss(model.train(), shuffle_tokens=0)([model.preprocess(TEXTS)])
    decoder = model.token_encoder.W_dec.detach()
    decoded = expected_rows(model, dense, TEXTS) @ decoder + embeddings.mean(0)
    expected = ((embeddings - decoded) ** 2).sum() / ((embeddings - embeddings.mean(0)) ** 2).sum()
    assert terms["fvu"].item() == pytest.approx(float(expected), rel=1e-4)
    assert int(model.token_encoder.tokens_since_active.max()) == len(TEXTS), "each text is one token"


@pytest.mark.parametrize("train_backbone", [False, True])
def test_training_with_a_falling_k(model: LatentTermsSparseEncoder, tmp_path: Path, train_backbone: bool):
    model[0].requires_grad_(train_backbone)
    texts = [
        f"the {animal} {place}" for animal in ("cat", "dog", "zebra") for place in ("in the rain", "on the mat", "sat", "falls")
    ]
    data = Dataset.from_dict({"text": texts, "label": [0] * 4 + [1] * 4 + [2] * 4})
    center_on(model, texts)
    arguments = SparseEncoderTrainingArguments(
        str(tmp_path), max_steps=20, per_device_train_batch_size=12, learning_rate=5e-3, use_cpu=True, report_to="none",
        logging_steps=1, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    slots: list[int] = []
    model.token_pooling.register_forward_pre_hook(lambda module, args: slots.append(args[0]["token_sparse_values"].shape[-1]))
    loss = SupervisedContrastiveLoss(model)
    SparseEncoderTrainer(model, arguments, data, loss=loss, callbacks=[KAnnealingCallback(start=16)]).train()
    assert (slots[0], slots[14:20]) == (16, [K] * 6)
    model.eval()
    rows = torch.nn.functional.normalize(model.encode(texts).to_dense(), dim=1)
    cosines, same = rows @ rows.t(), torch.tensor([[i // 4 == j // 4 for i in range(12)] for j in range(12)])
    own = torch.eye(12, dtype=torch.bool)
    assert cosines[same & ~own].mean() > cosines[~same].mean() + 0.3
    assert int((rows > 0).sum(1).max()) <= K


@pytest.mark.slow
def test_csrv2_trains_low_rank_adapters_along(tmp_path: Path):
    from peft import LoraConfig

    from lexite.integrations.sentence_transformers import freeze_backbone, merge_adapters

    torch.manual_seed(0)
    dense = SentenceTransformer(str(save_bert(tmp_path / "own")), device="cpu")
    encoder = SparseAutoEncoderTokenEncoder(32, N_LATENTS, K, precision="fp32")
    modules = [*dense, SentenceAsToken(32), encoder, SparseTokenPooling(N_LATENTS, transform="none")]
    model = LatentTermsSparseEncoder(modules=modules, device="cpu")
    freeze_backbone(model)
    model.add_adapter(LoraConfig(r=2, target_modules=["query", "value"]))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    texts = [TEXTS[i % 2 * 4] + f" {i}" for i in range(16)]  # two kinds
    reconstruction = TokenReconstructionLoss(model, multi_topk_coefficient=1 / 8)
    loss = SupervisedContrastiveLoss(model, reconstruction=reconstruction)
    args = SparseEncoderTrainingArguments(
        str(tmp_path / "run"), max_steps=4, per_device_train_batch_size=8, learning_rate=1e-2, use_cpu=True, report_to="none"
    )
    trainer = SparseEncoderTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(16)]}),
        loss=loss,
        callbacks=[KAnnealingCallback(8)],
    )
    trainer.train()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert any("lora_B" in name for name in changed)
    assert not any("base_layer" in name or "LayerNorm" in name for name in changed), "the dense model's own weights stay"
    rows = model.encode_csr(texts)
    merge_adapters(model)
    assert np.allclose(model.encode_csr(texts).toarray(), rows.toarray(), atol=1e-4)
    assert model.token_encoder.k == K
    assert loss.get_config_dict()["reconstruction_multi_topk_coefficient"] == 1 / 8


def test_a_reconstruction_without_a_weight_is_refused(model: LatentTermsSparseEncoder):
    with pytest.raises(ConfigError, match="reconstruction_weight is 0"):
        SupervisedContrastiveLoss(model, reconstruction_weight=0.0, reconstruction=TokenReconstructionLoss(model))
