"""The ragged batch: its shape, its checks, and joining."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexite.backbone import TokenStates, concatenate
from lexite.errors import BackboneError


def make(counts: list[int], width: int = 3, dtype: torch.dtype = torch.float32) -> TokenStates:
    n = sum(counts)
    states = torch.arange(n * width, dtype=torch.float32).reshape(n, width).to(dtype)
    return TokenStates(states, np.cumsum([0, *counts]).astype(np.int64), np.arange(n, dtype=np.int32))


def test_properties_and_views() -> None:
    batch = make([2, 0, 3])
    assert (batch.n_texts, batch.n_tokens, batch.d_model) == (3, 5, 3)
    assert batch.text(1).shape == (0, 3)
    assert batch.text(2).data_ptr() == batch.states[2:].data_ptr()
    assert batch.check() is batch


def test_to_numpy_is_fp32() -> None:
    array = make([2], dtype=torch.bfloat16).to_numpy()
    assert array.dtype == np.float32
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_number_that_is_not_finite_names_text_and_token(bad: float, dtype: torch.dtype) -> None:
    batch = make([2, 0, 3], dtype=dtype)
    batch.states[4, 1] = bad
    with pytest.raises(BackboneError, match="token 2 of text 12 .* NaN or infinity"):
        batch.check(first_text=10)


def test_a_bad_row_beyond_the_first_look_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.backbone.states._ROWS_PER_LOOK", 2)
    batch = make([1, 1, 1, 1, 1])
    batch.states[3, 0] = float("nan")
    with pytest.raises(BackboneError, match="text 3 "):
        batch.check()


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2, 4], "rise from 0"),
        ([1, 5], "rise from 0"),
        ([0, 4, 3, 5], "rise from 0"),
        ([], "one more than there are texts"),
        ([0.0, 5.0], "whole numbers"),
    ],
)
def test_offsets_that_do_not_fit(offsets: list[float], message: str) -> None:
    batch = make([5])
    with pytest.raises(BackboneError, match=message):
        TokenStates(batch.states, np.array(offsets), batch.token_ids).check()


def test_shapes_that_do_not_fit() -> None:
    batch = make([5])
    with pytest.raises(BackboneError, match="here: token states must have two dimensions"):
        TokenStates(batch.states[0], batch.offsets, batch.token_ids).check(where="here")
    with pytest.raises(BackboneError, match="4 token ids for 5"):
        TokenStates(batch.states, batch.offsets, batch.token_ids[:4]).check()


def test_concatenate_keeps_texts() -> None:
    parts = [make([2, 0]), make([]), make([1, 3])]
    joined = concatenate(parts).check()
    assert joined.offsets.tolist() == [0, 2, 2, 3, 6]
    texts = [part.text(i) for part in parts for i in range(part.n_texts)]
    assert all(torch.equal(joined.text(i), text) for i, text in enumerate(texts))


def test_concatenate_refuses_what_does_not_fit() -> None:
    with pytest.raises(BackboneError, match="no token states"):
        concatenate([])
    with pytest.raises(BackboneError, match="different widths .* 3, 4"):
        concatenate([make([1]), make([1], width=4)])
