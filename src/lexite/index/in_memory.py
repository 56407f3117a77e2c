"""An index without files, made of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lexite.errors import ArgumentError, CorpusError
from lexite.index.checks import check_weights
from lexite.index.config import VocabularyInfo
from lexite.index.dictionary import GrowingDictionary
from lexite.index.document_ids import encode_id, listed_ids
from lexite.index.manifest import Commit
from lexite.index.opening import OpenedFiles
from lexite.index.segment import segment_in_memory
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import SparseRows, as_rows
from lexite.scoring.words import LiteralConfig


def indexed_in_memory(
    weights: SparseRows,
    ids: Sequence[str],
    scoring: BM25Config | None,
    vocabulary: VocabularyInfo | None,
    texts: Sequence[str] | None,
    literal: LiteralConfig | None,
) -> OpenedFiles:
    """What an index holds, made of weights; arguments and errors as for ``BM25Index.in_memory``."""
    weights, ids = as_rows(weights, "Weights"), listed_ids(ids)
    n_latents, encoded = int(weights.shape[1]), [encode_id(identifier) for identifier in ids]
    rows = check_weights(weights, n_latents, lambda row: f"document '{ids[row]}'")
    if len(ids) != rows.n_rows or len(set(ids)) != len(ids):
        raise CorpusError(f"{rows.n_rows} documents need as many different ids; there are {len(set(ids))}.")
    words = GrowingDictionary()
    settings = None if texts is None else dataclasses.replace(literal or LiteralConfig(), literal=True)
    if texts is not None and settings is not None:
        if any(not isinstance(text, str) for text in texts):
            raise ArgumentError("A text of the documents is no text. Give a text for each id, empty where there is none.")
        if len(texts) != len(ids):
            raise CorpusError(f"There are {len(ids)} documents, but {len(texts)} texts.")
        rows = words.add_to(rows, n_latents, texts, settings)
    made_by = vocabulary or VocabularyInfo("", "", n_latents)
    commit = Commit(0, made_by, scoring or BM25Config(), store_text=False, literal=settings)
    return OpenedFiles(commit, [segment_in_memory(rows, n_latents + len(words), encoded)], words.committed(), None)
