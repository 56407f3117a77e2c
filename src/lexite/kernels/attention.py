"""Softmax of attention scores in bf16, in one pass over memory.

Plain attention multiplies, masks and normalises the scores in separate operations. Memory limits each of them: on sequences of
256 tokens they take longer than the matrix products around them. Here a row of scores is read once, stays in
the nearest cache, and is written once. bf16 is read as integers, which numba knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from lexite.kernels.bits import in_order, larger, narrow, nearest_below_zero, two_to, where, widen
from lexite.kernels.threads import parallel_ranges

_FAST = {"contract", "reassoc", "nsz"}
_LOG2_E = np.float32(1.4426950408889634)
_LOWEST = np.float32(-100)  # 2^-100 is nothing beside 1, and no product of it is too small for a normal float
_POLYNOMIAL = tuple(np.float32(c) for c in (1.3333558e-3, 9.6181291e-3, 5.5504109e-2, 2.4022651e-1, 6.9314718e-1, 1.0))


def masked_softmax_reference(scores: torch.Tensor, mask: torch.Tensor | None, scale: float) -> torch.Tensor:
    """The plain definition of :func:`masked_softmax_`, in fp32."""
    scaled = scores.float() * scale
    return torch.softmax(scaled if mask is None else scaled.masked_fill(~mask, torch.finfo(torch.float32).min), dim=-1)


def masked_softmax_(scores: torch.Tensor, mask: torch.Tensor | None, scale: float) -> torch.Tensor:
    """``softmax(scale · scores)`` over the last dimension, in place; where the mask is false, it is below 1e-30.

    Computed in fp32; 2^x is taken as 2^k · 2^f with k whole and f from -1/2 to 1/2, and 2^f by its Taylor polynomial of degree
    5 (relative error below 3e-6, a thousandth of bf16's rounding). A row whose mask is all false becomes uniform, as in the
    reference.

    Args:
        scores: (sequences, heads, queries, keys) bf16 on the CPU, contiguous, without infinities.
        mask: (sequences, 1, queries or 1, keys) bool, or None.
        scale: factor of the scores.
    """
    sequences, heads, queries, keys = scores.shape
    bits = scores.view(torch.int16).numpy().reshape(sequences * heads * queries, keys)
    allowed = torch.ones((1, 1, 1, keys), dtype=torch.bool) if mask is None else mask
    # Rows of the mask are found by strides: a dimension of size 1 has a stride of 0.
    steps = [0 if allowed.shape[i] == 1 else 1 for i in (0, 2)]
    rows = allowed.shape[2] if steps[1] else 1
    table = allowed[:, 0].contiguous().view(torch.uint8).numpy().reshape(-1, keys)
    parallel_ranges(
        _softmax_rows, len(bits), bits, table, heads * queries, queries, steps[0] * rows, steps[1], np.float32(scale) * _LOG2_E
    )
    return scores


@njit(cache=True, nogil=True)
def _softmax_rows(
    bits: Any,
    masks: Any,
    per_sequence: int,
    queries: int,
    sequence_step: int,
    query_step: int,
    factor: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    """Rows of scores; the mask of row r is ``masks[r // per_sequence * sequence_step + r % queries * query_step]``."""
    powers = np.empty(bits.shape[1], np.float32)
    for row in range(start, stop):
        scores = bits[row]
        mask = masks[row // per_sequence * sequence_step + row % queries * query_step]
        total = _powers_of_two(scores, mask, factor, _largest(scores, mask) * factor, powers)
        _write_scaled(powers, np.float32(1) / total, scores)


@njit(cache=True, nogil=True)
def _largest(scores: Any, mask: Any) -> Any:  # pragma: no cover - compiled
    """The largest score that the mask allows; integers, since the maximum of floats is not compiled to vector code."""
    top = np.int16(-32768)
    for i in range(scores.shape[0]):
        top = larger(top, where(mask[i], in_order(scores[i])))
    return widen(in_order(top))


@njit(cache=True, nogil=True, fastmath=_FAST)
def _powers_of_two(scores: Any, mask: Any, factor: Any, shift: Any, powers: Any) -> Any:  # pragma: no cover - compiled
    """Writes 2^(factor · score - shift), 2^-100 where masked, into ``powers`` and returns their sum."""
    total = np.float32(0)
    for i in range(scores.shape[0]):
        exponent = widen(scores[i]) * factor - shift
        exponent = exponent if mask[i] else _LOWEST
        exponent = _LOWEST if exponent < _LOWEST else exponent  # so that NaN stays NaN
        whole = nearest_below_zero(exponent)
        rest = exponent - whole
        power = _POLYNOMIAL[0]
        for c in _POLYNOMIAL[1:]:
            power = power * rest + c
        power = power * two_to(whole)
        powers[i] = power
        total += power
    return total


@njit(cache=True, nogil=True)
def _write_scaled(powers: Any, factor: Any, scores: Any) -> None:  # pragma: no cover - compiled
    for i in range(scores.shape[0]):
        scores[i] = narrow(powers[i] * factor)
