"""The wide product of token states with the encoder, and the selection behind it, tile by tile.

Pre-activations exist for one tile of tokens only. The product runs in bf16 where that is fast; the values of the selected
latents are then computed again in fp32, so that precision only decides between latents that are nearly equal.
"""

from __future__ import annotations

import threading

import torch

from lexite.kernels.topk import select_topk, select_topk_into

TILE_BYTES = 24 << 20
EXTRA_COLUMNS = 8  # the bias in three bf16 pieces, padded to what matrix kernels like


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
        self._scratch = threading.local()  # several threads may encode at once

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

    def _tile(self, rows: int) -> torch.Tensor:
        """Memory for the pre-activations of so many tokens, kept from call to call."""
        tile: torch.Tensor | None = getattr(self._scratch, "tile", None)
        if tile is None or tile.shape[0] < rows:
            tile = torch.empty(rows, self.n_latents, dtype=self.matrix.dtype, device=self.matrix.device)
            self._scratch.tile = tile
        return tile

    def select(self, states: torch.Tensor, k: int) -> torch.Tensor:
        """Indices (n, k) int32 of the k largest positive pre-activations of each state, -1 where there are fewer.

        Args:
            states: (n, d_model), already centred.
            k: latents to keep per token.
        """
        padded = self.pad(states)
        n = padded.shape[0]
        indices = torch.empty(n, k, dtype=torch.int32, device=states.device)
        rows = max(64, TILE_BYTES // (self.n_latents * self.matrix.element_size()))
        whole = self._tile(min(rows, n))
        for start in range(0, n, rows):
            part = padded[start : start + rows]
            tile = whole[: part.shape[0]]
            torch.mm(part, self.matrix.t(), out=tile)
            if tile.device.type == "cpu":
                select_topk_into(tile, indices[start : start + rows])
            else:
                indices[start : start + rows] = select_topk(tile, k)
        return indices
