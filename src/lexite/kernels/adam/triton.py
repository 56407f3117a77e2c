"""The optimizer in Triton: a program for each row reads and writes it once."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl

from lexite.kernels.accelerator import launch
from lexite.kernels.adam.scalars import AdamStep


def update_rows_triton(
    weight: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    gradient: torch.Tensor,
    counts: torch.Tensor,
    step: AdamStep,
    unit_norm: bool,
    mirror: torch.Tensor | None,
) -> None:
    """See :func:`lexite.kernels.adam.update_rows`."""
    scale = torch.as_tensor(step.gradient_scale, dtype=torch.float32, device=weight.device)
    rate = step.learning_rate / (1 - step.beta1**step.step)
    root = 1 / math.sqrt(1 - step.beta2**step.step)
    written = weight if mirror is None else mirror
    launch(
        _adam_rows, (len(weight),), weight, first, second, gradient.contiguous(), counts, scale, written,
        weight.shape[1], written.stride(0), step.beta1, step.beta2, step.epsilon, rate, root,
        1 - step.learning_rate * step.weight_decay,
        UNIT_NORM=unit_norm, MIRROR=mirror is not None, BLOCK=triton.next_power_of_2(weight.shape[1]),
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _adam_rows(
    weight: Any, first: Any, second: Any, gradient: Any, counts: Any, scale: Any, mirror: Any,
    width: Any, stride: Any, beta1: Any, beta2: Any, epsilon: Any, rate: Any, root: Any, decay: Any,
    UNIT_NORM: tl.constexpr, MIRROR: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    places = row * width + columns
    used = tl.load(counts + row) > 0
    slope = tl.load(gradient + places, mask=inside & used, other=0.0) * tl.load(scale)
    mean = beta1 * tl.load(first + places, mask=inside, other=0.0) + (1 - beta1) * slope
    square = beta2 * tl.load(second + places, mask=inside, other=0.0) + (1 - beta2) * slope * slope
    value = tl.load(weight + places, mask=inside, other=0.0) * decay - rate * mean / (tl.sqrt(square) * root + epsilon)
    if UNIT_NORM:
        value = tl.where(inside, value, 0.0)
        value = value / tl.maximum(tl.sqrt(tl.sum(value * value, axis=0)), 1e-8)
    tl.store(first + places, mean, mask=inside)
    tl.store(second + places, square, mask=inside)
    tl.store(weight + places, value, mask=inside)
    if MIRROR:
        tl.store(mirror + row * stride + columns, value.to(mirror.dtype.element_ty), mask=inside)
