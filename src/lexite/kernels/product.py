"""The wide product of token states with the encoder, and the selection behind it, tile by tile.

Pre-activations exist for one tile of some tokens and some latents on each core, which its caches hold. The product runs in bf16
where that is fast. The values of the selected latents are then computed again in fp32, so precision only decides between
latents that are nearly equal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.bits import widen
from lexite.kernels.collect import collect_above, collect_above_reference
from lexite.kernels.energy import collect_energy, largest_to_target
from lexite.kernels.gathers import gather_dots
from lexite.kernels.slots import Slots
from lexite.kernels.sparse import row_starts
from lexite.kernels.threads import parallel_ranges, parallel_tasks, tasks_to_cut
from lexite.kernels.topk import empty_best, merge_topk, product_topk

TILE_ROWS, TILE_COLUMNS = 256, 4096  # tokens and latents of a tile: 2 MB in bf16, which the caches hold
SMALLEST_BLOCK = 64  # tokens; a product of fewer is slow
SMALLEST_ROOM = 64  # slots per token that collecting begins with
TILE_BYTES = 24 << 20  # of a tile with all latents, where one is made on the CPU
DEVICE_TILE_BYTES = 256 << 20  # on an accelerator, which large tiles keep busy
EXTRA_COLUMNS = 8  # the bias in three bf16 pieces, padded to what matrix kernels like
_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning


class EncoderProduct:
    """``u = W x + b`` as one product: the bias stands in extra columns of W, against ones in x.

    In bf16 the bias is split in three pieces that sum to it in full precision (an added bias in bf16 would cost a pass over
    the whole output, and its rounding).

    Args:
        weight: (n_latents, d_model).
        bias: (n_latents,).
        dtype: ``torch.bfloat16`` or ``torch.float32``.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> None:
        self.n_latents, self.d_model = weight.shape
        self.matrix = torch.zeros(self.n_latents, self.d_model + EXTRA_COLUMNS, dtype=dtype, device=weight.device)
        self.matrix[:, : self.d_model] = weight
        self.set_bias(bias)
        self._scratch = threading.local()  # each thread has its own tile

    def set_bias(self, bias: torch.Tensor) -> None:
        """Writes a changed bias into the extra columns."""
        rest = bias.to(torch.float32)
        for column in range(self.d_model, self.d_model + 3):
            piece = rest.to(self.matrix.dtype)
            self.matrix[:, column] = piece
            rest = rest - piece.to(torch.float32)

    def pad(self, states: torch.Tensor) -> torch.Tensor:
        """Token states (n, d_model) in the product's type, with the columns of ones."""
        padded = torch.zeros(states.shape[0], self.d_model + EXTRA_COLUMNS, dtype=self.matrix.dtype, device=states.device)
        padded[:, : self.d_model] = states
        padded[:, self.d_model : self.d_model + 3] = 1
        return padded

    def _tile(self, rows: int, columns: int) -> torch.Tensor:
        """Memory of this thread for so many pre-activations, kept from call to call."""
        tile: torch.Tensor | None = getattr(self._scratch, "tile", None)
        if tile is None or tile.numel() < rows * columns:
            tile = torch.empty(rows * columns, dtype=self.matrix.dtype, device=self.matrix.device)
            self._scratch.tile = tile
        return tile[: rows * columns].view(rows, columns)

    def blocks(self, n: int) -> list[slice]:
        """Cuts ``n`` tokens into blocks of about equal size, each for one call of :meth:`select_block`."""
        if on_cpu(self.matrix):
            threads, largest = tasks_to_cut(), TILE_ROWS
        else:
            threads, largest = 1, max(SMALLEST_BLOCK, DEVICE_TILE_BYTES // (self.n_latents * self.matrix.element_size()))
        count = max(-(-n // largest), min(threads, n // SMALLEST_BLOCK))
        return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]

    def for_each_block(self, n: int, function: Callable[[slice], None]) -> list[slice]:
        """Calls ``function`` for each of the :meth:`blocks` of ``n`` tokens, and returns them.

        On the CPU several run at once. The work of an accelerator is planned by one thread, since each thread would have a
        workspace of its own there, and would gain nothing.
        """
        blocks = self.blocks(n)
        if on_cpu(self.matrix):
            parallel_tasks(function, blocks)
        else:
            for rows in blocks:
                function(rows)
        return blocks

    def select(self, states: torch.Tensor, k: int, *, magnitude: bool = False) -> torch.Tensor:
        """Indices (n, k) int32 of the k largest positive pre-activations of each state, -1 where there are fewer.

        Args:
            states: (n, d_model), already centred.
            k: latents to keep per token.
            magnitude: the k largest |u| instead.
        """
        indices = torch.empty(len(states), k, dtype=torch.int32, device=states.device)

        def fill(rows: slice) -> None:
            with torch.no_grad():
                self.select_block(states[rows], indices[rows], magnitude=magnitude)

        self.for_each_block(len(states), fill)
        return indices

    def select_block(self, states: torch.Tensor, indices: torch.Tensor, *, magnitude: bool = False) -> None:
        """:meth:`select` for one block of tokens, into ``indices``; with ``magnitude`` by |u| instead of u."""
        padded = self.pad(states)
        if not on_cpu(self.matrix):
            indices.copy_(product_topk(padded, self.matrix, indices.shape[1], magnitude=magnitude))
            return
        best = empty_best(padded, indices)
        for start, tile in self._tiles(padded):
            merge_topk(tile.abs_() if magnitude else tile, start, best, indices)

    def _tiles(self, padded: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Pre-activations of a block, some latents at a time, with the number of the first latent."""
        for start in range(0, self.n_latents, TILE_COLUMNS):
            rows = self.matrix[start : start + TILE_COLUMNS]
            tile = self._tile(len(padded), len(rows))
            torch.mm(padded, rows.t(), out=tile)
            yield start, tile

    def collect_block(self, states: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
        """The latents of each state whose pre-activations are above thresholds, for one block of tokens.

        Args:
            states: (n, d_model), already centred.
            patterns: (n_latents,) from :func:`lexite.kernels.collect.threshold_patterns`, for the product's number format.

        Returns:
            (n, most in a row) int32, ascending, -1 behind the last.
        """
        padded = self.pad(states)
        if not on_cpu(self.matrix):
            return collect_above_reference(padded @ self.matrix.t(), patterns.view(self.matrix.dtype))
        columns, counts = self._collected(padded, patterns)
        columns = columns[:, : int(counts.max()) if len(states) else 0]
        behind = torch.arange(columns.shape[1]) >= counts[:, None]
        return columns.masked_fill(behind, -1)

    def _collected(self, padded: torch.Tensor, patterns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Columns (n, room) above the thresholds and their number (n,), on the CPU; columns behind the last mean nothing."""
        room = getattr(self._scratch, "room", SMALLEST_ROOM)
        while True:
            counts = torch.zeros(len(padded), dtype=torch.int64)
            columns = torch.empty(len(padded), room, dtype=torch.int32)
            for start, tile in self._tiles(padded):
                collect_above(tile, patterns[start : start + tile.shape[1]], start, counts, columns)
            most = int(counts.max()) if len(padded) else 0
            if most <= room:
                self._scratch.room = max(SMALLEST_ROOM, most + most // 4)  # for the next block
                return columns, counts
            room = most

    def collect_energy(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The largest positive pre-activations of each state, until their squares add up to a target; see ``kernels.energy``.

        Args:
            states: (n, d_model), already centred.
            targets: (n,) sums of squares.

        Returns:
            (n, most in a row) int32, -1 behind the last.
        """
        tile_bytes = TILE_BYTES if on_cpu(self.matrix) else DEVICE_TILE_BYTES
        rows = max(16, tile_bytes // (self.n_latents * self.matrix.element_size()))
        parts = []
        for some, target in zip(torch.split(self.pad(states), rows), torch.split(targets, rows), strict=True):
            if not on_cpu(self.matrix):
                parts.append(largest_to_target(some @ self.matrix.t(), target))
            else:
                wide = self._tile(len(some), self.n_latents)
                parts.append(collect_energy(torch.mm(some, self.matrix.t(), out=wide), target))
        return stack_slots(parts, -1, states.device)

    def collect(self, states: torch.Tensor, patterns: torch.Tensor) -> Slots:
        """:meth:`collect_block` for any number of tokens, as slots."""
        parts: dict[int, Slots] = {}

        def fill(rows: slice) -> None:
            with torch.no_grad():
                if not on_cpu(self.matrix):
                    wide = self.pad(states[rows]) @ self.matrix.t()
                    parts[rows.start] = Slots.of_mask(wide > patterns.view(self.matrix.dtype))
                else:
                    parts[rows.start] = Slots.of_counted(*self._collected(self.pad(states[rows]), patterns))

        blocks = self.for_each_block(len(states), fill)
        if not blocks:
            blocks = [slice(0, 0)]
            fill(blocks[0])
        return Slots.joined([parts[rows.start] for rows in blocks])

    def values(self, states: torch.Tensor, indices: torch.Tensor, bias: torch.Tensor, *, signed: bool = False) -> torch.Tensor:
        """ReLU(w·x + b) of the selected latents with the rows of the product's own matrix, summed in fp32: (n, k).

        As exact as :func:`lexite.kernels.sparse.selected_values` where the matrix holds the weights without rounding.

        Args:
            states: (n, d_model) fp32, centred.
            indices: (n, k) int32, -1 in slots that are not used; these are 0 in the result.
            bias: (n_latents,) fp32.
            signed: give w·x + b itself.
        """
        if not on_cpu(states):
            flat, matrix = indices.reshape(-1), self.matrix[:, : self.d_model]
            values = gather_dots(states, row_starts(indices), flat, matrix, bias).view(indices.shape)
            return values if signed else torch.relu(values)
        values = torch.zeros(indices.shape, dtype=torch.float32)
        matrix = self.matrix.view(torch.int16) if self.matrix.dtype == torch.bfloat16 else self.matrix
        arrays = (part.numpy() for part in (states.contiguous(), indices.contiguous(), matrix, bias, values))
        parallel_ranges(_values, len(states), *arrays, np.float32(-np.inf if signed else 0))
        return values


def stack_slots(parts: list[torch.Tensor], filler: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Puts blocks of slots, (n_i, m_i) each, below each other: (Σ n_i, max m_i), shorter rows filled up with ``filler``."""
    width = max((part.shape[1] for part in parts), default=0)
    dtype = parts[0].dtype if parts else torch.int32
    whole = torch.full((sum(len(part) for part in parts), width), filler, dtype=dtype, device=device)
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return whole


@njit(cache=True, nogil=True, fastmath=_FAST)
def _dot(state: Any, weights: Any) -> Any:  # pragma: no cover - compiled
    total = np.float32(0)
    for i in range(state.shape[0]):
        total += state[i] * widen(weights[i])
    return total


@njit(cache=True, nogil=True)
def _values(
    states: Any, indices: Any, matrix: Any, bias: Any, values: Any, lowest: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for token in range(start, stop):
        for slot in range(indices.shape[1]):
            latent = indices[token, slot]
            if latent >= 0:
                values[token, slot] = max(_dot(states[token], matrix[latent]) + bias[latent], lowest)
