"""Products of atoms with query tokens, in each form of the atoms, against plain products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels import hardware
from lexite.kernels.atom_products import LARGEST, Levels, products_of

SIZES = {"n_latents": st.integers(1, 700), "width": st.integers(1, 40), "n_queries": st.integers(1, 40)}


@given(seed=st.integers(0, 2**31), **SIZES)
def test_products_in_int8_are_off_by_the_rounding_of_queries_alone(
    seed: int, n_latents: int, width: int, n_queries: int
) -> None:
    generator = np.random.default_rng(seed)
    levels = generator.integers(-LARGEST, LARGEST + 1, (n_latents, width)).astype(np.int8)
    steps = generator.random(n_latents, dtype=np.float32)
    queries = generator.standard_normal((n_queries, width), dtype=np.float32)
    queries[generator.random(n_queries) < 0.2] = 0.0
    atoms = levels * steps[:, None].astype(np.float64)
    found = products_of(Levels.of(levels, steps), np.arange(n_latents, dtype=np.int32), queries).whole
    half_a_step = np.abs(queries).max(axis=1) / LARGEST / 2
    bound = np.abs(atoms).sum(axis=1)[:, None] * half_a_step
    assert found.dtype == np.float32 and found.shape == (n_latents, n_queries)
    assert (np.abs(found - atoms @ queries.T.astype(np.float64)) <= bound * 1.001 + 1e-5).all()


def test_products_of_levels_by_hand() -> None:
    atoms = Levels.of(np.array([[127, 0], [-10, 20]], dtype=np.int8), np.array([1.0, 0.5], dtype=np.float32))
    queries = np.array([[1.27, 0.01], [0.0, 0.0], [0.0, -2.54]], dtype=np.float32)
    expected = [[161.29, 0.0, 0.0], [-6.25, 0.0, -25.4]]
    np.testing.assert_allclose(products_of(atoms, np.empty(0, dtype=np.int32), queries).whole, expected, rtol=1e-5)


@given(seed=st.integers(0, 2**31), **SIZES)
def test_products_of_latents_that_occur_and_of_the_first(seed: int, n_latents: int, width: int, n_queries: int) -> None:
    generator = np.random.default_rng(seed)
    atoms = generator.standard_normal((n_latents, width), dtype=np.float32)
    queries = generator.standard_normal((n_queries, width), dtype=np.float32)
    latents = generator.integers(0, 2 * n_latents, 20).astype(np.int32)
    used = np.unique(latents % n_latents)
    found = products_of(atoms, latents, queries)
    np.testing.assert_allclose(found.values[used], (atoms @ queries.T)[used], rtol=1e-4, atol=1e-4)
    assert np.isfinite(found.values[0]).all() and (found.row_steps == 1).all() and (found.lane_steps == 1).all()


@pytest.mark.parametrize(("flags", "fast"), [(("avx512_vnni",), True), (("avx_vnni", "avx2"), False), (("asimddp",), False)])
def test_int8_is_fast_where_the_processor_says_so(flags: tuple[str, ...], fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: a.int() @ b.int(), raising=False)
    assert hardware.fast_int8.__wrapped__() is fast


def test_int8_is_not_fast_without_the_product_or_with_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*matrices: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("_int_mm_out_cpu not compiled")

    def overflows(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.int() @ b.int()).clamp(-(1 << 15), (1 << 15) - 1)

    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    for product in (refuses, overflows):
        monkeypatch.setattr(torch, "_int_mm", product, raising=False)
        assert not hardware.fast_int8.__wrapped__()
    monkeypatch.delattr(torch, "_int_mm")
    assert not hardware.fast_int8.__wrapped__()
