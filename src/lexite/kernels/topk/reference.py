"""The plain definitions of :mod:`lexite.kernels.topk`, by a full sort, on any device."""

from __future__ import annotations

import torch


def select_topk_reference(preactivations: torch.Tensor, k: int) -> torch.Tensor:
    """The plain definition of :func:`lexite.kernels.topk.select_topk`."""
    values, indices = torch.sort(preactivations, dim=1, descending=True, stable=True)
    return torch.where(values[:, :k] > 0, indices[:, :k], -1).to(torch.int32)


def product_topk_reference(rows: torch.Tensor, matrix: torch.Tensor, k: int, *, magnitude: bool = False) -> torch.Tensor:
    """The plain definition of :func:`lexite.kernels.topk.product_topk`."""
    wide = rows.float() @ matrix.float().t()
    return select_topk_reference(wide.abs() if magnitude else wide, k)
