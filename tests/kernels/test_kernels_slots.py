"""Ragged slots, pooled sums over them, and the largest entries of batches and latents, against dense tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.kernels.largest import largest_of_batch, largest_of_latents
from lexite.kernels.pooled import gather_entries, pool_slots, segment_numbers
from lexite.kernels.product import EncoderProduct
from lexite.kernels.slots import Slots, slot_values, slot_values_reference


def rows_of(n: int, m: int, seed: int) -> torch.Tensor:
    """(n, m) different latents per row, -1 in about a third of the places."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(n, 40, generator=generator).argsort(1)[:, :m].to(torch.int32)
    return torch.where(torch.rand(n, m, generator=generator) < 0.3, -1, order)


rows = st.builds(rows_of, n=st.integers(1, 20), m=st.integers(1, 8), seed=st.integers(0, 999))


@given(rows)
def test_slots_hold_what_the_rows_hold(indices: torch.Tensor) -> None:
    slots = Slots.of_rows(indices)
    expected = [[i for i in row if i >= 0] for row in indices.tolist()]
    bounds = slots.starts.tolist()
    assert [slots.indices[a:b].tolist() for a, b in zip(bounds[:-1], bounds[1:], strict=True)] == expected
    assert slots.tokens.tolist() == [token for token, row in enumerate(expected) for _ in row]
    assert slots.ranks.tolist() == [rank for row in expected for rank in range(len(row))]
    values, columns = slots.padded(slots.ranks.float() + 1)
    assert [[i for i in row if i >= 0] for row in columns.tolist()] == expected
    assert torch.equal(values > 0, columns >= 0)
    half = len(indices) // 2
    joined = Slots.joined([Slots.of_rows(indices[:half]), Slots.of_rows(indices[half:])])
    assert torch.equal(joined.starts, slots.starts)
    assert torch.equal(joined.indices, slots.indices)


@given(rows, st.integers(1, 4))
def test_the_best_slots_of_each_token_are_kept(indices: torch.Tensor, k: int) -> None:
    slots = Slots.of_rows(indices)
    scores = (slots.indices * 7 % 5).float()
    kept = slots.kept(slots.largest(scores, k))
    for token in range(len(indices)):
        own = slots.indices[slots.starts[token] : slots.starts[token + 1]].tolist()
        best = sorted(own, key=lambda latent: -(latent * 7 % 5))[:k]
        assert set(kept.indices[kept.starts[token] : kept.starts[token + 1]].tolist()) == set(best)


@given(rows)
def test_values_of_slots_equal_the_reference(indices: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    states, weight = torch.randn(len(indices), 11, generator=generator), torch.randn(40, 11, generator=generator)
    slots, bias = Slots.of_rows(indices), torch.randn(40, generator=generator)
    dense = states @ weight.t() + bias
    expected = dense[slots.tokens, slots.indices.long()]
    torch.testing.assert_close(slot_values(states, slots, weight, bias), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slot_values_reference(states, slots, weight, bias), expected, rtol=1e-4, atol=1e-4)


@given(rows, st.integers(1, 5))
def test_pooled_sums_and_the_way_back(indices: torch.Tensor, texts: int) -> None:
    slots = Slots.of_rows(indices)
    values = torch.where(slots.indices % 3 == 0, 0.0, slots.indices.float())  # latents without a value are in no text
    cuts = torch.linspace(0, len(indices), texts + 1).long()
    segments = segment_numbers(cuts)
    segments[0] = -1  # a token of no text
    pooled = pool_slots(slots, values, segments, 40)
    dense = torch.zeros(texts, 40)
    for slot, token in enumerate(slots.tokens.tolist()):
        if segments[token] >= 0:
            dense[segments[token], slots.indices[slot]] += values[slot]
    mine = torch.zeros(texts, 40)
    mine[pooled.segments, pooled.latents] = pooled.sums
    torch.testing.assert_close(mine, dense)
    assert len(pooled.sums) == int((dense > 0).sum())
    back = gather_entries(pooled.sums, pooled.entries)
    for slot, token in enumerate(slots.tokens.tolist()):
        inside = segments[token] >= 0 and values[slot] > 0
        assert float(back[slot]) == pytest.approx(float(dense[segments[token], slots.indices[slot]]) if inside else 0.0)


def model(latents: int, dtype: torch.dtype, seed: int) -> tuple[EncoderProduct, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(latents, 8, generator=generator), torch.randn(latents, generator=generator)
    return EncoderProduct(weight, bias, dtype), weight, bias


@settings(max_examples=30)
@given(
    n=st.integers(1, 60),
    latents=st.integers(4, 70),
    k=st.integers(1, 6),
    seed=st.integers(0, 99),
    start=st.sampled_from([0, 0.5, 9]),
)
def test_the_largest_of_a_batch_wherever_one_begins_to_look(n: int, latents: int, k: int, seed: int, start: float) -> None:
    product, weight, bias = model(latents, torch.float32, seed)
    states = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed + 1))
    level = torch.tensor(float(start))
    for batch in (states, states * 0.3, states * 3):  # the level of one batch is far from that of the next
        slots, values, smallest = largest_of_batch(
            product, batch, lambda s, b=batch: slot_values(b, s, weight, bias), k * n, level
        )
        dense = batch @ weight.t() + bias
        total = min(k * n, int((dense > 0).sum()))
        expected = dense.flatten().sort(descending=True).values[:total]
        torch.testing.assert_close(values.sort(descending=True).values, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(dense[slots.tokens, slots.indices.long()], values, rtol=1e-4, atol=1e-4)
        assert smallest == (pytest.approx(float(expected[-1]), rel=1e-4, abs=1e-5) if total else 0.0)  # of sums near 0


def test_the_largest_of_a_batch_by_bf16_products() -> None:
    product, weight, bias = model(600, torch.bfloat16, 5)
    states = torch.randn(300, 8, generator=torch.Generator().manual_seed(2))
    level = torch.tensor(0.0)
    for _ in range(3):
        _, values, _ = largest_of_batch(product, states, lambda s: slot_values(states, s, weight, bias), 900, level)
        exact = (states @ weight.t() + bias).flatten().sort(descending=True).values[:900]
        torch.testing.assert_close(values.sort(descending=True).values, exact, rtol=1e-4, atol=1e-4)


@settings(max_examples=30)
@given(n=st.integers(1, 60), latents=st.integers(4, 70), seed=st.integers(0, 99), largest=st.integers(1, 70))
def test_the_largest_of_each_latent(n: int, latents: int, seed: int, largest: int) -> None:
    product, weight, bias = model(latents, torch.float32, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    states, budgets = torch.randn(n, 8, generator=generator), torch.randint(1, largest + 1, (latents,), generator=generator)
    levels = torch.zeros(latents)
    for batch in (states, states * 0.5, states * 2, states * 2):
        slots, values = largest_of_latents(
            product,
            batch,
            lambda s, b=batch: slot_values(b, s, weight, bias),
            lambda some, b=batch: b @ weight[some].t() + bias[some],
            budgets,
            levels,
        )
        dense = batch @ weight.t() + bias
        for latent in range(latents):
            total = min(int(budgets[latent]), int((dense[:, latent] > 0).sum()))
            mine = values[slots.indices == latent].sort(descending=True).values
            torch.testing.assert_close(mine, dense[:, latent].sort(descending=True).values[:total], rtol=1e-4, atol=1e-4)
        assert bool((slots.indices[1:][slots.ranks[1:] > 0] > slots.indices[:-1][slots.ranks[1:] > 0]).all())
