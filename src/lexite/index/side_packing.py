"""How side data are rounded for the disk, and read back.

A vector in int8 has a scale of its own, a 127th of its largest absolute number. The values of a token are 255ths of its largest
one, which is kept in fp16. So the largest value is exact to fp16, and the others to half a 255th of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_HALF = 65504.0
"""The largest number of fp16; larger activations and norms count as this one."""
LEVELS, INT8_LEVELS = 255, 127


class PackedVectors(NamedTuple):
    """Vectors as they are kept.

    Attributes:
        numbers: (n, d) int8, fp16 or fp32.
        scales: (n,) float32, what numbers of int8 are multiplied by; None for the other formats.
    """

    numbers: NDArray[Any]
    scales: NDArray[np.float32] | None


class PackedTokens(NamedTuple):
    """Codes of tokens as they are kept, without their norms.

    Attributes:
        counts: (n_tokens,) int64, entries of each token.
        scales: (n_tokens,) float16, the largest value of each token.
        latents: (n_entries,) int32, by falling value within a token.
        values: (n_entries,) uint8, 255ths of the token's largest value, at least 1.
    """

    counts: NDArray[np.int64]
    scales: NDArray[np.float16]
    latents: NDArray[np.int32]
    values: NDArray[np.uint8]


def pack_vectors(vectors: NDArray[np.float32], number_format: str) -> PackedVectors:
    """Rounds vectors.

    Args:
        vectors: (n, d).
        number_format: "int8", "fp16" or "fp32".

    >>> packed = pack_vectors(np.array([[0.6, -0.8]], dtype=np.float32), "int8")
    >>> packed.numbers.tolist(), unpack_vectors(*packed).round(2).tolist()
    ([[95, -127]], [[0.6000000238418579, -0.800000011920929]])
    """
    if number_format != "int8":
        return PackedVectors(vectors.astype(np.float16 if number_format == "fp16" else np.float32), None)
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scales = (largest / INT8_LEVELS).astype(np.float32)
    numbers = np.rint(vectors / np.where(scales > 0, scales, 1.0)[:, None])
    return PackedVectors(np.clip(numbers, -INT8_LEVELS, INT8_LEVELS).astype(np.int8), scales)


def unpack_vectors(numbers: NDArray[Any], scales: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The vectors of what :func:`pack_vectors` gave, float32."""
    vectors: NDArray[np.float32] = numbers.astype(np.float32)
    return vectors if scales is None else vectors * scales[:, None]


def pack_tokens(values: NDArray[np.float32], indices: NDArray[np.int32]) -> PackedTokens:
    """Rounds the codes of tokens. A value that would be rounded to 0 is left out.

    Args:
        values: (n_tokens, k) activations, 0 in slots that are not used.
        indices: (n_tokens, k) their latents.

    >>> packed = pack_tokens(np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([[5, 1], [4, -1]], dtype=np.int32))
    >>> packed.counts.tolist(), packed.latents.tolist(), packed.values.tolist(), packed.scales.tolist()
    ([2, 1], [5, 1, 4], [255, 128, 255], [2.0, 3.0])
    """
    levels, scales = _levels(values, indices)
    kept = levels > 0
    return PackedTokens(kept.sum(axis=1, dtype=np.int64), scales, indices[kept].astype(np.int32), levels[kept])


def rounded(values: NDArray[np.float32], indices: NDArray[np.int32]) -> NDArray[np.float32]:
    """The activations (n_tokens, k) as they come back from the disk; 0 in slots that are not used."""
    levels, scales = _levels(values, indices)
    activations: NDArray[np.float32] = levels.astype(np.float32) * _steps(scales)[:, None]
    return activations


def unpack_values(values: NDArray[np.uint8], scales: NDArray[np.float16], counts: NDArray[Any]) -> NDArray[np.float32]:
    """The activations of what :func:`pack_tokens` gave, (n_entries,)."""
    activations: NDArray[np.float32] = values.astype(np.float32) * np.repeat(_steps(scales), counts)
    return activations


def _levels(values: NDArray[np.float32], indices: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Activations in 255ths of the largest one of their token, and that one."""
    used = np.where(indices >= 0, np.clip(values, 0.0, LARGEST_HALF), 0.0)
    scales = used.max(axis=1, initial=0.0).astype(np.float16)
    parts = used * (LEVELS / np.where(scales > 0, scales, np.inf).astype(np.float32))[:, None]
    return np.clip(np.rint(parts), 0, LEVELS).astype(np.uint8), scales


def _steps(scales: NDArray[np.float16]) -> NDArray[np.float32]:
    """A 255th of the largest value of each token."""
    return scales.astype(np.float32) / np.float32(LEVELS)
