"""What is done to a model before and after training: its mean state, a decoder, adapters merged into the weights."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_losses import DenseTwin, make_model
from latent_models import save_bert, save_late
from peft import LoraConfig
from sentence_transformers import SentenceTransformer, SparseEncoder
from torch import nn

from lexite.errors import ArgumentError, BackboneError
from lexite.integrations.sentence_transformers import (
    LatentTermsSparseEncoder,
    center_on,
    fit_decoder,
    freeze_backbone,
    merge_adapters,
)
from lexite.integrations.sentence_transformers.losses import LatentTermsLoss, TokenReconstructionLoss
from lexite.integrations.sentence_transformers.preparation import (
    backbone_modules,
    dense_modules,
    own_modules,
    token_states,
    unwrap,
)

TEXTS = ["the cat sat on the mat", "a dog. and rain, in spain", "zebra", "cats and dogs sat in the rain", "it does not fall"]


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense model with prompts for queries and documents."""
    return save_bert(tmp_path_factory.mktemp("prompted"))


def states_of(model: Any, texts: list[str], prompt: str | None) -> torch.Tensor:
    return DenseTwin(model).column(model.preprocess(texts, prompt=prompt), "document").states.float()


def test_token_states_are_those_of_encoded_documents(prompted: Path):
    model = make_model(prompted).eval()
    states = token_states(model, TEXTS)
    torch.testing.assert_close(states, states_of(model, TEXTS, "passage: "), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(states, states_of(model, TEXTS, None), atol=1e-2), "the prompt matters"
    assert states.dtype == torch.float32 and not states.requires_grad
    torch.testing.assert_close(token_states(model, TEXTS, 7), states[:7])


def test_token_states_are_read_no_further_than_needed(prompted: Path):
    model, read = make_model(prompted), []
    with torch.no_grad():
        token_states(model, (read.append(i) or "the cat" for i in range(1000)), 40)  # type: ignore[func-returns-value]
    assert len(read) == 32 and model.training


def test_token_states_of_several_batches_do_not_depend_on_padding(prompted: Path):
    model = make_model(prompted)
    parts = torch.cat([token_states(model, [text]) for text in TEXTS * 14])
    torch.testing.assert_close(token_states(model, TEXTS * 14), parts, rtol=1e-4, atol=1e-5)


def test_tokens_that_are_no_terms_of_documents_have_no_states(tmp_path: Path):
    model = LatentTermsSparseEncoder.from_dense(str(save_late(tmp_path)), hidden_dim=64, k=4)
    every = token_states(model, ["a dog, a cat."])
    model.token_pooling.skipped_ids = {"document": model.tokenizer.convert_tokens_to_ids([",", "."]), "query": [7]}
    without = token_states(model, ["a dog, a cat."])
    assert len(every) == len(without) + 2 and every.shape[1] == 16
    assert all((every == row).all(1).any() for row in without)


def test_the_mode_is_put_back_after_an_error(prompted: Path):
    model = make_model(prompted)
    with pytest.raises(ArgumentError, match="Give some texts"):
        token_states(model, [])
    with pytest.raises(ArgumentError, match="not one"):
        token_states(model, TEXTS[0])
    model[0].forward = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("no memory"))
    with pytest.raises(RuntimeError, match="no memory"):
        token_states(model, TEXTS)
    assert model.training


@pytest.mark.parametrize(
    "options", [{}, {"rms_scale": 0.3}, {"normalize": "layer_norm"}, {"normalize": "constant_norm_rescale"}]
)
def test_center_on_sets_the_bias_to_the_mean_state(prompted: Path, options: dict[str, Any]):
    model = make_model(prompted, **options)
    center_on(model, TEXTS)
    states = states_of(model, TEXTS, "passage: ") * options.get("rms_scale", 1.0)
    if options.get("normalize") == "layer_norm":
        states = (states - states.mean(1, keepdim=True)) / (states.std(1, keepdim=True) + 1e-5)
    elif options:
        norms = states.norm(dim=1, keepdim=True)
        states = states * states.shape[1] ** 0.5 / norms if "normalize" in options else states
    torch.testing.assert_close(model.token_encoder.b_pre.detach(), states.mean(0), rtol=1e-4, atol=1e-5)
    assert model.token_encoder.b_pre.requires_grad


def fvu(model: Any, texts: list[str]) -> float:
    loss = TokenReconstructionLoss(model, normalize_decoder=False)
    model.eval()
    with torch.no_grad():
        return loss([model.preprocess(texts, prompt="passage: ")])["fvu"].item()


@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_a_fitted_decoder_is_better_than_the_encoders_rows(prompted: Path, normalize: str):
    texts = [f"{one} and {other}" for one in TEXTS for other in TEXTS]
    model = LatentTermsSparseEncoder.from_dense(
        str(prompted), hidden_dim=64, k=4, has_decoder=False, texts=texts, normalize=normalize
    )
    with torch.no_grad():
        model.token_encoder.W_enc *= 0.5  # whose rows are not of unit norm
    rows = copy.deepcopy(model)
    rows.token_encoder.W_dec = nn.Parameter(nn.functional.normalize(rows.token_encoder.W_enc.detach(), dim=1))
    before = model.encode_document(TEXTS).to_dense()
    fit_decoder(model, texts)
    encoder = model.token_encoder
    assert fvu(model, texts) < 0.9 * fvu(rows, texts)
    assert encoder.has_decoder and encoder.W_dec is not None and encoder.W_dec.requires_grad
    torch.testing.assert_close(encoder.W_dec.detach().norm(dim=1), torch.ones(64))
    assert torch.equal(model.encode_document(TEXTS).to_dense(), before), "codes do not depend on the decoder"


