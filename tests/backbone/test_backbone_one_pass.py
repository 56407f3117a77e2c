"""Token states and dense vectors of one pass of the model, against passes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS

from lexite.backbone.base import states_and_later_vectors, states_and_vectors
from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import BackboneError

Load = Callable[..., TransformerBackbone]
ALL = [*TEXTS, LONG_TEXT, "", "x", LONG_TEXT + " end"]


@pytest.mark.parametrize("name", ["plain_folder", "mean_folder", "prompted_folder", "qwen_folder", "gpt_folder"])
@pytest.mark.parametrize("kind", ["document", "query"])
@pytest.mark.parametrize("options", [{}, {"special_tokens": "keep", "prompt_tokens": "keep", "long": "truncate"}])
def test_states_are_the_same_bits_and_vectors_the_dense_models(
    name: str, kind: Any, options: dict[str, str], load: Load, request: pytest.FixtureRequest
) -> None:
    backbone = load(request.getfixturevalue(name), **options)
    alone, dense = backbone.encode(ALL, kind), backbone.dense(ALL, kind)
    for states, vectors in (
        states_and_vectors(backbone, ALL, kind),
        (lambda states, later: (states, later()))(*states_and_later_vectors(backbone, ALL, kind)),
    ):
        assert torch.equal(states.states, alone.states)
        np.testing.assert_array_equal(states.offsets, alone.offsets)
        np.testing.assert_array_equal(states.token_ids, alone.token_ids)
        np.testing.assert_allclose(vectors, dense, atol=2e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_text_has_the_vector_of_what_the_dense_model_reads(mean_folder: Path, load: Load, side: str) -> None:
    backbone = load(mean_folder)
    backbone._tokenizer.tokenizer.truncation_side = side
    texts = [LONG_TEXT, TEXTS[0]]
    _, vectors = backbone.states_and_vectors(texts, "document")
    np.testing.assert_allclose(vectors, backbone.dense(texts, "document"), atol=2e-5)


def test_texts_within_the_window_go_through_the_model_once(
    mean_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load(mean_folder)
    runs: list[int] = []
    run = backbone._run

    def counted(sequences: Any, *rest: Any) -> Any:
        runs.append(len(sequences))
        return run(sequences, *rest)

    monkeypatch.setattr(backbone, "_run", counted)
    texts = ["the cat sat on the mat", "a dog", "zebra", "rain falls"]
    backbone.states_and_vectors(texts, "document")
    assert sum(runs) == len(texts)
    runs.clear()
    _, later = backbone.states_and_later_vectors(texts, "query")
    later()
    assert sum(runs) == len(texts)


def test_a_late_interaction_model_has_no_vectors(late_folder: Path, load: Load) -> None:
    backbone = load(late_folder)
    with pytest.raises(BackboneError, match="no single vector per text"):
        backbone.states_and_vectors(["a"], "document")
    _, later = backbone.states_and_later_vectors(["a"], "query")
    with pytest.raises(BackboneError, match="no single vector per text"):
        later()
