"""The chosen latents of a batch, token after token. Some tokens have many and others none, so rows are not padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.gathers import gather_dots
from lexite.kernels.gathers.reference import gather_dots_reference
from lexite.kernels.sparse import _FAST, _dot, row_starts
from lexite.kernels.threads import parallel_ranges


@dataclass(frozen=True, slots=True)
class Slots:
    """Chosen latents.

    Attributes:
        starts: (n + 1,) int64; token t has the slots ``starts[t]:starts[t + 1]``.
        indices: (slots,) int32 latents, no latent twice for a token. On an accelerator -1 may mark a slot that is not used:
            leaving it out would make the host wait for the number of slots. Its value is 0 everywhere.
    """

    starts: torch.Tensor
    indices: torch.Tensor

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.starts) - 1

    @property
    def tokens(self) -> torch.Tensor:
        """(slots,) int64 token of each slot."""
        n = torch.arange(self.n_tokens, device=self.starts.device)
        return torch.repeat_interleave(n, self.starts.diff(), output_size=len(self.indices))

    @property
    def ranks(self) -> torch.Tensor:
        """(slots,) int64 place of each slot among the slots of its token, from 0."""
        return torch.arange(len(self.indices), device=self.starts.device) - self.starts[:-1][self.tokens]

    def kept(self, mask: torch.Tensor) -> Slots:
        """The slots that a mask (slots,) keeps."""
        before = torch.zeros(len(mask) + 1, dtype=torch.int64, device=mask.device)
        torch.cumsum(mask, 0, out=before[1:])
        return Slots(before[self.starts], self.indices[mask])

    def largest(self, scores: torch.Tensor, k: int) -> torch.Tensor:
        """(slots,) mask of the k slots of each token with the largest scores; among equals the first."""
        if on_cpu(scores):
            mask = np.zeros(len(scores), dtype=np.bool_)
            starts, values = as_arrays(self.starts, scores)
            parallel_ranges(_largest, self.n_tokens, starts, values, k, mask)
            return torch.from_numpy(mask)
        by_score = torch.argsort(scores, descending=True, stable=True)
        order = by_score[torch.argsort(self.tokens[by_score], stable=True)]
        chosen = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        chosen[order] = self.ranks < k
        return chosen

    def padded(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and indices as rows of equal length, (n, most slots of a token); 0 and -1 behind a token's last slot."""
        tokens, ranks = self.tokens, self.ranks
        width = int(ranks.max()) + 1 if len(ranks) else 0
        wide = torch.zeros(self.n_tokens, width, dtype=values.dtype, device=values.device)
        columns = torch.full((self.n_tokens, width), -1, dtype=torch.int32, device=values.device)
        wide[tokens, ranks], columns[tokens, ranks] = values, self.indices
        return wide, columns

    @classmethod
    def of_rows(cls, indices: torch.Tensor) -> Slots:
        """From (n, m) int32 rows; -1 marks places that are not used, which stay on an accelerator."""
        flat = indices.reshape(-1)
        every = cls(row_starts(indices), flat)
        if not on_cpu(indices):
            return every
        used = flat >= 0
        return every if bool(used.all()) else every.kept(used)

    @classmethod
    def of_mask(cls, mask: torch.Tensor) -> Slots:
        """From (n, n_latents) bool on an accelerator: the latents that are marked. The host waits for their number."""
        starts = torch.zeros(len(mask) + 1, dtype=torch.int64, device=mask.device)
        torch.cumsum(mask.sum(1), 0, out=starts[1:])
        return cls(starts, mask.nonzero()[:, 1].to(torch.int32))

    @classmethod
    def of_counted(cls, indices: torch.Tensor, counts: torch.Tensor) -> Slots:
        """From (n, m) int32 rows on the CPU, of which the first ``counts`` (n,) are used."""
        starts = torch.zeros(len(counts) + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=starts[1:])
        flat = torch.empty(int(starts[-1]), dtype=torch.int32)
        _compact(indices.numpy(), starts.numpy(), flat.numpy())
        return cls(starts, flat)

    @classmethod
    def joined(cls, parts: list[Slots]) -> Slots:
        """Slots of blocks of tokens, one after the other."""
        counts = torch.cat([part.starts.diff() for part in parts])
        starts = torch.zeros(len(counts) + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, 0, out=starts[1:])
        return cls(starts, torch.cat([part.indices for part in parts]))


def slot_values(states: torch.Tensor, slots: Slots, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """w·x + b of each slot in fp32: (slots,).

    Args:
        states: (n, d_model) fp32.
        slots: chosen latents.
        weight: (n_latents, d_model) fp32.
        bias: (n_latents,) fp32.
    """
    if not on_cpu(states):
        return gather_dots(states, slots.starts, slots.indices, weight, bias)
    values = torch.empty(len(slots.indices))
    parts = (states.contiguous(), slots.starts, slots.indices, weight, bias, values)
    parallel_ranges(_slot_values, slots.n_tokens, *(part.numpy() for part in parts))
    return values


def slot_values_reference(states: torch.Tensor, slots: Slots, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The plain definition of :func:`slot_values`."""
    return gather_dots_reference(states, slots.starts, slots.indices, weight, bias)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _slot_values(
    states: Any, starts: Any, indices: Any, weight: Any, bias: Any, values: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for token in range(start, stop):
        for slot in range(starts[token], starts[token + 1]):
            latent = indices[slot]
            values[slot] = _dot(states[token], weight[latent]) + bias[latent]


@njit(cache=True, nogil=True)
def _largest(starts: Any, scores: Any, k: int, chosen: Any, start: int, stop: int) -> None:  # pragma: no cover - compiled
    best = np.empty(k, dtype=np.int64)
    for token in range(start, stop):
        found = 0
        for slot in range(starts[token], starts[token + 1]):
            if found == k and not scores[slot] > scores[best[k - 1]]:
                continue
            place = min(found, k - 1)
            while place > 0 and scores[best[place - 1]] < scores[slot]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = slot
            found = min(found + 1, k)
        for i in range(found):
            chosen[best[i]] = True


@njit(cache=True, nogil=True)
def _compact(rows: Any, starts: Any, flat: Any) -> None:  # pragma: no cover - compiled
    for row in range(rows.shape[0]):
        first = starts[row]
        for j in range(starts[row + 1] - first):
            flat[first + j] = rows[row, j]


def as_arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    """Tensors as the arrays that compiled loops take."""
    return [tensor.contiguous().numpy() for tensor in tensors]
