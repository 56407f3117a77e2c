"""Queries without a model: a table from word pieces to weights of latent terms.

The row of a piece is the mean code of its tokens over some text, for each piece p and latent i

    T[p, i] = (1 / n_p) Σ_t f_ti   over the n_p tokens t of the piece, with f_ti the activation of latent i on token t

without the entries below a fifth of the row's largest. A query's raw weights are the sums of its pieces' rows; all else is as
with the model. Reading a table and encoding with it needs neither torch nor transformers, nor scipy, whose import would take
longer than all of a search.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, ModelError
from lexite.files import atomic_write, storage_errors
from lexite.scoring.rows import CSRRows, SparseRows
from lexite.terms.config import Pooling
from lexite.terms.hub import find_folder
from lexite.terms.manifest import read_manifest
from lexite.terms.remembered_pieces import RememberedPieces, pieces_of, tokenizer_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from tokenizers import Tokenizer


ARRAYS_NAME = "static.safetensors"
TOKENIZER_NAME = "tokenizer.json"
FORMAT_VERSION = "1"


@dataclass(frozen=True, slots=True)
class PlacedPieces:
    """The word pieces of a text with their places.

    Attributes:
        ids: ``(n,)`` int64, rows of the table.
        starts: ``(n,)`` int64, where each begins in the text, in characters.
        ends: ``(n,)`` int64, where it ends. A piece that stands for nothing in the text begins where it ends.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StaticTable:
    """Mean codes of word pieces.

    Attributes:
        rows: ``(n_pieces, n_latents)`` float32 CSR, rows by token id, no stored zeros.
        counts: ``(n_pieces,)`` int64; how many tokens each row is the mean of. A piece without tokens has no entries.
        tokenizer: the tokenizer of the dense model, as JSON of the library tokenizers.
        special_tokens: whether special tokens around a text count.
        window: tokens that are read of a query at most; None reads all.
        pooling: whether rows are added, or the largest value of each term is taken.
    """

    rows: SparseRows
    counts: NDArray[np.int64]
    tokenizer: str
    special_tokens: bool = False
    window: int | None = None
    pooling: Pooling = "sum"

    @property
    def n_latents(self) -> int:
        """Number of terms."""
        return int(self.rows.shape[1])

    @property
    def n_pieces(self) -> int:
        """Number of word pieces, those that never occurred included."""
        return int(self.rows.shape[0])

    @functools.cached_property
    def weights(self) -> csr_array[Any]:
        """The rows as a matrix of scipy; their numbers are shared."""
        return _matrix(self.rows)

    @functools.cached_property
    def _split(self) -> Tokenizer:
        return tokenizer_of(self.tokenizer)

    @functools.cached_property
    def _words(self) -> RememberedPieces | None:
        """Remembers the pieces of words; None where the tokenizer looks beyond them."""
        return None if self.special_tokens else pieces_of(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of queries, ``(n_texts, n_latents)`` float32 CSR, columns ascending, no stored zeros.

        Raises:
            ArgumentError: as :meth:`encode_rows`.
        """
        return _matrix(self.encode_rows(texts))

    def pieces(self, text: str) -> PlacedPieces:
        """The word pieces of a text that have a row, with their places in it; all of them, however long the text is."""
        encoded = self._split.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=self.special_tokens)
        ids, offsets = np.asarray(encoded.ids, dtype=np.int64), np.asarray(encoded.offsets, dtype=np.int64).reshape(-1, 2)
        known = ids < self.n_pieces
        return PlacedPieces(ids[known], offsets[known, 0], offsets[known, 1])

    def piece(self, number: int) -> str:
        """A word piece as the tokenizer writes it, without the mark that begins a word; empty for a row that is none."""
        return (self._split.id_to_token(number) or "").removeprefix("▁").removeprefix("Ġ")

    def encode_rows(self, texts: Sequence[str]) -> CSRRows:
        """The same without scipy.

        Values are added in float32, in the order of a text's pieces.

        Raises:
            ArgumentError: one text instead of a list, or something that is not text.
        """
        if isinstance(texts, (str, bytes)):
            raise ArgumentError("encode takes a list of texts, not one text. Write encode([text]).")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise ArgumentError(f"Text {number} is a {type(text).__name__}, not a string.")
        owners, pieces = self._read(texts)
        entries, lengths = self._entries(pieces)
        keys = np.repeat(owners, lengths) * self.n_latents + self.rows.indices[entries]
        found, place = np.unique(keys, return_inverse=True)
        values = np.zeros(len(found), dtype=np.float32)
        (np.maximum if self.pooling == "max" else np.add).at(values, place, self.rows.data[entries])
        bounds = np.searchsorted(found, np.arange(len(texts) + 1) * self.n_latents)
        return CSRRows(bounds, (found % max(self.n_latents, 1)).astype(np.int32), values, (len(texts), self.n_latents))

    def weights_of(self, texts: Sequence[str], latents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some columns of :meth:`encode_rows`, which is quicker than to take them from it.

        Args:
            texts: the texts.
            latents: (n,) the columns, each once.

        Returns:
            ``(n_texts, n)`` raw weights.
        """
        owners, pieces = self._read(texts)
        entries, lengths = self._entries(pieces)
        places = np.full(self.n_latents, -1, dtype=np.int64)
        places[latents] = np.arange(len(latents))
        columns = places[self.rows.indices[entries]]
        wanted = np.flatnonzero(columns >= 0)
        keys = np.repeat(owners, lengths)[wanted] * len(latents) + columns[wanted]
        found = np.zeros(len(texts) * len(latents), dtype=np.float32)
        (np.maximum if self.pooling == "max" else np.add).at(found, keys, self.rows.data[entries[wanted]])
        return found.reshape(len(texts), len(latents))

    def _read(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pieces of texts that have a row, text by text, and which text each is of."""
        if self._words is not None:
            ids = self._words.ids(texts)
        else:
            readable = [text.encode("utf-8", "replace").decode() for text in texts]  # no tokenizer takes lone surrogates
            encoded = self._split.encode_batch_fast(readable, add_special_tokens=self.special_tokens)  # without places
            ids = [one.ids for one in encoded]
        ids = ids if self.window is None else [one[: self.window] for one in ids]
        pieces = np.fromiter(chain.from_iterable(ids), dtype=np.int64)
        owners = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
        known = pieces < self.n_pieces
        return owners[known], pieces[known]

    def _entries(self, pieces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the entries of the rows of pieces are, and how many each row has."""
        indptr = np.asarray(self.rows.indptr, dtype=np.int64)
        starts = indptr[pieces]
        lengths = indptr[pieces + 1] - starts
        return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum())), lengths

    def reordered(self, order: NDArray[np.int64], terms_per_latent: int = 1) -> StaticTable:
        """The table of the same latents in another order; arguments as for ``Vocabulary.reordered``."""
        n_latents = self.n_latents // terms_per_latent
        terms = np.concatenate([np.asarray(order, dtype=np.int64) + sign * n_latents for sign in range(terms_per_latent)])
        weights = self.weights[:, terms]
        weights.sort_indices()
        return replace(self, rows=weights)

    def save(self, folder: str | Path) -> list[str]:
        """Writes ``static.safetensors`` and ``tokenizer.json`` into a folder that exists; values in half precision.

        Returns:
            The names of the files.

        Raises:
            StorageError: they cannot be written.
        """
        with atomic_write(Path(folder) / ARRAYS_NAME) as file, storage_errors(folder):
            file.write(self.to_bytes())
        with atomic_write(Path(folder) / TOKENIZER_NAME, "w") as text:
            text.write(self.tokenizer)
        return [ARRAYS_NAME, TOKENIZER_NAME]

    @classmethod
    def load(cls, folder: str | Path) -> StaticTable:
        """Reads what :meth:`save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of a newer format.
        """
        path, beside = Path(folder) / ARRAYS_NAME, Path(folder) / TOKENIZER_NAME
        try:
            return cls.from_bytes(path.read_bytes(), beside.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError as problem:
            raise ModelError(f"{problem.filename or path} does not exist. Copy the whole folder again.") from None
        except (OSError, ValueError) as problem:
            raise ModelError(f"{path} or {TOKENIZER_NAME} beside it is damaged: {problem}.") from problem

    def to_bytes(self) -> bytes:
        """The table without its tokenizer, in the form of safetensors; values in half precision."""
        from safetensors.numpy import save

        scale = 1.0 / max(1.0, float(self.rows.data.max(initial=0.0)) / 6e4)  # the largest half is 65,504
        arrays = {
            "bounds": self.rows.indptr.astype(np.uint32),
            "latents": self.rows.indices.astype(np.uint16 if self.n_latents <= 1 << 16 else np.uint32),
            "values": (self.rows.data * scale).astype(np.float16),
            "counts": self.counts.astype(np.int64),
        }
        facts = {"format_version": FORMAT_VERSION, "n_latents": str(self.n_latents), "scale": repr(scale)}
        facts |= {"special_tokens": str(int(self.special_tokens)), "window": str(self.window or 0), "pooling": self.pooling}
        return _in_order(bytes(save(arrays, metadata=facts)))

    @classmethod
    def from_bytes(cls, content: bytes, tokenizer: str, where: str) -> StaticTable:
        """Reads what :meth:`to_bytes` wrote.

        Args:
            content: the bytes.
            tokenizer: the tokenizer, which the bytes do not hold.
            where: the file of the bytes, for messages.

        Raises:
            ModelError: they are damaged, or of a newer format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # load() gives no metadata
        except (SafetensorError, KeyError, ValueError) as problem:
            raise ModelError(f"{where} is damaged: {problem}.") from problem
        facts = header.get("__metadata__", {})
        if facts.get("format_version") != FORMAT_VERSION:
            raise ModelError(f"{where} has format version {facts.get('format_version')}; this lexite reads {FORMAT_VERSION}.")
        try:
            values = arrays["values"].astype(np.float32) / np.float32(facts["scale"])
            bounds, latents = arrays["bounds"].astype(np.int64), arrays["latents"].astype(np.int32)
            rows = CSRRows(bounds, latents, values, (len(bounds) - 1, int(facts["n_latents"])))
            check_rows(rows)
            if len(arrays["counts"]) != rows.shape[0]:
                raise ValueError("it has another number of counts than of rows")
            window, pooling = int(facts["window"]) or None, facts["pooling"]
            if pooling not in ("sum", "max"):
                raise ValueError(f"its pooling is {pooling!r}")
            return cls(rows, arrays["counts"], tokenizer, facts["special_tokens"] == "1", window, pooling)
        except (KeyError, ValueError) as problem:
            raise ModelError(f"{where} is damaged: {problem}.") from problem


def load_static(name_or_path: str | Path, *, revision: str | None = None) -> tuple[StaticTable, dict[str, Any]]:
    """The static table of a saved vocabulary, and the vocabulary's manifest. Loads no model.

    Args:
        name_or_path: as for ``LatentTermEncoder.from_pretrained``.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: not found, damaged, or without a table.
    """
    folder = find_folder(name_or_path, revision=revision)
    manifest = read_manifest(folder)
    if ARRAYS_NAME not in manifest["files"]:
        raise ModelError(
            f"The vocabulary {manifest['name']} has no static table, so queries need its model. 'lexite train' and "
            "'lexite import' make one with every vocabulary whose tokenizer can be carried along."
        )
    return StaticTable.load(folder), manifest


def _matrix(rows: SparseRows) -> csr_array[Any]:
    """Rows as a matrix of scipy; one that is a matrix already is given back."""
    from scipy.sparse import csr_array

    if isinstance(rows, csr_array):
        return rows
    shape = (int(rows.shape[0]), int(rows.shape[1]))
    matrix = csr_array((rows.data, rows.indices, rows.indptr), shape=shape)
    matrix.has_sorted_indices = True
    return matrix


def check_rows(rows: CSRRows) -> None:
    """Refuses numbers that make no matrix; raises ValueError."""
    bounds, latents = rows.indptr, rows.indices
    if not len(bounds) or bounds[0] != 0 or bounds[-1] != len(latents) or len(latents) != len(rows.data):
        raise ValueError("its rows do not fit its numbers")
    if np.any(np.diff(bounds) < 0):
        raise ValueError("the bounds of its rows do not rise")
    if latents.size and not (latents.min() >= 0 and latents.max() < rows.shape[1]):
        raise ValueError("it names a term beyond its last")


def _in_order(content: bytes) -> bytes:
    """A file of safetensors with its metadata in alphabetical order: the library writes them in another order each time."""
    n = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + n])
    ordered = {**head, "__metadata__": dict(sorted(head["__metadata__"].items()))}
    written = json.dumps(ordered, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written + content[8 + n :]
