"""``.npy`` files that are written piece by piece and read by memory map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lexite.errors import BackboneError

_HEADER_BYTES = 128


class GrowingArray:
    """A ``.npy`` file whose number of rows is known only when it is closed.

    Room for the header is left at the beginning and filled in by :meth:`close`.

    Args:
        path: the file, which must not exist.
        dtype: type of the numbers.
        width: length of a row; None makes a one-dimensional array.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, width: int | None = None) -> None:
        self.dtype, self.width, self.rows = np.dtype(dtype), width, 0
        self._file = open(path, "xb")  # noqa: SIM115 (closed by close())
        self._file.write(bytes(_HEADER_BYTES))

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Adds rows, ``(n, width)`` or ``(n,)``."""
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.rows += len(rows)

    def close(self) -> None:
        """Writes the header and flushes to the disk."""
        if self._file.closed:
            return
        with self._file:
            shape = (self.rows,) if self.width is None else (self.rows, self.width)
            text = f"{{'descr': {np.lib.format.dtype_to_descr(self.dtype)!r}, 'fortran_order': False, 'shape': {shape}, }}"
            magic = np.lib.format.magic(1, 0)
            length = _HEADER_BYTES - len(magic) - 2
            self._file.seek(0)
            self._file.write(magic + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_array(path: Path, dimensions: int, dtypes: Sequence[npt.DTypeLike]) -> npt.NDArray[Any]:
    """Memory-maps a ``.npy`` file (without pickle) and checks its shape and type.

    Raises:
        BackboneError: it is missing, damaged, or not of that shape and type.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise BackboneError(f"{path} is missing.") from None
    except (OSError, ValueError, EOFError) as error:
        raise BackboneError(f"{path} is damaged or not a .npy file: {error}") from error
    if array.ndim != dimensions or array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        names = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise BackboneError(f"{path} holds {array.ndim} dimensions of {array.dtype}, but must hold {dimensions} of {names}.")
    loaded: npt.NDArray[Any] = array
    return loaded
