"""Collecting what is above thresholds, and ordering slots, against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.kernels import product
from lexite.kernels.collect import GROUP, collect_above, collect_above_reference, sort_slots, threshold_patterns
from lexite.kernels.energy import collect_energy, collect_energy_reference
from lexite.kernels.product import EncoderProduct, stack_slots

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def halves(rows: int, columns: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Random halves, which every number format holds, with many ties and zeros of both signs."""
    generator = torch.Generator().manual_seed(seed)
    return ((torch.randn(rows, columns, generator=generator) + shift) * 2).round() / 2


def listed(columns: torch.Tensor) -> list[list[int]]:
    """By row the entries that are used."""
    return [[column for column in row if column >= 0] for row in columns.tolist()]


def by_hand(entries: torch.Tensor, thresholds: torch.Tensor) -> list[list[int]]:
    limits = [max(limit, 0.0) for limit in thresholds.tolist()]
    return [[j for j, value in enumerate(row) if value > limits[j]] for row in entries.float().tolist()]


@settings(max_examples=40)
@given(
    rows=st.integers(0, 6),
    columns=st.integers(1, 3 * GROUP + 5),
    width=st.integers(1, 3 * GROUP),
    room=st.integers(1, 80),
    dtype=st.sampled_from(DTYPES),
    shift=st.sampled_from([-3.0, 0.0, 2.0]),
    seed=st.integers(0, 2**16),
)
def test_equals_a_plain_loop(
    rows: int, columns: int, width: int, room: int, dtype: torch.dtype, shift: float, seed: int
) -> None:
    entries, thresholds = halves(rows, columns, seed, shift).to(dtype), halves(1, columns, seed + 1)[0]
    expected = by_hand(entries, thresholds)
    patterns = threshold_patterns(thresholds, dtype)
    counts = torch.zeros(rows, dtype=torch.int64)
    found = torch.full((rows, room), -1, dtype=torch.int32)
    for start in range(0, columns, width):  # some columns after the other
        stop = start + width
        collect_above(entries[:, start:stop].contiguous(), patterns[start:stop].contiguous(), start, counts, found)
    assert counts.tolist() == [len(row) for row in expected]  # also of those without room
    assert listed(found) == [row[:room] for row in expected]
    reference = collect_above_reference(entries, thresholds)
    assert listed(reference) == expected
    assert reference.shape[1] == max(map(len, expected), default=0)


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    value=st.floats(0, 1e4, width=32) | st.just(-0.0) | st.floats(-4, 0, width=32) | st.floats(0, 2.0**-20, width=32),
)
def test_a_pattern_is_the_largest_number_that_is_not_above_the_threshold(dtype: torch.dtype, value: float) -> None:
    pattern = threshold_patterns(torch.tensor([value]), dtype)
    assert pattern.dtype == BITS[dtype]
    at, above = (torch.tensor([int(pattern) + step], dtype=BITS[dtype]).view(dtype).float() for step in (0, 1))
    limit = torch.tensor(max(value, 0.0))
    assert float(at) <= float(limit) < float(above)
    assert int(pattern) >= 0  # else numbers below zero would be found


@pytest.mark.parametrize("dtype", DTYPES)
def test_slack_lowers_thresholds_and_never_raises_them(dtype: torch.dtype) -> None:
    thresholds = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 3
    exact, lowered = (threshold_patterns(thresholds, dtype, slack) for slack in (0.0, 1 / 64))
    assert bool((lowered <= exact).all())
    assert bool((lowered.view(dtype).float() <= thresholds * (63 / 64)).all())
    assert bool((lowered.view(dtype).float() >= thresholds * (63 / 64) * (1 - 2**-7)).all())


def test_a_threshold_beyond_the_number_format_lets_nothing_pass() -> None:
    entries = torch.tensor([[65504.0, 1.0, 65504.0]], dtype=torch.float16)
    patterns = threshold_patterns(torch.tensor([1e6, float("inf"), 65000.0]), torch.float16)
    counts, columns = torch.zeros(1, dtype=torch.int64), torch.full((1, 3), -1, dtype=torch.int32)
    collect_above(entries, patterns, 0, counts, columns)
    assert listed(columns) == [[2]]


