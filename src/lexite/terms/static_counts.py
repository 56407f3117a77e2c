"""Counting static tables: the mean codes of word pieces over some text, and tables moved towards it.

A table can be moved towards the text that is searched: to (Σ_t f_ti + m_p · T[p, i]) / (n_p + m_p). There the sum goes over the
n_p tokens of the piece in that text, and m_p is the number of tokens that the row was the mean of, twenty at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ModelError
from lexite.scoring.rows import CSRRows
from lexite.scoring.transform import drop_small
from lexite.terms.config import Pooling
from lexite.terms.static import StaticTable, check_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.backbone.base import Backbone

FLOOR = 0.2  # share of a row's largest value; smaller entries cost terms and help no ranking
PRIOR_TOKENS = 20  # so many tokens of the searched text weigh as much as all that a table knew of a piece
ENTRIES_IN_MEMORY = 16_000_000
STEPS = float(1 << 20)  # of an activation: multiples of 1/STEPS add up without rounding to sums of 8 thousand million
_FORGET_BELOW = 0.02  # share of a row's largest sum; smaller entries are forgotten when there are more than that


class StaticCounter:
    """Sums codes by word piece, in bounded memory.

    Activations are rounded to multiples of 2⁻²⁰, so that sums are exact: however documents are spread over counters, and in
    whatever order these are merged, the same sums come out.

    When there are more entries than ``entries_in_memory``, those that are small within their row are forgotten; they are far
    below what a table keeps. From then on sums depend on the order, by as little.

    Args:
        n_pieces: number of token ids.
        n_latents: number of terms.
        entries_in_memory: see above.
    """

    def __init__(self, n_pieces: int, n_latents: int, entries_in_memory: int = ENTRIES_IN_MEMORY) -> None:
        from scipy.sparse import csr_array

        self.entries_in_memory = entries_in_memory
        self.sums: csr_array[Any] = csr_array((n_pieces, n_latents), dtype=np.float64)
        self.counts = np.zeros(n_pieces, dtype=np.int64)

    def add(self, values: NDArray[np.float32], indices: NDArray[np.int32], token_ids: NDArray[np.int32]) -> None:
        """Counts the codes of some tokens.

        Args:
            values: activations ``(n_tokens, k)``; 0 marks an unused slot.
            indices: their terms ``(n_tokens, k)``.
            token_ids: ``(n_tokens,)``; those that are -1, or unknown to the tokenizer, are left out.
        """
        from scipy.sparse import csr_array

        n_pieces = len(self.counts)
        known = (token_ids >= 0) & (token_ids < n_pieces)
        self.counts += np.bincount(token_ids[known], minlength=n_pieces)
        rows, slots = np.nonzero((values > 0) & known[:, None])
        exact = np.round(values[rows, slots].astype(np.float64) * STEPS) / STEPS
        self._take(csr_array((exact, (token_ids[rows], indices[rows, slots])), shape=self.sums.shape))

    def merge(self, other: StaticCounter) -> None:
        """Adds what another counter of the same pieces and terms has counted.

        Raises:
            ModelError: it is of other pieces or terms.
        """
        if other.sums.shape != self.sums.shape:
            raise ModelError(f"One counter is of pieces and terms {self.sums.shape}, the other of {other.sums.shape}.")
        self.counts += other.counts
        self._take(other.sums)

    def to_bytes(self) -> bytes:
        """What was counted, exactly, in the form of safetensors."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {
            "bounds": self.sums.indptr.astype(np.int64),
            "latents": self.sums.indices.astype(np.int32),
            "sums": self.sums.data,
            "counts": self.counts,
        }
        return bytes(save(arrays))  # without metadata, whose order differs from call to call

    @classmethod
    def from_bytes(cls, content: bytes, n_latents: int, where: str) -> StaticCounter:
        """Reads what :meth:`to_bytes` wrote.

        Args:
            content: the bytes.
            n_latents: number of terms.
            where: the file of the bytes, for messages.

        Raises:
            ModelError: they are damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load
        from scipy.sparse import csr_array

        try:
            arrays = load(content)
            counter = cls(len(arrays["counts"]), n_latents)
            rows = CSRRows(arrays["bounds"], arrays["latents"], arrays["sums"], (len(arrays["counts"]), n_latents))
            if len(rows.indptr) != len(arrays["counts"]) + 1:
                raise ValueError("it has another number of counts than of rows")
            check_rows(rows)
        except (SafetensorError, KeyError, ValueError) as problem:
            raise ModelError(f"{where} is damaged: {problem}.") from problem
        counter.counts = arrays["counts"]
        counter.sums = csr_array((rows.data, rows.indices, rows.indptr), shape=rows.shape)
        return counter

    def _take(self, sums: csr_array[Any]) -> None:
        from scipy.sparse import csr_array

        self.sums = csr_array(self.sums + sums)
        if self.sums.nnz > self.entries_in_memory:
            self.sums = drop_small(self.sums, _FORGET_BELOW)

    def table(
        self, tokenizer: str, *, special_tokens: bool = False, window: int | None = None, pooling: Pooling = "sum"
    ) -> StaticTable:
        """The means of what was counted; arguments as for :class:`StaticTable`."""
        from scipy.sparse import csr_array, diags_array

        means = csr_array(diags_array(1.0 / np.maximum(self.counts, 1)) @ self.sums)
        return StaticTable(_finished(means), self.counts.copy(), tokenizer, special_tokens, window, pooling)

    def moved(self, table: StaticTable, prior_tokens: float = PRIOR_TOKENS) -> StaticTable:
        """A table moved towards what was counted.

        Args:
            table: what was known before.
            prior_tokens: how many tokens a row of the table counts as at most; infinity gives the mean over all tokens of both.

        Raises:
            ModelError: the table is of other pieces or terms.
        """
        from scipy.sparse import csr_array, diags_array

        if table.rows.shape != self.sums.shape:
            raise ModelError(f"The table is {table.rows.shape}, but pieces and terms were counted as {self.sums.shape}.")
        known = np.minimum(table.counts, prior_tokens).astype(np.float64)
        total = self.counts + known
        sums = self.sums + diags_array(known) @ table.weights
        means = csr_array(diags_array(1.0 / np.maximum(total, 1)) @ sums)
        return replace(table, rows=_finished(means), counts=total.astype(np.int64))


def counter_for(backbone: Backbone, n_latents: int) -> StaticCounter | None:
    """A counter for the pieces of a backbone, or None when it has no tokenizer that can be carried along."""
    tokenizer = getattr(backbone, "fast_tokenizer", None)
    return None if tokenizer is None else StaticCounter(tokenizer.get_vocab_size(with_added_tokens=True), n_latents)


def table_for(counter: StaticCounter, backbone: Backbone, pooling: Pooling) -> StaticTable:
    """The table of what was counted. It reads queries as the backbone does, but for the prompt, which has no row.

    Args:
        counter: of :func:`counter_for`.
        backbone: the same backbone.
        pooling: of the vocabulary.
    """
    own: Any = backbone
    config = backbone.config
    window = own.windows["query"] if config.long == "truncate" else None
    special = config.special_tokens == "keep"
    return counter.table(own.fast_tokenizer.to_str(), special_tokens=special, window=window, pooling=pooling)


def untouched_table(known: StaticTable | None, backbone: Backbone, n_latents: int, pooling: Pooling) -> StaticTable | None:
    """The table of a vocabulary before any document was counted: its own, or one without rows.

    ``counter.moved`` makes of it what :func:`table_of_corpus` gives. None where the backbone has no tokenizer that can be
    carried along.

    Args:
        known: the table of the vocabulary; None where it has none.
        backbone: of the vocabulary.
        n_latents: number of terms.
        pooling: of the vocabulary.
    """
    counter = counter_for(backbone, n_latents)
    if counter is None or known is not None:
        return None if counter is None else known
    return table_for(counter, backbone, pooling)


def table_of_corpus(counter: StaticCounter, known: StaticTable | None, backbone: Backbone, pooling: Pooling) -> StaticTable:
    """The table of documents that were counted while they were encoded.

    Args:
        counter: of :func:`counter_for`, with the documents.
        known: the table of the vocabulary, which is moved to them; None where it has none.
        backbone: what they were encoded with.
        pooling: of the vocabulary.
    """
    return table_for(counter, backbone, pooling) if known is None else counter.moved(known)


def merged_tables(tables: Sequence[StaticTable]) -> StaticTable:
    """One table of several, which were counted from other documents with the same vocabulary.

    A row is the mean of theirs, weighted by how many tokens each is the mean of. Tables forget small entries and round, and
    each was moved from what the vocabulary knew. So the result is near to the table of all documents, but not the same.

    Args:
        tables: one at least.

    Raises:
        ModelError: they are of other pieces or terms.
    """
    from scipy.sparse import csr_array, diags_array

    counter = StaticCounter(tables[0].n_pieces, tables[0].n_latents)
    for table in tables:
        part = StaticCounter(table.n_pieces, table.n_latents)
        part.counts, part.sums = table.counts, csr_array(diags_array(table.counts.astype(np.float64)) @ table.weights)
        counter.merge(part)
    means = csr_array(diags_array(1.0 / np.maximum(counter.counts, 1)) @ counter.sums)
    return replace(tables[0], rows=_finished(means), counts=counter.counts)


def _finished(means: csr_array[Any]) -> csr_array[Any]:
    """Means without the entries that a table leaves out."""
    means.eliminate_zeros()
    means.sort_indices()
    return drop_small(means, FLOOR).astype(np.float32)
