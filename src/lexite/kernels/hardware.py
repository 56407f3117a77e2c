"""What the machine is good at: cores to use, and whether products in bf16 and int8 are fast."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
INT8_FLAGS = ("avx512_vnni",)
NATIVE_BF16 = (8, 0)  # compute capability of the first GPUs of NVIDIA with products in bf16


def shorten_spinning() -> None:
    """Lets torch's idle OpenMP threads go to sleep after about 0.3 ms instead of 5, unless the environment says otherwise.

    Products by torch and the compiled loops here take turns; a thread that spins after a product would hold a core that the
    loop needs (a third of a training step on two cores). Takes effect only before torch is imported.
    """
    if "torch" not in sys.modules and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "20000"


def n_threads() -> int:
    """Threads for compiled loops: ``LEXITE_THREADS``, else ``OMP_NUM_THREADS``, else the cores this process may use."""
    for name in ("LEXITE_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags(path: str | Path = "/proc/cpuinfo") -> frozenset[str]:
    """The processor's feature flags as Linux lists them; none on other systems."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), []))


@functools.cache
def _cpu_has_fast_bf16() -> bool:
    import torch

    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        probe = getattr(torch.cpu, name, None)  # private in torch, so it may go away; the flags below remain
        if probe is not None and probe():
            return True
    return not cpu_flags().isdisjoint(BF16_FLAGS)


def fast_bf16(device: str = "cpu") -> bool:
    """Whether products of bf16 matrices are faster than fp32 ones on ``device`` ("cpu", "cuda", "cuda:1", "mps").

    On processors this means AMX or AVX-512 BF16 instructions (x86) or the bf16 extension (Arm), as torch or the operating
    system reports them; where neither does, the answer is no. On GPUs of NVIDIA it means Ampere or newer, since
    older ones emulate bf16.
    """
    if device.startswith("cuda"):
        import torch

        # torch calls bf16 supported also where it is emulated (T4, V100), and slower than fp32.
        return torch.version.hip is not None or torch.cuda.get_device_capability(torch.device(device)) >= NATIVE_BF16
    return device.startswith("cpu") and _cpu_has_fast_bf16()


@functools.cache
def fast_int8() -> bool:
    """Whether the processor multiplies matrices of int8 faster than others, and torch does it without a fault.

    This means the AVX-512 VNNI instructions of x86. Without them torch's product is slow, and sums of torch 2.4 overflow.
    """
    if cpu_flags().isdisjoint(INT8_FLAGS):
        return False
    import torch

    numbers = torch.full((64, 128), 127, dtype=torch.int8)
    numbers[::2, 1::2] = -127
    try:  # private in torch, so it may go away
        found = torch._int_mm(numbers, numbers.T.contiguous())
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found.double(), numbers.double() @ numbers.T.double())
