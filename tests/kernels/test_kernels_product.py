"""The tiled product with its selection, against the dense formula."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lexite.kernels import hardware, product
from lexite.kernels.product import EncoderProduct
from lexite.kernels.sparse import selected_values_reference
from lexite.kernels.threads import parallel_ranges
from lexite.kernels.topk import select_topk_reference


def make(n: int, d: int, latents: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(shape, generator=generator) for shape in ((n, d), (latents, d), (latents,))]
    return draw[0], draw[1], draw[2]


def test_fp32_selects_what_the_dense_formula_selects() -> None:
    states, weight, bias = make(50, 24, 300)
    expected = select_topk_reference(states @ weight.t() + bias, 8)
    assert torch.equal(EncoderProduct(weight, bias, torch.float32).select(states, 8), expected)


def test_bf16_selects_the_same_but_for_near_ties() -> None:
    states, weight, bias = make(200, 64, 500)
    dense = states @ weight.t() + bias
    selected = EncoderProduct(weight, bias, torch.bfloat16).select(states, 8).long()
    best = dense.topk(8, dim=1).values
    assert bool((best.sum(1) - dense.gather(1, selected).sum(1) < 0.02 * best.sum(1)).all())


def test_the_bias_keeps_full_precision_in_bf16() -> None:
    bias = torch.tensor([1000.0, 1000.0 + 1 / 256])  # not told apart by bf16, whose step at 1000 is 4
    made = EncoderProduct(torch.zeros(2, 8), bias, torch.bfloat16)
    assert torch.equal(made.matrix[:, 8:11].double().sum(1), bias.double())


@pytest.mark.parametrize("n", [0, 1, 64, 65, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_tiles_do_not_change_the_result(n: int, dtype: torch.dtype, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", threads)
    states, weight, bias = make(n, 16, 128)
    states, weight = states.round(), weight.round()  # products of whole numbers are exact, and there are many ties
    whole = EncoderProduct(weight, bias.round(), dtype).select(states, 4)
    for name, size in (("TILE_ROWS", 9), ("TILE_COLUMNS", 24), ("SMALLEST_BLOCK", 3)):
        monkeypatch.setattr(product, name, size)
    assert torch.equal(EncoderProduct(weight, bias.round(), dtype).select(states, 4), whole)


def test_preactivations_exist_for_one_tile_only() -> None:
    states, weight, bias = make(5000, 8, 4096)
    made = EncoderProduct(weight, bias, torch.float32)
    made.select_block(states[: product.TILE_ROWS], torch.empty(product.TILE_ROWS, 4, dtype=torch.int32))
    assert made._scratch.tile.numel() == product.TILE_ROWS * product.TILE_COLUMNS
    assert max(rows.stop - rows.start for rows in made.blocks(5000)) <= product.TILE_ROWS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_follow_the_formula(dtype: torch.dtype) -> None:
    states, weight, bias = make(150, 24, 300)
    weight = weight.to(dtype).float()
    made = EncoderProduct(weight, bias, dtype)
    indices = made.select(states, 8)
    indices[::3, 5:] = -1
    expected = selected_values_reference(states, indices, weight, bias)
    torch.testing.assert_close(made.values(states, indices, bias), expected)


def test_ranges_cover_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "3")
    seen: list[int] = []
    parallel_ranges(lambda start, stop: seen.extend(range(start, stop)), 1000)
    assert sorted(seen) == list(range(1000))


def test_an_error_in_a_range_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "2")

    def fail(start: int, stop: int) -> None:
        if start:
            raise ValueError("the second half")

    with pytest.raises(ValueError, match="second half"):
        parallel_ranges(fail, 1000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "2")
    parallel_ranges(lambda start, stop: None, 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        parallel_ranges(lambda start, stop: None, 1000)
        os._exit(7)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 7


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", "7")
    assert hardware.n_threads() == 7
    monkeypatch.setenv("LEXITE_THREADS", "many")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert hardware.n_threads() == 5
    monkeypatch.setenv("LEXITE_THREADS", "²")
    assert hardware.n_threads() == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert hardware.n_threads() >= 1


@pytest.mark.parametrize(
    ("text", "fast"),
    [("flags\t\t: fpu avx512_bf16 sse\n", True), ("flags : fpu amx_bf16\n", True), ("flags : fpu avx2\n", False), ("", False)],
)
def test_the_processors_flags_are_read_when_torch_has_no_probe(
    text: str, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    flags = hardware.cpu_flags(tmp_path / "cpuinfo")
    assert flags == frozenset(text.partition(":")[2].split())
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    monkeypatch.setattr(hardware, "cpu_flags", lambda: flags)
    assert hardware._cpu_has_fast_bf16.__wrapped__() is fast


def test_torch_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cpu", SimpleNamespace(_is_amx_tile_supported=lambda: True))
    assert hardware._cpu_has_fast_bf16.__wrapped__()


def test_bf16_is_not_assumed_elsewhere(tmp_path: Path) -> None:
    assert hardware.fast_bf16("mps") is False
    assert hardware.cpu_flags(tmp_path / "missing") == frozenset()


def test_spinning_is_shortened_before_torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    hardware.shorten_spinning()
    assert "GOMP_SPINCOUNT" not in hardware.os.environ  # torch is here already
    monkeypatch.delitem(hardware.sys.modules, "torch")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    hardware.shorten_spinning()
    assert "GOMP_SPINCOUNT" not in hardware.os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    hardware.shorten_spinning()
    assert hardware.os.environ["GOMP_SPINCOUNT"] == "1"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    hardware.shorten_spinning()
    assert hardware.os.environ["GOMP_SPINCOUNT"] == "20000"
    monkeypatch.delenv("GOMP_SPINCOUNT")
