"""The dense model's states of single tokens, kept in a byte a number, and how near they come to given vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LARGEST = 127  # of a number in a byte
_ROUNDING = 1e-6  # what is less in a difference of vectors of length 1 is rounding


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """The states of the tokens of some passages, less a mean, of length 1.

    Attributes:
        rows: ``(n, d)`` int8, one passage after the other.
        scales: ``(n,)`` float32, what a row is to be multiplied by.
        starts: ``(n_passages + 1,)`` int64, the rows of each passage; none where they were not kept.
        mean: ``(d,)`` float32, what is taken off each state of length 1.
    """

    rows: NDArray[np.int8]
    scales: NDArray[np.float32]
    starts: NDArray[np.int64]
    mean: NDArray[np.float32]

    def nearest(self, vectors: NDArray[np.float32], passages: NDArray[np.int32]) -> NDArray[np.float32]:
        """Of each passage the largest cosine that one of its tokens has with each vector.

        Args:
            vectors: ``(n, d)`` of length 1, made by :func:`centred` with the same mean.
            passages: numbers of passages.

        Returns:
            ``(n_passages, n)``; 0 for passages without tokens.
        """
        begins, ends = self.starts[passages], self.starts[passages + 1]
        result = np.zeros((len(passages), len(vectors)), dtype=np.float32)
        lengths = ends - begins
        some = np.flatnonzero(lengths > 0)
        if not len(some) or not len(vectors):
            return result
        first = np.cumsum(lengths[some]) - lengths[some]
        rows = np.repeat(begins[some] - first, lengths[some]) + np.arange(int(lengths[some].sum()))
        cosines = self.rows[rows].astype(np.float32) @ vectors.T
        cosines *= self.scales[rows][:, None]
        result[some] = np.maximum.reduceat(cosines, first, axis=0)
        return result


def centred(states: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """States of length 1, less a mean, of length 1 again; zeros where nothing is left."""
    away = _of_length_1(states) - mean
    away[np.abs(away).max(axis=1, initial=0.0) < _ROUNDING] = 0.0
    return _of_length_1(away)


def mean_state(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of states, each of length 1."""
    return np.asarray(_of_length_1(states).mean(0), dtype=np.float32)


def in_bytes(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows as bytes and their scales, of which the product is the row to 1/254 of its largest number.

    >>> rows, scales = in_bytes(np.array([[1.0, -0.5]], dtype=np.float32))
    >>> rows.tolist(), (rows * scales[:, None]).round(2).tolist()
    ([[127, -64]], [[1.0, -0.5]])
    """
    scales = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-9) / _LARGEST
    return np.rint(rows / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def mean_nearest(
    tokens: TokenVectors, wanted: Sequence[NDArray[np.float32]], passages: NDArray[np.int32]
) -> NDArray[np.float32]:
    """For each set of vectors the mean of their largest cosines in each passage, ``(n_passages, n_sets)``.

    It is ColBERT's score (Khattab and Zaharia 2020), divided by the number of vectors. A set without vectors has 0.

    Args:
        tokens: of the passages.
        wanted: for each set ``(n, d)`` vectors of length 1.
        passages: numbers of passages.
    """
    result = np.zeros((len(passages), len(wanted)), dtype=np.float32)
    counts = [len(own) for own in wanted]
    if not sum(counts):
        return result
    nearest = tokens.nearest(np.concatenate([own for own in wanted if len(own)]), passages)
    start = 0
    for place, count in enumerate(counts):
        if count:
            result[:, place] = nearest[:, start : start + count].mean(1)
            start += count
    return result


def _of_length_1(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
