"""Reading sparse embeddings of any common kind as rows of weighted terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import sparse

from lexite.errors import ArgumentError, ModelError
from lexite.scoring.rows import MAX_WEIGHT

Embeddings: TypeAlias = Any
"""``(n, n_terms)``, or ``(n_terms,)`` for one text: a torch tensor (COO, CSR or dense), a numpy array, a scipy sparse array or
matrix, or a list of such rows. An empty list means no texts, and so does the shape ``(0,)``, which the library gives for no
texts."""


class WeightRows(NamedTuple):
    """Weights above 0 of n texts, row by row.

    Attributes:
        rows: ``(nnz,)`` int64, never falling: which text.
        terms: ``(nnz,)`` int64, rising within a row: which term.
        values: ``(nnz,)`` float32: its weight.
        shape: ``(n, n_terms)``.
    """

    rows: torch.Tensor
    terms: torch.Tensor
    values: torch.Tensor
    shape: tuple[int, int]

    def to(self, device: torch.device) -> WeightRows:
        """The same rows on a device."""
        return WeightRows(self.rows.to(device), self.terms.to(device), self.values.to(device), self.shape)

    def to_scipy(self) -> sparse.csr_array[Any]:
        """The same rows as a scipy array; on the CPU it shares the memory of the weights."""
        bounds = np.searchsorted(self.rows.cpu().numpy(), np.arange(self.shape[0] + 1))
        largest = max(self.shape[1], len(self.rows))
        kind = np.int32 if largest <= np.iinfo(np.int32).max else np.int64
        terms = self.terms.cpu().numpy().astype(kind)
        return sparse.csr_array((self.values.cpu().numpy(), terms, bounds.astype(kind)), shape=self.shape)

    def to_coo(self) -> torch.Tensor:
        """The same rows as a coalesced torch COO tensor."""
        indices = torch.stack([self.rows, self.terms])
        return torch.sparse_coo_tensor(indices, self.values, self.shape, is_coalesced=True, check_invariants=False)


def read_rows(embeddings: Embeddings, name: str, n_terms: int | None = None) -> WeightRows:
    """Reads embeddings of any supported kind. Nothing of the size texts x terms is made of sparse ones.

    Args:
        embeddings: of n texts, or of one.
        name: what was encoded, for error messages ("queries").
        n_terms: width that the embeddings must have, also given to an empty list; None for any.

    Returns:
        The weights in float32, duplicates added up and zeros left out. They stay on the CPU or on their CUDA device; weights
        on other devices, which lack sparse operations, come to the CPU. Gradients end here.

    Raises:
        ArgumentError: the embeddings are of no supported kind or shape.
        ModelError: the width is another one, or a weight is NaN, infinite, negative or above 1e18.
    """
    if _holds_no_texts(embeddings):
        embeddings = torch.zeros(0, n_terms or 0, device=device_of(embeddings))
    if isinstance(embeddings, (list, tuple)):
        embeddings = _stack(embeddings, name)
    rows = _from_torch(embeddings, name) if isinstance(embeddings, torch.Tensor) else _from_arrays(embeddings, name)
    if n_terms is not None and rows.shape[1] != n_terms:
        raise ModelError(
            f"The embeddings of {name} have {rows.shape[1]} dimensions, but {n_terms} are expected. "
            "Encode queries and documents with the same vocabulary."
        )
    return _checked(rows, name)


def device_of(embeddings: Embeddings) -> torch.device:
    """The device of embeddings of any supported kind; the CPU unless they are torch tensors."""
    first = embeddings[0] if isinstance(embeddings, (list, tuple)) and embeddings else embeddings
    return first.device if isinstance(first, torch.Tensor) else torch.device("cpu")


def _holds_no_texts(embeddings: Embeddings) -> bool:
    """Whether nothing was encoded: an empty list, or one axis without anything on it."""
    if isinstance(embeddings, (list, tuple)):
        return not embeddings
    return tuple(getattr(embeddings, "shape", ())) == (0,)


def _stack(parts: Sequence[Any], name: str) -> Any:
    """A list of rows as one matrix; tensors become a tensor."""
    try:
        if all(isinstance(part, torch.Tensor) for part in parts):
            tensors = [part.detach().to(torch.float32) for part in parts]
            has_sparse = any(part.layout != torch.strided for part in tensors)
            return torch.stack(
                [part.to_sparse() if part.layout == torch.strided else part for part in tensors] if has_sparse else tensors
            )
        if all(sparse.issparse(part) for part in parts):
            return sparse.vstack([part.reshape((1, -1)) for part in parts], format="csr")
        return np.stack([np.asarray(part, dtype=np.float32) for part in parts])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"The embeddings of {name} cannot be put in one matrix: {error}. Give rows of one kind and width."
        ) from error


def _from_torch(tensor: torch.Tensor, name: str) -> WeightRows:
    tensor = tensor.detach()
    if tensor.ndim == 1:
        tensor = tensor.unsqueeze(0)
    _check_dimensions(tensor.ndim, name)
    if tensor.device.type != "cuda":
        tensor = tensor.cpu()
    tensor = tensor.to(torch.float32)
    coo = (tensor if tensor.layout == torch.sparse_coo else tensor.to_sparse()).coalesce()
    rows, terms = coo.indices()
    return WeightRows(rows, terms, coo.values(), (coo.shape[0], coo.shape[1]))


def _from_arrays(embeddings: Any, name: str) -> WeightRows:
    is_sparse: bool = sparse.issparse(embeddings)  # typed as bool, since the stubs would narrow to a class without attributes
    if not is_sparse and not isinstance(embeddings, np.ndarray):
        raise ArgumentError(
            f"The embeddings of {name} are of the type {type(embeddings).__name__}. Give a torch tensor, a numpy array, a "
            "scipy sparse array, or a list of such rows."
        )
    if embeddings.ndim == 1:
        embeddings = embeddings.reshape((1, -1))
    _check_dimensions(embeddings.ndim, name)
    try:
        matrix = sparse.csr_array(embeddings, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"The embeddings of {name} are not numbers: {error}.") from error
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    terms = torch.from_numpy(matrix.indices.astype(np.int64))
    return WeightRows(torch.from_numpy(rows), terms, torch.from_numpy(matrix.data.copy()), matrix.shape)


def _check_dimensions(n: int, name: str) -> None:
    if n != 2:
        raise ArgumentError(f"The embeddings of {name} have {n} axes. Give (texts, terms), or (terms,) for one text.")


def _checked(weights: WeightRows, name: str) -> WeightRows:
    """Refuses weights that BM25 cannot use, and leaves out those that are 0."""
    values = weights.values
    bad = ~((values >= 0) & (values <= MAX_WEIGHT))  # NaN compares false
    if bool(bad.any()):
        place = int(bad.nonzero()[0])
        raise ModelError(
            f"The weight of term {int(weights.terms[place])} in row {int(weights.rows[place])} of the {name} is "
            f"{float(values[place])}, but BM25 needs weights that are finite and not negative."
        )
    kept = values > 0
    if bool(kept.all()):
        return weights
    return WeightRows(weights.rows[kept], weights.terms[kept], values[kept], weights.shape)
