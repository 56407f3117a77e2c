"""An index of many documents whose codes were computed once: each document is two to four pieces of text, taken at random.

Encoding 57,000 documents of 226 tokens takes an hour on one core. Pieces are encoded once instead, and a document gets the sums
of its pieces' weights, all of their tokens' codes, and the mean direction of their vectors, as one passage. Its times are those
of an index of such documents; its rankings are not measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite import Document, LatentTermEncoder
from lexite.index import BM25Index
from lexite.index.side_files import SideRows
from lexite.index.side_packing import PackedTokens, pack_vectors, unpack_vectors
from lexite.scoring.transform import drop_small
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import recorded
from lexite.search.presets import PRESETS
from lexite.search.side_collection import SideCollector, side_data_of
from lexite.terms.encoding import stack_rows

LEAST, MOST = 2, 4
PER_CHUNK, DOCUMENTS_AT_ONCE = 512, 2000


class Pieces(NamedTuple):
    """Encoded pieces of text: their texts, raw weights with no floor, and side data."""

    texts: Sequence[str]
    rows: csr_array[Any]
    side: SideRows


def build_combined(
    path: Path, encoder: LatentTermEncoder, texts: Sequence[str], n_documents: int, preset: str, seed: int
) -> None:
    """Builds the index.

    Args:
        path: its folder.
        encoder: the vocabulary, whose sums over tokens are the weights of a text.
        texts: of the pieces.
        n_documents: documents that are made of them.
        preset: what the index is built for.
        seed: of the choice of pieces.
    """
    chosen, rng = PRESETS[preset], np.random.default_rng(seed)
    assert encoder.terms.pooling == "sum"
    record = side_data_of(chosen.side_data(), encoder)
    assert record is not None
    pieces = encoded(encoder, texts, SideCollector(record, encoder.sae))
    with BM25Index.create(
        path,
        recorded(encoder),
        store_text=False,
        literal=chosen.words_over(LiteralConfig()),
        passages=None,  # a document is one
        side_data=record,
    ) as writer:
        for start in range(0, n_documents, DOCUMENTS_AT_ONCE):
            count = min(DOCUMENTS_AT_ONCE, n_documents - start)
            sizes = rng.integers(LEAST, MOST + 1, count)
            parts = [rng.choice(len(texts), size, replace=False) for size in sizes.tolist()]
            documents = [
                Document(f"made {start + place}", " ".join(texts[piece] for piece in own)) for place, own in enumerate(parts)
            ]
            rows = drop_small(summed(pieces.rows, parts), encoder.floor_for("document"))
            writer.add(documents, rows, side=joined(pieces.side, parts))
        writer.commit()


def encoded(encoder: LatentTermEncoder, texts: Sequence[str], collector: SideCollector) -> Pieces:
    """Encodes pieces, some hundred at a time."""
    rows = []
    for start in range(0, len(texts), PER_CHUNK):
        rows.append(encoder.encode_documents(texts[start : start + PER_CHUNK], floor=0.0, sink=collector))
        if start // PER_CHUNK % 10 == 0:
            print(f"{start:,} pieces", flush=True)
    return Pieces(texts, stack_rows(iter(rows), encoder.n_latents), collector.collected())


def summed(rows: csr_array[Any], parts: Sequence[NDArray[np.int64]]) -> csr_array[Any]:
    """Sums of rows, for each document those of its parts."""
    bounds = np.cumsum([0, *map(len, parts)])
    chosen = csr_array((np.ones(int(bounds[-1]), np.float32), np.concatenate(parts), bounds), shape=(len(parts), rows.shape[0]))
    sums = (chosen @ rows).tocsr()
    sums.sort_indices()
    return sums


def joined(side: SideRows, parts: Sequence[NDArray[np.int64]]) -> SideRows:
    """Side data of documents: the tokens of their parts, one part after the other, and the direction of the vectors' sum."""
    assert side.vectors is not None and side.tokens is not None and side.token_bounds is not None
    vectors = unpack_vectors(*side.vectors)
    sums = np.stack([vectors[own].sum(axis=0) for own in parts])
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    bounds = np.concatenate([[0], np.cumsum(side.tokens.counts)])
    tokens = list(itertools.chain.from_iterable(_ranges(side.token_bounds, own) for own in parts))
    entries = [slice(bounds[each.start], bounds[each.stop]) for each in tokens]
    sizes = [sum(each.stop - each.start for each in _ranges(side.token_bounds, own)) for own in parts]

    def taken(numbers: NDArray[Any], places: Sequence[slice]) -> NDArray[Any]:
        return np.concatenate([numbers[place] for place in places])

    packed = PackedTokens(
        taken(side.tokens.counts, tokens),
        taken(side.tokens.scales, tokens),
        taken(side.tokens.latents, entries),
        taken(side.tokens.values, entries),
    )
    norms = None if side.norms is None else taken(side.norms, tokens)
    return SideRows(len(parts), pack_vectors(sums, "int8"), packed, norms, np.cumsum([0, *sizes]))


def _ranges(bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[slice]:
    """Where the tokens of some pieces are."""
    return (slice(int(bounds[row]), int(bounds[row + 1])) for row in rows.tolist())
