"""Transforms of raw weights, applied when a text is scored, never when it is stored; and dropping small ones before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError
from lexite.scoring.config import QueryTransform, Transform
from lexite.scoring.rows import CSRRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Matrix = TypeVar("Matrix")
RowsOrMatrix = TypeVar("RowsOrMatrix", CSRRows, "csr_array[Any]")
TRANSFORMS: tuple[Transform, ...] = ("none", "sqrt", "log1p")
"""Of documents. Their positions are the rows of a segment's lengths, and the codes that the kernels take."""


def transform_weights(weights: NDArray[Any], transform: QueryTransform) -> NDArray[np.float32]:
    """Transforms an array of raw weights, element by element.

    Args:
        weights: raw weights, 0 or more, of any shape; left as they are.
        transform: ``"sqrt"`` square root, ``"pow0.75"`` w to the power 0.75, ``"log1p"`` log(1 + w), ``"none"`` w itself.

    The logarithm is taken in float64 and rounded, because float32 logarithms differ between numpy and compiled code; roots
    are rounded alike everywhere. The kernels do the same, so that scores are equal to the last bit.

    Returns:
        A float32 array of the same shape. With ``"none"`` and float32 weights it is the array itself, not a copy.

    Raises:
        ConfigError: there is no such transform.

    >>> transform_weights(np.array([0.0, 4.0]), "sqrt").tolist()
    [0.0, 2.0]
    """
    values = np.asarray(weights, dtype=np.float32)
    if transform == "sqrt":
        return np.sqrt(values)
    if transform == "pow0.75":
        roots = np.sqrt(values)
        return roots * np.sqrt(roots)  # two roots are exact in float32 everywhere, and faster than a power
    if transform == "log1p":
        return np.log1p(values, dtype=np.float64).astype(np.float32)
    if transform == "none":
        return values
    raise ConfigError(f"There is no transform {transform!r}; choose one of sqrt, pow0.75, log1p, none.")


def raw_weights(values: NDArray[Any], transform: QueryTransform) -> NDArray[np.float64]:
    """The raw weights that a transform makes values of: the inverse of :func:`transform_weights`, in double precision.

    Args:
        values: transformed weights, 0 or more.
        transform: which transform.

    >>> raw_weights(np.array([0.0, 2.0]), "sqrt").tolist(), raw_weights(np.array([8.0]), "pow0.75").round(6).tolist()
    ([0.0, 4.0], [16.0])
    """
    given = np.asarray(values, dtype=np.float64)
    if transform == "sqrt":
        return np.square(given)
    if transform == "pow0.75":
        return np.power(given, 4.0 / 3.0)
    return np.expm1(given) if transform == "log1p" else given


def apply_transform(matrix: Matrix, transform: QueryTransform) -> Matrix:
    """Transforms the weights of a CSR or CSC matrix (or of a dense array). Zeros stay zero.

    Args:
        matrix: a scipy sparse array of raw weights, or a numpy array.
        transform: as in :func:`transform_weights`.

    Returns:
        The same kind of matrix with float32 weights; a sparse one shares its index arrays with ``matrix``.

    Raises:
        ConfigError: there is no such transform.
    """
    if isinstance(matrix, np.ndarray):
        return transform_weights(matrix, transform)  # type: ignore[return-value]
    sparse: Any = matrix
    parts = (transform_weights(sparse.data, transform), sparse.indices, sparse.indptr)
    result: Matrix = type(sparse)(parts, shape=sparse.shape, copy=False)
    return result


def drop_small(rows: RowsOrMatrix, floor: float) -> RowsOrMatrix:
    """Rows without the weights below a share of their row's largest.

    Many terms of a text are small: latents that a word or two touched on. Each costs a posting and adds little to any score.

    Args:
        rows: raw weights above 0, as a matrix of scipy or without it.
        floor: the share; 0 gives the rows themselves.

    >>> from scipy.sparse import csr_array
    >>> drop_small(csr_array(np.array([[1.0, 5, 10], [0, 2, 0]])), 0.2).toarray().tolist()
    [[0.0, 5.0, 10.0], [0.0, 2.0, 0.0]]
    """
    if not floor or not len(rows.data):
        return rows
    lengths = np.diff(rows.indptr)
    used = lengths > 0
    largest = np.zeros(len(lengths), dtype=rows.data.dtype)
    largest[used] = np.maximum.reduceat(rows.data, rows.indptr[:-1][used])
    keep = rows.data >= np.repeat(largest * rows.data.dtype.type(floor), lengths)
    bounds = np.concatenate([np.zeros(1, dtype=rows.indptr.dtype), np.cumsum(keep, dtype=rows.indptr.dtype)])[rows.indptr]
    data, indices, make = rows.data[keep], rows.indices[keep], cast(Any, type(rows))
    bare = isinstance(rows, CSRRows)
    kept: RowsOrMatrix = make(bounds, indices, data, rows.shape) if bare else make((data, indices, bounds), shape=rows.shape)
    return kept
