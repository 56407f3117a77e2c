"""Products of atoms with query tokens, in each form of the atoms, against plain products."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.kernels import hardware
from lexite.kernels.atom_products import LARGEST, Levels, products_of

IN_A_CHILD = """
import os, signal, sys
import numpy as np
import torch
from lexite.kernels.atom_products import Levels, products_of
torch.set_num_threads(2)
levels = np.random.default_rng(0).integers(-127, 128, (16384, 64)).astype(np.int8)
atoms = Levels.of(levels, np.ones(16384, dtype=np.float32)) if sys.argv[1] == "levels" else torch.from_numpy(levels).bfloat16()
queries, nothing = np.eye(32, 64, dtype=np.float32), np.empty(0, dtype=np.int32)
before = products_of(atoms, nothing, queries).whole
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
signal.alarm(60)
same = np.allclose(products_of(atoms, nothing, queries).whole, before)
os.write(1, b"same" if same else b"other")
os._exit(0)
"""
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


@pytest.mark.parametrize("size", [0.0, 1e-45, 3e-43, 1e-40, 1e-37])
def test_tiny_queries_have_finite_products_without_a_warning(size: float) -> None:
    atoms = Levels.of(np.full((3, 4), 100, dtype=np.int8), np.ones(3, dtype=np.float32))
    with np.errstate(divide="raise", invalid="raise"):
        found = products_of(atoms, np.empty(0, dtype=np.int32), np.full((2, 4), size, dtype=np.float32)).whole
    np.testing.assert_allclose(found, 400 * size, rtol=1e-5, atol=1e-33)


@pytest.mark.parametrize("form", ["levels", "bf16"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_multiplies_where_nothing_of_lexite_used_torch_before(form: str) -> None:
    run = subprocess.run([sys.executable, "-c", IN_A_CHILD, form], capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout.split()) == (0, ["same"]), run.stderr


@pytest.mark.parametrize("n_queries", [1, 15, 16, 600])
def test_threads_compute_the_same_bits_in_memory_of_their_own(n_queries: int) -> None:
    generator = np.random.default_rng(n_queries)
    atoms = Levels.of(generator.integers(-LARGEST, LARGEST + 1, (900, 24)).astype(np.int8), np.ones(900, dtype=np.float32))
    asked = [generator.standard_normal((n_queries + place, 24), dtype=np.float32) for place in range(6)]
    nothing = np.empty(0, dtype=np.int32)
    alone = [products_of(atoms, nothing, queries).whole for queries in asked]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: products_of(atoms, nothing, asked[place % 6]).whole, range(60)))
    assert all(np.array_equal(values, alone[place % 6]) for place, values in enumerate(found))


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
