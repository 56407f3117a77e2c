"""Gathers on an accelerator: rows of a matrix that are looked up, multiplied and added.

Two operations carry all loops over chosen latents there: the products of looked-up rows with given rows (activations, and the
derivatives by them), and sums of looked-up rows by segment (reconstructions by token, gradients by latent). Both are computed
in a fixed order, and the host never waits. On the CPU the loops of :mod:`lexite.kernels.sparse`, :mod:`lexite.kernels.slots`,
and :mod:`lexite.kernels.gradients` are compiled, each as one pass.
"""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import use_triton
from lexite.kernels.gathers.reference import gather_dots_reference, segment_sums_reference


def gather_dots(
    rows: torch.Tensor, starts: torch.Tensor, indices: torch.Tensor, table: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """``rows[t] · table[i] + bias[i]`` for each slot, in fp32.

    Args:
        rows: (n, d) fp32.
        starts: (n + 1,) int64, ascending to the number of slots; row t has the slots ``starts[t]:starts[t + 1]``.
        indices: (slots,) int32 rows of the table, -1 in slots that are not used.
        table: (m, d) fp32 or bf16; rows may stand apart.
        bias: (m,) fp32; None for 0.

    Returns:
        (slots,) fp32, 0 in slots that are not used.
    """
    if use_triton(rows):
        from lexite.kernels.gathers.triton import gather_dots_triton

        return gather_dots_triton(rows, starts, indices, table, bias)
    return gather_dots_reference(rows, starts, indices, table, bias)


def segment_sums(
    table: torch.Tensor, starts: torch.Tensor, numbers: torch.Tensor, factors: torch.Tensor, *, long: bool = False
) -> torch.Tensor:
    """``Σ_j factors[j] · table[numbers[j]]`` over the entries j of each segment, in fp32: (segments, d).

    Args:
        table: (m, d) fp32.
        starts: (segments + 1,) int64, ascending; segment s has the entries ``starts[s]:starts[s + 1]``.
        numbers: (entries,) int64 or int32 rows of the table; entries of factor 0 may name any row.
        factors: (entries,) fp32.
        long: whether some segments may be far longer than others; these are then summed in pieces.
    """
    if use_triton(table):
        from lexite.kernels.gathers.triton import segment_sums_triton

        return segment_sums_triton(table, starts, numbers, factors, long=long)
    return segment_sums_reference(table, starts, numbers, factors)