def test_a_fitted_decoder_is_saved_and_trained(prompted: Path, tmp_path: Path):
    model = LatentTermsSparseEncoder.from_dense(str(prompted), hidden_dim=64, k=4, has_decoder=False, texts=TEXTS)
    fit_decoder(model, TEXTS)
    model.save(str(tmp_path / "model"))
    again = LatentTermsSparseEncoder(str(tmp_path / "model"), device="cpu")
    torch.testing.assert_close(again.token_encoder.W_dec, model.token_encoder.W_dec)
    TokenReconstructionLoss(again)([again.train().preprocess(TEXTS)])["fvu"].backward()
    assert again.token_encoder.W_dec.grad.any()


def test_a_frozen_encoder_gets_a_frozen_decoder(prompted: Path):
    model = LatentTermsSparseEncoder.from_dense(str(prompted), hidden_dim=64, k=4, has_decoder=False, frozen=True)
    fit_decoder(model, TEXTS)
    assert not model.token_encoder.W_dec.requires_grad


def with_adapter(folder: Path, **options: Any) -> Any:
    """A model with an adapter that changes what it makes."""
    model = make_model(folder)
    settings = {"r": 4, "target_modules": ["query", "value", "dense"], "lora_dropout": 0.0, **options}
    model.add_adapter(LoraConfig(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize(
    "options", [{}, {"use_dora": True, "target_modules": ["query"]}, {"modules_to_save": ["LayerNorm"], "use_rslora": True}]
)
def test_merged_adapters_change_nothing(
    prompted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
):
    model = with_adapter(prompted, **options)
    adapted = model.eval().encode_document(TEXTS).to_dense()
    assert not torch.allclose(adapted, make_model(prompted).eval().encode_document(TEXTS).to_dense(), atol=0.05)
    merge_adapters(model)
    torch.testing.assert_close(model.encode_document(TEXTS).to_dense(), adapted, rtol=1e-4, atol=1e-4)
    assert not any("lora" in name or "base_layer" in name or "modules_to_save" in name for name, _ in model.named_modules())
    model.save(str(tmp_path / "model"))
    assert not list((tmp_path / "model").rglob("adapter_*"))
    monkeypatch.setitem(sys.modules, "peft", None)  # as if it were not installed, also to those that ask for its files
    monkeypatch.setattr("sentence_transformers.base.modules.transformer.is_peft_available", lambda: False, raising=False)
    again = LatentTermsSparseEncoder(str(tmp_path / "model"), device="cpu")
    torch.testing.assert_close(again.encode_document(TEXTS).to_dense(), adapted, rtol=1e-4, atol=1e-4)


def test_an_adapter_is_all_that_is_trained_of_the_dense_model(prompted: Path):
    model = with_adapter(prompted)
    LatentTermsLoss(model.train())([model.preprocess(TEXTS), model.preprocess(TEXTS[::-1])])["ranking"].backward()
    trained = {name for name, parameter in model[0].named_parameters() if parameter.grad is not None}
    assert trained and all("lora_" in name for name in trained)
    assert model.token_encoder.W_enc.grad.any() and model[0].training


def test_a_model_without_adapters_stays_as_it_is(prompted: Path):
    model = make_model(prompted)
    before = copy.deepcopy(model.state_dict())
    merge_adapters(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_dense_part_is_frozen_alone(prompted: Path):
    model = make_model(prompted)
    freeze_backbone(model)
    assert not any(parameter.requires_grad for module in backbone_modules(model) for parameter in module.parameters())
    assert all(parameter.requires_grad for parameter in model.token_encoder.parameters())


def test_the_modules_of_a_dense_model(prompted: Path, tmp_path: Path):
    dense = SentenceTransformer(str(prompted), device="cpu")
    modules, prompts, width = dense_modules(dense)
    assert modules == [dense[0]] and prompts == {"query": "query: ", "document": "passage: "} and width == 32
    late, _, width = dense_modules(save_late(tmp_path))
    assert [type(module).__name__ for module in late][:2] == ["Transformer", "Dense"] and width == 16
    with pytest.raises(BackboneError, match="no-such-model"):
        dense_modules(str(tmp_path / "no-such-model"))


@pytest.mark.parametrize("name", ["passage", "corpus"])
def test_documents_get_their_prompt_whatever_its_name(prompted: Path, name: str):
    dense = SentenceTransformer(str(prompted), device="cpu", prompts={"document": "", name: "rain "})
    model = LatentTermsSparseEncoder.from_dense(dense, hidden_dim=64, k=4).eval()
    prompted_terms = model.encode(TEXTS, prompt="rain ").to_dense()
    torch.testing.assert_close(model.encode_document(TEXTS).to_dense(), prompted_terms)
    assert not torch.allclose(model.encode(TEXTS).to_dense(), prompted_terms)
    torch.testing.assert_close(
        torch.tensor(model.encode_csr(TEXTS, task="document").toarray()), prompted_terms, rtol=1e-4, atol=1e-5
    )
    usual = SentenceTransformer(str(prompted), device="cpu", prompts={"document": "rain "})
    expected = token_states(LatentTermsSparseEncoder.from_dense(usual, hidden_dim=64, k=4), TEXTS)
    torch.testing.assert_close(token_states(model, TEXTS), expected)


def test_modules_are_found_within_wrappers(prompted: Path):
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    model = make_model(prompted)
    assert unwrap(Wrapper(Wrapper(model))) is model
    assert own_modules(Wrapper(model)) == (model.token_encoder, model.token_pooling)
    with pytest.raises(ArgumentError, match="must have a SparseAutoEncoderTokenEncoder and a SparseTokenPooling"):
        own_modules(SparseEncoder(modules=list(model)[:1], device="cpu"))
