"""Product and top-k in Triton: the product leaves a tile only as the maximum of each group of latents.

Latents stand in groups of 16 neighbours. An entry that is among the k largest of its row is in a group whose maximum is among
the k largest of all groups, since each group with a larger maximum holds a larger entry. So the k best groups of each row are
found among one sixteenth of the numbers, and the 16 k entries in them are computed once more, which is little beside the
product. Nothing is sorted inside a kernel, and the result does not depend on how programs take turns.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import triton
import triton.language as tl

from lexite.kernels.accelerator import launch
from lexite.kernels.gathers.triton import gather_dots_triton

GROUP = 16  # latents
ROWS, COLUMNS, DEPTH = 64, 128, 32  # of a program's tile


def product_topk_triton(rows: torch.Tensor, matrix: torch.Tensor, k: int, *, magnitude: bool = False) -> torch.Tensor:
    """See :func:`lexite.kernels.topk.product_topk`; at least k groups of latents."""
    n, n_latents = len(rows), len(matrix)
    best = group_maxima(rows, matrix, magnitude=magnitude).topk(k, dim=1).indices
    members = torch.arange(GROUP, device=rows.device, dtype=torch.int32)
    candidates = (best.to(torch.int32)[:, :, None] * GROUP + members).reshape(n, k * GROUP)
    candidates = torch.where(candidates < n_latents, candidates, -1)
    starts = torch.arange(n + 1, device=rows.device) * (k * GROUP)
    scores = gather_dots_triton(rows.float(), starts, candidates.reshape(-1), matrix).view(n, k * GROUP)
    values, places = (scores.abs() if magnitude else scores).topk(k, dim=1)
    return torch.where(values > 0, candidates.gather(1, places), -1)


def group_maxima(rows: torch.Tensor, matrix: torch.Tensor, *, magnitude: bool = False) -> torch.Tensor:
    """(n, groups) fp32 largest entry of ``rows · matrixᵀ``, or largest magnitude, in each group of latents."""
    n, width = rows.shape
    out = torch.empty(n, triton.cdiv(len(matrix), GROUP), dtype=torch.float32, device=rows.device)
    rows = rows.contiguous()
    launch(
        _group_maxima, (triton.cdiv(n, ROWS), triton.cdiv(len(matrix), COLUMNS)), rows, matrix, out,
        n, len(matrix), out.shape[1], width, matrix.stride(0),
        MAGNITUDE=magnitude, WIDEN=rows.dtype == torch.float32 or os.environ.get("TRITON_INTERPRET") == "1",
        BLOCK_N=ROWS, BLOCK_M=COLUMNS, BLOCK_D=DEPTH, SIZE=GROUP,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _group_maxima(
    rows: Any, matrix: Any, out: Any, n: Any, n_latents: Any, n_groups: Any, width: Any, stride: Any,
    MAGNITUDE: tl.constexpr, WIDEN: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr, SIZE: tl.constexpr,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    tokens = (tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    latents = (tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    for first in range(0, width, BLOCK_D):
        depth = first + tl.arange(0, BLOCK_D)
        left_mask = (tokens[:, None] < n) & (depth[None, :] < width)
        right_mask = (latents[None, :] < n_latents) & (depth[:, None] < width)
        left = tl.load(rows + tokens[:, None] * width + depth[None, :], mask=left_mask, other=0.0)
        right = tl.load(matrix + latents[None, :] * stride + depth[:, None], mask=right_mask, other=0.0)
        if WIDEN:  # fp32 without TF32; and the interpreter, whose products do not know bf16
            total = tl.dot(left.to(tl.float32), right.to(tl.float32), total, input_precision="ieee")
        else:
            total = tl.dot(left, right, total)
    if MAGNITUDE:
        total = tl.abs(total)
    total = tl.where(latents[None, :] < n_latents, total, float("-inf"))
    maxima = tl.max(tl.reshape(total, (BLOCK_N, BLOCK_M // SIZE, SIZE)), axis=2)
    groups = tl.program_id(1) * (BLOCK_M // SIZE) + tl.arange(0, BLOCK_M // SIZE)
    inside = (tokens[:, None] < n) & (groups[None, :] < n_groups)
    tl.store(out + tokens[:, None] * n_groups + groups[None, :], maxima, mask=inside)
