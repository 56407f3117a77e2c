"""How texts become rows of terms: chunk by chunk, pooled, small terms dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

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
    from lexite.terms.static import StaticCounter


@dataclass(frozen=True, slots=True)
class Encoding:
    """How some texts are encoded: all choices made and checked.

    Attributes:
        kind: documents or queries.
        k: latents kept per token.
        floor: share of a text's heaviest term below which terms are dropped.
        static: counts the codes by word piece on the way; None: nothing does.
        pieces: counts the word pieces that the vocabulary cannot read; None: nothing does.
    """

    kind: Kind
    k: int
    floor: float
    static: StaticCounter | None
    pieces: PieceCounts | None = None

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


def pooled_rows(parts: Components, states: TokenStates, how: Encoding) -> csr_array[np.float32]:
    """All raw weights of some texts."""
    rows = []
    for portion in parts.portions(states):
        codes = parts.codes(portion, how.k)
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
    first = replace(codes, values=codes.values[:, :k], indices=codes.indices[:, :k])
    return drop_small(pool(first, offsets, codes.n_latents, pooling), floor)


def stack_rows(parts: Iterable[csr_array[np.float32]], n_latents: int) -> csr_array[np.float32]:
    """Chunks of rows as one matrix; one without rows when there are none."""
    rows = list(parts)
    if not rows:
        return csr_array(np.zeros((0, n_latents), dtype=np.float32))
    return rows[0] if len(rows) == 1 else cast("csr_array[np.float32]", vstack(rows, format="csr"))


def _encode_chunk(parts: Components, texts: Sequence[str], how: Encoding, first: int) -> csr_array[np.float32]:
    """Raw weights of a chunk; one that is a single huge text is read in parts, whose weights add up."""

    def weights(some: Sequence[str], goes_on: bool = False) -> csr_array[np.float32]:
        states = parts.backbone.encode(some, how.kind).check(first_text=first)
        if how.pieces is not None:
            how.pieces.add(states, one_text=goes_on)
        return pooled_rows(parts, states, how)

    if len(texts) > 1 or len(texts[0]) <= chunks.CHARACTERS_PER_PART or not _adds_up(parts):
        return weights(texts)
    rows = vstack([weights([part], number > 0) for number, part in enumerate(split_text(texts[0]))], format="csr")
    row = rows.sum(axis=0) if parts.terms.pooling == "sum" else rows.max(axis=0).toarray().ravel()
    return csr_array(np.asarray(row, dtype=np.float32).reshape(1, -1))


def _adds_up(parts: Components) -> bool:
    """Whether the parts of a text give the weights of the text: it is not cut, and no part gets a prompt or special tokens."""
    config = parts.backbone.config
    return (config.long, config.special_tokens, config.prompt_tokens) == ("window", "drop", "drop")
