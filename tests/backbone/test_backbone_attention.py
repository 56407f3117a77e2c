"""Attention for short sequences: the same as the library's, in plain and in unusual cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lexite.backbone import attention
from lexite.backbone.attention import short_attention


def qkv(heads: int = 4, keys: int | None = None, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, heads, 10, 16)] + [(3, keys or heads, 10, 16)] * 2
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def layer(**attributes: Any) -> torch.nn.Module:
    made = torch.nn.Module()
    for name, value in {"is_causal": False, **attributes}.items():
        setattr(made, name, value)
    return made


def masked() -> torch.Tensor:
    mask = torch.ones(3, 1, 10, 10, dtype=torch.bool)
    mask[1, :, :, 6:] = False
    return mask


@pytest.mark.parametrize("mask", [None, masked(), masked().tril()], ids=["none", "padding", "causal"])
@pytest.mark.parametrize("scaling", [None, 0.4])
def test_equals_torchs_attention(mask: torch.Tensor | None, scaling: float | None) -> None:
    query, key, value = qkv()
    got, weights = short_attention(layer(), query, key, value, mask, scaling=scaling, dropout=0.0)
    exact = (query.float(), key.float(), value.float())
    expected = torch.nn.functional.scaled_dot_product_attention(*exact, attn_mask=mask, scale=scaling).transpose(1, 2)
    assert weights is None and got.is_contiguous()
    torch.testing.assert_close(got.float(), expected, atol=0.03, rtol=0.02)


@pytest.mark.parametrize(
    ("tensors", "mask", "module", "more"),
    [
        (qkv(dtype=torch.float32), None, {}, {}),
        (qkv(), None, {"is_causal": True}, {}),
        (qkv(), None, {}, {"is_causal": True}),
        (qkv(), torch.zeros(3, 1, 10, 10, dtype=torch.bfloat16), {}, {}),
        (qkv(keys=2), masked(), {"num_key_value_groups": 2}, {}),
        (qkv(), masked(), {}, {"position_bias": torch.randn(1, 4, 10, 10).bfloat16()}),
    ],
    ids=["fp32", "causal layer", "causal call", "added mask", "shared keys", "bias of positions"],
)
def test_what_is_not_plain_is_left_to_torch(
    tensors: list[torch.Tensor],
    mask: torch.Tensor | None,
    module: dict[str, Any],
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "masked_softmax_", lambda *arguments: pytest.fail("taken for plain"))
    got, _ = short_attention(layer(**module), *tensors, mask, **more)
    expected, _ = sdpa_attention_forward(layer(**module), *tensors, mask, **more)
    assert torch.equal(got, expected)


def test_a_model_with_attention_of_its_own_keeps_it() -> None:
    class Own:
        def __init__(self) -> None:
            self.asked = 0

        def set_attn_implementation(self, name: str) -> None:
            self.asked += 1
            raise ValueError("not here")

    own = Own()
    attention.use_short_attention(own)
    assert vars(own) == {"asked": 1}


def test_states_with_it_are_those_of_plain_attention(mean_folder: Path, load: Any) -> None:
    backbone = load(mean_folder, precision="bf16")
    texts = ["the cat sat on the mat", "a dog", "rain in spain"] * 3
    fast = backbone.encode(texts, "document").states.float()
    backbone.model[0].model.set_attn_implementation("eager")
    plain = backbone.encode(texts, "document").states.float()
    assert float(torch.nn.functional.cosine_similarity(fast, plain).min()) > 0.999
