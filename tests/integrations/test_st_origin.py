"""What was counted and measured with a vocabulary does not go on to a model whose weights or settings are others now."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_models import N_LATENTS, make_vocabulary

from lexite import LatentTermEncoder
from lexite.errors import ArgumentError, BackboneError, ModelError
from lexite.integrations.sentence_transformers import (
    LatentTermsSparseEncoder,
    from_sentence_transformers,
    to_sentence_transformers,
)
from lexite.integrations.sentence_transformers.origin import weights_changed
from lexite.sae import SparseAutoencoder
from lexite.scoring import BM25Config
from lexite.terms import ModelDetails, measure_vocabulary
from lexite.terms.static_counts import counter_for, table_for

TEXTS = ["The cat and the dog drink milk.", "Rain and snow fall on the lake.", "Open the file, read the text."]
RESULTS = {"collections": {"six": {"latent": {"nDCG@10": 0.7771}}}}
DETAILS = ModelDetails("tiny", "cc0-1.0", "Three sentences (CC0).", {"seed": 7}, RESULTS)


def measured(model: Path, **options: Any) -> LatentTermEncoder:
    """A vocabulary of which everything is known."""
    encoder = make_vocabulary(model, **options)
    counter = counter_for(encoder.backbone, N_LATENTS)
    assert counter is not None
    encoder.encode_documents(TEXTS, static=counter)
    vocabulary = measure_vocabulary(encoder, TEXTS, source="three sentences")
    return encoder.replaced(vocabulary=vocabulary, static=table_for(counter, encoder.backbone, "sum"), details=DETAILS)


@pytest.fixture
def encoder(tiny_model: Path) -> LatentTermEncoder:
    return measured(tiny_model)


@pytest.fixture
def model(encoder: LatentTermEncoder) -> LatentTermsSparseEncoder:
    return to_sentence_transformers(encoder)


def through_a_folder(model: LatentTermsSparseEncoder, folder: Path) -> LatentTermsSparseEncoder:
    model.save_pretrained(str(folder))
    return LatentTermsSparseEncoder(str(folder), device="cpu")


def converted(model: LatentTermsSparseEncoder, folder: Path) -> LatentTermEncoder:
    return from_sentence_transformers(model, dense_folder=folder, overwrite=True)


def add_noise(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.05)


def one_number(model: LatentTermsSparseEncoder) -> None:
    model.token_encoder.W_enc.data[3, 5] += 0.01


WEIGHTS: dict[str, Callable[[LatentTermsSparseEncoder], None]] = {
    "encoder": lambda model: add_noise(model.token_encoder.W_enc),
    "one number, unseen by torch": one_number,
    "bias": lambda model: add_noise(model.token_encoder.b_enc),
    "decoder bias": lambda model: add_noise(model.token_encoder.b_pre),
    "scale": lambda model: setattr(model.token_encoder, "rms_scale", 2.0),
    "mean": lambda model: setattr(model.token_encoder, "data_mean", torch.ones(32)),
    "norm": lambda model: setattr(model.token_encoder, "normalize", "layer_norm"),
    "dense model": lambda model: add_noise(next(model[0].parameters())),
    "special tokens": lambda model: setattr(model.token_pooling, "include_special_tokens", True),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_other_weights_leave_nothing_of_what_was_measured(model, encoder, tmp_path: Path, name: str) -> None:
    WEIGHTS[name](model)
    back = converted(through_a_folder(model, tmp_path / "sparse"), tmp_path / "dense")
    assert back.fingerprint != encoder.fingerprint
    assert back.static is None
    assert (back.details.name, back.details.results, back.details.recipe) == ("tiny-tuned", None, {"start": "tiny"})
    assert back.details.licence == "unknown" and "Three sentences (CC0)." in back.details.training_data
    assert back.vocabulary is not None and encoder.vocabulary is not None
    assert back.vocabulary.labels == encoder.vocabulary.labels
    assert (back.vocabulary.n_documents, back.vocabulary.n_used, int(back.vocabulary.document_counts.sum())) == (0, 0, 0)
    saved = back.save_pretrained(tmp_path / "saved")
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert "\n# tiny-tuned\n" in card and ".7771" not in card and "Not measured yet" in card
    assert not (saved / "static.safetensors").exists()


def test_what_was_made_of_other_weights_is_a_vocabulary_of_its_own(model, tmp_path: Path) -> None:
    WEIGHTS["encoder"](model)
    tuned = converted(model, tmp_path / "dense")
    tuned = tuned.replaced(details=dataclasses.replace(tuned.details, results=RESULTS, licence="mit"))
    again = from_sentence_transformers(through_a_folder(to_sentence_transformers(tuned), tmp_path / "sparse"))
    assert (again.fingerprint, again.details) == (tuned.fingerprint, tuned.details)


def test_a_model_that_is_the_same_keeps_everything(model, encoder, tmp_path: Path) -> None:
    add_noise(model.token_encoder.W_dec)  # which no term depends on
    model.train()
    model.eval()
    back = from_sentence_transformers(through_a_folder(model, tmp_path / "sparse"))
    assert back.details == DETAILS and back.static is not None and back.vocabulary is not None
    assert back.vocabulary.summary() == encoder.vocabulary.summary()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_no_change(model, tmp_path: Path, dtype: torch.dtype) -> None:
    model.to(dtype)
    assert from_sentence_transformers(model).details == DETAILS
    again = through_a_folder(model, tmp_path / "sparse")
    assert again.dtype == dtype and from_sentence_transformers(again).details == DETAILS
    one_number(again)
    assert from_sentence_transformers(again).details.name == "tiny-tuned"


def test_a_dense_model_that_is_gone_is_known_by_its_weights(tiny_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_model, tmp_path / "model")
    model = through_a_folder(to_sentence_transformers(measured(copy)), tmp_path / "sparse")
    shutil.rmtree(copy)
    with pytest.raises(ModelError, match="dense_folder"):
        from_sentence_transformers(model)
    back = converted(model, tmp_path / "dense")
    assert back.details == DETAILS and back.static is not None
    WEIGHTS["dense model"](model)
    assert converted(model, tmp_path / "dense").details.name == "tiny-tuned"


SETTINGS: dict[str, tuple[Callable[[LatentTermsSparseEncoder], None], bool]] = {
    "k": (lambda model: setattr(model.token_encoder, "k", 3), False),
    "pooling": (lambda model: setattr(model.token_pooling, "pooling_strategy", "max"), False),
    "k of queries": (lambda model: setattr(model.token_encoder, "query_k", 2), True),
    "floor": (lambda model: setattr(model.token_pooling, "floor", 0.2), True),
    "scoring": (lambda model: setattr(model, "scoring", BM25Config(k1=0.9)), True),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_leave_out_the_results(model, encoder, tmp_path: Path, name: str) -> None:
    change, static = SETTINGS[name]
    change(model)
    back = from_sentence_transformers(through_a_folder(model, tmp_path / "sparse"))
    assert back.details == dataclasses.replace(DETAILS, results=None)
    assert (back.static is not None) == static, "its rows are means of the codes of documents"
    assert back.vocabulary.summary() == encoder.vocabulary.summary(), "counted as it says"


def test_what_was_measured_of_the_new_weights_stays(model, tmp_path: Path) -> None:
    WEIGHTS["encoder"](model)
    plain = from_sentence_transformers(model)
    fresh = measure_vocabulary(plain, TEXTS[:2], source="two sentences")
    mine = ModelDetails("mine", "mit", results=RESULTS)
    model.extras = dataclasses.replace(model.extras, vocabulary=fresh, details=mine)
    back = from_sentence_transformers(through_a_folder(model, tmp_path / "sparse"))
    assert back.details == mine and back.vocabulary.source == "two sentences" and back.static is None
    np.testing.assert_array_equal(back.vocabulary.document_counts, fresh.document_counts)


def test_without_digests_nothing_is_taken_for_unchanged(model, tmp_path: Path) -> None:
    origin = {key: value for key, value in model.extras.origin.items() if key != "state"}
    model.extras = dataclasses.replace(model.extras, origin=origin)
    assert weights_changed(model)
    details = from_sentence_transformers(through_a_folder(model, tmp_path / "same")).details
    assert details.name == "tiny-tuned" and details.results is None


def test_the_card_of_a_changed_model_says_so(model, tmp_path: Path) -> None:
    untouched = (Path(model.save_pretrained(str(tmp_path / "a")) or tmp_path / "a") / "README.md").read_text(encoding="utf-8")
    assert "0.7771" in untouched and "no longer" not in untouched and "license: cc0-1.0" in untouched
    WEIGHTS["encoder"](model)
    assert weights_changed(model)
    model.save_pretrained(str(tmp_path / "b"))
    card = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert ".7771" not in card and "license: cc0-1.0" not in card and "no longer those of the vocabulary" in card
    assert "three sentences, before the weights were changed" in card
    tuned = from_sentence_transformers(LatentTermsSparseEncoder(str(tmp_path / "b"), device="cpu"))
    to_sentence_transformers(tuned).save_pretrained(str(tmp_path / "c"))
    card = (tmp_path / "c" / "README.md").read_text(encoding="utf-8")
    assert "## Vocabulary" not in card and "`tiny-tuned`" in card, "nothing was counted with these weights"


def test_device_is_where_the_model_is_put(tiny_vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentence_transformers.base.model.get_device_name", lambda: "meta")
    for device in ("cpu", "auto" if not torch.cuda.is_available() else "cpu"):
        model = to_sentence_transformers(tiny_vocabulary, device=device)
        assert {tensor.device for tensor in (*model.parameters(), *model.buffers())} == {torch.device("cpu")}
        assert model.device == torch.device("cpu")


def test_without_a_device_the_library_chooses(tiny_vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sentence_transformers.base.model.get_device_name", lambda: asked.append("") or "cpu")
    to_sentence_transformers(tiny_vocabulary)
    assert asked


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (None, torch.float32),
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
        ("auto", torch.bfloat16),
    ],
)
def test_precision_is_the_type_of_the_weights(
    tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str | None, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("lexite.kernels.hardware._cpu_has_fast_bf16", lambda: True)
    exact = to_sentence_transformers(tiny_vocabulary).encode_document(TEXTS).to_dense()
    model = to_sentence_transformers(tiny_vocabulary, device="cpu", precision=precision)
    assert {tensor.dtype for tensor in model.parameters()} == {dtype}
    rows = model.encode_document(TEXTS).to_dense().float()
    assert torch.cosine_similarity(rows, exact).min() > 0.98
    again = through_a_folder(model, tmp_path / "sparse")
    assert again.dtype == dtype
    torch.testing.assert_close(again.encode_document(TEXTS).to_dense().float(), rows)
    back = from_sentence_transformers(again)
    assert isinstance(back.sae, SparseAutoencoder) and back.name == "tiny"
    assert back.backbone.config.precision == ("fp32" if precision in (None, "fp16") else precision)


@pytest.mark.parametrize("argument", [{"long": "window"}, {"long": "truncate"}, {"precision": "int8"}])
def test_arguments_without_effect_are_refused(tiny_vocabulary: Path, argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ArgumentError, match=name):
        to_sentence_transformers(tiny_vocabulary, **argument)


@pytest.mark.parametrize("argument", [{"revision": "main"}, {"query_prompt": "ask: "}, {"long": "truncate"}])
def test_arguments_for_loading_are_refused_beside_an_encoder(encoder, argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ArgumentError, match=f"{name} has no effect on an encoder that is loaded already"):
        to_sentence_transformers(encoder, **argument)


def test_an_encoder_takes_device_and_precision_as_a_folder_does(encoder, tiny_vocabulary: Path) -> None:
    model = to_sentence_transformers(encoder, device="cpu", precision="bf16")
    assert {(tensor.dtype, tensor.device.type) for tensor in model.parameters()} == {(torch.bfloat16, "cpu")}
    with pytest.raises(BackboneError, match="'nowhere' cannot be used here"):
        to_sentence_transformers(encoder, device="nowhere")
