"""The plain definitions of :mod:`lexite.kernels.gathers`, in torch's own operations, for any device."""

from __future__ import annotations

import torch

BYTES_AT_ONCE = 256 << 20  # of looked-up rows: few launches, and no slots × width matrix of a large batch


def gather_dots_reference(
    rows: torch.Tensor, starts: torch.Tensor, indices: torch.Tensor, table: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """The plain definition of :func:`lexite.kernels.gathers.gather_dots`, some slots at a time."""
    owners = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), starts.diff(), output_size=len(indices))
    used, places = indices >= 0, indices.clamp(min=0).long()
    at_once = max(1, BYTES_AT_ONCE // (4 * max(rows.shape[1], 1)))
    parts = [
        (rows[owner] * table[place].float()).sum(1)
        for owner, place in zip(torch.split(owners, at_once), torch.split(places, at_once), strict=True)
    ]
    dots = torch.cat(parts) if parts else rows.new_zeros(0)
    return torch.where(used, dots if bias is None else dots + bias[places], 0.0)


def segment_sums_reference(
    table: torch.Tensor, starts: torch.Tensor, numbers: torch.Tensor, factors: torch.Tensor
) -> torch.Tensor:
    """The plain definition of :func:`lexite.kernels.gathers.segment_sums`."""
    if not len(numbers):
        return table.new_zeros(len(starts) - 1, table.shape[1])
    return torch.nn.functional.embedding_bag(
        numbers.clamp(min=0).long(),
        table.contiguous(),
        starts,
        mode="sum",
        per_sample_weights=factors,
        include_last_offset=True,
    )
