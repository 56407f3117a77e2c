"""Products of a decoder's atoms with the tokens of a query: what MaxSim over token codes spends on the width of a state.

Atoms come in the form that a machine multiplies fastest: float32, bf16, or int8 with a step for each atom. In int8 the tokens
of the query are rounded too, each to 127 parts of its largest number, and sums are whole numbers, so that nothing else is
rounded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.kernels.threads import use_torch

if TYPE_CHECKING:
    import torch

LANES = 16  # query tokens are filled up to a multiple of it, which the compiler turns into whole vectors
ATOMS_AT_ONCE = 512  # picked and multiplied while they are in the cache
LARGEST = 127  # a level of int8
TINY = np.finfo(np.float32).tiny  # below it a step would lose digits, down to 0
MOST_KEPT = 1 << 20  # numbers, 4 MB: 64 query tokens of 16,384 latents
Floats = NDArray[np.float32]
_kept = threading.local()


class Levels(NamedTuple):
    """Atoms in int8.

    Attributes:
        levels: (n_latents, d) tensor of int8.
        steps: (n_latents,) float32, what the levels of each atom are multiplied by.
    """

    levels: torch.Tensor
    steps: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the atoms."""
        return tuple(self.levels.shape)

    @classmethod
    def of(cls, levels: NDArray[np.int8], steps: Floats) -> Levels:
        """From (n_latents, d) levels and the step of each atom, (n_latents,)."""
        import torch

        return cls(torch.from_numpy(np.array(levels)), np.array(steps, dtype=np.float32))


Atoms: TypeAlias = "Floats | torch.Tensor | Levels"
"""An array of float32, a tensor of bf16, or levels; (n_latents, d) each."""


def padded_queries(queries: Floats) -> Floats:
    """Query tokens, with rows of zeros up to a multiple of :data:`LANES`.

    >>> padded_queries(np.ones((3, 2), dtype=np.float32)).shape
    (16, 2)
    """
    width = -(-len(queries) // LANES) * LANES
    padded = np.zeros((width, queries.shape[1]), dtype=np.float32)
    padded[: len(queries)] = queries
    return padded


class Products(NamedTuple):
    """Products of atoms with query tokens: ``values[l, q] · row_steps[l] · lane_steps[q]``.

    Attributes:
        values: (n_latents, n_queries) float32 or int32. Those of latents that do not occur may be anything, but for latent 0,
            with which loops fill up short tokens.
        row_steps: (n_latents,) float32.
        lane_steps: (n_queries,) float32, above 0.
    """

    values: NDArray[Any]
    row_steps: Floats
    lane_steps: Floats

    @property
    def whole(self) -> Floats:
        """The products themselves, (n_latents, n_queries)."""
        return self.values.astype(np.float32) * self.row_steps[:, None] * self.lane_steps


def products_of(atoms: Atoms, latents: NDArray[np.int32], queries: Floats) -> Products:
    """Products of atoms with query tokens.

    Args:
        atoms: (n_latents, d) the decoder's rows.
        latents: the latents that occur, below twice ``n_latents``: ``n_latents + l`` is latent l again.
        queries: (n_queries, d).

    Returns:
        The products, in memory that the next call of the same thread may use again.
    """
    if isinstance(atoms, Levels):
        return _products_of_levels(atoms, queries)
    if isinstance(atoms, np.ndarray):
        values = _products_of_some(atoms, latents, queries)
    else:
        import torch

        use_torch()
        with torch.inference_mode():  # the product with all atoms takes less time than picking some of them
            values = (atoms @ torch.from_numpy(queries).to(atoms.device, atoms.dtype).T).float().cpu().numpy()
    return Products(values, np.ones(len(values), dtype=np.float32), np.ones(len(queries), dtype=np.float32))


def _products_of_some(atoms: Floats, latents: NDArray[np.int32], queries: Floats) -> Floats:
    """Those of the latents that occur."""
    marks = np.zeros(2 * len(atoms), dtype=np.uint8)
    _mark(latents, marks)
    used = np.flatnonzero(marks[: len(atoms)] | marks[len(atoms) :])
    products = np.empty((len(atoms), len(queries)), dtype=np.float32)
    products[:1] = 0.0  # 0 times NaN would be NaN
    picked = np.empty((ATOMS_AT_ONCE, atoms.shape[1]), dtype=np.float32)
    for start in range(0, len(used), ATOMS_AT_ONCE):
        rows = used[start : start + ATOMS_AT_ONCE]
        np.take(atoms, rows, axis=0, out=picked[: len(rows)], mode="clip")  # other modes copy once more
        products[rows] = picked[: len(rows)] @ queries.T
    return products


def _products_of_levels(atoms: Levels, queries: Floats) -> Products:
    """Those of all latents, in whole numbers."""
    import torch

    use_torch()
    largest = np.abs(queries).max(axis=1, initial=0.0)
    steps = np.where(largest > LARGEST * TINY, largest / np.float32(LARGEST), np.float32(1.0))
    rounded = np.rint(queries / steps[:, None]).astype(np.int8)
    with torch.inference_mode():
        columns = torch.from_numpy(rounded).T.contiguous()
        sums = _room(len(atoms.levels), len(queries))
        if min(atoms.shape) > 1:
            torch._int_mm(atoms.levels, columns, out=sums)
        else:  # of a matrix with one row or one column torch's product is wrong (pytorch issue 195066)
            sums.copy_(atoms.levels.float() @ columns.float())
    return Products(sums.numpy(), atoms.steps, steps)


def _room(n_rows: int, n_columns: int) -> torch.Tensor:
    """Whole numbers to be filled, int32, in memory that a thread keeps: new memory takes as long as the product."""
    import torch

    kept, size = getattr(_kept, "sums", None), n_rows * n_columns
    if kept is None or len(kept) < size:
        kept = torch.empty(size, dtype=torch.int32)
        if size <= MOST_KEPT:
            _kept.sums = kept
    return kept[:size].view(n_rows, n_columns)


@njit(cache=True, nogil=True)
def _mark(latents: Any, marks: Any) -> None:  # pragma: no cover - compiled
    for entry in range(latents.shape[0]):
        marks[latents[entry]] = 1
