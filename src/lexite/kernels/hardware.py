"""What the machine is good at: cores to use and whether bf16 products are fast."""

from __future__ import annotations

import functools
import os
from pathlib import Path

BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def n_threads() -> int:
    """Threads for compiled loops: ``LEXITE_THREADS``, else ``OMP_NUM_THREADS``, else the cores this process may use."""
    for name in ("LEXITE_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _processor_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), []))


def fast_bf16(device: str = "cpu") -> bool:
    """Whether products of bf16 matrices are faster than fp32 ones on ``device`` ("cpu", "cuda", "cuda:1", "mps").

    On processors this means AMX or AVX-512 BF16 instructions (x86) or the bf16 extension (Arm), as the kernel reports them;
    where it reports nothing (macOS, Windows) the answer is no.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if device.startswith("cpu"):
        return any(flag in _processor_flags() for flag in (*BF16_FLAGS, "bf16"))
    return False
