"""The softmax of scores in one pass, against torch's in fp32."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels.attention import masked_softmax_, masked_softmax_reference

MASKS = ("none", "keys", "queries and keys", "all sequences alike")


def make(shape: tuple[int, int, int, int], masks: str, seed: int, spread: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(shape, generator=generator) * spread).bfloat16()
    sizes = {
        "keys": (shape[0], 1, 1, shape[3]),
        "queries and keys": (shape[0], 1, *shape[2:]),
        "all sequences alike": (1, 1, *shape[2:]),
    }
    if masks == "none":
        return scores, None
    mask = torch.rand(sizes[masks], generator=generator) > 0.4
    mask[..., 0] = True
    return scores, mask


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 70)),
    masks=st.sampled_from(MASKS),
    seed=st.integers(0, 2**16),
    spread=st.sampled_from([0.01, 1.0, 30.0, 1000.0]),
)
def test_equals_torch_but_for_the_rounding_of_bf16(
    shape: tuple[int, int, int, int], masks: str, seed: int, spread: float
) -> None:
    scores, mask = make(shape, masks, seed, spread)
    expected = masked_softmax_reference(scores, mask, 0.3)
    got = masked_softmax_(scores.clone(), mask, 0.3).float()
    assert bool(((got - expected).abs() <= expected * 0.004 + 1e-29).all())
    if mask is not None:
        assert float(got.masked_fill(mask, 0).max()) < 1e-29


@pytest.mark.parametrize("threads", ["1", "3"])
def test_works_in_place_over_several_threads(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", threads)
    scores, mask = make((5, 4, 40, 40), "queries and keys", 1, 3.0)
    expected = masked_softmax_reference(scores, mask, 1.0)
    assert masked_softmax_(scores, mask, 1.0) is scores
    torch.testing.assert_close(scores.float(), expected, atol=1e-6, rtol=0.004)


def test_a_row_that_is_masked_altogether_is_uniform() -> None:
    scores = torch.randn(1, 1, 1, 8).bfloat16()
    assert masked_softmax_(scores, torch.zeros(1, 1, 1, 8, dtype=torch.bool), 1.0).tolist() == [[[[0.125] * 8]]]


def test_nan_stays_visible() -> None:
    scores = torch.full((1, 1, 1, 4), float("nan"), dtype=torch.bfloat16)
    assert bool(torch.isnan(masked_softmax_(scores, None, 1.0)).any())
