"""Rows of weights: what encoders give, indexes store and scorers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError

MAX_WEIGHT = 1e18  # sums and products of such weights still fit in float32


class SparseRows(Protocol):
    """A CSR matrix: ``scipy.sparse.csr_array`` or anything with its three arrays and a shape."""

    @property
    def indptr(self) -> NDArray[Any]:
        """Row bounds, (n_rows + 1,)."""
        ...

    @property
    def indices(self) -> NDArray[Any]:
        """Columns."""
        ...

    @property
    def data(self) -> NDArray[Any]:
        """Values."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        ...


@dataclass(frozen=True, slots=True)
class CSRRows:
    """A CSR matrix that needs no scipy.

    Attributes:
        indptr: (n_rows + 1,) row bounds.
        indices: (n,) columns.
        data: (n,) values.
        shape: rows and columns.
    """

    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: NDArray[Any]
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked weights: terms ascending within a row, each once, values positive and finite.

    Attributes:
        indptr: (n_rows + 1,) int64.
        terms: (n,) int32.
        values: (n,) float32.
    """

    indptr: NDArray[np.int64]
    terms: NDArray[np.int32]
    values: NDArray[np.float32]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1


def as_rows(matrix: Any, what: str) -> SparseRows:
    """A CSR matrix, converted from another sparse format where need be.

    Args:
        matrix: what a caller gave.
        what: its name, for the message.

    Raises:
        ArgumentError: it is text, a dense array, or something else that holds no sparse rows.
    """
    if getattr(matrix, "format", "csr") != "csr" and hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()
    if all(hasattr(matrix, name) for name in ("indptr", "indices", "data", "shape")):
        if len(matrix.shape) != 2:
            raise ArgumentError(f"{what} need a matrix of two dimensions, not of the shape {tuple(matrix.shape)}.")
        rows: SparseRows = matrix
        return rows
    if isinstance(matrix, np.ndarray):
        raise ArgumentError(f"{what} are a dense array. Give a sparse matrix: scipy.sparse.csr_array(weights).")
    raise ArgumentError(
        f"{what} are a {type(matrix).__name__}. Give a sparse matrix of raw weights, such as scipy.sparse.csr_array; "
        "LatentTermEncoder makes one from texts."
    )


def slice_rows(rows: SparseRows, first: int, last: int) -> SparseRows:
    """The rows from ``first`` to below ``last``; a matrix of scipy stays one."""
    matrix: Any = rows
    if hasattr(matrix, "tocsr"):
        part: SparseRows = matrix[first:last]
        return part
    bounds = np.asarray(rows.indptr)
    low, high = int(bounds[first]), int(bounds[last])
    shape = (last - first, int(rows.shape[1]))
    return CSRRows(bounds[first : last + 1] - low, rows.indices[low:high], rows.data[low:high], shape)


def columns_of(rows: SparseRows, columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Some columns of a matrix as a dense array.

    Args:
        rows: the matrix.
        columns: (n,) which, each once.

    Returns:
        ``(n_rows, n)``.

    >>> rows = CSRRows(np.array([0, 2, 3]), np.array([0, 2, 1]), np.array([5.0, 6.0, 7.0]), (2, 3))
    >>> columns_of(rows, np.array([2, 0])).tolist()
    [[6.0, 5.0], [0.0, 0.0]]
    """
    places = np.full(int(rows.shape[1]), -1, dtype=np.int64)
    places[columns] = np.arange(len(columns))
    found = np.zeros((int(rows.shape[0]), len(columns)), dtype=np.float32)
    owners = np.repeat(np.arange(len(found)), np.diff(rows.indptr))
    own = places[rows.indices]
    found[owners[own >= 0], own[own >= 0]] = rows.data[own >= 0]
    return found
