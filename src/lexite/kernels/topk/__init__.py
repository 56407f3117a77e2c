"""The k largest positive pre-activations of each token: of pre-activations that are there, or of a product that never is."""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import on_cpu, use_triton
from lexite.kernels.topk.cpu import empty_best, merge_topk, select_topk_into
from lexite.kernels.topk.reference import product_topk_reference, select_topk_reference

__all__ = [
    "empty_best",
    "merge_topk",
    "product_topk",
    "product_topk_reference",
    "select_topk",
    "select_topk_into",
    "select_topk_reference",
]


def select_topk(preactivations: torch.Tensor, k: int) -> torch.Tensor:
    """Indices of the k largest positive entries of each row, largest first; ties go to the lower index on the CPU.

    Args:
        preactivations: (n, n_latents), bf16, fp16 or fp32, without NaN.
        k: how many to keep.

    Returns:
        (n, k) int32; -1 fills the rows that have fewer than k positive entries.
    """
    if not on_cpu(preactivations):
        values, indices = torch.topk(preactivations, k, dim=1)
        return torch.where(values > 0, indices, -1).to(torch.int32)
    indices = torch.empty(preactivations.shape[0], k, dtype=torch.int32)
    select_topk_into(preactivations, indices)
    return indices


def product_topk(rows: torch.Tensor, matrix: torch.Tensor, k: int, *, magnitude: bool = False) -> torch.Tensor:
    """:func:`select_topk` of ``rows · matrixᵀ`` on an accelerator, where Triton never writes that product to memory.

    Args:
        rows: (n, d), in the type of the matrix.
        matrix: (n_latents, d), bf16 or fp32.
        k: how many to keep.
        magnitude: by absolute value.
    """
    if use_triton(rows):
        from lexite.kernels.topk.triton import GROUP, product_topk_triton

        if k * GROUP <= len(matrix):  # else nearly all is looked at anyway
            return product_topk_triton(rows, matrix, k, magnitude=magnitude)
    wide = rows @ matrix.t()
    return select_topk(wide.abs_() if magnitude else wide, k)
