"""Late-interaction models: projected states before normalising, and MaxSim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS
from sentence_transformers import MultiVectorEncoder

from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import BackboneError

Load = Callable[..., TransformerBackbone]
WORDS = ["the cat sat. on, the mat", "a dog", "rain in spain"]


@pytest.fixture
def model(late_folder: Path) -> MultiVectorEncoder:
    return MultiVectorEncoder(str(late_folder), device="cpu", local_files_only=True)


def test_states_are_the_projected_tokens_that_the_model_scores_with(
    late_folder: Path, load: Load, model: MultiVectorEncoder
) -> None:
    backbone = load(late_folder, special_tokens="keep", prompt_tokens="keep", long="truncate")
    assert (backbone.d_model, backbone.info()["scoring"]) == (16, "maxsim")
    states = backbone.encode([*WORDS, LONG_TEXT], "document")
    for i, text in enumerate([*WORDS, LONG_TEXT]):
        expected = model.encode_document([text])[0]
        got = torch.nn.functional.normalize(states.text(i), dim=1)
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(states.states.norm(dim=1), torch.ones(states.n_tokens), atol=0.1)


def test_tokens_that_the_model_never_scores_are_left_out(late_folder: Path, load: Load) -> None:
    backbone = load(late_folder)
    documents = [backbone.describe_token(i) for i in backbone.encode([WORDS[0]], "document").token_ids]
    assert documents == ["the", "cat", "sat", "on", "the", "mat"]
    queries = [backbone.describe_token(i) for i in backbone.encode([WORDS[0]], "query").token_ids]
    assert queries == ["the", "cat", "sat", ".", "on", ",", "the", "mat"]


def test_windows_are_of_the_document_length_and_cutting_follows_the_model(late_folder: Path, load: Load) -> None:
    assert load(late_folder).windows == {"document": 24, "query": 24}
    assert load(late_folder, long="truncate").windows == {"document": 24, "query": 16}
    assert load(late_folder, max_length=20).windows == {"document": 20, "query": 20}
    backbone = load(late_folder)
    ids = backbone.model.tokenizer(LONG_TEXT, add_special_tokens=False, verbose=False)["input_ids"]
    assert backbone.encode([LONG_TEXT], "query").token_ids.tolist() == ids


def test_dense_scores_are_the_models_maxsim(
    late_folder: Path, load: Load, model: MultiVectorEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexite.backbone.scoring.LATE_DOCUMENTS_PER_TILE", 2)
    backbone = load(late_folder)
    documents = [*WORDS, LONG_TEXT, "zebra"]
    expected = model.similarity(model.encode_query(WORDS), model.encode_document(documents)).numpy()
    np.testing.assert_allclose(backbone.dense_scores(WORDS, documents), expected, atol=1e-4)
    assert backbone.dense_scores(WORDS, []).shape == (3, 0)


def test_dense_scores_use_an_overridden_prompt(late_folder: Path, load: Load) -> None:
    own = load(late_folder).dense_scores(WORDS, WORDS)
    assert not np.allclose(own, load(late_folder, query_prompt="").dense_scores(WORDS, WORDS), atol=1e-3)


def test_there_is_no_single_vector(late_folder: Path, load: Load) -> None:
    with pytest.raises(BackboneError, match="no single vector per text"):
        load(late_folder).dense(TEXTS, "document")


def test_maxsim_of_an_empty_document_is_finite(late_folder: Path, load: Load) -> None:
    assert np.isfinite(load(late_folder).dense_scores(["", "a dog"], ["", "the cat"])).all()
