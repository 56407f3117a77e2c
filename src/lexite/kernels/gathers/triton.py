"""The same in Triton: a program for each row, or for each segment and part of the width.

A program reads the slots of its row some at a time, so that several rows of the table are on their way at once. Long segments
are cut into pieces of a fixed length, whose sums are added afterwards: the order of the sums depends on the data alone.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from lexite.kernels.accelerator import launch

NUMBERS_AT_ONCE = 4096  # of the table, that a program holds
PIECE = 64  # entries of a long segment that one program sums
WIDTH = 256  # columns that one program sums


def gather_dots_triton(
    rows: torch.Tensor, starts: torch.Tensor, indices: torch.Tensor, table: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """See :func:`lexite.kernels.gathers.gather_dots`."""
    rows = rows.contiguous()
    width = rows.shape[1]
    out = torch.empty(len(indices), dtype=torch.float32, device=rows.device)
    block = triton.next_power_of_2(max(width, 16))
    launch(
        _gather_dots, (len(rows),), rows, starts, indices, table, rows if bias is None else bias, out, width, table.stride(0),
        HAS_BIAS=bias is not None, AT_ONCE=max(1, NUMBERS_AT_ONCE // block), BLOCK=block,
    )  # fmt: skip
    return out


def segment_sums_triton(
    table: torch.Tensor, starts: torch.Tensor, numbers: torch.Tensor, factors: torch.Tensor, *, long: bool = False
) -> torch.Tensor:
    """See :func:`lexite.kernels.gathers.segment_sums`."""
    table = table.contiguous()
    if not long:
        return _sums(table, starts[:-1], starts[1:], numbers, factors)
    # No more pieces than this can be needed, whatever the segments are, so the host need not ask for their number.
    n_segments, most = len(starts) - 1, len(numbers) // PIECE + len(starts) - 1
    firsts = torch.zeros(n_segments + 1, dtype=torch.int64, device=starts.device)
    torch.cumsum((starts.diff() + PIECE - 1) // PIECE, 0, out=firsts[1:])
    pieces = torch.arange(most, device=starts.device)
    owners = (torch.searchsorted(firsts, pieces, right=True) - 1).clamp(max=n_segments - 1)
    begins = starts[owners] + PIECE * (pieces - firsts[owners])
    ends = torch.minimum(begins + PIECE, starts[owners + 1])  # a piece too many begins behind its end, and sums to 0
    partial = _sums(table, begins, ends, numbers, factors)
    return _sums(partial, firsts[:-1], firsts[1:], None, None)


def _sums(
    table: torch.Tensor, begins: torch.Tensor, ends: torch.Tensor, numbers: torch.Tensor | None, factors: torch.Tensor | None
) -> torch.Tensor:
    """Sums from ``begins`` to ``ends``; without numbers and factors, of the table's own rows."""
    width = table.shape[1]
    out = torch.empty(len(begins), width, dtype=torch.float32, device=table.device)
    block = min(WIDTH, triton.next_power_of_2(max(width, 16)))
    launch(
        _segment_sums, (len(begins), triton.cdiv(width, block)), table, begins, ends,
        begins if numbers is None else numbers, table if factors is None else factors, out, width,
        LOOKED_UP=numbers is not None, AT_ONCE=max(1, NUMBERS_AT_ONCE // block), BLOCK=block,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _gather_dots(
    rows: Any, starts: Any, indices: Any, table: Any, bias: Any, out: Any, width: Any, stride: Any,
    HAS_BIAS: tl.constexpr, AT_ONCE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    row = tl.load(rows + token * width + columns, mask=inside, other=0.0)
    end = tl.load(starts + token + 1)
    for first in range(tl.load(starts + token), end, AT_ONCE):
        slots = first + tl.arange(0, AT_ONCE)
        index = tl.load(indices + slots, mask=slots < end, other=-1).to(tl.int64)
        used = index >= 0
        looked_up = table + index[:, None] * stride + columns[None, :]
        weights = tl.load(looked_up, mask=used[:, None] & inside[None, :], other=0.0).to(tl.float32)
        dots = tl.sum(weights * row[None, :], axis=1)
        if HAS_BIAS:
            dots += tl.load(bias + index, mask=used, other=0.0)
        tl.store(out + slots, tl.where(used, dots, 0.0), mask=slots < end)


@triton.jit  # type: ignore[untyped-decorator]
def _segment_sums(
    table: Any, begins: Any, ends: Any, numbers: Any, factors: Any, out: Any, width: Any,
    LOOKED_UP: tl.constexpr, AT_ONCE: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip  # pragma: no cover - compiled
    segment = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    end = tl.load(ends + segment)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in range(tl.load(begins + segment), end, AT_ONCE):
        entries = first + tl.arange(0, AT_ONCE)
        known = entries < end
        number = entries.to(tl.int64)
        if LOOKED_UP:
            number = tl.load(numbers + entries, mask=known, other=0).to(tl.int64)
            factor = tl.load(factors + entries, mask=known, other=0.0)
            known = known & (factor != 0.0) & (number >= 0)
        rows = tl.load(table + number[:, None] * width + columns[None, :], mask=known[:, None] & inside[None, :], other=0.0)
        if LOOKED_UP:
            rows = rows * factor[:, None]
        total += tl.sum(rows, axis=0)
    tl.store(out + segment * width + columns, total, mask=inside)
