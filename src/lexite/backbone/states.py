"""Token states of several texts as one ragged batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexite.errors import BackboneError

if TYPE_CHECKING:
    import torch

UNKNOWN_TOKEN = -1
_ROWS_PER_LOOK = 1 << 15  # rows looked at together, which bounds the memory for the answer


@dataclass(frozen=True, slots=True)
class TokenStates:
    """The states of the tokens of some texts, one row per token, texts one after the other.

    Attributes:
        states: ``(n_tokens, d_model)``, bf16, fp16 or fp32, on any device.
        offsets: ``(n_texts + 1,)`` int64; text ``i`` owns the rows ``offsets[i]:offsets[i + 1]``. A text may own none.
        token_ids: ``(n_tokens,)`` int32, ids of the backbone's tokenizer; -1 where unknown.
        unknown: ``(n_texts,)`` int64, word pieces of each text that were left out since the tokenizer does not know them; None
            where they were not counted.

    Example:
        >>> import torch
        >>> batch = TokenStates(torch.ones(3, 2), np.array([0, 2, 2, 3]), np.array([7, 8, 9], dtype=np.int32))
        >>> batch.n_texts, batch.n_tokens, batch.d_model
        (3, 3, 2)
        >>> batch.text(0).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """

    states: torch.Tensor
    offsets: npt.NDArray[np.int64]
    token_ids: npt.NDArray[np.int32]
    unknown: npt.NDArray[np.int64] | None = None

    @property
    def n_texts(self) -> int:
        """Number of texts, those without a token included."""
        return len(self.offsets) - 1

    @property
    def n_tokens(self) -> int:
        """Number of rows over all texts."""
        return int(self.states.shape[0])

    @property
    def d_model(self) -> int:
        """Width of a state."""
        return int(self.states.shape[1])

    def text(self, number: int) -> torch.Tensor:
        """The states of one text, ``(tokens of the text, d_model)``, as a view."""
        return self.states[int(self.offsets[number]) : int(self.offsets[number + 1])]

    def pieces(self, tokens: int) -> Iterator[TokenStates]:
        """Splits the texts into parts of at most ``tokens`` rows. A longer text is a part of its own. All are views."""
        start = 0
        while start < self.n_texts:
            first = int(self.offsets[start])
            stop = int(np.searchsorted(self.offsets, first + tokens, side="right")) - 1
            stop = max(stop, start + 1)
            last = int(self.offsets[stop])
            offsets = self.offsets[start : stop + 1] - first
            yield TokenStates(self.states[first:last], offsets, self.token_ids[first:last])
            start = stop

    def to_numpy(self) -> npt.NDArray[np.float32]:
        """The states as a fp32 array on the CPU, ``(n_tokens, d_model)``."""
        array: npt.NDArray[np.float32] = self.states.detach().float().cpu().numpy()
        return array

    def check(self, *, first_text: int = 0, where: str = "") -> TokenStates:
        """Returns itself when it is consistent and every number is finite.

        Args:
            first_text: number of the first text here among all texts, for the message.
            where: what the states were read from, for the message.

        Raises:
            BackboneError: shapes that do not fit, or NaN or infinity; the message names the text.
        """
        prefix = f"{where}: " if where else ""
        if self.states.ndim != 2:
            raise BackboneError(f"{prefix}token states must have two dimensions (tokens, width), not {self.states.ndim}.")
        check_offsets(self.offsets, self.n_tokens, where)
        if self.token_ids.shape != (self.n_tokens,):
            raise BackboneError(f"{prefix}there are {self.token_ids.size} token ids for {self.n_tokens} token states.")
        row = first_bad_row(self.states)
        if row is not None:
            number = int(np.searchsorted(self.offsets, row, side="right")) - 1
            token = row - int(self.offsets[number])
            raise BackboneError(
                f"{prefix}the state of token {token} of text {first_text + number} (both counted from 0) "
                "holds NaN or infinity. Try precision='fp32'; if it stays, the weights or the arrays are damaged."
            )
        return self


def check_offsets(offsets: npt.NDArray[Any], n_tokens: int, where: str = "") -> None:
    """Refuses offsets that are not a partition of ``n_tokens`` rows into texts; raises :class:`BackboneError`."""
    prefix = f"{where}: " if where else ""
    if offsets.ndim != 1 or offsets.size == 0 or not np.issubdtype(offsets.dtype, np.integer):
        raise BackboneError(f"{prefix}offsets must be a list of whole numbers, one more than there are texts.")
    if offsets[0] != 0 or offsets[-1] != n_tokens or np.any(np.diff(offsets) < 0):
        raise BackboneError(f"{prefix}offsets must rise from 0 to the number of token states ({n_tokens}).")


def first_bad_row(states: torch.Tensor) -> int | None:
    """Number of the first row that holds NaN or infinity, or None.

    >>> import torch
    >>> first_bad_row(torch.tensor([[0.0, 1.0], [float("nan"), 1.0]]))
    1
    """
    import torch

    for start in range(0, len(states), _ROWS_PER_LOOK):
        finite = torch.isfinite(states[start : start + _ROWS_PER_LOOK])
        if not bool(finite.all()):
            return start + int((~finite).any(dim=1).nonzero()[0])
    return None


def concatenate(parts: Sequence[TokenStates]) -> TokenStates:
    """Joins ragged batches in order.

    Raises:
        BackboneError: there is no part, or their widths differ.
    """
    import torch

    if not parts:
        raise BackboneError("There are no token states to join.")
    widths = sorted({part.d_model for part in parts})
    if len(widths) > 1:
        raise BackboneError(f"Token states of different widths cannot be joined: {', '.join(map(str, widths))}.")
    starts = np.cumsum([0, *(part.n_tokens for part in parts)])
    offsets = [np.zeros(1, dtype=np.int64), *(part.offsets[1:] + start for part, start in zip(parts, starts, strict=False))]
    return TokenStates(
        torch.cat([part.states for part in parts]),
        np.concatenate(offsets),
        np.concatenate([part.token_ids for part in parts]),
    )
