"""What ``lexite info`` says about an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.config import to_dict
from lexite.index.config import VocabularyInfo
from lexite.index.fields import FIELDS_NAME
from lexite.index.manifest import Commit
from lexite.index.segment import Segment
from lexite.index.side_data import TOKEN_CODES, VECTORS
from lexite.index.side_files import CODE_FILES, VECTOR_FILES
from lexite.scoring.config import BM25Config, Transform
from lexite.scoring.rounding import FULL_MANTISSA
from lexite.scoring.words import LiteralConfig

ROWS_LOOKED_AT = 1000


class Described(Protocol):
    """What is read of an opened index; ``BM25Index`` has it."""

    path: Path | None

    @property
    def vocabulary(self) -> VocabularyInfo:
        """What made the latent terms."""
        ...

    @property
    def scoring(self) -> BM25Config:
        """How searches score."""
        ...

    @property
    def literal(self) -> LiteralConfig | None:
        """How literal words are indexed."""
        ...

    @property
    def n_latents(self) -> int:
        """Latent terms."""
        ...

    @property
    def n_terms(self) -> int:
        """All terms."""
        ...

    @property
    def n_segments(self) -> int:
        """Segments."""
        ...

    @property
    def n_documents(self) -> int:
        """Living documents."""
        ...

    @property
    def n_passages(self) -> int:
        """Their passages."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of the posting lists."""
        ...

    @property
    def weight_bytes(self) -> int:
        """Bytes of the raw weights."""
        ...

    @property
    def document_frequency(self) -> NDArray[np.int64]:
        """In how many documents each term occurs."""
        ...

    def average_length(self, transform: Transform | None = None) -> float:
        """Mean length of the documents."""
        ...


def describe(index: Described, commit: Commit, segments: Sequence[Segment]) -> dict[str, Any]:
    """What can be said about an index in numbers, as JSON values. Bytes are bytes on the disk.

    Args:
        index: the opened index.
        commit: the state that it was opened at.
        segments: its segments.

    Raises:
        IndexFormatError: rows are damaged.
    """
    files = [(name, record.bytes) for segment in commit.segments for name, record in segment.files.items()]
    bytes_words = sum(record.bytes for record in commit.words.files.values()) if commit.words else 0
    bytes_static = sum(record.bytes for record in commit.static.files.values()) if commit.static else 0
    n_documents, frequency = index.n_documents, index.document_frequency
    n_postings = int(frequency.sum())
    return {
        "path": str(index.path) if index.path else None,
        "format_version": commit.format_version,
        "generation": commit.generation,
        "vocabulary": {
            "name": index.vocabulary.name,
            "fingerprint": index.vocabulary.fingerprint,
            "model": index.vocabulary.model,
            "terms_config": dict(index.vocabulary.terms_config),
        },
        "scoring": to_dict(index.scoring),
        "store_text": commit.store_text,
        "fields": None if commit.fields is None else dict(commit.fields),
        "n_documents": n_documents,
        "n_passages": index.n_passages,
        "passages": to_dict(commit.passages) if commit.passages else None,
        "field_weights": to_dict(commit.field_weights) if commit.field_weights else None,
        "n_deleted": sum(segment.n_deleted for segment in commit.segments),
        "n_segments": index.n_segments,
        "n_terms": index.n_terms,
        "n_terms_used": int(np.count_nonzero(frequency)),
        "n_postings": n_postings,
        "postings_per_document": n_postings / n_documents if n_documents else 0.0,
        "average_length": index.average_length(),
        "literal_words": index.literal is not None,
        **_words(index),
        "static_table": commit.static is not None,
        **({"n_pieces_used": commit.static.n_pieces_used} if commit.static else {}),
        "bytes_postings": index.bytes,
        "bytes_weights": index.weight_bytes,
        "weights": {
            "mantissa": commit.mantissa if index.path else FULL_MANTISSA,
            "bits_each": _bits_of_weights(segments),
        },
        "bytes_total": (
            sum(size for _, size in files) + bytes_words + bytes_static if index.path else index.bytes + index.weight_bytes
        ),
        "bytes_texts": sum(size for name, size in files if name.startswith("text")),
        "bytes_fields": sum(size for name, size in files if name == FIELDS_NAME),
        "bytes_words": bytes_words,
        "bytes_static": bytes_static,
        **_side(commit, files, n_documents),
    }


def _bits_of_weights(segments: Sequence[Segment]) -> float:
    """Bits of a weight in the rows, in the mean over some passages of each segment; 0 where none of these has a term."""
    bits = weights = 0
    for segment in segments:
        some = np.unique(np.linspace(0, segment.n_passages - 1, min(segment.n_passages, ROWS_LOOKED_AT)).astype(np.int64))
        found = segment.rows.bits_of(some)
        bits, weights = bits + found[0], weights + found[1]
    return bits / weights if weights else 0.0


def _side(commit: Commit, files: list[tuple[str, int]], n_documents: int) -> dict[str, Any]:
    """Facts about side files, where there are any; what deleted documents have there counts too."""
    if commit.side_data is None:
        return {}
    kept = {VECTORS: (commit.side_data.vectors, VECTOR_FILES), TOKEN_CODES: (commit.side_data.token_codes, CODE_FILES)}
    facts = {}
    for kind, (record, names) in kept.items():
        if record is not None:
            size = sum(size for name, size in files if name in names)
            each = round(size / n_documents) if n_documents else 0
            facts[kind] = {**dataclasses.asdict(record), "bytes": size, "bytes_per_document": each}
    return {"side_data": facts}


def _words(index: Described) -> dict[str, Any]:
    """Facts about literal words, where there are any."""
    if index.literal is None:
        return {}
    settings = {key: value for key, value in to_dict(index.literal).items() if key != "literal"}
    of_words = index.document_frequency[index.n_latents :]
    return {
        **settings,
        "n_words": index.n_terms - index.n_latents,
        "n_words_used": int(np.count_nonzero(of_words)),
        "n_postings_words": int(of_words.sum()),
    }
