"""Transforms of raw weights. They are applied when a text is scored, never when it is stored."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError
from lexite.terms.scoring import Transform

Matrix = TypeVar("Matrix")


def transform_weights(weights: NDArray[Any], transform: Transform) -> NDArray[np.float32]:
    """Transforms an array of raw weights, element by element.

    Args:
        weights: raw weights, 0 or more, of any shape; left as they are.
        transform: ``"sqrt"`` square root, ``"log1p"`` log(1 + w), ``"none"`` w itself.

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
    if transform == "log1p":
        return np.log1p(values)
    if transform == "none":
        return values
    raise ConfigError(f"There is no transform {transform!r}; choose one of sqrt, log1p, none.")


def apply_transform(matrix: Matrix, transform: Transform) -> Matrix:
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
