"""Pooling: from the codes of tokens to one sparse row of raw weights per text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.errors import ConfigError, ModelError
from lexite.terms.config import Pooling

if TYPE_CHECKING:
    from lexite.sae import SparseCodes

INT32_LIMIT = 2**31


@njit(cache=True, nogil=True)
def _pool_rows(values, indices, offsets, take_max, scratch, out_indices, out_values, out_offsets):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # values, indices: (tokens, k); scratch: (n_latents,) zeros, and zeros again afterwards; out_*: large enough for all.
    end = 0
    for text in range(len(offsets) - 1):
        start = end
        for token in range(offsets[text], offsets[text + 1]):
            for slot in range(values.shape[1]):
                value = values[token, slot]
                if value > 0:
                    latent = indices[token, slot]
                    before = scratch[latent]
                    if before == 0:
                        out_indices[end] = latent
                        end += 1
                    if take_max:
                        scratch[latent] = max(before, value)
                    else:
                        scratch[latent] = before + value
        out_indices[start:end].sort()
        for position in range(start, end):
            latent = out_indices[position]
            out_values[position] = scratch[latent]
            scratch[latent] = 0.0
        out_offsets[text + 1] = end
    return end


def pool_arrays(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    n_latents: int,
    pooling: Pooling = "sum",
) -> csr_array[np.float32]:
    """Pools codes given as arrays; see :func:`pool`.

    Args:
        values: activations, ``(n_tokens, k)``; entries of 0 or less are unused slots.
        indices: their latents, ``(n_tokens, k)``; anything (usually -1) in unused slots.
        offsets: ``(n_texts + 1,)``; text ``i`` owns the tokens ``offsets[i]:offsets[i + 1]``.
        n_latents: number of columns of the result.
        pooling: ``"sum"`` or ``"max"`` over the tokens of a text.

    Raises:
        ModelError: shapes that do not fit, or a latent outside ``0 … n_latents - 1``.
        ConfigError: there is no such pooling.

    >>> codes = np.array([[2.0, 1.0], [3.0, 0.0]], dtype=np.float32), np.array([[5, 1], [5, 0]], dtype=np.int32)
    >>> pool_arrays(*codes, np.array([0, 2, 2]), n_latents=8).toarray().tolist()
    [[0.0, 1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    if pooling not in ("sum", "max"):
        raise ConfigError(f"There is no pooling {pooling!r}; choose sum or max.")
    values = np.ascontiguousarray(values, dtype=np.float32)
    indices = np.ascontiguousarray(indices, dtype=np.int32)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    if values.ndim != 2 or values.shape != indices.shape:
        raise ModelError(f"Codes need values and indices of one shape (tokens, k), not {values.shape} and {indices.shape}.")
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(values) or np.any(np.diff(offsets) < 0):
        raise ModelError(f"Offsets of texts must rise from 0 to the number of tokens ({len(values)}).")
    outside = (values > 0) & ((indices < 0) | (indices >= n_latents))  # the compiled loop does not check
    if outside.any():
        raise ModelError(f"Codes name latent {int(indices[outside][0])}, but there are {n_latents}, counted from 0.")
    bound = int(np.minimum(np.diff(offsets) * values.shape[1], n_latents).sum())
    columns, weights = np.empty(bound, dtype=np.int32), np.empty(bound, dtype=np.float32)
    row_ends = np.zeros(len(offsets), dtype=np.int64)
    scratch = np.zeros(n_latents, dtype=np.float64)
    end = _pool_rows(values, indices, offsets, pooling == "max", scratch, columns, weights, row_ends)
    if end < INT32_LIMIT:
        row_ends = row_ends.astype(np.int32)
    matrix = csr_array((weights[:end].copy(), columns[:end].copy(), row_ends), shape=(len(offsets) - 1, n_latents))
    matrix.has_canonical_format = True
    return matrix


def pool(codes: SparseCodes, offsets: NDArray[np.int64], n_latents: int, pooling: Pooling = "sum") -> csr_array[np.float32]:
    """Makes one row of raw weights per text from the codes of its tokens.

    The raw weight of latent j in a text with tokens T is ``sum over t in T of f_j(t)``, or the maximum. Sums are taken in
    double precision in the order of the tokens, so that the same codes give the same bits everywhere.

    Args:
        codes: codes of all tokens, ``(n_tokens, k)``, on any device; zero values are unused slots.
        offsets: ``(n_texts + 1,)``; text ``i`` owns the tokens ``offsets[i]:offsets[i + 1]``.
        n_latents: number of latents, the columns of the result.
        pooling: ``"sum"`` or ``"max"``.

    Returns:
        A CSR array ``(n_texts, n_latents)`` of float32, column numbers int32 and ascending within a row, no stored zeros.

    Raises:
        ModelError: shapes that do not fit, or a latent outside ``0 … n_latents - 1``.
        ConfigError: there is no such pooling.
    """
    return pool_arrays(_numpy(codes.values), _numpy(codes.indices), offsets, n_latents, pooling)


def _numpy(tensor: Any) -> NDArray[Any]:
    """A tensor's numbers on the CPU; numpy arrays pass through."""
    return tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.detach().cpu().numpy())
