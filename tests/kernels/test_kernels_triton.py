"""The kernels of Triton, run by its interpreter on the CPU, against their references. Where there is a GPU they run on it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.kernels.adam import AdamStep
from lexite.kernels.adam.reference import update_rows_reference
from lexite.kernels.gathers.reference import gather_dots_reference, segment_sums_reference
from lexite.kernels.topk import product_topk_reference

pytest.importorskip("triton", reason="this build of torch comes without Triton")
from lexite.kernels.adam.triton import update_rows_triton
from lexite.kernels.gathers.triton import PIECE, gather_dots_triton, segment_sums_triton
from lexite.kernels.topk.triton import GROUP, group_maxima, product_topk_triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FEW = settings(max_examples=12, derandomize=True)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def cut(total: int, parts: int, seed: int) -> torch.Tensor:
    """Offsets of segments of any length, empty ones among them."""
    inner = torch.randint(0, total + 1, (parts - 1,), generator=torch.Generator().manual_seed(seed)).sort().values
    return torch.cat([torch.tensor([0]), inner, torch.tensor([total])]).to(DEVICE)


def drawn(low: int, high: int, n: int, seed: int) -> torch.Tensor:
    return torch.randint(low, high, (n,), generator=torch.Generator().manual_seed(seed)).to(DEVICE, torch.int32)


@FEW
@given(
    n=st.integers(1, 5), width=st.integers(1, 70), slots=st.integers(0, 60), seed=st.integers(0, 999),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]), biased=st.booleans(),
)  # fmt: skip
def test_gathered_products(n: int, width: int, slots: int, seed: int, dtype: torch.dtype, biased: bool) -> None:
    rows, table = normal(n, width, seed=seed), normal(9, width + 3, seed=seed + 1, dtype=dtype)[:, :width]
    bias = normal(9, seed=seed + 2) if biased else None
    given_slots = (rows, cut(slots, n, seed), drawn(-1, 9, slots, seed), table, bias)
    torch.testing.assert_close(gather_dots_triton(*given_slots), gather_dots_reference(*given_slots))


@FEW
@given(
    segments=st.integers(1, 6), width=st.integers(1, 300), entries=st.integers(0, 3 * PIECE), seed=st.integers(0, 999),
    long=st.booleans(),
)  # fmt: skip
def test_sums_of_segments(segments: int, width: int, entries: int, seed: int, long: bool) -> None:
    table, factors = normal(7, width, seed=seed), normal(entries, seed=seed + 1)
    factors[::3] = 0
    given_entries = (table, cut(entries, segments, seed), drawn(0, 7, entries, seed).long(), factors)
    torch.testing.assert_close(
        segment_sums_triton(*given_entries, long=long), segment_sums_reference(*given_entries), atol=1e-4, rtol=1e-4
    )


@FEW
@given(
    n=st.integers(1, 70), width=st.integers(1, 70), latents=st.integers(4 * GROUP, 300), k=st.integers(1, 4),
    seed=st.integers(0, 999), magnitude=st.booleans(), dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
def test_product_and_top_k(n: int, width: int, latents: int, k: int, seed: int, magnitude: bool, dtype: torch.dtype) -> None:
    rows, matrix = normal(n, width, seed=seed, dtype=dtype), normal(latents, width, seed=seed + 1, dtype=dtype)
    found = product_topk_triton(rows, matrix, k, magnitude=magnitude)
    expected = product_topk_reference(rows, matrix, k, magnitude=magnitude)
    wide = rows.float() @ matrix.float().t()
    wide = wide.abs() if magnitude else wide

    def values(indices: torch.Tensor) -> torch.Tensor:  # equal entries may come in any order
        return torch.where(indices >= 0, wide.gather(1, indices.clamp(min=0).long()), 0.0)

    assert found.dtype == torch.int32
    torch.testing.assert_close(values(found), values(expected))
    for row in found.tolist():
        assert len(set(row) - {-1}) == sum(latent >= 0 for latent in row)


def test_groups_that_are_cut_off_hold_no_entry_from_outside() -> None:
    matrix = -torch.ones(2 * GROUP + 3, 4, device=DEVICE)
    maxima = group_maxima(torch.ones(3, 4, device=DEVICE), matrix)
    assert maxima.tolist() == [[-4.0] * 3] * 3


def test_nothing_positive_selects_nothing() -> None:
    matrix = -torch.ones(4 * GROUP, 4, device=DEVICE)
    assert product_topk_triton(torch.ones(2, 4, device=DEVICE), matrix, 2).tolist() == [[-1, -1]] * 2


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("mirrored", [torch.bfloat16, torch.float32, None])
def test_steps_of_the_optimizer(unit_norm: bool, mirrored: torch.dtype | None) -> None:
    results = []
    for update in (update_rows_reference, update_rows_triton):
        weight, first, second = (normal(12, 20, seed=seed) for seed in range(3))
        second = second.square()
        mirror = None if mirrored is None else torch.full((12, 28), 7.0, dtype=mirrored, device=DEVICE)
        scale = torch.tensor(0.5, dtype=torch.float64, device=DEVICE)
        for number in (1, 2):
            step = AdamStep(0.01, 0.9, 0.99, 1e-8, 0.1, number, scale)
            gradient, counts = normal(12, 20, seed=9 + number), drawn(0, 2, 12, number).long()
            update(weight, first, second, gradient, counts, step, unit_norm, mirror)
        results.append([weight, first, second, *([] if mirror is None else [mirror.float()])])
    for mine, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-2 if mirrored == torch.bfloat16 else 1e-5, atol=1e-5)