@settings(max_examples=40)
@given(
    rows=st.integers(0, 6),
    slots=st.integers(0, 150),
    shift=st.sampled_from([-2.0, 0.0, 3.0]),
    seed=st.integers(0, 2**16),
)
def test_slots_are_sorted_by_falling_value_then_rising_index(rows: int, slots: int, shift: float, seed: int) -> None:
    values = halves(rows, slots, seed, shift).clamp(min=0)
    generator = torch.Generator().manual_seed(seed)
    indices = torch.rand(rows, 500, generator=generator).argsort(dim=1)[:, :slots].to(torch.int32).contiguous()
    pairs = [
        sorted(((-v, i) for v, i in zip(*row, strict=True) if v > 0))
        for row in zip(values.tolist(), indices.tolist(), strict=True)
    ]
    sort_slots(values, indices)
    expected_values = [[-v for v, _ in row] + [0.0] * (slots - len(row)) for row in pairs]
    expected_indices = [[i for _, i in row] + [-1] * (slots - len(row)) for row in pairs]
    assert values.tolist() == expected_values
    assert indices.tolist() == expected_indices


@settings(max_examples=25)
@given(
    n=st.integers(0, 40),
    latents=st.integers(1, 200),
    tile=st.integers(1, 64),
    dtype=st.sampled_from([torch.bfloat16, torch.float32]),
    seed=st.integers(0, 2**16),
)
def test_collecting_behind_the_product_equals_the_dense_formula(
    n: int, latents: int, tile: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    states, weight = (torch.randint(-3, 4, (rows, 5), generator=generator).float() for rows in (n, latents))
    bias, thresholds = (torch.randint(-4, 9, (latents,), generator=generator).float() for _ in range(2))
    made = EncoderProduct(weight, bias, dtype)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("TILE_ROWS", 9), ("TILE_COLUMNS", tile), ("SMALLEST_BLOCK", 3), ("SMALLEST_ROOM", 2)):
            patch.setattr(product, name, size)
        found = made.collect(states, threshold_patterns(thresholds, dtype))
    expected = by_hand(states @ weight.t() + bias, thresholds)  # whole numbers: exact
    starts = found.starts.tolist()
    assert len(starts) == n + 1
    assert starts[-1] == len(found.indices)
    assert [found.indices[a:b].tolist() for a, b in zip(starts, starts[1:], strict=False)] == expected


def test_collecting_keeps_room_for_the_next_block_only_as_memory() -> None:
    weight, bias = torch.ones(300, 4), torch.zeros(300)
    made, patterns = EncoderProduct(weight, bias, torch.float32), threshold_patterns(torch.zeros(300), torch.float32)
    many, none = torch.ones(3, 4), -torch.ones(3, 4)
    for states, width in ((none, 0), (many, 300), (none, 0), (many, 300)):
        assert made.collect_block(states, patterns).shape == (3, width)


@settings(max_examples=20)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**16), dtype=st.sampled_from([torch.bfloat16, torch.float32]))
def test_signed_values_and_choice_by_magnitude(n: int, seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    states, weight = (torch.randint(-3, 4, (rows, 5), generator=generator).float() for rows in (n, 33))
    bias = torch.randint(-4, 5, (33,), generator=generator).float()
    made, u = EncoderProduct(weight, bias, dtype), states @ weight.t() + bias
    indices = torch.empty(n, 6, dtype=torch.int32)
    made.select_block(states, indices, magnitude=True)
    for row, entries in zip(indices.tolist(), u.abs().tolist(), strict=True):
        order = [i for i in sorted(range(33), key=lambda i: (-entries[i], i)) if entries[i] > 0][:6]
        assert row == order + [-1] * (6 - len(order))
    values = made.values(states, indices, bias, signed=True)
    expected = torch.where(indices >= 0, u.gather(1, indices.clamp(min=0).long()), 0.0)
    assert torch.equal(values, expected)
    assert torch.equal(made.values(states, indices, bias), expected.clamp(min=0))


def test_stack_slots() -> None:
    parts = [torch.tensor([[1, 2]]), torch.empty(2, 0, dtype=torch.int64), torch.tensor([[3, 4, 5]])]
    assert stack_slots(parts, -1).tolist() == [[1, 2, -1], [-1, -1, -1], [-1, -1, -1], [3, 4, 5]]
    assert stack_slots([], -1).shape == (0, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@given(
    n=st.integers(0, 12),
    latents=st.integers(1, 300),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.1, 0.6, 0.99, 2.0]),
)
def test_enough_of_the_largest_are_collected_to_reach_the_energy(
    dtype: torch.dtype, n: int, latents: int, seed: int, share: float
) -> None:
    u = (torch.randn(n, latents, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype)
    total = torch.relu(u.float()).square().sum(1)
    targets = share * total
    found, exact = collect_energy(u, targets), collect_energy_reference(u, targets)
    for row in range(n):
        mine = [i for i in found[row].tolist() if i >= 0]
        wanted = {i for i in exact[row].tolist() if i >= 0}
        assert wanted <= set(mine)
        assert all(u[row, i] > 0 for i in mine)
        if wanted:  # no more than a quarter below the smallest that is needed
            assert all(float(u[row, i]) >= 0.75 * min(float(u[row, j]) for j in wanted) for i in mine)
