"""Which back-end computes on a tensor, and how a kernel of Triton is started.

On the CPU loops are compiled by numba. On CUDA kernels are written in Triton, which comes with torch's builds for it. Where
there is no Triton, and on every other device, the references run, which are made of torch's own operations.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import torch

OLDEST = (7, 0)  # compute capability that Triton supports


def on_cpu(tensor: torch.Tensor) -> bool:
    """Whether a tensor is in the host's memory."""
    return tensor.device.type == "cpu"


def use_triton(tensor: torch.Tensor) -> bool:
    """Whether kernels of Triton run on a tensor's device. The environment variable ``LEXITE_TRITON=0`` turns them off."""
    if tensor.device.type != "cuda" or os.environ.get("LEXITE_TRITON") == "0":
        return False
    return _has_triton() and _is_new_enough(tensor.device.index)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _is_new_enough(index: int | None) -> bool:
    return torch.version.hip is not None or torch.cuda.get_device_capability(index) >= OLDEST


def launch(kernel: Any, grid: Sequence[int], *arguments: Any, **constants: Any) -> None:
    """Starts a kernel of Triton on the device of its first tensor; a grid without programs starts nothing.

    Args:
        kernel: a function that ``triton.jit`` has compiled.
        grid: numbers of programs.
        arguments: what the kernel takes.
        constants: its compile-time constants.
    """
    if not all(grid):
        return
    tensor = next(argument for argument in arguments if isinstance(argument, torch.Tensor))
    with torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext():  # Triton takes the current device
        kernel[tuple(grid)](*arguments, **constants)
