"""How texts become rows of terms: chunk by chunk, pooled, small terms dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from lexite.backbone.base import states_and_vectors
from lexite.progress import progress
from lexite.scoring.transform import drop_small
from lexite.terms import chunks
from lexite.terms.chunks import split_text, text_chunks
from lexite.terms.config import Pooling
from lexite.terms.pooling import pool

if TYPE_CHECKING:
    from lexite.backbone.config import Kind
    from lexite.backbone.states import TokenStates
    from lexite.sae import SparseCodes
    from lexite.terms.components import Components
    from lexite.terms.piece_counts import PieceCounts
    from lexite.terms.static_counts import StaticCounter


class TextSink(Protocol):
    """Takes, on the way to the rows of texts, what else a pass of the model gives for them."""

    @property
    def token_k(self) -> int:
        """Latents of each token that :meth:`add_codes` wants; 0: it is not called."""
        ...

    @property
    def wants_vectors(self) -> bool:
        """Whether :meth:`add_vectors` is called."""
        ...

    def add_codes(self, codes: SparseCodes, sizes: NDArray[np.int64], *, goes_on: bool) -> None:
        """Takes the codes of the tokens of some texts, before pooling.

        Args:
            codes: at most :attr:`token_k` of each token.
            sizes: (n_texts,) how many tokens each text has.
            goes_on: whether the first of these texts is a further part of the last text before.
        """
        ...

    def add_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Takes the dense vectors of some texts, ``(n_texts, d)``."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """How some texts are encoded: all choices made and checked.

    Attributes:
        kind: documents or queries.
        k: latents kept per token.
        floor: share of a text's heaviest term below which terms are dropped.
        static: counts the codes by word piece on the way; None: nothing does.
        pieces: counts the word pieces that the vocabulary cannot read; None: nothing does.
        sink: takes token codes and dense vectors on the way; None: nothing does.
    """

    kind: Kind
    k: int
    floor: float
    static: StaticCounter | None
    pieces: PieceCounts | None = None
    sink: TextSink | None = None

    @property
    def token_k(self) -> int:
        """Latents of each token that are computed: for the rows, and for what takes codes on the way."""
        return self.k if self.sink is None else max(self.k, self.sink.token_k)

    def finish(self, rows: csr_array[np.float32]) -> csr_array[np.float32]:
        """Pooled rows without their small terms."""
        return drop_small(rows, self.floor)


def encode_texts(
    parts: Components, texts: Iterable[str], how: Encoding, texts_per_chunk: int, show_progress: bool
) -> Iterator[csr_array[np.float32]]:
    """Rows of a stream of texts, chunk by chunk, in order."""
    total = len(texts) if isinstance(texts, Sized) else None
    unit = "documents" if how.kind == "document" else "queries"
    with progress("Encoding", total, unit, show_progress) as bar:
        first = 0
        for chunk in text_chunks(texts, texts_per_chunk):
            yield how.finish(_encode_chunk(parts, chunk, how, first))
            first += len(chunk)
            bar.advance(len(chunk))


def pooled_rows(parts: Components, states: TokenStates, how: Encoding, *, goes_on: bool = False) -> csr_array[np.float32]:
    """All raw weights of some texts; ``goes_on`` says that the first is a further part of the text before."""
    rows = []
    for portion in parts.portions(states):
        codes = parts.codes(portion, how.token_k)
        if how.sink is not None and how.sink.token_k:
            how.sink.add_codes(codes.first(how.sink.token_k), np.diff(portion.offsets), goes_on=goes_on)
            codes, goes_on = codes.first(how.k), False
        rows.append(pool(codes, portion.offsets, parts.n_latents, parts.terms.pooling))
        if how.static is not None:
            how.static.add(codes.values.detach().cpu().numpy(), codes.indices.detach().cpu().numpy(), portion.token_ids)
    return stack_rows(rows, parts.n_latents)


def rows_of_codes(
    codes: SparseCodes, offsets: NDArray[np.int64], *, k: int, floor: float, pooling: Pooling = "sum"
) -> csr_array[np.float32]:
    """The raw weights of texts at a smaller k than their codes were made with.

    Activations of a token fall from column to column, so the first ``k`` columns are what the autoencoder gives for that k.

    Args:
        codes: codes of all tokens, at least ``k`` of each.
        offsets: ``(n_texts + 1,)``; text ``i`` owns the tokens ``offsets[i]:offsets[i + 1]``.
        k: latents kept per token.
        floor: share of a text's heaviest term below which terms are dropped.
        pooling: sum or largest activation over the tokens of a text.
    """
    return drop_small(pool(codes.first(k), offsets, codes.n_latents, pooling), floor)


def stack_rows(parts: Iterable[csr_array[np.float32]], n_latents: int) -> csr_array[np.float32]:
    """Chunks of rows as one matrix; one without rows when there are none."""
    rows = list(parts)
    if not rows:
        return csr_array(np.zeros((0, n_latents), dtype=np.float32))
    return rows[0] if len(rows) == 1 else cast("csr_array[np.float32]", vstack(rows, format="csr"))


def _encode_chunk(parts: Components, texts: Sequence[str], how: Encoding, first: int) -> csr_array[np.float32]:
    """Raw weights of a chunk; one that is a single huge text is read in parts, whose weights add up."""

    def weights(some: Sequence[str], goes_on: bool = False) -> csr_array[np.float32]:
        if how.sink is not None and how.sink.wants_vectors and some is texts:
            states, vectors = states_and_vectors(parts.backbone, some, how.kind)
            how.sink.add_vectors(vectors)
        else:
            states = parts.backbone.encode(some, how.kind)
        states.check(first_text=first)
        if how.pieces is not None:
            how.pieces.add(states, one_text=goes_on)
        return pooled_rows(parts, states, how, goes_on=goes_on)

    if len(texts) > 1 or len(texts[0]) <= chunks.CHARACTERS_PER_PART or not _adds_up(parts):
        return weights(texts)
    if how.sink is not None and how.sink.wants_vectors:
        how.sink.add_vectors(parts.backbone.dense(texts, how.kind))
    rows = vstack([weights([part], number > 0) for number, part in enumerate(split_text(texts[0]))], format="csr")
    row = rows.sum(axis=0) if parts.terms.pooling == "sum" else rows.max(axis=0).toarray().ravel()
    return csr_array(np.asarray(row, dtype=np.float32).reshape(1, -1))


def _adds_up(parts: Components) -> bool:
    """Whether the parts of a text give the weights of the text: it is not cut, and no part gets a prompt or special tokens."""
    config = parts.backbone.config
    return (config.long, config.special_tokens, config.prompt_tokens) == ("window", "drop", "drop")
